"""How a handler ends a request with something else than what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Problematic(Exception):
    """Ends a request with an error answer: HTTP status, stable code, and the fields that are wrong (name, problem).
    ``retry_after_s``: when it may be tried again, if that is known."""

    def __init__(
        self, status: int, code: str, fields: Sequence[tuple[str, str]] = (), *, retry_after_s: int = 0
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.fields = tuple(fields)
        self.retry_after_s = retry_after_s


def not_found() -> Problematic:
    """There is no such thing, or the person may not know of it."""
    return Problematic(404, "not_found")
