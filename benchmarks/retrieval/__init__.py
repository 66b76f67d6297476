"""How good, fast and large the ways to find the nearest items are."""
