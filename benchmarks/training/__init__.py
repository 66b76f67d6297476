"""How long training takes: as data grows, and until it is as good as other models."""
