"""The OpenAPI 3.1 document, generated from the table of routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from web import csrf
from web.route import FORM, JSON, PATH_PATTERNS
from web.schemas import ErrorAnswer
from web.sessions import COOKIE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    from web.route import Route

REF = "#/components/schemas/{model}"


def document(routes: Iterable[Route], *, version: str) -> dict[str, Any]:
    """The whole document, ready to be written as JSON."""
    routes = list(routes)
    used: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [(ErrorAnswer, "serialization")]
    for route in routes:
        if isinstance(route.answer, type):
            used.append((route.answer, "serialization"))
        if route.body is not None:
            used.append((route.body, "validation"))
    refs, schemas = models_json_schema(list(dict.fromkeys(used)), ref_template=REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Callfloor",
            "version": version,
            "description": "Pages and API of the call centre. Times are Unix seconds (UTC) unless a field says "
            "otherwise. A field that the role of the person asking may not read is absent.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
                "pbx_agent": {"type": "http", "scheme": "bearer"},
                "csrf": {"type": "apiKey", "in": "header", "name": csrf.HEADER},
            },
        },
    }


def _operation(route: Route, refs: dict[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "security": _security(route),
        "responses": _responses(route, refs),
    }
    if route.right is not None:
        operation["x-right"] = route.right.value
    parameters = [*_path_parameters(route), *_query_parameters(route)]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        media = FORM if route.is_page else JSON
        operation["requestBody"] = {
            "required": True,
            "content": {media: {"schema": refs[(route.body, "validation")]}},
        }
    return operation


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.is_public:
        return []
    if route.is_for_machines:
        return [{"pbx_agent": []}]
    if route.method in csrf.SAFE_METHODS:
        return [{"session": []}]
    return [{"session": [], "csrf": []}]


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": part,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^{PATH_PATTERNS[part]}$"},
        }
        for part in route.path_parts
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schema = route.query.model_json_schema()
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": one}
        for name, one in schema["properties"].items()
    ]


def _responses(route: Route, refs: dict[Any, Any]) -> dict[str, Any]:
    if isinstance(route.answer, type):
        media, schema = JSON, refs[(route.answer, "serialization")]
    else:
        media, schema = route.answer, {"type": "string"}
    responses: dict[str, Any] = {}
    if route.is_redirect:
        responses["303"] = {"description": "Go on at another page"}
    else:
        responses["200"] = {"description": "Done", "content": {media: {"schema": schema}}}
    for status, meaning in _errors(route):
        content = (
            {"text/html": {"schema": {"type": "string"}}}
            if route.is_page
            else {JSON: {"schema": refs[(ErrorAnswer, "serialization")]}}
        )
        responses[str(status)] = {"description": meaning, "content": content}
    return responses


def _errors(route: Route) -> Iterable[tuple[int, str]]:
    if route.body is not None:
        yield 400, "Not readable as what it claims to be"
    if not route.is_public:
        yield 401, "Not logged in"
    if route.right is not None or route.method not in csrf.SAFE_METHODS:
        yield 403, "The role lacks the right, or the request was not made by a page of this site"
    if route.path_parts:
        yield 404, "There is no such thing"
    if route.method not in csrf.SAFE_METHODS:
        yield 409, "Understood, but not possible now"
    if route.body is not None or route.query is not None:
        yield 422, "A field is wrong; it is named"
    if not route.is_public:
        yield 429, "Too fast; Retry-After says when to come again"
