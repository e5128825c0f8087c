"""A plain manager session for tests: sends actions, keeps every event, waits for the one that matters."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

Message = dict[str, str]


class AmiWire:
    """``async with AmiWire(port, "callfloor", secret) as ami``; ``ami.events`` holds all events in order."""

    def __init__(self, port: int, username: str, secret: str) -> None:
        self._login = {"Username": username, "Secret": secret}
        self._port = port
        self._ids = itertools.count(1)
        self._answers: dict[str, asyncio.Future[Message]] = {}
        self._changed = asyncio.Condition()
        self.events: list[Message] = []

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        await self._reader.readline()
        self._task = asyncio.create_task(self._read())
        answer = await self.action("Login", **self._login)
        assert answer["Response"] == "Success", answer
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def action(self, name: str, **headers: str) -> Message:
        """Send one action and return its response."""
        action_id = str(next(self._ids))
        self._answers[action_id] = asyncio.get_running_loop().create_future()
        lines = [f"Action: {name}", f"ActionID: {action_id}", *(f"{key}: {value}" for key, value in headers.items())]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        return await asyncio.wait_for(self._answers[action_id], timeout=10)

    async def do(self, name: str, **headers: str) -> Message:
        """An action that must succeed."""
        answer = await self.action(name, **headers)
        assert answer["Response"] == "Success", answer
        return answer

    async def set(self, channel: str, **variables: str) -> None:
        """Set channel variables (global ones with an empty channel)."""
        for name, value in variables.items():
            headers = {"Channel": channel} if channel else {}
            await self.do("Setvar", **headers, Variable=name, Value=value)

    async def event(
        self, name: str, where: Callable[[Message], bool] | None = None, *, within_s: float = 20.0
    ) -> Message:
        """The first event of this name that fits, past or to come."""
        seen = 0
        try:
            async with asyncio.timeout(within_s), self._changed:
                while True:
                    for message in self.events[seen:]:
                        if message["Event"] == name and (where is None or where(message)):
                            return message
                    seen = len(self.events)
                    await self._changed.wait()
        except TimeoutError:
            tail = "\n".join(str(message) for message in self.events[-12:])
            raise AssertionError(f"no {name} within {within_s} s; last events:\n{tail}") from None

    def all(self, name: str) -> list[Message]:
        """All events of this name so far."""
        return [message for message in self.events if message["Event"] == name]

    async def _read(self) -> None:
        while True:
            block = await self._reader.readuntil(b"\r\n\r\n")
            message: Message = {}
            for line in block.decode("utf-8", "surrogateescape").split("\r\n"):
                key, found, value = line.partition(": ")
                if found or line.endswith(":"):
                    message[key.rstrip(":")] = value
            if "Event" in message:
                async with self._changed:
                    self.events.append(message)
                    self._changed.notify_all()
            waiting = self._answers.get(message.get("ActionID", ""))
            if "Response" in message and waiting is not None and not waiting.done():
                waiting.set_result(message)
