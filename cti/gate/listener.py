"""Takes connections for the gate: so many from one address and no more, and none that only sits there.

aiohttp's server reads the requests; this is what comes before the first one: counting, TLS, and the time that a
connection has to say what it wants.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

FIRST_REQUEST_S = 10.0
"""From the connection (or the end of the TLS handshake) to a whole head of a request."""
HANDSHAKE_S = 10.0
KEEP_ALIVE_S = 30.0
BACKLOG = 512
RETRY_ACCEPT_S = 0.2
LONGEST_LINE = 8190
MOST_HEADERS = 100

log = logging.getLogger(__name__)

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Listener(web.Server):
    """Serves ``answer`` on one port.

    ``context``: asked for each new connection, None for plain HTTP. ``per_address`` and ``at_most`` connections at a
    time; addresses in ``unlimited`` (a proxy in front) count towards the total only.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        context: Callable[[], ssl.SSLContext] | None,
        per_address: int,
        at_most: int,
        unlimited: frozenset[str] = frozenset(),
        first_request_s: float = FIRST_REQUEST_S,
    ) -> None:
        super().__init__(
            self._answer_in_time,
            handler_cancellation=True,
            keepalive_timeout=KEEP_ALIVE_S,
            access_log=None,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            max_headers=MOST_HEADERS,
            lingering_time=2.0,
            auto_decompress=False,
        )
        self._answer = answer
        self._context = context
        self._per_address = per_address
        self._at_most = at_most
        self._unlimited = unlimited
        self._first_request_s = first_request_s
        self._counts: Counter[str] = Counter()
        self._address_of: dict[Any, str] = {}
        self._patience: dict[Any, asyncio.TimerHandle] = {}
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._beginning: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int) -> int:
        """Begin; returns the port (a free one for 0). Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _kind, _protocol, _name, address = found[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            listening.bind(address)
        except OSError:
            listening.close()
            raise
        listening.listen(BACKLOG)
        listening.setblocking(False)
        self._sockets.append(listening)
        self._accepting.append(asyncio.create_task(self._accept(listening)))
        return int(listening.getsockname()[1])

    def stop_listening(self) -> None:
        """New connections are refused from now on."""
        for task in self._accepting:
            task.cancel()
        for listening in self._sockets:
            listening.close()

    async def close(self, patience_s: float) -> None:
        """Stop, let what is under way end for so long, then end it."""
        self.stop_listening()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for task in self._beginning:
            task.cancel()
        self.pre_shutdown()
        await self.shutdown(patience_s)

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        return len(self._address_of)

    # ── one connection ────────────────────────────────────────────────────────────────────────────────────

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(listening)
            except OSError as error:
                # Who went before we looked is no news; running out of files is.
                if error.errno != errno.ECONNABORTED:
                    log.warning("! no connection can be taken: %s", error.strerror)
                    await asyncio.sleep(RETRY_ACCEPT_S)
                continue
            address = plain_address(str(peer[0]))
            is_many = address not in self._unlimited and self._counts[address] >= self._per_address
            if is_many or len(self._address_of) >= self._at_most:
                connection.close()
                continue
            handler = self()
            self._counts[address] += 1
            self._address_of[handler] = address
            task = asyncio.create_task(self._begin(handler, connection))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    async def _begin(self, handler: Any, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        context = self._context() if self._context is not None else None
        more = {} if context is None else {"ssl_handshake_timeout": HANDSHAKE_S, "ssl_shutdown_timeout": 2.0}
        try:
            await loop.connect_accepted_socket(lambda: handler, connection, ssl=context, **more)
        except (OSError, ssl.SSLError, TimeoutError):
            # Somebody who speaks no TLS, or trusts another authority: no news.
            self._release(handler)
            connection.close()
        except asyncio.CancelledError:
            self._release(handler)
            connection.close()
            raise

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        """From aiohttp: a connection is ready for its first request."""
        super().connection_made(handler, transport)
        loop = asyncio.get_running_loop()
        self._patience[handler] = loop.call_later(self._first_request_s, self._lose_patience, handler, transport)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        """From aiohttp: it is gone."""
        super().connection_lost(handler, exc)
        self._release(handler)

    def _lose_patience(self, handler: Any, transport: asyncio.Transport) -> None:
        self._patience.pop(handler, None)
        transport.abort()

    def _release(self, handler: Any) -> None:
        if (timer := self._patience.pop(handler, None)) is not None:
            timer.cancel()
        address = self._address_of.pop(handler, None)
        if address is None:
            return
        self._counts[address] -= 1
        if self._counts[address] <= 0:
            del self._counts[address]

    async def _answer_in_time(self, request: web.BaseRequest) -> web.StreamResponse:
        if (timer := self._patience.pop(request.protocol, None)) is not None:
            timer.cancel()
        return await self._answer(request)


def plain_address(address: str) -> str:
    """An address without a zone, and an IPv4 one as such even where it came over IPv6."""
    with contextlib.suppress(ValueError):
        parsed = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(parsed)
    return address
