"""`hdrm recommend`: a list in the terminal, by a server that runs or by a model here."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from hdrm.console import err, out
from hdrm.refusals import refused
from model.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from service.requests import RecommendRequest
    from service.responses import RecommendResponse

__all__ = ["recommend"]

OPTIONS = {"user_id": "--user or --history", "k": "--k", "novelty": "--novelty", "diversity": "--diversity"}


def recommend(
    user: Annotated[str | None, typer.Option("--user", help="Id of a user.")] = None,
    history: Annotated[
        list[str] | None,
        typer.Option("--history", help="An item that somebody without an id has taken; repeat, the newest last."),
    ] = None,
    k: Annotated[int, typer.Option("--k", help="How many items.")] = 10,
    category: Annotated[list[str] | None, typer.Option("--category", help="Only items of these; repeat.")] = None,
    novelty: Annotated[float, typer.Option("--novelty", help="-1, what all know, to 1, what few know.")] = 0.0,
    diversity: Annotated[float, typer.Option("--diversity", help="0 to 1: how much the items are to differ.")] = 0.0,
    explain: Annotated[bool, typer.Option("--explain", help="Say which items of the history are near.")] = False,
    models: Annotated[str | None, typer.Option("--models", help="Model store, to answer without a server.")] = None,
    url: Annotated[str | None, typer.Option("--url", help="A server that runs, such as http://127.0.0.1:8000.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", envvar="HDRM_KEY", help="API key of the server, where keys are in use.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON on stdout.")] = False,
) -> None:
    """Recommend to a user, or to somebody with a history, and print the list.

    Without --url the model is loaded here, and nothing else has to run; events since the training count too.

    Example: `hdrm recommend --user 196 --models demo/models --explain`
    """
    from pydantic import ValidationError

    from service.errors import Problem, invalid
    from service.requests import RecommendRequest

    wishes: dict[str, Any] = {"user_id": user, "history": history or None, "k": k, "explain": explain}
    wishes |= {"novelty": novelty, "diversity": diversity}
    if category:
        wishes["filter"] = {"categories_any": category}
    try:
        request = RecommendRequest(**{name: value for name, value in wishes.items() if value is not None})
        answer = _here(models, request) if url is None else _there(url, key, request)
    except ValidationError as error:
        raise refused(invalid(error.errors()), OPTIONS) from None
    except Problem as problem:
        raise refused(problem, OPTIONS) from None
    if as_json:
        print(answer.model_dump_json(exclude_unset=True, indent=1))
        return
    whom = f"user {user}" if user is not None else f"a history of {len(history or [])}"
    how = {"hdrm": "by the model", "popular": "the most popular, for want of a history"}[answer.strategy]
    out.print(f"for {escape(whom)}: {how}  (model {escape(answer.model_version)})", highlight=False, soft_wrap=True)
    out.print(_table(answer, explain=explain))
    for warning in answer.warnings:
        err.print(f"note: {warning}", highlight=False)


def _table(answer: "RecommendResponse", *, explain: bool) -> Table:
    table = Table(Column("", justify="right"), "item", "title", Column("year", justify="right"), "categories")
    table.add_column("distance", justify="right")
    if explain:
        table.add_column("because of")
    for item in answer.items:
        cells = [
            str(item.rank),
            escape(item.item_id or ""),
            escape(item.title or ""),
            "" if item.year is None else str(item.year),
            escape(", ".join(item.categories)),
            "" if item.distance is None else f"{item.distance:.3f}",
        ]
        if explain:
            cells.append(escape("; ".join(reason.title or reason.item_id for reason in item.reasons)))
        table.add_row(*cells)
    return table


def _here(models: str | None, request: "RecommendRequest") -> "RecommendResponse":
    from service.app import create_app
    from service.ids import new_id
    from service.responses import RecommendResponse
    from service.roster import Roster
    from service.settings import load_settings

    settings = load_settings() if models is None else load_settings(models=models)

    async def answer() -> bytes:
        framework = create_app(settings).framework
        async with framework.router.lifespan_context(framework):
            roster: Roster = framework.state.roster
            return (await roster.recommend(request, new_id())).body

    return RecommendResponse.model_validate_json(asyncio.run(answer()))


def _there(url: str, key: str | None, request: "RecommendRequest") -> "RecommendResponse":
    from httpx import HTTPError, InvalidURL

    from client import Client, ServiceError

    if key is not None and not key.isascii():
        raise ConfigError("--key: not a key of this service, which are ASCII")
    try:
        with Client(url, key=key, attempts=1) as client:
            return client.recommend(request)
    except ServiceError as error:
        hint = "give a key: --key KEY, or HDRM_KEY" if error.status == 401 else None
        raise ConfigError(f"the server answers {error}", hint=hint) from error
    except (HTTPError, InvalidURL) as error:
        raise UnavailableError(
            f"--url {url}: no answer ({type(error).__name__})", hint="start a server: hdrm serve --models DIR"
        ) from error
