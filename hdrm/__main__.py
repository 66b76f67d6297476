"""`python -m hdrm` and the `hdrm` script."""

import os

# Read when OpenMP is loaded, so before everything else. By default its threads spin while they wait for each other, and
# where another program has a core they spin in the time that the one they wait for needs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from hdrm.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
