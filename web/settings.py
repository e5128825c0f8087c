"""What the pages are given by the composition. Nothing here is read from a file or the environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class PhoneCredentials:
    """What an agent's browser phone registers with. ``uri``: ``sip:<user>@<domain>``."""

    uri: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class IceServer:
    """One STUN or TURN server, as the browser's ``RTCIceServer``."""

    urls: tuple[str, ...]
    username: str = ""
    credential: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """Everything that the pages need to know about the site.

    ``site_origins``: the origins (``https://host[:port]``) that the site's pages are served from; an unsafe request
    from any other is refused. ``cookie_secure``: the site is reached over HTTPS only. ``sip_ws_urls``: PBX → address
    of its SIP-over-WebSocket. ``phone_secrets``: agent → what the browser phone registers with, None for a desk phone.
    ``clock``: Unix seconds. ``trusted_proxies``: addresses whose ``X-Forwarded-For`` is believed. ``session_idle_s``:
    a session that asks nothing for so long ends; ``session_life_s``: it ends after so long in any case.
    """

    site_origins: frozenset[str]
    cookie_secure: bool
    desk_socket_url: str
    sip_ws_urls: Mapping[str, str]
    phone_secrets: Callable[[str], PhoneCredentials | None]
    recordings_folder: Path
    clock: Callable[[], float]
    ice_servers: Sequence[IceServer] = ()
    default_region: str = "CN"
    is_simulated: bool = False
    demo_note: str = ""
    trusted_proxies: frozenset[str] = frozenset()
    session_idle_s: float = 12 * 3600.0
    session_life_s: float = 24 * 3600.0
    max_parallel_logins: int = 2
