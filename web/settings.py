"""What the pages are given by the composition. Nothing here is read from a file or the environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class PhoneCredentials:
    """What an agent's browser phone registers with. ``uri``: ``sip:<user>@<domain>``."""

    uri: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class IceServer:
    """One STUN or TURN server, as the browser's ``RTCIceServer``. With a ``shared_secret`` each browser gets a name and
    a credential of its own that end after ``credential_life_s`` (``web.ice``)."""

    urls: tuple[str, ...]
    username: str = ""
    credential: str = field(default="", repr=False)
    shared_secret: str = field(default="", repr=False)
    credential_life_s: float = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class SignedPass:
    """What opens the gate's SIP path to a phone: the cookie's value, good for ``life_s``."""

    value: str = field(repr=False)
    life_s: float


async def nobody_to_tell() -> None:
    """Where no program runs that must know of a changed configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """Everything that the pages need to know about the site.

    ``site_origins``: the origins (``https://host[:port]``) that the site's pages are served from; an unsafe request
    from any other is refused. ``cookie_secure``: the site is reached over HTTPS only. ``sip_ws_urls``: PBX → address
    of its SIP-over-WebSocket. ``phone_account``: agent, id of the session → what this session's browser phone registers
    with, None for a desk phone.
    ``clock``: Unix seconds. ``trusted_proxies``: addresses whose ``X-Forwarded-For`` is believed. ``session_idle_s``:
    a session that asks nothing for so long ends; ``session_life_s``: it ends after so long in any case. ``phone_pass``:
    signs a pass for the phone of this agent, this session and no longer than that; None where there is no gate.
    ``pbx_agent_tokens``: PBX → secret of the agent that uploads its records below ``records_folder``.
    ``prompts_folder``: announcements, ``<language>/<name>.wav``, if this machine sees them.
    ``configured``: called after queues or rules were changed, so that they hold.
    """

    site_origins: frozenset[str]
    cookie_secure: bool
    desk_socket_url: str
    sip_ws_urls: Mapping[str, str]
    phone_account: Callable[[str, str], Awaitable[PhoneCredentials | None]]
    recordings_folder: Path
    clock: Callable[[], float]
    ice_servers: Sequence[IceServer] = ()
    default_region: str = "CN"
    is_simulated: bool = False
    demo_note: str = ""
    trusted_proxies: frozenset[str] = frozenset()
    session_idle_s: float = 12 * 3600.0
    session_life_s: float = 24 * 3600.0
    configured: Callable[[], Awaitable[None]] = nobody_to_tell
    max_parallel_logins: int = 2
    phone_pass: Callable[[str, str, float], SignedPass | None] | None = None
    pbx_agent_tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    records_folder: Path | None = None
    prompts_folder: Path | None = None
