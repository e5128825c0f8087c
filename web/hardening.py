"""The headers that every answer carries."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web.settings import WebSettings

LONGEST_BODY = 128 * 1024
STATIC_PREFIX = "/static/"


def headers_of(settings: WebSettings) -> Mapping[str, str]:
    """Headers of all answers of a site. No script or style runs but from files of ours."""
    headers = {
        "Content-Security-Policy": content_security_policy(
            [settings.desk_socket_url, *sorted(settings.sip_ws_urls.values())]
        ),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "microphone=(self), speaker-selection=(self), autoplay=(self), camera=(), "
        "geolocation=(), payment=(), usb=(), display-capture=()",
        "X-Robots-Tag": "noindex, nofollow",
    }
    if settings.cookie_secure:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    return headers


def content_security_policy(sockets: list[str]) -> str:
    """The policy; ``sockets``: addresses of the WebSockets that pages connect to."""
    connect = " ".join(dict.fromkeys(["'self'", *(_origin(url) for url in sockets if url)]))
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "font-src 'self'",
            "media-src 'self' blob:",
            f"connect-src {connect}",
            "manifest-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        )
    )


def _origin(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "wss"} or not parts.netloc or any(char in url for char in " ;,'\""):
        raise ValueError(f"not the address of a WebSocket: {url!r}")
    return f"{parts.scheme}://{parts.netloc}"
