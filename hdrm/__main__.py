"""`python -m hdrm` and the `hdrm` script."""

from hdrm.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
