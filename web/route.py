"""What a route is: one row of the table in ``web.routes``, from which the live app, the checks and OpenAPI are made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp import web

    from web.rights import Right

    Handler = Callable[..., Awaitable[BaseModel | web.StreamResponse]]
    """Called with the ``Ask``, and with ``body`` and ``query`` where the route declares them."""

HTML = "text/html"
JSON = "application/json"
WAV = "audio/wav"
FORM = "application/x-www-form-urlencoded"

PATH_PATTERNS: Mapping[str, str] = {
    "customer": r"[1-9][0-9]{0,14}",
    "interaction": r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}",
    "pbx": r"[a-z0-9]{1,20}",
    "record": r"(?:callfloor\.csv|queue_log)\.[0-9a-f]{16}",
    "file": r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,120}\.wav",
    "queue": r"[a-z0-9][a-z0-9._-]{0,39}",
    "agent": r"[a-z0-9][a-z0-9._-]{0,39}",
    "message": r"[0-9]{1,20}-[0-9]{1,10}",
    "digits": r"[0-9]{1,10}|unknown",
    "kind": r"product|calendar|menu|queue|agent|number|reason|disposition|jurisdiction|site",
    "key": r"\+?[a-z0-9][a-z0-9._-]{0,39}",
    "change": r"[1-9][0-9]{0,14}",
    "tag": r"[a-z]{2,3}(?:_[A-Za-z0-9]{2,8})?",
    "prompt": r"[a-z0-9][a-z0-9._-]{0,39}",
}
"""Name of a part of a path → what it may look like; anything else is 404."""

_PART = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method on one path.

    ``right``: what the asking person's role must hold; None on a public route, or where being logged in is enough.
    ``body``: JSON where ``answer`` is a model, a form where it is a media type. ``answer``: the model of the JSON
    answer or the media type of what comes instead; ``is_redirect``: the answer is 303 to another page.
    ``is_token_exempt``: an unsafe method that works before there is a session and thus a CSRF token; the check of the
    origin stays. ``is_for_machines``: a program of ours asks, with a token of its own for the ``pbx`` in the path;
    there is no session, and no page that could be tricked. ``is_sessionless``: who asks makes no difference and is not
    looked up, so that it works while the database is away.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answer: type[BaseModel] | str
    right: Right | None = None
    is_public: bool = False
    is_sessionless: bool = False
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    is_redirect: bool = False
    is_token_exempt: bool = False
    is_for_machines: bool = False

    @property
    def is_page(self) -> bool:
        """Does a person see the answer (and not a script)?"""
        return isinstance(self.answer, str)

    @property
    def path_parts(self) -> tuple[str, ...]:
        """The names of the parts of the path that vary."""
        return tuple(_PART.findall(self.path))

    @property
    def pattern(self) -> str:
        """The path as aiohttp matches it."""
        return _PART.sub(lambda found: f"{{{found[1]}:{PATH_PATTERNS[found[1]]}}}", self.path)

    @property
    def operation_id(self) -> str:
        """Unique name in the OpenAPI document."""
        words = re.findall(r"[a-z]+", self.path.lower())
        return "_".join([self.method.lower(), *words])

    def arguments(self, body: BaseModel | None, query: BaseModel | None) -> dict[str, Any]:
        """What the handler is called with besides the ``Ask``."""
        arguments: dict[str, Any] = {}
        if body is not None:
            arguments["body"] = body
        if query is not None:
            arguments["query"] = query
        return arguments
