"""What a browser is told about STUN and TURN servers.

A TURN server that shares a secret with us takes names that end: ``<until>:<agent>`` with its HMAC (the TURN REST API,
coturn's ``use-auth-secret``). So nothing that a browser holds opens the relay for longer than a shift.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

from web.schemas import IceServerAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web.settings import IceServer


def servers_for(servers: Iterable[IceServer], agent: str, *, now: float) -> list[IceServerAnswer]:
    """The servers as this agent's browser may use them from now on."""
    return [_answer(server, agent, now) for server in servers]


def _answer(server: IceServer, agent: str, now: float) -> IceServerAnswer:
    if not server.shared_secret:
        return IceServerAnswer(urls=list(server.urls), username=server.username, credential=server.credential)
    name = f"{int(now + server.credential_life_s)}:{agent}"
    # SHA-1 is what the TURN servers' API asks for.
    mark = hmac.new(server.shared_secret.encode(), name.encode(), hashlib.sha1).digest()
    return IceServerAnswer(urls=list(server.urls), username=name, credential=base64.b64encode(mark).decode())
