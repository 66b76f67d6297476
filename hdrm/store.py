"""The model store that a command was told of."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.store import ModelStore

__all__ = ["open_store"]


def open_store(models: Path | str) -> "ModelStore":
    """A store; of one in object storage, copies are where the service of this machine has them.

    Raises:
        UnavailableError: the package for its kind of storage is not installed.
    """
    from model.store import ModelStore

    cache = os.environ.get("HDRM_MODELS_CACHE")
    return ModelStore(models, Path(cache) if cache else None)
