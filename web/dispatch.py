"""From a row of the table to a handler of aiohttp. What every request passes, in this order:

log-in → right → origin and CSRF token (unsafe methods) → query and body against their models → the handler → the
answer. Nothing of what was sent is echoed in an error; it names the field and a stable code.
"""

from __future__ import annotations

import hmac
import logging
import math
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

from aiohttp import web
from pydantic import BaseModel, ValidationError

from crm_core import errors as crm_errors
from crm_core.database import DatabaseAway
from cti.errors import BadInput, Refused
from web import csrf
from web.asking import Ask, Services
from web.languages import COOKIE as LANGUAGE_COOKIE
from web.languages import negotiate
from web.paces import ASKING, READING, READS_PER_RECORD, UPLOADING
from web.pages import is_fragment_asked
from web.problems import Problematic
from web.rights import Right
from web.route import FORM, JSON, Route
from web.schemas import ErrorAnswer, FieldProblem
from web.sessions import CannotTell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web.sessions import SessionUser

log = logging.getLogger("callfloor.web")

SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
ROUTE_KEY: web.RequestKey[Route] = web.RequestKey("route", Route)
REQUEST_ID_KEY: web.RequestKey[str] = web.RequestKey("request_id", str)

_MOST_FORM_FIELDS = 500
_READING = frozenset({Right.CUSTOMERS_READ, Right.INTERACTIONS_READ})


def handler_of(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The aiohttp handler of a route."""

    async def handle(request: web.Request) -> web.StreamResponse:
        request[ROUTE_KEY] = route
        try:
            ask = await ask_of(request)
        except CannotTell:
            return await problem_answer(_ask(request, None), Problematic(503, "database_away"), is_page=route.is_page)
        try:
            _check_who(route, ask)
            _check_origin(route, ask)
            _check_pace(route, ask)
            query = None if route.query is None else _parsed(route.query, dict(request.query))
            body = None if route.body is None else await _body(route, request)
            if route.is_page:
                _check_token(route, ask, body)
            answer = await route.handler(ask, **route.arguments(body, query))
        except Problematic as problem:
            refusal = await problem_answer(ask, problem, is_page=route.is_page)
            if problem.retry_after_s:
                refusal.headers["Retry-After"] = str(problem.retry_after_s)
            return refusal
        except (BadInput, crm_errors.BadInput) as bad:
            bad_field = Problematic(422, "bad_input", [(bad.field, bad.problem)])
            return await problem_answer(ask, bad_field, is_page=route.is_page)
        except Refused as refused:
            return await problem_answer(ask, Problematic(409, refused.why), is_page=route.is_page)
        except DatabaseAway as error:
            log.warning("! request %s: the database is away: %s", request[REQUEST_ID_KEY], error.kind)
            return await problem_answer(ask, Problematic(503, "database_away"), is_page=route.is_page)
        except crm_errors.Refused:
            return await problem_answer(ask, Problematic(403, "no_right"), is_page=route.is_page)
        except crm_errors.Conflict:
            return await problem_answer(ask, Problematic(409, "conflict"), is_page=route.is_page)
        except crm_errors.Missing:
            return await problem_answer(ask, Problematic(404, "not_found"), is_page=route.is_page)
        if isinstance(answer, BaseModel):
            return web.Response(body=answer.model_dump_json(exclude_unset=True).encode(), content_type=JSON)
        return answer

    return handle


async def ask_of(request: web.Request) -> Ask:
    """Who asks, and in which language."""
    services = request.app[SERVICES]
    route: Route | None = request.get(ROUTE_KEY)
    if route is not None and (route.is_sessionless or route.is_for_machines):
        return _ask(request, None)
    return _ask(request, await services.sessions.authenticate_cookie(request.headers.get("Cookie", "")))


def _ask(request: web.Request, session: SessionUser | None) -> Ask:
    services = request.app[SERVICES]
    tag = negotiate(
        chosen=session.language if session is not None else None,
        cookie=request.cookies.get(LANGUAGE_COOKIE),
        accept=request.headers.get("Accept-Language"),
    )
    return Ask(
        request=request,
        services=services,
        session=session,
        language=services.languages[tag],
        now=services.settings.clock(),
    )


def _check_who(route: Route, ask: Ask) -> None:
    if route.is_public:
        return
    if route.is_for_machines:
        _check_machine(ask)
        return
    if ask.session is None:
        raise Problematic(401, "not_logged_in")
    if route.right is not None and route.right not in ask.session.rights:
        raise Problematic(403, "no_right")


def _check_machine(ask: Ask) -> None:
    """A PBX's agent shows the token of its PBX. The same answer whether there is no such PBX or no such token."""
    expected = ask.services.settings.pbx_agent_tokens.get(ask.request.match_info["pbx"], "")
    kind, _, given = ask.request.headers.get("Authorization", "").partition(" ")
    is_right = hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())
    if kind != "Bearer" or not expected or not is_right:
        raise Problematic(401, "not_logged_in")


