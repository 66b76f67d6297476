"""Ids of requests and of lists: 128 random bits, cheaper than uuid4, which asks the system for each."""

from random import Random

__all__ = ["new_id"]

_random = Random()  # seeded from the system's randomness, so that processes differ


def new_id() -> str:
    """32 hexadecimal digits; distinct, not secret."""
    return f"{_random.getrandbits(128):032x}"
