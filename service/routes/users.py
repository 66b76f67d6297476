"""/v1/users: who is like whom, what is stored of somebody, and forgetting it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from service.answers import Answers
from service.keeper import Keeper
from service.paths import UserId
from service.requests import SimilarUsersParams
from service.responses import SimilarUser, SimilarUsersResponse, UserDeleted, UserState
from service.routes.state import CLOSED, keeping, problems, running

__all__ = ["router"]

router = APIRouter(tags=["users"])

UNKNOWN = {404: "Nothing is known of this user (`user_unknown`)."}
INVALID = {422: "A parameter is unknown or out of its range; `errors` names it."}


@router.get("/v1/users/{user_id}/similar", responses=problems({**CLOSED, **UNKNOWN, **INVALID}))
async def similar(
    request: Request,
    user_id: UserId,
    wanted: Annotated[SimilarUsersParams, Query()],
    answers: Annotated[Answers, Depends(running)],
) -> SimilarUsersResponse:
    """The users nearest to a user, among those that the model was trained on. None to one without a history."""
    await answers.live.catch_up()
    history, gone = answers.listings.similar_to(user_id)
    found = await answers.beside(answers.listings.similar_users, history, gone, wanted.k)
    return SimilarUsersResponse(
        request_id=request.state.request_id,
        model_version=answers.engine.loaded.version,
        users=[SimilarUser(user_id=id_, rank=rank, distance=round(far, 6)) for rank, (id_, far) in enumerate(found, 1)],
    )


@router.get("/v1/users/{user_id}", responses=problems({**CLOSED, **UNKNOWN, **INVALID}))
async def user(user_id: UserId, keeper: Annotated[Keeper, Depends(keeping)]) -> UserState:
    """All that is stored of a user."""
    return await keeper.user(user_id)


@router.delete("/v1/users/{user_id}", responses=problems({**CLOSED, **INVALID}))
async def delete(user_id: UserId, keeper: Annotated[Keeper, Depends(keeping)]) -> UserDeleted:
    """Forget a user: history and events are gone from the next answer on, and the next training leaves the user out.

    Answers in the cache hold nobody's id, and expire by themselves.
    """
    return await keeper.delete_user(user_id)
