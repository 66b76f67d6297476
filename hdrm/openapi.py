"""`hdrm openapi`: the description of the API, for programs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from hdrm.console import err
from model.errors import UnavailableError

__all__ = ["openapi"]


def openapi(
    out: Annotated[Path | None, typer.Option("--out", help="File to write; by default stdout.")] = None,
) -> None:
    """Print the API's OpenAPI 3.1 document, to generate clients from; no model and no server are needed.

    Example: hdrm openapi --out openapi.json
    """
    from service.app import create_app
    from service.settings import load_settings

    document = create_app(load_settings()).framework.openapi()
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    if out is None:
        print(text, end="")
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UnavailableError(f"{out}: cannot be written ({error.strerror})") from error
    err.print(f"wrote {out}", markup=False, highlight=False, soft_wrap=True)
