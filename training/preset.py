"""Settings written as a preset: a TOML file that `load_config` reads."""

import json
from collections.abc import Iterator
from typing import Any

from training.config import TrainConfig

__all__ = ["preset_text"]


def preset_text(config: TrainConfig, *, head: str) -> str:
    """The settings that were given a value, whatever the defaults are, under `head` as a comment."""
    comment = [f"# {line}".rstrip() for line in head.splitlines()]
    return "\n".join([*comment, *_table(config.model_dump(mode="json", exclude_unset=True), ())]) + "\n"


def _table(values: dict[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Lines of a table and of those in it, its own keys first, as TOML wants it."""
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    if plain:
        yield ""
        if path:
            yield f"[{'.'.join(path)}]"
        # JSON's numbers, words, texts and arrays are TOML's
        yield from (f"{_key(key)} = {json.dumps(value)}" for key, value in plain.items())
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _table(value, (*path, key))


def _key(key: str) -> str:
    """Quoted where a dot would mean a table."""
    return json.dumps(key) if "." in key else key
