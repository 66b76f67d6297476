"""What routes share: the running service, and how its errors are documented."""

from typing import Any

from fastapi import Request

from service.answers import Answers
from service.errors import Problem
from service.schemas import ProblemDetails

__all__ = ["problems", "running"]


def running(request: Request) -> Answers:
    """The service behind the routes.

    Raises:
        Problem: 503, no model is loaded.
    """
    answers: Answers | None = request.app.state.answers
    if answers is None:
        raise Problem(503, "model_unavailable", "No model is loaded.")
    return answers


def problems(descriptions: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Documentation of a route's error answers, by status."""
    return {status: {"model": ProblemDetails, "description": text} for status, text in descriptions.items()}
