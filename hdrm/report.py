"""`hdrm report`."""

from pathlib import Path
from typing import Annotated

import typer

from hdrm.console import err, out, progress
from hdrm.store import open_store
from model.errors import HdrmError

__all__ = ["report"]


def report(
    models: Annotated[str, typer.Option(help="Model store: a folder, or a URL such as s3://bucket/models.")],
    version: Annotated[str | None, typer.Option(help="A version; by default the current one.")] = None,
    out_file: Annotated[Path, typer.Option("--out", help="The HTML file to write.")] = Path("report.html"),
) -> None:
    """Write a page about a published model: what it learned, how good it is, for whom, and what the diffusion does.

    One HTML file without scripts that loads nothing; it can be mailed, or opened offline. Learning curves and other
    things that need the training data come from the artifact, which older versions did not put them into.

    Example: hdrm report --models models --out report.html
    """
    from model.analysis import read_analysis
    from model.artifact import load_artifact
    from training.report.page import MISSING, render

    path = open_store(models).path(version)
    artifact = load_artifact(path)
    analysis = read_analysis(path)
    if analysis is None:
        err.print(f"[yellow]incomplete:[/] {MISSING}", highlight=False, soft_wrap=True)
    with progress() as display:
        task = display.add_task("figures", total=None, note="", unit="figures")
        page = render(artifact, analysis, drawn=lambda done, total: display.update(task, completed=done, total=total))
    try:
        out_file.write_text(page, "utf-8")
    except OSError as error:
        raise HdrmError(
            f"{out_file}: cannot be written ({error.strerror})", hint="name a file in a folder that exists with --out"
        ) from error
    out.print(f"report: {out_file}", markup=False, highlight=False, soft_wrap=True)
