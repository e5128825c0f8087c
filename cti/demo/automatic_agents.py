"""Agents without people: they log in as anybody does, keep their desk's socket, take calls on a desk phone that answers
by itself (``cti.demo.callers.UasPhone``), write a note, choose a disposition, finish their wrap-up and take a break now
and then. The demo's floor is alive through them.

They use the public ways only: the log-in form, the desk's API and its socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Origin, Subprotocol

from cti.events import AgentState
from cti.screenpop.frames import NO_SESSION, SUBPROTOCOL, TAKEN_OVER

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine, Sequence

BEAT_S = 4.0
PATIENCE_S = 10.0
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 15.0

log = logging.getLogger(__name__)


class LoginFailed(Exception):
    """The site did not let the automatic agent in; its answer's status is the text."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How an automatic agent works. Pairs are ranges in seconds, chances 0–1; ``notes`` are texts to choose from."""

    ready_after_s: tuple[float, float] = (0.5, 2.0)
    wrap_up_s: tuple[float, float] = (3.0, 8.0)
    break_chance: float = 0.1
    break_s: tuple[float, float] = (15.0, 30.0)
    break_reasons: Sequence[str] = ()
    note_chance: float = 0.5
    notes: Sequence[str] = ()


@dataclass(slots=True)
class _Shift:
    """One log-in and one socket."""

    http: aiohttp.ClientSession
    socket: ClientConnection
    csrf: str
    dispositions: list[dict[str, Any]]
    epoch: str | None = None
    seen: int = 0
    queues: dict[str, str] = field(default_factory=dict)
    next: asyncio.TimerHandle | None = None
    work: set[asyncio.Task[None]] = field(default_factory=set)

    def stop(self) -> None:
        """Do nothing more of what was planned."""
        if self.next is not None:
            self.next.cancel()
        for task in self.work:
            task.cancel()


