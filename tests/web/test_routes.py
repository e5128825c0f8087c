"""Walks the table of routes over the live app: nothing is served that the table does not declare, and every row keeps
what it promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from cti.errors import BadInput, Refused
from tests.web.hall import WAITING
from tests.web.site import ORIGIN, PAST
from web.csrf import SAFE_METHODS
from web.rights import ROLE_RIGHTS, Right
from web.routes import ROUTES

if TYPE_CHECKING:
    from tests.web.site import Browser, Site
    from web.route import Route

EXAMPLES: dict[str, dict[str, Any]] = {
    "/api/desk/state": {"state": "NOT_READY", "reason": "lunch"},
    "/api/interactions/{interaction}/note": {"text": "He rings back."},
    "/api/interactions/{interaction}/disposition": {"code": "sold"},
    "/api/interactions/{interaction}/customer": {"party": 1},
    "/api/interactions/{interaction}/recording": {"is_paused": True},
    "/api/interactions/{interaction}/transfer": {"target": "agent:anna", "is_attended": True},
    "/api/floor/calls/{interaction}/listening": {"agent": "anna", "mode": "whisper"},
    "/api/floor/calls/{interaction}/take-over": {"agent": "anna"},
    "/api/floor/calls/{interaction}/pick": {"agent": "anna"},
    "/api/floor/agents/{agent}/state": {"state": "NOT_READY", "reason": "lunch"},
    "/api/floor/messages": {"text": "Three more wait.", "team": "A"},
    "/api/settings/recording/queues/{queue}": {"recording": "consent", "keeps_objected": True},
    "/api/settings/recording/rules/{digits}": {"policy": "consent", "citation": "§ 201 StGB"},
    "/api/settings/{kind}/{key}": {"setting": {"name": "Sales"}},
    "/api/pbx/{pbx}/recordings/{file}/finished": {"size": 0, "sha256": "0" * 64},
    "/api/pbx/{pbx}/disk": {"free_mb": 1, "is_low": True, "backlog_mb": 0},
}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "/login": ({"username": "x", "password": ""}, "password"),
    "/logout": ({"csrf": "x", "surplus": "SECRET-INPUT"}, "body"),
    "/language": ({"tag": "SECRET-INPUT"}, "tag"),
    "/api/desk/state": ({"state": "SECRET-INPUT"}, "state"),
    "/api/interactions/{interaction}/note": ({"text": "SECRET-INPUT" * 2000}, "text"),
    "/api/interactions/{interaction}/disposition": ({"code": "SECRET-INPUT\n"}, "code"),
    "/api/interactions/{interaction}/customer": ({"party": "SECRET-INPUT"}, "party"),
    "/api/interactions/{interaction}/recording": ({"is_paused": "SECRET-INPUT"}, "is_paused"),
    "/api/interactions/{interaction}/transfer": ({"target": "PJSIP/SECRET-INPUT", "is_attended": False}, "target"),
    "/api/floor/calls/{interaction}/listening": ({"agent": "anna", "mode": "SECRET-INPUT"}, "mode"),
    "/api/floor/calls/{interaction}/take-over": ({"agent": "SECRET-INPUT/"}, "agent"),
    "/api/floor/calls/{interaction}/pick": ({"agent": "SECRET-INPUT/"}, "agent"),
    "/api/floor/agents/{agent}/state": ({"state": "SECRET-INPUT"}, "state"),
    "/api/floor/messages": ({"text": "SECRET-INPUT" * 100}, "text"),
    "/settings/recording/queue": ({"queue": "sales", "recording": "SECRET-INPUT"}, "recording"),
    "/settings/recording/rule": ({"digits": "49", "policy": "SECRET-INPUT"}, "policy"),
    "/settings/recording/rule/removal": ({"digits": "SECRET-INPUT"}, "digits"),
    "/settings/skills": ({"agent": "anna", "skill": "SECRET-INPUT", "level": "3"}, "skill"),
    "/settings/setting/{kind}": ({"is_new": "SECRET-INPUT"}, "is_new"),
    "/settings/setting/{kind}/removal": ({"key": "SECRET-INPUT"}, "key"),
    "/settings/history/undo": ({"change": "SECRET-INPUT"}, "change"),
    "/settings/prompts/{tag}/{prompt}/removal": ({"surplus": "SECRET-INPUT"}, "body"),
    "/api/settings/{kind}/{key}": ({"setting": "SECRET-INPUT"}, "setting"),
    "/api/settings/recording/queues/{queue}": ({"recording": "SECRET-INPUT"}, "recording"),
    "/api/settings/recording/rules/{digits}": ({"policy": "off", "citation": "SECRET-INPUT\n"}, "citation"),
}
SETTINGS_PAGES = (
    *(f"{place}{key}" for place in ("queues", "agents", "hours", "menus") for key in ("", "/{key}")),
    *("skills", "numbers", "site"),
)
BAD_QUERIES: dict[str, tuple[str, str]] = {
    "/login": ("next=" + "x" * 600, "next"),
    "/audit": ("before=SECRET-INPUT", "before"),
    "/api/audit": ("limit=1000", "limit"),
    **{f"/settings/{page}": ("page=SECRET-INPUT", "page") for page in SETTINGS_PAGES},
    "/settings/try": ("field=SECRET+INPUT", "field"),
    "/settings/history": ("before=SECRET-INPUT", "before"),
    "/api/settings/history": ("limit=1000", "limit"),
    "/customers": ("limit=SECRET-INPUT", "limit"),
    "/customers/{customer}": ("before=SECRET-INPUT", "before"),
    "/recordings/{interaction}": ("part=-1", "part"),
    "/api/customers": ("q=a&limit=1000", "limit"),
    "/api/customers/{customer}/timeline": ("before=nan", "before"),
}
FOR_PEOPLE = [route for route in ROUTES if not route.is_for_machines]
BY_ID = [pytest.param(route, id=f"{route.method} {route.path}") for route in FOR_PEOPLE]
UNSAFE = [param for param, route in zip(BY_ID, FOR_PEOPLE, strict=True) if route.method not in SAFE_METHODS]
WITH_BODY = [param for param, route in zip(BY_ID, FOR_PEOPLE, strict=True) if route.body is not None]
WITH_QUERY = [param for param, route in zip(BY_ID, FOR_PEOPLE, strict=True) if route.query is not None]
WITH_MODEL = [param for param, route in zip(BY_ID, FOR_PEOPLE, strict=True) if isinstance(route.answer, type)]


def somebody_with(right: Right) -> str:
    """A user who may."""
    return {Right.ADMIN_CONFIG: "boss", Right.FLOOR_VIEW: "sofia", Right.FLOOR_STEER: "ruth"}.get(right, "li.wei")


def path_of(route: Route) -> str:
    interaction = PAST if route.method == "GET" else WAITING
    path = route.path.replace("{customer}", "1").replace("{interaction}", interaction)
    path = path.replace("{pbx}", "pbx1").replace("{record}", "queue_log." + "0" * 16).replace("{file}", "1.2.wav")
    path = path.replace("{agent}", "anna").replace("{message}", "1795315200000-1")
    path = path.replace("{kind}", "queue").replace("{key}", "sales").replace("{change}", "1")
    path = path.replace("{tag}", "en").replace("{prompt}", "greeting")
    return path.replace("{queue}", "sales").replace("{digits}", "49")


def sent(route: Route, browser: Browser) -> dict[str, Any]:
    if route.body is None:
        return {}
    if route.is_page:
        return {
            "data": {"csrf": browser.csrf, "tag": "en"} if "tag" in route.body.model_fields else {"csrf": browser.csrf}
        }
    return {"json": EXAMPLES[route.path]}


def test_every_route_of_the_app_stands_in_the_table(site: Site) -> None:
    declared = {(route.method, route.path) for route in ROUTES}
    live = {
        (route.method, route.resource.canonical)
        for route in site.app.router.routes()
        if route.resource is not None and route.resource.canonical != "/static"
    }
    assert live == declared


async def test_the_document_describes_every_route(site: Site) -> None:
    document = await (await site.browser()).json("/openapi.json")
    assert document["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    assert described == {(route.method, route.path) for route in ROUTES}
    operations = [one for operations in document["paths"].values() for one in operations.values()]
    assert len({one["operationId"] for one in operations}) == len(operations)
    for route in ROUTES:
        operation = document["paths"][route.path][route.method.lower()]
        assert operation["summary"]
        assert operation.get("x-right") == (route.right.value if route.right else None)
        assert bool(operation["security"]) is not route.is_public
        assert {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"} == set(route.path_parts)
        assert ("requestBody" in operation) is (route.body is not None)


async def test_every_reference_of_the_document_leads_somewhere(site: Site) -> None:
    document = await (await site.browser()).json("/openapi.json")
    schemas = document["components"]["schemas"]

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            found = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return found + [one for value in node.values() for one in references(value)]
        if isinstance(node, list):
            return [one for value in node for one in references(value)]
        return []

    found = references(document)
    assert found
    assert {one.removeprefix("#/components/schemas/") for one in found} <= set(schemas)


async def test_nobody_comes_in_without_a_log_in(site: Site) -> None:
    browser = await site.browser()
    for route in ROUTES:
        if route.is_public:
            continue
        answer = await browser.send(route.method, path_of(route), **sent(route, browser))
        if route.is_page:
            assert answer.status == 303, route.path
            assert answer.headers["Location"].startswith("/login")
        else:
            assert answer.status == 401, route.path
            assert (await answer.json())["code"] == "not_logged_in"
    assert site.floor.asked == []


@pytest.mark.parametrize("username", ["li.wei", "mia"])
async def test_a_role_without_the_right_is_refused(site: Site, username: str) -> None:
    rights = ROLE_RIGHTS[{"li.wei": "agent", "mia": "campaign_manager"}[username]]
    browser = await site.browser(username)
    refused = [route for route in ROUTES if route.right is not None and route.right not in rights]
    assert refused
    for route in refused:
        answer = await browser.send(route.method, path_of(route), **sent(route, browser))
        assert answer.status == 403, route.path
    assert site.floor.asked == []


@pytest.mark.parametrize("route", UNSAFE)
async def test_another_site_cannot_ask_in_a_persons_name(site: Site, route: Route) -> None:
    browser = await site.browser("li.wei")
    foreign: list[dict[str, str | None]] = [
        {"Origin": "https://evil.example"},
        {"Origin": None, "Sec-Fetch-Site": None},
        {"Sec-Fetch-Site": "cross-site"},
    ]
    for headers in foreign:
        answer = await browser.send(route.method, path_of(route), headers=headers, **sent(route, browser))
        assert answer.status == 403, headers
    assert site.floor.asked == []


@pytest.mark.parametrize("route", [param for param in UNSAFE if not param.values[0].is_token_exempt])
async def test_a_request_without_the_sessions_token_is_refused(site: Site, route: Route) -> None:
    browser = await site.browser("li.wei")
    for wrong in ("", "not-the-token"):
        browser.csrf = wrong
        answer = await browser.send(route.method, path_of(route), **sent(route, browser))
        assert answer.status == 403
    assert site.floor.asked == []


@pytest.mark.parametrize("route", WITH_BODY)
async def test_a_bad_body_is_refused_by_field_and_never_echoed(site: Site, route: Route) -> None:
    browser = await site.browser(somebody_with(route.right) if route.right is not None else "li.wei")
    values, field = BAD[route.path]
    if route.is_page:
        answer = await browser.send(route.method, path_of(route), data={"csrf": browser.csrf, **values})
    else:
        answer = await browser.send(route.method, path_of(route), json=values)
    text = await answer.text()
    assert answer.status == 422
    assert "SECRET-INPUT" not in text
    if route.is_page:
        assert f"<code>{field}</code>" in text
    else:
        assert field in [one["field"] for one in (await answer.json())["fields"]]
    assert site.floor.asked == []


@pytest.mark.parametrize("route", WITH_BODY)
async def test_a_body_that_is_no_such_thing_is_refused(site: Site, route: Route) -> None:
    browser = await site.browser(somebody_with(route.right) if route.right is not None else "li.wei")
    kind = "application/x-www-form-urlencoded" if route.is_page else "application/json"
    for raw in (b"{", b"\xff\xfe", b"[]", b'"x"', b"\x00", b""):
        answer = await browser.send(route.method, path_of(route), data=raw, headers={"Content-Type": kind})
        # A log-out is complete without fields, but for the token.
        assert answer.status in {400, 422} | ({403} if route.is_page else set()), raw
    answer = await browser.send(route.method, path_of(route), data=b"x", headers={"Content-Type": "text/plain"})
    assert answer.status == 415
    answer = await browser.send(
        route.method, path_of(route), data=b"x" * 300_000, headers={"Content-Type": kind, "Expect": "100-continue"}
    )
    assert answer.status == 413
    assert site.floor.asked == []


@pytest.mark.parametrize("route", WITH_QUERY)
async def test_a_bad_query_is_refused_by_field_and_never_echoed(site: Site, route: Route) -> None:
    browser = await site.browser(somebody_with(route.right) if route.right is not None else "sofia")
    query, field = BAD_QUERIES[route.path]
    answer = await browser.get(f"{path_of(route)}?{query}")
    text = await answer.text()
    assert answer.status == 422
    assert field in text
    assert "SECRET-INPUT" not in text


@pytest.mark.parametrize("route", WITH_MODEL)
async def test_the_answer_has_the_shape_that_the_table_promises(site: Site, route: Route) -> None:
    browser = await site.browser(somebody_with(route.right) if route.right is not None else "li.wei")
    if "{change}" in route.path:
        # There must be one to take back.
        await browser.send("PUT", "/api/settings/queue/sales", json=EXAMPLES["/api/settings/{kind}/{key}"])
    answer = await browser.send(route.method, path_of(route), **sent(route, browser))
    assert answer.status == 200, await answer.text()
    assert answer.content_type == "application/json"
    model = route.answer
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    given = await answer.json()
    assert set(given) <= set(model.model_fields)
    model.model_validate(given, strict=True)


@pytest.mark.parametrize("route", [param for param in UNSAFE if param.values[0].right is Right.AGENT_DESK])
async def test_what_the_floor_refuses_is_said_with_its_code(site: Site, route: Route) -> None:
    browser = await site.browser("li.wei")
    site.floor.refusal = Refused("not_your_interaction")
    answer = await browser.send(route.method, path_of(route), **sent(route, browser))
    assert answer.status == 409
    assert (await answer.json())["code"] == "not_your_interaction"
    site.floor.refusal = BadInput("target", "unknown")
    answer = await browser.send(route.method, path_of(route), **sent(route, browser))
    assert answer.status == 422
    assert (await answer.json())["fields"] == [{"field": "target", "problem": "unknown"}]


async def test_no_page_of_another_origin_may_read_an_answer(site: Site) -> None:
    browser = await site.browser("li.wei")
    answer = await browser.get("/api/desk", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert ORIGIN not in str(answer.headers)
