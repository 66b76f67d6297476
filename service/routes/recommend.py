"""POST /recommend."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from service.answers import Answers
from service.routes.state import problems, running
from service.schemas import RecommendRequest, RecommendResponse

__all__ = ["router"]

router = APIRouter(tags=["recommendations"])

ERRORS = problems(
    {
        404: 'The user is unknown and `fallback` is `"error"` (`user_unknown`).',
        413: "The body is too long.",
        422: "A field is missing, unknown or out of its range, or the body is not JSON; `errors` names the field.",
        500: "The service failed; its log has the cause.",
        503: "No model is loaded, or too many requests are waiting; see `Retry-After`.",
    }
)


@router.post("/recommend", response_model=RecommendResponse, responses=ERRORS, operation_id="recommend")
@router.post("/v1/recommend", response_model=RecommendResponse, responses=ERRORS, operation_id="recommend_v1")
async def recommend(
    request: Request, wanted: RecommendRequest, answers: Annotated[Answers, Depends(running)]
) -> Response:
    """The k items nearest to the user, without those the user has seen; popular ones for an unknown user."""
    body = await answers.recommend(wanted, request.state.request_id)
    return Response(body, media_type="application/json")
