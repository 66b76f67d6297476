"""Settings changed by `section.key=value`, values as in TOML."""

import json
import tomllib
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from model.config import Frozen
from model.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["check_path", "put", "read_change", "validated"]

Settings = TypeVar("Settings", bound=Frozen)


def read_change(config: type[Frozen], change: str, *, option: str, example: str) -> tuple[str, Any]:
    """Where a change is made, and the value (as in TOML; bare words are strings).

    Raises:
        ConfigError: it is no change, or there is no such section or key.
    """
    path, separator, raw = change.partition("=")
    if not separator:
        raise ConfigError(f"{option} {change}: expected section.key=value, for example {example}")
    path = path.strip()
    check_path(config, path, f"{option} {path}")
    return path, _value(raw.strip())


def check_path(config: type[Frozen], path: str, shown: str) -> None:
    """See that there is a setting at a path.

    Raises:
        ConfigError: there is none; those there are are named.
    """
    _check_parts(config, path.split("."), shown)


def put(values: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a path; sections that are missing are made."""
    *sections, key = path.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[key] = value


def validated(config: type[Settings], values: dict[str, Any], origin: str) -> Settings:
    """Settings of these values.

    Raises:
        ConfigError: a value is out of range; every one is named.
    """
    try:
        # by way of JSON, whose arrays strict validation takes for tuples
        return config.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise ConfigError(f"{origin}: " + "; ".join(map(_problem, error.errors()))) from error


def _check_parts(config: type[Frozen], path: list[str], shown: str) -> None:
    name, *rest = path
    field = config.model_fields.get(name)
    if field is None:
        raise ConfigError(f"{shown}: no {name!r} here; there are: {', '.join(config.model_fields)}")
    match field.annotation:
        case type() as section if issubclass(section, Frozen):
            if not rest:
                keys = ", ".join(section.model_fields)
                raise ConfigError(f"{shown}: {name!r} is a section; its keys are: {keys}")
            _check_parts(section, rest, shown)
        case _ if rest:
            raise ConfigError(f"{shown}: {name!r} has no keys of its own")


def _problem(error: "ErrorDetails") -> str:
    if error["type"] == "value_error":  # between two settings, which the message names
        return f"{'.'.join([*map(str, error['loc']), ''])}{error['ctx']['error']}"
    return f"{'.'.join(map(str, error['loc']))}: {error['msg']}, got {error['input']!r}"


def _value(raw: str) -> Any:
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw
