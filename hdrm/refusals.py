"""What the service says is wrong with a request, in the words of a command line."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from model.errors import ConfigError

if TYPE_CHECKING:
    from service.errors import Problem

__all__ = ["refused"]


def refused(problem: "Problem", options: Mapping[str, str]) -> ConfigError:
    """The error for a problem.

    Args:
        problem: of the service.
        options: the options that fields of the request were made of, by the field's name or how it begins.
    """
    wrong = [
        f"{_option(error.field, options)}: {error.message}" + (f" ({error.allowed})" if error.allowed else "")
        for error in problem.errors
    ]
    return ConfigError("; ".join(wrong) or problem.detail)


def _option(field: str, options: Mapping[str, str]) -> str:
    return next((option for name, option in options.items() if f"{field}.".startswith(f"{name}.")), field)
