"""What tells versions of the code from each other, so that what one has begun is not gone on with by another."""

import hashlib
from pathlib import Path
from types import ModuleType

import model
import training

__all__ = ["digest_of_code"]


def digest_of_code(*others: ModuleType) -> str:
    """Of all modules that a model depends on, and of other packages: 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for package in (model, training, *others):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