def _check_origin(route: Route, ask: Ask) -> None:
    if route.method in csrf.SAFE_METHODS or route.is_for_machines:
        return
    if not csrf.is_from_here(ask.request.headers, ask.services.settings.site_origins):
        raise Problematic(403, "wrong_origin")
    if not route.is_page:
        _check_token(route, ask, None)


def _check_token(route: Route, ask: Ask, form: BaseModel | None) -> None:
    if route.method in csrf.SAFE_METHODS or route.is_token_exempt or ask.session is None:
        return
    given = ask.request.headers.get(csrf.HEADER) or getattr(form, csrf.FIELD, None)
    if not ask.session.is_csrf_right(given):
        raise Problematic(403, "wrong_csrf_token")


def _check_pace(route: Route, ask: Ask) -> None:
    """Nobody asks faster than a person can. What a person reads of customers is counted."""
    paces = ask.services.paces
    if route.is_for_machines:
        wait_s = paces.take(f"pbx {ask.request.match_info['pbx']}", UPLOADING, now=ask.now)
        if wait_s:
            raise Problematic(429, "too_fast", retry_after_s=math.ceil(wait_s))
        return
    if ask.session is None:
        return
    who = str(ask.session.user_id)
    is_reading = route.right in _READING
    for pace in (ASKING, READING) if is_reading else (ASKING,):
        wait_s = paces.take(who, pace, now=ask.now)
        if wait_s:
            if paces.is_news(who, pace, now=ask.now):
                ask.note("slowed_down", "user", who, pace=pace.name)
            raise Problematic(429, "too_fast", retry_after_s=math.ceil(wait_s))
    if is_reading and (time_s := ask.services.reads.count(who, now=ask.now)) is not None:
        ask.note("read_many", "user", who, reads=READS_PER_RECORD, minutes=math.ceil(time_s / 60))


async def _body(route: Route, request: web.Request) -> BaseModel:
    assert route.body is not None
    wanted = FORM if route.is_page else JSON
    if request.content_type != wanted:
        raise Problematic(415, "wrong_content_type")
    raw = await request.read()
    if wanted == JSON:
        return _parsed_json(route.body, raw)
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FORM_FIELDS)
    except ValueError:
        raise Problematic(400, "not_a_form") from None
    return _parsed(route.body, dict(pairs))


def _parsed(model: type[BaseModel], values: dict[str, str]) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as invalid:
        raise Problematic(422, "bad_input", _fields(model, invalid)) from None


def _parsed_json(model: type[BaseModel], raw: bytes) -> BaseModel:
    try:
        return model.model_validate_json(raw)
    except ValidationError as invalid:
        fields = _fields(model, invalid)
        if fields == [("body", "json_invalid")]:
            raise Problematic(400, "not_json", fields) from None
        raise Problematic(422, "bad_input", fields) from None


