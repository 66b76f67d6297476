"""Retrainings told to MLflow, where a tracking server is named."""

import os
from typing import TYPE_CHECKING

from hdrm.console import err

if TYPE_CHECKING:
    from model.report import RunReport

__all__ = ["track"]

VARIABLE = "MLFLOW_TRACKING_URI"  # MLflow's own
EXPERIMENT = "hdrm"


def track(report: "RunReport", parameters: dict[str, str]) -> None:
    """Log a run to the server that MLFLOW_TRACKING_URI names; nothing where it names none.

    What goes wrong is said and changes nothing: the model is published by then.

    Args:
        report: what became of the run.
        parameters: what it was asked for.
    """
    if not os.environ.get(VARIABLE):
        return
    try:
        _log(report, parameters)
    except Exception as error:  # of an optional part: whatever it is, the run is done
        hint = "; pip install 'hdrm[mlflow]'" if isinstance(error, ModuleNotFoundError) else ""
        message = f"the run was not told to MLflow ({type(error).__name__}: {error}){hint}"
        err.print(message, markup=False, highlight=False, soft_wrap=True)


def _log(report: "RunReport", parameters: dict[str, str]) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    known = client.get_experiment_by_name(EXPERIMENT)
    experiment = client.create_experiment(EXPERIMENT) if known is None else known.experiment_id
    tags = {"outcome": report.outcome, "candidate": report.candidate or "", "before": report.before or ""}
    run = client.create_run(experiment, run_name=report.run_id, tags=tags).info.run_id
    for name, value in parameters.items():
        client.log_param(run, name, value)
    client.log_metric(run, "seconds", report.seconds)
    client.log_metric(run, "events", report.events)
    for row in report.comparison:
        model = row.model.partition(":")[0]  # candidate, current, popularity; baselines by their names
        for metric, measured in row.values.items():
            client.log_metric(run, f"{_allowed(model)}/{_allowed(metric)}", measured)
    for rule in (*report.data, *report.gate):
        client.set_tag(run, f"rule.{rule.name}", ("passed: " if rule.passed else "failed: ") + rule.sentence)
    client.set_terminated(run)


def _allowed(name: str) -> str:
    """A name of a metric, which may not have every character."""
    return "".join(c if c.isalnum() or c in " -_." else "_" for c in name.replace("@", " at "))