class AutomaticAgent:
    """One automatic agent. ``site`` is the site's origin, ``http://127.0.0.1:8470``; ``rng`` makes its choices."""

    def __init__(self, *, site: str, username: str, password: str, rng: random.Random, habits: Habits) -> None:
        parts = urlsplit(site)
        self.username = username
        self.state: AgentState | None = None
        self.finished = 0
        """Calls wrapped up."""
        self._site = f"{parts.scheme}://{parts.netloc}"
        self._password = password
        self._rng = rng
        self._habits = habits
        self._tab = uuid.UUID(int=rng.getrandbits(128), version=4).hex

    async def run(self) -> None:
        """Work until cancelled, or until a person takes the desk over. Comes back after the server was away.

        Raises ``LoginFailed`` when name or password is refused.
        """
        retry_s = FIRST_RETRY_S
        while True:
            try:
                if await self._work():
                    return
                retry_s = FIRST_RETRY_S
            except (aiohttp.ClientError, OSError, TimeoutError, WebSocketException) as error:
                log.info("= automatic agent %s waits for the server: %s", self.username, type(error).__name__)
            self.state = None
            await asyncio.sleep(retry_s)
            retry_s = min(LONGEST_RETRY_S, retry_s * 2)

    async def _work(self) -> bool:
        """One log-in, until its socket closes. Returns whether a person took the desk over."""
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        jar = aiohttp.CookieJar(unsafe=True)
        headers = {"Origin": self._site}
        async with aiohttp.ClientSession(self._site, timeout=timeout, cookie_jar=jar, headers=headers) as http:
            cookie = await self._log_in(http)
            async with http.get("/api/desk") as answer:
                answer.raise_for_status()
                desk = await answer.json()
            async with connect(
                desk["socket_url"],
                origin=Origin(self._site),
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                additional_headers={"Cookie": cookie},
                compression=None,
                proxy=None,
            ) as socket:
                shift = _Shift(http, socket, desk["csrf"], desk["dispositions"])
                try:
                    return await self._keep_desk(shift)
                finally:
                    shift.stop()

    async def _log_in(self, http: aiohttp.ClientSession) -> str:
        """Returns the ``Cookie`` header of the new session."""
        form = {"username": self.username, "password": self._password}
        async with http.post("/login", data=form, allow_redirects=False) as answer:
            if answer.status in {429, 503}:
                raise aiohttp.ClientResponseError(answer.request_info, (), status=answer.status)
            if answer.status not in {302, 303}:
                raise LoginFailed(f"{self.username}: {answer.status}")
            return "; ".join(f"{name}={morsel.value}" for name, morsel in answer.cookies.items())

    async def _keep_desk(self, shift: _Shift) -> bool:
        hello = {"type": "hello", "tab": self._tab, "epoch": None, "last_seq": 0, "take_over": True}
        await shift.socket.send(json.dumps(hello))
        beats = asyncio.create_task(self._beat(shift))
        try:
            async for frame in shift.socket:
                self._read(shift, json.loads(frame))
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd is not None else None
            if code == NO_SESSION:
                log.info("= automatic agent %s was logged out", self.username)
            return code == TAKEN_OVER
        finally:
            beats.cancel()
        return False

    async def _beat(self, shift: _Shift) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                beat = {"type": "beat", "seen": shift.seen, "visible": True, "phone": "desk", "microphone": "desk"}
                await shift.socket.send(json.dumps(beat))
                await asyncio.sleep(BEAT_S)

    def _read(self, shift: _Shift, message: dict[str, Any]) -> None:
        shift.seen = message.get("seq", shift.seen)
        match message["type"]:
            case "snapshot":
                for pop in message["pops"]:
                    self._remember_queue(shift, pop)
                self._follow(shift, message["agent"])
            case "state":
                self._follow(shift, message)
            case "pop":
                self._remember_queue(shift, message)
            case "pop_closed":
                shift.queues.pop(message["interaction"], None)
            case _:
                pass

    def _remember_queue(self, shift: _Shift, pop: dict[str, Any]) -> None:
        shift.queues[pop["interaction"]] = pop["queue"]["id"] if pop["queue"] is not None else ""

    def _follow(self, shift: _Shift, state: dict[str, Any]) -> None:
        """Do what a person would do next; a change of state changes the plan."""
        self.state = AgentState(state["state"])
        if shift.next is not None:
            shift.next.cancel()
            shift.next = None
        match self.state:
            case AgentState.NOT_READY:
                is_break = state["reason"] in self._habits.break_reasons
                pause_s = self._rng.uniform(*(self._habits.break_s if is_break else self._habits.ready_after_s))
                self._plan(shift, pause_s, lambda: self._be_ready(shift))
            case AgentState.WRAP_UP:
                interaction = state["interaction"]
                pause_s = self._rng.uniform(*self._habits.wrap_up_s)
                self._plan(shift, pause_s, lambda: self._wrap_up(shift, interaction))
            case _:
                pass

    def _plan(self, shift: _Shift, pause_s: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        def begin() -> None:
            task = asyncio.create_task(work())
            shift.work.add(task)
            task.add_done_callback(shift.work.discard)

        shift.next = asyncio.get_running_loop().call_later(pause_s, begin)

    async def _be_ready(self, shift: _Shift) -> None:
        await self._ask(shift, "POST", "/api/desk/state", {"state": "AVAILABLE", "reason": ""})

    async def _wrap_up(self, shift: _Shift, interaction: str | None) -> None:
        if interaction is not None:
            where = f"/api/interactions/{interaction}"
            if self._habits.notes and self._rng.random() < self._habits.note_chance:
                await self._ask(shift, "PUT", f"{where}/note", {"text": self._rng.choice(self._habits.notes)})
            queue = shift.queues.get(interaction, "")
            codes = [one["code"] for one in shift.dispositions if one["queue"] in {None, queue}]
            if codes:
                await self._ask(shift, "PUT", f"{where}/disposition", {"code": self._rng.choice(codes)})
        if self._habits.break_reasons and self._rng.random() < self._habits.break_chance:
            reason = self._rng.choice(self._habits.break_reasons)
            await self._ask(shift, "POST", "/api/desk/state", {"state": "NOT_READY", "reason": reason})
        else:
            await self._ask(shift, "POST", "/api/desk/wrap-up/finish", None)
        self.finished += 1

    async def _ask(self, shift: _Shift, method: str, path: str, body: dict[str, Any] | None) -> None:
        headers = {"X-CSRF-Token": shift.csrf}
        try:
            async with shift.http.request(method, path, json=body, headers=headers) as answer:
                if answer.status >= 400:
                    log.info("! automatic agent %s: %s answered %d", self.username, path, answer.status)
        except (aiohttp.ClientError, TimeoutError) as error:
            log.info("! automatic agent %s: %s", self.username, error)
