"""`hdrm benchmark accuracy`: the model, its ablations and its baselines under one evaluation."""
