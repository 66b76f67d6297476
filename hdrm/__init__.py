"""The `hdrm` command-line program; the layers it drives are `model`, `training` and `service`."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("hdrm")
