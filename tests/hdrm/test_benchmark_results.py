"""Tables of the benchmarks, on a terminal of any width."""

import pytest

from benchmarks.report import Table
from hdrm.benchmark_results import show


def test_a_narrow_terminal_loses_nothing_of_a_wide_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    numbers = [f"{1000 + column}.{column}" for column in range(12)]
    name = "a model whose name and settings alone are longer than a line of the terminal"
    show([Table("a title", ("model", *(f"column {c}, s" for c in range(12))), [[name, *numbers]])])
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith(name)]
    assert line.split()[-12:] == numbers
