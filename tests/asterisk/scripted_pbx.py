"""A manager interface on a real loopback socket that says exactly what a test wants."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GREETING = b"Asterisk Call Manager/11.0.0\r\n"
DEADLINE_S = 5.0


class Session:
    """One accepted connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def action(self) -> dict[str, str]:
        """The next action that the client sent."""
        async with asyncio.timeout(DEADLINE_S):
            raw = await self._reader.readuntil(b"\r\n\r\n")
        lines = raw.decode().strip("\r\n").split("\r\n")
        return {name: value for name, _, value in (line.partition(": ") for line in lines)}

    async def wanted(self, name: str) -> dict[str, str]:
        """The next action called ``name``; pings before it are answered."""
        while True:
            action = await self.action()
            if action["Action"] == name:
                return action
            if action["Action"] == "Ping":
                await self.answer(action, Ping="Pong")

    async def send(self, *parts: bytes) -> None:
        """Send each part as a packet of its own, as far as a socket allows."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            if len(parts) > 1:
                await asyncio.sleep(0.001)

    async def answer(self, action: dict[str, str], response: str = "Success", **headers: str) -> None:
        """Answer an action."""
        lines = [f"Response: {response}", f"ActionID: {action['ActionID']}", *(f"{k}: {v}" for k, v in headers.items())]
        await self.send(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def event(self, name: str, **headers: str) -> None:
        """Send an event."""
        await self.send(
            ("\r\n".join([f"Event: {name}", *(f"{k}: {v}" for k, v in headers.items())]) + "\r\n\r\n").encode()
        )

    async def log_in(self, is_booted: bool = True) -> dict[str, str]:
        """Greet and accept the login."""
        await self.send(GREETING)
        login = await self.wanted("Login")
        await self.answer(login, Message="Authentication accepted")
        if is_booted:
            await self.event("FullyBooted", Status="Fully Booted")
        return login

    async def until_closed(self) -> None:
        """Wait until the client ended the connection; what it sends until then is ignored."""
        async with asyncio.timeout(DEADLINE_S):
            with contextlib.suppress(ConnectionError):
                while await self._reader.read(65536):
                    pass

    def drop(self) -> None:
        """End the connection."""
        self.writer.transport.abort()


class ScriptedPbx:
    """Listens on a free port; each connection waits until the test takes it."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Session] = asyncio.Queue()
        self.sessions: list[Session] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def listening(cls) -> AsyncIterator[ScriptedPbx]:
        pbx = cls()
        server = await asyncio.start_server(pbx._accept, "127.0.0.1", 0, limit=1 << 24)
        pbx.port = server.sockets[0].getsockname()[1]
        try:
            yield pbx
        finally:
            server.close()
            for session in pbx.sessions:
                session.drop()

    port: int

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(reader, writer)
        self.sessions.append(session)
        self._waiting.put_nowait(session)

    async def session(self) -> Session:
        """The next connection."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._waiting.get()
