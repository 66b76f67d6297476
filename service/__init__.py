"""Online side: the HTTP service that answers from a published artifact."""
