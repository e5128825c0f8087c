"""One line of JSON per answer, without personal data: the route's pattern instead of the path, no query, no address."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractAccessLogger

from web.dispatch import REQUEST_ID_KEY

if TYPE_CHECKING:
    from aiohttp import web


class AccessLogger(AbstractAccessLogger):
    """What ``make_runner`` gives to aiohttp."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Called once per answer; ``time``: seconds that it took."""
        match_info = getattr(request, "match_info", None)
        resource = match_info.route.resource if match_info is not None else None
        self.logger.info(
            json.dumps(
                {
                    "request": request.get(REQUEST_ID_KEY, ""),
                    "method": request.method if request.method.isalpha() else "?",
                    "route": resource.canonical if resource is not None else "none",
                    "status": response.status,
                    "bytes": response.body_length,
                    "ms": round(time * 1000, 1),
                }
            )
        )

    @property
    def enabled(self) -> bool:
        """Whether anybody reads it."""
        return self.logger.isEnabledFor(logging.INFO)
