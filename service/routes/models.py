"""/v1/models: what there is to serve, and which of it is served."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, TypeVar, TypeVarTuple

from fastapi import APIRouter, Depends, Request

from service.bodies import JsonRoute
from service.models import Models
from service.requests import Activation, CanaryWish
from service.responses import ModelsResponse
from service.roster import Roster
from service.routes.state import CLOSED, problems, serving

__all__ = ["router"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

router = APIRouter(tags=["models"], route_class=JsonRoute)

INVALID = {422: "A field is unknown or out of its range; `errors` names it."}
UNKNOWN = {404: "There is no such model (`model_unknown`)."}
WRONG = {
    409: "The model is damaged (`model_damaged`), was refused by the gate (`model_refused`), is the current one "
    "(`model_current`), or there is none to go back to (`no_previous_model`)."
}
WRITTEN = {**CLOSED, 503: "The store cannot be written or read now; see `Retry-After`."}


def storing(request: Request) -> Models:
    """The store, behind what may be done with it over HTTP."""
    models: Models = request.app.state.models
    return models


Serving = Annotated[Roster, Depends(serving)]
Storing = Annotated[Models, Depends(storing)]


@router.get("/v1/models", responses=problems(WRITTEN))
async def models(roster: Serving, store: Storing) -> ModelsResponse:
    """All published models, the newest first; which is served here, and which is to be."""
    return await _away(store, store.listed, roster.current.version)


@router.post("/v1/models/rollback", responses=problems({**WRITTEN, **WRONG}))
async def rollback(roster: Serving, store: Storing) -> ModelsResponse:
    """Go back to the model that was current before; every worker serves it within seconds. Again: one further back."""
    await _away(store, store.roll_back)
    return await _away(store, store.listed, roster.current.version)


@router.put("/v1/models/canary", responses=problems({**WRITTEN, **UNKNOWN, **WRONG, **INVALID}))
async def try_out(wanted: CanaryWish, roster: Serving, store: Storing) -> ModelsResponse:
    """Let a share of the users be answered by another model, always the same users. Activating it ends this."""
    await _away(store, store.try_out, wanted)
    return await _away(store, store.listed, roster.current.version)


@router.delete("/v1/models/canary", responses=problems(WRITTEN))
async def drop(roster: Serving, store: Storing) -> ModelsResponse:
    """Let everybody be answered by the current model."""
    await _away(store, store.drop)
    return await _away(store, store.listed, roster.current.version)


@router.post("/v1/models/{version}/activate", responses=problems({**WRITTEN, **UNKNOWN, **WRONG, **INVALID}))
async def activate(version: str, roster: Serving, store: Storing, wanted: Activation | None = None) -> ModelsResponse:
    """Make a model current, after its files and its probe were checked; every worker serves it within seconds."""
    await _away(store, store.activate, version, wanted or Activation())
    return await _away(store, store.listed, roster.current.version)


async def _away(store: Models, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
    async with store.turn:  # they must not take all the threads from those who follow the store
        return await asyncio.to_thread(partial(function, *arguments))
