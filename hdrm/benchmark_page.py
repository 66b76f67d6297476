"""`hdrm benchmark page`."""

from pathlib import Path
from typing import Annotated

import typer

from hdrm.benchmark_results import writable
from hdrm.console import err

__all__ = ["write_page"]


def write_page(
    folder: Annotated[Path, typer.Argument(help="Folder with results, named as `make bench` does.")],
    out: Annotated[Path, typer.Option(help="File to write the page to.")],
) -> None:
    """Write a page of what `serving`, `growth`, `inference`, `retrieval` and `training` have measured.

    Example: `hdrm benchmark page docs --out docs/performance.md`
    """
    writable(out)
    from benchmarks.page import render

    out.write_text(render(folder), "utf-8")
    err.print(f"written: {out}", markup=False, highlight=False, soft_wrap=True)
