"""Whom a batch is for: a file of user ids."""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from model.errors import DataError
from service.requests import Id

__all__ = ["Audience", "read_audience"]

STDIN = "-"


@dataclass(frozen=True)
class Audience:
    """Users that were named.

    Attributes:
        ids: ascending, none twice.
        repeated: how many more lines there were.
        digest: of the ids.
    """

    ids: list[str]
    repeated: int
    digest: str


def read_audience(name: str) -> Audience:
    """Read ids, one a line and taken as they are, from a UTF-8 file or, for `-`, from stdin. Empty lines are left out.

    Raises:
        DataError: it cannot be read, or a line is no id.
    """
    where = "stdin" if name == STDIN else name
    try:
        content = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
    except OSError as error:
        hint = "--users takes `all`, a file with one user id on each line, or - for stdin"
        raise DataError(f"{where}: cannot be read ({error.strerror})", hint=hint) from error
    # not splitlines: what it takes for the end of a line may stand in an id
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    ids = [_id(line.removesuffix(b"\r"), f"{where}, line {number}") for number, line in enumerate(lines, 1)]
    named = [one for one in ids if one]
    distinct = sorted(set(named))
    digest = hashlib.blake2b(digest_size=16)
    for one in distinct:
        digest.update(one.encode() + b"\n")
    return Audience(distinct, len(named) - len(distinct), digest.hexdigest())


ID = TypeAdapter[str](Id)


def _id(line: bytes, place: str) -> str:
    """The id on a line; an empty one where there is none."""
    try:
        return ID.validate_python(line.decode()) if line else ""
    except UnicodeDecodeError:
        raise DataError(f"{place}: not UTF-8", hint="save the file as UTF-8") from None
    except ValidationError:
        raise DataError(f"{place}: {len(line)} bytes are no user id; ids have at most 256 characters") from None
