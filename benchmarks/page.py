"""What was measured, as one page: every number on it comes from the documents."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from benchmarks.environment import Measured
from benchmarks.events.document import Document as Events
from benchmarks.events.report import report as report_events
from benchmarks.inference.document import Document as Inference
from benchmarks.inference.report import report as report_inference
from benchmarks.kills.document import Document as Kills
from benchmarks.kills.report import report as report_kills
from benchmarks.report import Part, markdown
from benchmarks.retrieval.document import Document as Retrieval
from benchmarks.retrieval.report import report as report_retrieval
from benchmarks.serving.document import Document as Serving
from benchmarks.serving.document import Growth
from benchmarks.serving.report import report as report_serving
from benchmarks.serving.report import report_growth
from benchmarks.swaps.document import Document as Swaps
from benchmarks.swaps.report import report as report_swaps
from benchmarks.training.document import Document as Training
from benchmarks.training.report import report as report_training
from model.errors import ConfigError

__all__ = ["SECTIONS", "render"]

D = TypeVar("D", bound=Measured)


@dataclass(frozen=True)
class Section(Generic[D]):
    """A part of the page.

    Attributes:
        title: above it.
        document: what its file holds.
        report: what there is to say about that.
    """

    title: str
    document: type[D]
    report: Callable[[D], Sequence[Part]]

    def paragraphs(self, raw: bytes) -> list[str]:
        """Of a file's content.

        Raises:
            ValidationError: it is something else.
        """
        document = self.document.model_validate_json(raw)
        made = document.environment
        software = ", ".join(f"{name} {version}" for name, version in made.software.items())
        return [
            f"## {self.title}",
            *markdown(self.report(document)),
            f"Written by `{made.command}` ({made.date}; {software}).",
        ]


SECTIONS: dict[str, Section[Any]] = {
    "serving.json": Section("Serving", Serving, report_serving),
    "serving-growth.json": Section("Serving large models", Growth, report_growth),
    "events.json": Section("Events", Events, report_events),
    "swaps.json": Section("Swaps of the model", Swaps, report_swaps),
    "kills.json": Section("Killed retrainings", Kills, report_kills),
    "inference.json": Section("Inference", Inference, report_inference),
    "retrieval.json": Section("Retrieval", Retrieval, report_retrieval),
    "training.json": Section("Training", Training, report_training),
}


def render(folder: Path) -> str:
    """Markdown of the results in a folder; those that are not there are left out.

    Raises:
        ConfigError: there are none, or a file is something else.
    """
    parts = ["# Performance", "Ratios, not requests a second, are what another machine can be compared by."]
    found = {name: section for name, section in SECTIONS.items() if (folder / name).is_file()}
    if not found:
        raise ConfigError(f"{folder}: no results; there may be: {', '.join(SECTIONS)}", hint="make bench writes them")
    for name, section in found.items():
        try:
            parts += section.paragraphs((folder / name).read_bytes())
        except (OSError, ValidationError) as error:
            raise ConfigError(f"{folder / name}: not a result that this program writes", hint="run it again") from error
    return "\n\n".join(parts) + "\n"
