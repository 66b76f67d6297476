"""The two consoles of the program: results on stdout, progress and messages on stderr."""

import shlex
import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

__all__ = ["command_line", "err", "out", "progress"]

out = Console()
err = Console(stderr=True)


def command_line() -> str:
    """What was typed, as it could be typed again."""
    return shlex.join(["hdrm", *sys.argv[1:]])


class RateColumn(ProgressColumn):
    """Units finished per second, in the task's own unit (field `unit`)."""

    def render(self, task: Task) -> Text:
        if not task.speed:
            return Text("")
        return Text(f"{task.speed:.1f} {task.fields.get('unit', 'steps')}/s", style="progress.data.speed")


def progress() -> Progress:
    """A progress display on stderr with rate and time remaining, which becomes the time used at the end.

    Tasks may carry the fields `unit` (str) and `note` (str, shown at the end of the line).
    """
    return Progress(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        RateColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
        console=err,
    )
