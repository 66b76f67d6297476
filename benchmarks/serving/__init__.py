"""Throughput and latency of the service, beside a no-op of the same server."""
