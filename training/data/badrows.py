"""Bad rows: counted by reason, the first few shown, and too many of them refused."""

import math
from dataclasses import dataclass
from typing import Final

import polars as pl

from model.errors import DataError
from training.data.formats import LINE, Table

__all__ = ["RowReport", "refuse_beyond", "report_rows"]

SHOWN: Final = 5


@dataclass(frozen=True)
class RowReport:
    """What became of a file's rows.

    Attributes:
        name: the file's name.
        read: rows in the file, bad ones included.
        bad: rows dropped, by reason, in order of the reason's first row.
        shown: the first few of them, as "line 7: missing user id".
    """

    name: str
    read: int
    bad: dict[str, int]
    shown: tuple[str, ...]

    @property
    def bad_count(self) -> int:
        return sum(self.bad.values())

    def describe(self) -> str:
        """One line of counts, then a line for each row shown."""
        kinds = ", ".join(f"{count:,} {reason}" for reason, count in self.bad.items())
        share = self.bad_count / max(1, self.read)
        head = f"{self.bad_count:,} of {self.read:,} rows of {self.name} are bad ({share:.3%}): {kinds}"
        more = self.bad_count - len(self.shown)
        tail = [f"  ... and {more:,} more"] if more > 0 else []
        return "\n".join([head, *(f"  {row}" for row in self.shown), *tail])


def report_rows(table: Table, reasons: pl.DataFrame) -> RowReport:
    """Count the bad rows of a table.

    Args:
        reasons: LINE, `reason` (String) and optionally `part` for each bad row that the table holds.
    """
    rows: list[tuple[int, str, str | None]]
    if "part" in reasons.columns:
        rows = reasons.select(LINE, "reason", "part").rows()
    else:
        rows = [(line, reason, None) for reason, lines in table.broken.items() for line in lines]
        rows += [(line, reason, None) for line, reason in reasons.select(LINE, "reason").iter_rows()]
        rows.sort(key=lambda row: row[0])
    bad: dict[str, int] = {}
    for _, reason, _ in rows:
        bad[reason] = bad.get(reason, 0) + 1
    shown = tuple(
        f"{table.unit} {line}: {reason}" if part is None else f"{part}[{line}]: {reason}"
        for line, reason, part in rows[:SHOWN]
    )
    read = table.frame.height + sum(len(lines) for lines in table.broken.values())
    return RowReport(table.name, read, bad, shown)


def refuse_beyond(report: RowReport, max_bad: float) -> None:
    """Raise DataError if more than the fraction `max_bad` of the rows are bad."""
    if report.bad_count <= max_bad * report.read:
        return
    enough = math.ceil(1000 * report.bad_count / report.read) / 1000
    raise DataError(
        f"{report.describe()}\nmore than --max-bad {max_bad:g} allows; nothing was written",
        hint=f"repair these rows, or drop them with --max-bad {enough:g}",
    )
