"""/v1/items and /v1/popular."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response

from service.answers import Answers
from service.bodies import JsonRoute
from service.keeper import Keeper
from service.paths import ItemId
from service.requests import ItemFields, NewItem, PopularParams, SimilarItemsParams
from service.responses import ItemsResponse, ItemState
from service.routes.state import CLOSED, keeping, problems, running

__all__ = ["router"]

router = APIRouter(tags=["items"], route_class=JsonRoute)

UNKNOWN = {404: "There is no such item (`item_unknown`)."}
INVALID = {422: "A parameter or field is unknown or out of its range; `errors` names it."}
WRITTEN = {
    **CLOSED,
    408: "The body took too long to arrive.",
    413: "The body is too long.",
    **INVALID,
    503: "This cannot be kept now; see `Retry-After`.",
}


@router.get("/v1/popular", response_model=ItemsResponse, responses=problems({**CLOSED, **INVALID}))
async def popular(
    request: Request, wanted: Annotated[PopularParams, Query()], answers: Annotated[Answers, Depends(running)]
) -> Response:
    """What most have taken: of all that the model was trained on, or lately by events."""
    await answers.live.catch_up()
    members = await answers.beside(answers.listings.popular, wanted.k, wanted.category, wanted.window_seconds)
    return _listed(request, members)


@router.get(
    "/v1/items/{item_id}/similar",
    response_model=ItemsResponse,
    responses=problems(
        {**CLOSED, **UNKNOWN, 409: "The item is too new to be like others (`item_unplaced`).", **INVALID}
    ),
)
async def similar(
    request: Request,
    item_id: ItemId,
    wanted: Annotated[SimilarItemsParams, Query()],
    answers: Annotated[Answers, Depends(running)],
) -> Response:
    """The items nearest to an item."""
    await answers.live.catch_up()
    members = await answers.beside(answers.listings.similar_items, item_id, wanted.k, wanted.category)
    return _listed(request, members)


@router.get("/v1/items/{item_id}", responses=problems({**CLOSED, **UNKNOWN, **INVALID}))
async def item(item_id: ItemId, keeper: Annotated[Keeper, Depends(keeping)]) -> ItemState:
    """What is known of an item."""
    return await keeper.item(item_id)


@router.put(
    "/v1/items/{item_id}",
    responses={**problems(WRITTEN), 201: {"model": ItemState, "description": "The item is new."}},
)
async def put(
    response: Response, item_id: ItemId, described: NewItem, keeper: Annotated[Keeper, Depends(keeping)]
) -> ItemState:
    """Describe an item, a new one or anew. A new one is recommended once enough users have taken it."""
    is_new, state = await keeper.put_item(item_id, described)
    response.status_code = 201 if is_new else 200
    return state


@router.patch("/v1/items/{item_id}", responses=problems({**WRITTEN, **UNKNOWN}))
async def patch(item_id: ItemId, fields: ItemFields, keeper: Annotated[Keeper, Depends(keeping)]) -> ItemState:
    """Change some of what is known of an item, or hide it from all answers."""
    return await keeper.change_item(item_id, fields)


def _listed(request: Request, members: bytes) -> Response:
    body = b'{"request_id":%b,%b}' % (orjson.dumps(request.state.request_id), members)
    return Response(body, media_type="application/json")
