"""`hdrm models`: look at what the model store holds."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from hdrm.console import err, out
from hdrm.train import metrics_table
from model.errors import ArtifactError

if TYPE_CHECKING:
    from model.manifest import RetrievalInfo

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="List, show and verify published models.")

Models = Annotated[str, typer.Option(help="Model store: a folder, or a URL such as s3://bucket/models.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@app.command("list")
def list_models(models: Models, as_json: Json = False) -> None:
    """All published models, oldest first; the one marked `*` is the one to be served.

    Example: hdrm models list --models models
    """
    from model.manifest import read_manifest
    from model.store import ModelStore

    store = ModelStore(models)
    current = store.current()
    manifests, damaged = [], []
    for version in store.versions():
        try:
            manifests.append(read_manifest(store.path(version)))
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
        }
        for m in manifests
    ]
    if as_json:
        print(json.dumps({"current": current, "models": rows, "damaged": damaged}, indent=1))
        return
    table = Table("", Column("version", no_wrap=True), "created", "data", "users", "items", "NDCG@20")
    for row, m in zip(rows, manifests, strict=True):
        ndcg = "" if row["ndcg@20"] is None else f"{row['ndcg@20']:.4f}"
        created = m.run.created_at[:16].replace("T", " ")
        mark, users, items = "*" if row["current"] else "", str(m.data.users), str(m.data.items)
        table.add_row(mark, escape(m.version), created, escape(m.data.name), users, items, ndcg)
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
    """One model: its data, settings, held-out accuracy beside the baselines, and files.

    Example: hdrm models show --models models
    """
    from model.manifest import read_manifest
    from model.store import ModelStore

    manifest = read_manifest(ModelStore(models).path(version))
    if as_json:
        print(manifest.model_dump_json(indent=1))
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
    out.print(metrics_table(manifest))


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
    from model.artifact import load_artifact, verify_artifact
    from model.probe import run_probe
    from model.store import ModelStore

    store = ModelStore(models)
    problems: dict[str, list[str]] = {}
    # an empty store has no current version to verify, and says so
    for path in [store.path(v) for v in store.versions()] if every and store.versions() else [store.path(version)]:
        problems[path.name] = verify_artifact(path)
        if not problems[path.name]:
            try:
                artifact = load_artifact(path)
                run_probe(artifact.recommender, artifact.probe)
            except ArtifactError as error:
                problems[path.name] = [error.message]
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
