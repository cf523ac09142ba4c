"""Sessions of browsers: a cookie in place of the token, because `<img>` sends no header."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ..bodies import read_json
from ..context import context_of, json_response
from ..documentation import body, problems
from ..models.state import SessionOut, SessionRequest
from ..problems import ProblemError
from ..tokens import COOKIE, SECONDS, has_token, is_token, new_session

router = APIRouter(prefix="/v1", tags=["session"])


@router.get("/session", response_model=SessionOut)
async def session(request: Request) -> Response:
    """Whether the service asks for a token, and whether this request has it."""
    token = context_of(request).settings.token
    return json_response(
        {"token_required": token is not None, "authorized": token is None or has_token(request.headers, token)}
    )


@router.post(
    "/session", response_model=SessionOut, openapi_extra=body(SessionRequest), responses=problems(401, 408, 415)
)
async def begin_session(request: Request) -> Response:
    """Begins a session: the answer sets a cookie that stands for the token."""
    asked = await read_json(request, SessionRequest)
    token = context_of(request).settings.token
    if token is not None and not is_token(asked.token, token):
        raise ProblemError(401, "this is not the token of this service")
    response = json_response({"token_required": token is not None, "authorized": True})
    if token is not None:
        secure = request.scope["scheme"] == "https"
        response.set_cookie(
            COOKIE, new_session(token), max_age=SECONDS, httponly=True, samesite="strict", secure=secure
        )
    return response


@router.delete("/session", response_model=SessionOut)
async def end_session(request: Request) -> Response:
    """Ends the browser's session."""
    token = context_of(request).settings.token
    response = json_response({"token_required": token is not None, "authorized": token is None})
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response
