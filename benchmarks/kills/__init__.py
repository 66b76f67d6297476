"""Retrainings that are killed: what lies there afterwards, what is served meanwhile, and how the next one fares."""
