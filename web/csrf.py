"""Against requests that another site makes in a person's name. Two independent checks, both fail closed:

* where the request comes from: ``Sec-Fetch-Site`` must say ``same-origin``, and ``Origin``, when there is one, must be
  one of ours; a request with neither header is refused;
* a token derived from the session's secret, sent as the header ``X-CSRF-Token`` or the form field ``csrf``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER = "X-CSRF-Token"
FIELD = "csrf"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def token_of(session_token: str) -> str:
    """The CSRF token of a session; it does not reveal the session's own token."""
    digest = hmac.new(session_token.encode(), b"callfloor csrf 1", hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def is_token_right(session_token: str, given: str | None) -> bool:
    """Does the given token belong to this session?"""
    return given is not None and hmac.compare_digest(token_of(session_token).encode(), given.encode())


def is_from_here(headers: Mapping[str, str], site_origins: frozenset[str]) -> bool:
    """Was the request made by a page of ours, as the browser itself says?"""
    origin = headers.get("Origin")
    site = headers.get("Sec-Fetch-Site")
    if origin is None and site is None:
        return False
    if origin is not None and origin not in site_origins:
        return False
    return site is None or site == "same-origin"
