"""What the commands of `hdrm benchmark` have in common: a line of progress for each phase, a file for the result."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from hdrm.console import err, out
from model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel
    from rich.progress import Progress

    from benchmarks.report import Part

__all__ = ["Phases", "show", "writable", "write"]

WIDEST = 1000  # columns of a table


def writable(path: Path | None) -> None:
    """Notice before anything is measured that the result cannot be written.

    Raises:
        ConfigError: the folder that a file is to be written to is not there, the file is a folder, or may not be
            written.
    """
    if path is not None and not path.resolve().parent.is_dir():
        raise ConfigError(f"{path}: the folder {path.resolve().parent} is not there", hint="make it first")
    if path is not None and path.is_dir():
        raise ConfigError(f"{path} is a folder", hint="name a file in it")
    if path is not None and not os.access(path if path.exists() else path.resolve().parent, os.W_OK):
        raise ConfigError(f"{path} cannot be written to", hint="name a file in a folder of yours")


def show(parts: "Iterable[Part]") -> None:
    """Print tables and sentences."""
    for part in parts:
        if isinstance(part, str):
            out.print(part, markup=False, highlight=False, soft_wrap=True)
            continue
        table = Table(title=escape(part.title), box=SIMPLE_HEAD)
        for number, head in enumerate(part.header):
            justify: JustifyMethod = "right" if number else "left"
            table.add_column(head.replace(", ", "\n"), justify=justify, no_wrap=True)  # units below
        for row in part.rows:
            table.add_row(*map(escape, row))
        # a terminal breaks lines that are too long for it; nothing is left out, and no number is broken by us
        wide = Measurement.get(out, out.options.update_width(WIDEST), table).maximum
        Console(width=max(wide, out.width)).print(table)


def write(document: "BaseModel", path: Path | None) -> None:
    """Write the result, if it is to be written.

    Raises:
        ConfigError: it cannot be written.
    """
    if path is None:
        return
    try:
        path.write_text(document.model_dump_json(indent=1, by_alias=True) + "\n", "utf-8")
    except OSError as error:
        raise ConfigError(f"the result cannot be written ({error})") from error
    err.print(f"written: {path}", markup=False, highlight=False, soft_wrap=True)


class Phases:
    """One line of a progress display for each phase, which counts in these units."""

    def __init__(self, display: "Progress", unit: str) -> None:
        self.display, self.unit, self.title, self.current = display, unit, "", ""
        self.task = display.add_task("", total=None, note="")

    def size(self, interactions: int) -> None:
        """What follows is on so many interactions."""
        self.title, self.current = f"{interactions:,}", ""

    def __call__(self, name: str, done: int, total: int) -> None:
        if name != self.current:
            self.display.remove_task(self.task)
            self.task = self.display.add_task(f"{self.title} {name}", total=total or None, note="", unit=self.unit)
            self.current = name
        self.display.update(self.task, completed=done)
