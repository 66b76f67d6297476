"""POST /recommend, /v1/recommend/batch, /v1/rank."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse

from service.bodies import JsonRoute
from service.requests import BatchRequest, RankRequest, RecommendRequest
from service.responses import BatchResponse, RecommendResponse
from service.roster import Roster
from service.routes.state import CLOSED, charge, problems, serving

__all__ = ["router"]

router = APIRouter(tags=["recommendations"], route_class=JsonRoute)

ERRORS = problems(
    {
        **CLOSED,
        404: 'Somebody is unknown and `fallback` is `"error"` (`user_unknown`).',
        408: "The body took too long to arrive.",
        413: "The body is too long.",
        422: "A field is missing, unknown or out of its range, or the body is not JSON; `errors` names the field.",
    }
)
STALE = problems({409: "The cursor is of another model (`cursor_expired`), or not of this request (`cursor_invalid`)."})


@router.post("/recommend", response_model=RecommendResponse, responses=ERRORS | STALE, operation_id="recommend")
@router.post("/v1/recommend", response_model=RecommendResponse, responses=ERRORS | STALE, operation_id="recommend_v1")
async def recommend(
    request: Request, wanted: RecommendRequest, roster: Annotated[Roster, Depends(serving)]
) -> Response:
    """The k items nearest to a user, to somebody with a history, or to a group, without those they have seen.

    Popular ones where there is no history.
    """
    return await _answer(request, wanted, roster)


@router.post("/v1/rank", response_model=RecommendResponse, responses=ERRORS, operation_id="rank_v1")
async def rank(request: Request, wanted: RankRequest, roster: Annotated[Roster, Depends(serving)]) -> Response:
    """These items, the nearest first; seen ones too. By popularity where there is no history."""
    return await _answer(request, wanted, roster)


@router.post(
    "/v1/recommend/batch",
    response_model=BatchResponse,
    responses={status: text for status, text in ERRORS.items() if status != 404},
    operation_id="recommend_batch_v1",
)
async def batch(request: Request, wanted: BatchRequest, roster: Annotated[Roster, Depends(serving)]) -> Response:
    """Up to 1,000 requests at once. Each is answered as it would be alone; one that is wrong has a problem instead."""
    if len(wanted.requests) > 1:
        await charge(request, len(wanted.requests) - 1)
    return StreamingResponse(roster.batch(wanted.requests, request.state.request_id), media_type="application/json")


async def _answer(request: Request, wanted: RecommendRequest | RankRequest, roster: Roster) -> Response:
    answer = await roster.recommend(wanted, request.state.request_id)
    request.state.phases = answer.phases
    return Response(answer.body, media_type="application/json")
