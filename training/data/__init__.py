"""Data sets: importing, fetching, the canonical form on disk and what is said about it."""
