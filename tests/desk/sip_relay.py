"""A SIP registrar and relay over WebSocket, just enough for two real browsers to call each other.

It adds no Via, so that answers find their way by the one that the caller wrote; it changes nothing else. The audio
flows between the browsers themselves.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from collections.abc import Sequence

_USER = re.compile(r"sips?:([^@;>]+)@")
_VIA_HOST = re.compile(r"SIP/2\.0/\w+ ([^;\s]+)")
_COPIED = ("via", "from", "call-id", "cseq")


class SipRelay:
    """``registered``: who is registered now, ``requests``: methods seen, in order."""

    def __init__(self) -> None:
        self.registered: dict[str, ServerConnection] = {}
        self.requests: list[str] = []
        self._by_contact: dict[str, ServerConnection] = {}
        self._by_via: dict[str, ServerConnection] = {}

    async def start(self) -> None:
        """Listens on a free port of loopback."""
        self._server = await serve(self._serve, "127.0.0.1", 0, subprotocols=["sip"])  # type: ignore[list-item]
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Closes all connections."""
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, connection: ServerConnection) -> None:
        try:
            async for text in connection:
                if isinstance(text, str) and text.strip():
                    await self._relay(connection, text)
        except ConnectionClosed:
            pass
        finally:
            self.registered = {user: one for user, one in self.registered.items() if one is not connection}

    async def _relay(self, connection: ServerConnection, text: str) -> None:
        first, *lines = text.partition("\r\n\r\n")[0].split("\r\n")
        headers = [
            (name.strip().lower(), value.strip()) for name, _colon, value in (line.partition(":") for line in lines)
        ]
        via = _VIA_HOST.search(_first(headers, "via"))
        contact = _USER.search(_first(headers, "contact"))
        if contact:
            self._by_contact[contact[1]] = connection
        if first.startswith("SIP/2.0"):
            if via and via[1] in self._by_via:
                await self._by_via[via[1]].send(text)
            return None
        if via:
            self._by_via[via[1]] = connection
        method, target = first.split(" ")[:2]
        self.requests.append(method)
        if method == "REGISTER":
            return await self._register(connection, headers)
        user = _USER.search(target)
        to = (self._by_contact.get(user[1]) or self.registered.get(user[1])) if user else None
        if to is not None:
            return await to.send(text)
        if method != "ACK":
            await connection.send(_answer("404 Not Found", headers))
        return None

    async def _register(self, connection: ServerConnection, headers: Sequence[tuple[str, str]]) -> None:
        user = _USER.search(_first(headers, "to"))
        assert user is not None
        is_leaving = _first(headers, "expires") == "0" or "expires=0" in _first(headers, "contact")
        if is_leaving:
            self.registered.pop(user[1], None)
            return await connection.send(_answer("200 OK", headers))
        self.registered[user[1]] = connection
        return await connection.send(_answer("200 OK", headers, f"Contact: {_first(headers, 'contact')};expires=120"))


def _first(headers: Sequence[tuple[str, str]], name: str) -> str:
    return next((value for one, value in headers if one == name), "")


def _answer(status: str, headers: Sequence[tuple[str, str]], *more: str) -> str:
    copied = [f"{name.title()}: {value}" for name, value in headers if name in _COPIED]
    to = _first(headers, "to")
    tagged = to if ";tag=" in to else f"{to};tag=relay"
    return "\r\n".join([f"SIP/2.0 {status}", *copied, f"To: {tagged}", *more, "Content-Length: 0", "", ""])