def _fields(model: type[BaseModel], invalid: ValidationError) -> list[tuple[str, str]]:
    """Names of our own fields only: the name of an unknown one was made by whoever sent it."""
    return [
        (str(error["loc"][0]) if error["loc"] and error["loc"][0] in model.model_fields else "body", error["type"])
        for error in invalid.errors(include_url=False, include_context=False, include_input=False)
    ]


async def problem_answer(ask: Ask, problem: Problematic, *, is_page: bool) -> web.StreamResponse:
    """What is sent instead of what was asked for: JSON to scripts, a page to people, the log-in to who isn't."""
    request = ask.request
    if not is_page:
        answer = ErrorAnswer(
            code=problem.code,
            message=ask.services.pages.problem_text(ask.language, problem.code),
            fields=[FieldProblem(field=field, problem=why) for field, why in problem.fields],
            request=request.get(REQUEST_ID_KEY, ""),
        )
        return web.Response(status=problem.status, body=answer.model_dump_json().encode(), content_type=JSON)
    if problem.status == 401:
        login = f"/login?next={quote(request.path_qs, safe='')}" if request.method == "GET" else "/login"
        if is_fragment_asked(request):
            return web.Response(status=401, headers={"HX-Redirect": "/login"})
        return web.Response(status=303, headers={"Location": login})
    return await ask.page(
        "error.html", status=problem.status, problem=problem, request_id=request.get(REQUEST_ID_KEY, "")
    )


@web.middleware
async def border(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """The outermost ring: a name for each request, and an answer without internals for whatever went wrong."""
    request[REQUEST_ID_KEY] = secrets.token_hex(6)
    proper = _proper_origin(request)
    if proper is not None:
        return web.Response(status=HTTPStatus.TEMPORARY_REDIRECT, headers={"Location": proper + request.raw_path})
    try:
        try:
            return await handler(request)
        except web.HTTPException as ended:
            if ended.status < 400:
                raise
            problem = Problematic(ended.status, _CODES.get(ended.status, "bad_request"))
            try:
                ask = await ask_of(request)
            except CannotTell:
                ask = _ask(request, None)
            answer = await problem_answer(ask, problem, is_page=_is_page(request))
            if "Allow" in ended.headers:
                answer.headers["Allow"] = ended.headers["Allow"]
            return answer
    except web.HTTPException:
        raise
    except Exception:
        # The border of the process: the person gets an answer without internals, the log gets the rest.
        log.exception("! request %s failed", request[REQUEST_ID_KEY])
        return _failed(request)


def _proper_origin(request: web.Request) -> str | None:
    """A page that was opened as ``localhost`` where the site is ``127.0.0.1``: a cookie of the one is not sent to the
    desk socket of the other."""
    if request.url.host != "localhost" or request.method != "GET" or not request.raw_path.startswith("/"):
        return None
    proper = f"http://127.0.0.1:{request.url.port}"
    origins = request.app[SERVICES].settings.site_origins
    return proper if proper in origins and f"http://localhost:{request.url.port}" not in origins else None


_CODES = {404: "not_found", 405: "wrong_method", 413: "too_large", 401: "not_logged_in", 403: "no_right"}


def _is_page(request: web.Request) -> bool:
    route: Route | None = request.get(ROUTE_KEY)
    return route.is_page if route is not None else not request.path.startswith("/api/")


def _failed(request: web.Request) -> web.Response:
    """Asks nothing of anybody: what failed may be the database, the templates or the clock."""
    if _is_page(request):
        text = f"Something went wrong on our side. ({request[REQUEST_ID_KEY]})"
        return web.Response(status=500, text=text, content_type="text/plain")
    answer = ErrorAnswer(code="internal", message="Something went wrong on our side.", request=request[REQUEST_ID_KEY])
    return web.Response(status=500, body=answer.model_dump_json().encode(), content_type=JSON)
