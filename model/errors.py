"""One exception tree: everything the project raises on purpose is a HdrmError."""

__all__ = [
    "ArtifactError",
    "ConfigError",
    "DataError",
    "HdrmError",
    "NothingKeptError",
    "OtherSchemaError",
    "UnavailableError",
]


class HdrmError(Exception):
    """Base of all expected failures.

    Args:
        message: what went wrong, naming the field, file or value.
        hint: the next step a person can take; printed on its own line.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(HdrmError):
    """A setting is unknown or out of its range."""


class DataError(HdrmError):
    """A data file cannot be read, or holds something that cannot be used."""


class ArtifactError(HdrmError):
    """A model artifact is missing, damaged or of another schema."""


class OtherSchemaError(ArtifactError):
    """A model artifact was made by another version of this program.

    Args:
        message, hint: as of all.
        created_at: when, ISO 8601; empty if it cannot be told.
    """

    def __init__(self, message: str, *, hint: str, created_at: str) -> None:
        super().__init__(message, hint=hint)
        self.created_at = created_at


class UnavailableError(HdrmError):
    """Something this needs is not there now (an optional dependency, a server, a port)."""


class NothingKeptError(UnavailableError):
    """The service was told not to keep anything, or has nowhere to."""
