"""`hdrm batch`: recommendations for many users into a Parquet file, and into the service's cache."""

import asyncio
import importlib.util
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hdrm.console import err, out, progress
from hdrm.happened import deleted_users
from hdrm.refusals import refused
from model.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from hdrm.audience import Audience
    from hdrm.parts import Batch, Parts
    from service.requests import RecommendRequest
    from service.settings import Settings

__all__ = ["batch"]

EVERYBODY = "all"
OPTIONS = {"k": "--k", "filter.categories_any": "--category", "filter.deny": "--deny"}


def batch(
    target: Annotated[Path, typer.Option("--out", help="Parquet file to write.")],
    users: Annotated[
        str, typer.Option("--users", help="`all`, a file with one user id on each line, or - for stdin.")
    ] = EVERYBODY,
    k: Annotated[int, typer.Option("--k", help="How many items for each user, 1 to 500.")] = 10,
    models: Annotated[
        str | None, typer.Option("--models", help="Model store: a folder, or a URL such as s3://bucket/models.")
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", help="A version of the model; by default the current one.")
    ] = None,
    category: Annotated[list[str] | None, typer.Option("--category", help="Only items of these; repeat.")] = None,
    deny: Annotated[list[str] | None, typer.Option("--deny", help="Not this item; repeat.")] = None,
    warm: Annotated[
        bool, typer.Option("--warm", help="Put the answers into the Redis of HDRM_REDIS_URL too, for the service.")
    ] = False,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, max=4096, help="Users who are answered together.")
    ] = 64,
    force: Annotated[
        bool, typer.Option("--force", help="Begin anew: replace the file, drop what an interrupted run left.")
    ] = False,
) -> None:
    """Recommend to many users at once, as POST /v1/recommend would, into a Parquet file.

    One row for each item: user_id, rank, item_id, title, score, distance (null for popular items), strategy (hdrm, or
    popular for users without a history), model_version; ordered by user id and rank. Events count up to the start;
    users who were deleted are left out. What is interrupted goes on when the same command is given again.

    Examples:

    - `hdrm batch --models models --users all --k 50 --out recommendations.parquet`

    - `hdrm batch --models models --users campaign.txt --category Comedy --out comedies.parquet`

    - `HDRM_REDIS_URL=redis://127.0.0.1:6379/0 hdrm batch --models models --k 10 --warm --out warm.parquet`
    """
    if importlib.util.find_spec("polars") is None:
        raise UnavailableError("this command writes Parquet files with polars", hint="pip install 'hdrm[serve,batch]'")

    from hdrm.audience import read_audience
    from hdrm.parts import Batch, Parts

    request = _request(k, category or [], deny or [])
    settings = _settings(models, version)
    audience = None if users == EVERYBODY else read_audience(users)
    wanted = Batch(
        model_version=str(settings.model_version),
        steps=settings.steps,
        users=EVERYBODY if audience is None else audience.digest,
        k=k,
        categories=tuple(category or ()),
        deny=tuple(deny or ()),
        warm=warm,
        event_types=settings.event_types,
    )
    if target.is_dir() or not target.parent.is_dir():
        raise ConfigError(f"--out {target}: not a file in a folder that is there")
    parts = Parts(target)
    with parts.lock():
        if force:
            parts.discard()
        elif target.exists() and parts.begun() is None:
            raise ConfigError(f"{target} is there already", hint="choose another --out, or replace it with --force")
        try:
            _run(parts, wanted, settings, request, audience, together=batch_size)
        except KeyboardInterrupt:
            again = "the same command without --force" if force and parts.begun() is not None else "the same command"
            err.print(f"interrupted; {again} goes on", highlight=False)
            raise typer.Exit(130) from None


def _request(k: int, categories: list[str], deny: list[str]) -> "RecommendRequest":
    """What each user is to ask, once there is a user id in it."""
    from pydantic import ValidationError

    from service.errors import invalid
    from service.requests import RecommendRequest

    wishes: dict[str, Any] = {"user_id": EVERYBODY, "k": k}
    if categories or deny:
        wishes["filter"] = {"categories_any": categories, "deny": deny}
    try:
        return RecommendRequest(**wishes)
    except ValidationError as error:
        raise refused(invalid(error.errors()), OPTIONS) from None


def _settings(models: str | None, version: str | None) -> "Settings":
    """The service's, with the version that is to answer, whatever becomes current meanwhile."""
    from model.store import ModelStore
    from service.settings import load_settings

    given = {"models": models, "model_version": version}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    chosen = ModelStore(settings.models, settings.models_cache).manifest(settings.model_version)
    return settings.model_copy(update={"model_version": chosen.version})


def _run(
    parts: "Parts",
    wanted: "Batch",
    settings: "Settings",
    request: "RecommendRequest",
    audience: "Audience | None",
    *,
    together: int,
) -> None:
    """Do what is left of a batch."""
    from hdrm.filling import check_same, fill
    from hdrm.parts import Begun
    from model.store import ModelStore
    from service.bulk import everybody
    from service.engine import Engine
    from service.events.reading import read_log
    from service.live.state import LiveState
    from service.registry import load_version
    from service.warming import Warming
    from service.worker import limit_threads

    begun = parts.begun()
    if begun is not None:
        check_same(parts, begun.batch, wanted)
    with ExitStack() as stack:
        warming = Warming(settings) if wanted.warm else None
        if warming is not None:
            stack.callback(warming.close)
        with err.status("reading the model and the events"):
            store = ModelStore(settings.models, settings.models_cache)
            loaded = load_version(store, settings, settings.model_version)
            state = LiveState(loaded, settings.event_types)
            moment = asyncio.run(read_log(settings, state.apply, until=None if begun is None else begun.moment))
        limit_threads(settings.threads)
        if begun is None:
            begun = Begun(batch=wanted, moment=moment)
            parts.save(begun)
        elif begun.parts:
            err.print(f"going on after {begun.users + begun.left_out:,} users", highlight=False)
        size, ids = everybody(state) if audience is None else (len(audience.ids), iter(audience.ids))
        display = stack.enter_context(progress())
        done = begun.users + begun.left_out
        task = display.add_task("recommending", total=size, completed=done, note="", unit="users")
        begun = fill(
            parts,
            begun,
            Engine(loaded, state),
            request,
            ids,
            together=together,
            answered=(lambda answers: None) if warming is None else warming.keep,
            passed=lambda users: display.advance(task, users),
        )
        display.update(task, total=begun.users + begun.left_out, note="joining the parts")
        rows, gone = parts.join(begun, deleted_users(settings.models, after=begun.moment))
        display.update(task, note="")
    notes = {
        "lines with an id that stood there before": 0 if audience is None else audience.repeated,
        "users left out who were deleted": begun.left_out,
        "users deleted meanwhile, whose rows are left out": gone,
        "answers put into the cache": 0 if warming is None else warming.kept,
    }
    for what, count in notes.items():
        if count:
            err.print(f"{what}: {count:,}", highlight=False)
    out.print(
        f"{parts.out}: {rows:,} rows for {begun.users - gone:,} users by model {wanted.model_version}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
