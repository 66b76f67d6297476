"""Measurements that `hdrm benchmark` runs."""
