"""`hdrm models`: look at what the model store holds."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from hdrm.console import err, out
from hdrm.store import open_store
from hdrm.train import comparison_of, metrics_table
from model.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from model.manifest import RetrievalInfo
    from model.report import RunReport
    from model.store import ModelStore

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="Published models: list, show, verify, activate, roll back, try out, prune."
)

Models = Annotated[
    str, typer.Option(help="Model store: a folder, or a URL such as s3://bucket/models.", envvar="HDRM_MODELS")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@app.command("list")
def list_models(models: Models, as_json: Json = False) -> None:
    """All published models, oldest first; the one marked `*` is the one to be served, `~` a canary.

    Example: hdrm models list --models models
    """
    from model.report import read_reports

    store = open_store(models)
    current, canary = store.current(), store.canary()
    outcomes = {report.candidate: report.outcome for report in reversed(read_reports(store))}
    manifests, damaged = [], []
    for version in store.versions():
        try:
            manifests.append(store.manifest(version))
        except ArtifactError as error:
            damaged.append({"version": version, "current": version == current, "error": error.message})
    manifests.sort(key=lambda manifest: manifest.run.created_at)
    rows = [
        {
            "version": m.version,
            "current": m.version == current,
            "created_at": m.run.created_at,
            "preset": m.preset,
            "data": m.data.name,
            "users": m.data.users,
            "items": m.data.items,
            "ndcg@20": m.metrics[-1].values["ndcg@20"] if m.metrics else None,
            "canary": canary.share if canary is not None and canary.version == m.version else None,
            "gate": outcomes.get(m.version),
        }
        for m in manifests
    ]
    if as_json:
        previous = store.previous()
        print(json.dumps({"current": current, "previous": previous, "models": rows, "damaged": damaged}, indent=1))
        return
    table = Table("", Column("version", no_wrap=True), "created", "data", "users", "items", "NDCG@20", "gate")
    for row, m in zip(rows, manifests, strict=True):
        ndcg = "" if row["ndcg@20"] is None else f"{row['ndcg@20']:.4f}"
        created = m.run.created_at[:16].replace("T", " ")
        mark = "*" if row["current"] else "~" if row["canary"] else ""
        counts = str(m.data.users), str(m.data.items)
        table.add_row(mark, escape(m.version), created, escape(m.data.name), *counts, ndcg, outcomes.get(m.version, ""))
    out.print(table)
    for entry in damaged:
        err.print(f"[red]damaged:[/] {escape(str(entry['error']))}", highlight=False, soft_wrap=True)
    if not rows and not damaged:
        line = f"no model in {models}; train one: hdrm train --data DIR --models {models}"
        err.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command()
def show(
    models: Models,
    version: Annotated[str | None, typer.Argument(help="A version; by default the current one.")] = None,
    as_json: Json = False,
) -> None:
    """One model: its data, settings, held-out accuracy beside the baselines, files, and what a retraining found.

    Example: hdrm models show --models models
    """
    from model.report import report_of

    store = open_store(models)
    manifest = store.manifest(version)
    report = report_of(store, manifest.version)
    if as_json:
        retraining = None if report is None else report.model_dump(mode="json")
        print(json.dumps(manifest.model_dump(mode="json") | {"retraining": retraining}, indent=1))
        return
    data, run = manifest.data, manifest.run
    facts = {
        "version": manifest.version,
        "created": f"{run.created_at}, {run.seconds:.0f} s on {run.device}, seed {manifest.seed}",
        "data": f"{data.name} ({data.users} users, {data.items} items, {data.interactions} trained on)",
        "terms": data.terms or "not stated",
        "geometry": f"dimension {manifest.model.encoder.dim}; {manifest.curvature}",
        "steps": f"{manifest.model.steps} of {manifest.model.noise.timesteps}",
        "diagnostics": ", ".join(f"{name} {value:.4g}" for name, value in manifest.diagnostics.items()),
        "retrieval": retrieval_words(manifest.retrieval),
        "files": f"{len(manifest.files)}, {sum(f.size for f in manifest.files.values()) / 1e6:.1f} MB",
    }
    grid = Table.grid(padding=(0, 2))
    for label, value in facts.items():
        grid.add_row(label, escape(value))
    out.print(grid)
    out.print(comparison_of(manifest))
    if report is not None:
        print_report(report)


@app.command()
def activate(
    models: Models,
    version: Annotated[str, typer.Argument(help="A published version.")],
    force: Annotated[bool, typer.Option("--force", help="Also if the gate refused it.")] = False,
) -> None:
    """Make a version the current one, after its files and its probe were checked. Running services follow in seconds.

    Example: hdrm models activate --models models default-0123456789ab
    """

    store = open_store(models)
    _not_refused(store, store.manifest(version).version, force=force)
    problems = problems_of(store.path(version))
    if problems:
        raise ArtifactError("\n  ".join([f"{version} is not made current:", *problems]))
    store.activate(version)
    _told(f"current: {version}")


@app.command()
def rollback(models: Models) -> None:
    """Go back to the version that was current before; a second time, one further. Running services follow in seconds.

    Example: hdrm models rollback --models models
    """

    store = open_store(models)
    _told(f"current: {store.rollback()}")


@app.command("canary")
def try_out(
    models: Models,
    version: Annotated[str | None, typer.Argument(help="A published version.")] = None,
    share: Annotated[float | None, typer.Option("--share", help="Of the users, such as 0.05.")] = None,
    drop: Annotated[bool, typer.Option("--drop", help="End it: the current version answers everybody.")] = False,
    promote: Annotated[bool, typer.Option("--promote", help="End it: the canary becomes the current version.")] = False,
    force: Annotated[bool, typer.Option("--force", help="With --promote: also if the gate refused it.")] = False,
) -> None:
    """Let a share of the users be answered by another version, always the same users; or end that.

    /metrics counts answers, their times and errors by version meanwhile. Without options it tells what there is.

    Examples:

        hdrm models canary --models models default-0123456789ab --share 0.05

        hdrm models canary --models models --promote
    """

    store = open_store(models)
    if drop + promote + (version is not None) > 1 or (version is None) != (share is None):
        raise typer.BadParameter("give VERSION and --share, or --drop, or --promote")
    if version is not None and share is not None:
        if problems := problems_of(store.path(version)):
            raise ArtifactError("\n  ".join([f"{version} is not tried out:", *problems]))
        store.set_canary(version, share)
    elif drop:
        store.drop_canary()
    elif promote:
        if (canary := store.canary()) is None:
            raise ConfigError(
                "--promote: there is no canary", hint="hdrm models canary VERSION --share 0.05 begins one"
            )
        _not_refused(store, canary.version, force=force)
        store.activate(canary.version)
    canary = store.canary()
    told = "none" if canary is None else f"{canary.version} for {canary.share:g} of the users"
    _told(f"current: {store.current()}; canary: {told}")


@app.command()
def prune(
    models: Models, keep: Annotated[int, typer.Option("--keep", min=1, help="How many of the newest stay.")] = 7
) -> None:
    """Remove old versions. The newest, the current one, the one before it and a canary stay.

    Example: hdrm models prune --models models --keep 7
    """
    from model.report import refused_versions

    store = open_store(models)
    gone = store.prune(keep, refused=refused_versions(store))
    out.print(f"removed: {', '.join(gone) or 'none'}", markup=False, highlight=False, soft_wrap=True)


def print_report(report: "RunReport") -> None:
    """What a retraining found."""
    out.print(f"\nretraining {report.run_id}: {report.outcome}", highlight=False, soft_wrap=True)
    if report.comparison:
        out.print(metrics_table(report.comparison, data="candidate and current", protocol=report.protocol or ""))
    for rule in (*report.data, *report.gate):
        mark = "[green]ok[/]" if rule.passed else "[red]no[/]"
        out.print(f"  {mark}  {escape(rule.sentence)}", highlight=False, soft_wrap=True)


def _not_refused(store: "ModelStore", version: str, *, force: bool) -> None:
    from model.report import report_of

    report = report_of(store, version)
    if report is not None and report.outcome == "refused" and not force:
        raise ConfigError(
            "\n  ".join([f"{version} was refused by the gate:", *report.failed]), hint="--force passes over that"
        )


def _told(line: str) -> None:
    out.print(line, markup=False, highlight=False, soft_wrap=True)


def retrieval_words(info: "RetrievalInfo") -> str:
    """How items are found, for people."""
    if info.kind == "scan":
        return "exact, a scan of all items"
    fetched = ", ".join(f"{m} for k={k}" for k, m in info.overfetch.items())
    found = ", ".join(f"{name} {value:.4f}" for name, value in info.recall.items())
    return f"approximate, {info.probes} lists probed, {found}; fetched: {fetched}"


@app.command()
def verify(
    models: Models,
    version: Annotated[str | None, typer.Argument(help="A version; by default the current one.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Verify every published version.")] = False,
    as_json: Json = False,
) -> None:
    """Check every file of a model against its checksum, load it, and recompute its probe.

    Exit status 0 only if all is well; a damaged file is named.

    Example: hdrm models verify --models models --all
    """

    store = open_store(models)
    problems: dict[str, list[str]] = {}
    # an empty store has no current version to verify, and says so
    for wanted in store.versions() if every and store.versions() else [version]:
        try:
            path = store.path(wanted)
            problems[path.name] = problems_of(path)
        except ArtifactError as error:  # of a copy of what is elsewhere
            if wanted is None:
                raise
            problems[wanted] = [error.message]
    if as_json:
        print(json.dumps({"ok": not any(problems.values()), "problems": problems}, indent=1))
    for name, found in problems.items():
        if found and not as_json:
            err.print(f"[red]{escape(name)}[/]", *map(escape, found), sep="\n  ", highlight=False, soft_wrap=True)
        elif not as_json:
            out.print(f"{name}: all files intact, probe reproduced", markup=False, highlight=False)
    if any(problems.values()):
        bad = ", ".join(name for name, found in problems.items() if found)
        raise ArtifactError(
            f"damaged: {bad}", hint="restore the files from a copy, or train again with the same data and seed"
        )


def problems_of(path: Path) -> list[str]:
    """What is wrong with a version's files, or with what they compute."""
    from model.artifact import load_artifact, verify_artifact
    from model.probe import run_probe

    problems = verify_artifact(path)
    if not problems:
        try:
            artifact = load_artifact(path)
            run_probe(artifact.recommender, artifact.probe)
        except ArtifactError as error:
            return [error.message]
    return problems
