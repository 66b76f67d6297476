"""What is deployed, as it is written down."""

from pathlib import Path
from typing import Any

import yaml

__all__ = ["ROOT", "compose", "read"]

ROOT = Path(__file__).parent.parent.parent


def read(path: Path) -> Any:
    """Of a YAML file."""
    return yaml.safe_load(path.read_text("utf-8"))


def compose() -> dict[str, Any]:
    """The compose file; its variables are as they are written."""
    found: dict[str, Any] = read(ROOT / "docker-compose.yml")
    return found
