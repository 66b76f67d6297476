"""Where a list goes on: behind so many items, of the same model, for the same wishes."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode

from service.errors import Problem
from service.responses import FieldProblem

__all__ = ["DEEPEST", "read_cursor", "write_cursor"]

DEEPEST = 1000  # items of one list that can be paged through


def write_cursor(version: str, options: str, offset: int) -> str:
    """What asks for the items behind the first `offset`; `options` is a digest of the wishes."""
    return urlsafe_b64encode(f"{version} {options} {offset}".encode()).rstrip(b"=").decode()


def read_cursor(cursor: str, version: str, options: str) -> int:
    """The offset of a cursor.

    Raises:
        Problem: 409, it is none, of a request that wished otherwise, or of another model.
    """
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        made_by, wished, number = text.split(" ")
        offset = int(number) if number.isascii() and number.isdecimal() and len(number) < 5 else -1
    except (binascii.Error, ValueError):
        raise _wrong("not a cursor of this service") from None
    if not 0 < offset <= DEEPEST:
        raise _wrong("not a cursor of this service")
    if made_by != version:
        raise _wrong("of a model that is not served any more; ask without it", code="cursor_expired")
    if wished != options:
        raise _wrong("of a request with other wishes; all fields but the cursor have to stay as they were")
    return offset


def _wrong(message: str, code: str = "cursor_invalid") -> Problem:
    errors = [FieldProblem(field="cursor", message=message, allowed="next_cursor of an answer")]
    return Problem(409, code, f"The cursor is {message}.", errors=errors)
