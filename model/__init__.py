"""The HDRM model: hyperbolic geometry, encoder, diffusion, retrieval and the artifact they are kept in."""
