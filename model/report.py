"""What became of a retraining: kept beside the models, so that whoever looks later finds the reasons."""

from typing import Literal

from pydantic import Field, ValidationError

from model.config import Frozen
from model.manifest import MetricsRow, canonical
from model.store import ModelStore

__all__ = ["Outcome", "Rule", "RunReport", "keep_report", "read_reports", "refused_versions", "report_of"]

FOLDER = ".reports"
KEPT = 100

Outcome = Literal["published", "refused", "invalid", "unchanged"]


class Rule(Frozen):
    """One thing that had to hold."""

    name: str
    passed: bool
    sentence: str = Field(description="what was found and what is allowed, with numbers")


class RunReport(Frozen):
    """Of one run.

    published: the candidate was good enough and was made current; refused: it was not, and is kept with these reasons;
    invalid: the data were not fit to train on; unchanged: nothing had happened since the last model.
    """

    run_id: str = Field(description="names of later runs are greater")
    started_at: str = Field(description="ISO 8601, UTC")
    read_at: float = Field(description="when the events were read, seconds since 1970")
    seconds: float = Field(description="wall-clock seconds of the run")
    outcome: Outcome
    candidate: str | None = Field(None, description="the version that was trained")
    before: str | None = Field(None, description="the version that was current when the run began")
    events: int = Field(description="events in the log that were taken in")
    data: list[Rule] = Field(default=[], description="checks of the data")
    gate: list[Rule] = Field(default=[], description="rules for the candidate")
    protocol: str | None = Field(None, description="how the comparison was made")
    comparison: list[MetricsRow] = Field(default=[], description="models on the same newest hold-out")

    @property
    def failed(self) -> list[str]:
        """The sentences of what did not hold."""
        return [rule.sentence for rule in (*self.data, *self.gate) if not rule.passed]


def keep_report(store: ModelStore, report: RunReport) -> None:
    """Keep a report; the oldest of too many go.

    Raises:
        UnavailableError: it cannot be written.
    """
    store.folder.write(f"{FOLDER}/{report.run_id}.json", canonical(report.model_dump(mode="json")))
    there = store.versions()
    for name, content in [*store.folder.documents(FOLDER).items()][:-KEPT]:
        old = _parsed(content)
        if old is None or old.candidate not in there:  # what is in the store keeps its reasons
            store.folder.remove(name)


def read_reports(store: ModelStore) -> list[RunReport]:
    """All reports, the newest first; those that cannot be read are left out.

    Raises:
        UnavailableError: the store cannot be reached.
    """
    found = [_parsed(content) for content in reversed(store.folder.documents(FOLDER).values())]
    return [report for report in found if report is not None]


def refused_versions(store: ModelStore) -> list[str]:
    """Versions that the gate refused when they were last trained, the last one first; raises as `read_reports`."""
    outcomes: dict[str | None, Outcome] = {}
    for report in read_reports(store):
        outcomes.setdefault(report.candidate, report.outcome)
    return [version for version, outcome in outcomes.items() if version is not None and outcome == "refused"]


def report_of(store: ModelStore, version: str) -> RunReport | None:
    """The newest report of a run that ended with this version; raises as `read_reports`."""
    return next((report for report in read_reports(store) if report.candidate == version), None)


def _parsed(content: bytes) -> RunReport | None:
    try:
        return RunReport.model_validate_json(content)
    except ValidationError:
        return None
