"""Pages at desks on real sockets: a hub with sessions of ours, and clients that speak the protocol."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from cti.events import DeskFresh, DeskStale, Event
from cti.ids import AgentId, InteractionId, PbxId, QueueId
from cti.routing.plan import AgentPlan, Phone, PhoneKind, Plan, QueuePlan
from cti.screenpop.hub import DeskHub, DeskUser, FloorPicture
from cti.screenpop.pop import Pops, Viewer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ORIGIN = "http://desk.example"
PATIENCE_S = 10.0
ANNA, BEN = AgentId("anna"), AgentId("ben")
CALL = InteractionId("pbx1-1.1")


def plan(kind: PhoneKind = PhoneKind.BROWSER) -> Plan:
    """Two agents of one queue."""
    agents = {name: AgentPlan(name, name.title(), Phone(PbxId("pbx1"), f"p-{name}", kind)) for name in (ANNA, BEN)}
    return Plan({QueueId("sales"): QueuePlan(QueueId("sales"), "Sales")}, agents, routes=(), default_queue=None)


PLAN = plan()


def user(name: str, *, role: str = "agent", session: str = "", is_supervisor: bool = False) -> DeskUser:
    agent = AgentId(name) if name in PLAN.agents else None
    return DeskUser(name, role, agent, session or f"s-{name}", "en", is_supervisor)


class Source:
    """Knows every viewer's rights at once and never reads anything."""

    def __init__(self, pops: Pops) -> None:
        self.pops = pops

    def want_sight(self, viewer: Viewer, agent: AgentId) -> None:
        self.pops.know_sight(viewer, dict)

    def want_reading(self, interaction: InteractionId, viewer: Viewer) -> None:
        pass


@dataclass
class Site:
    """A hub, its sessions (cookie → user) and what its core was told."""

    sessions: dict[str, DeskUser] = field(
        default_factory=lambda: {
            "anna-token": user("anna"),
            "ben-token": user("ben"),
            "eva-token": user("eva", role="supervisor", is_supervisor=True),
        }
    )
    facts: list[Event] = field(default_factory=list)
    picture: FloorPicture = field(default_factory=lambda: FloorPicture((), ()))
    now: Callable[[], float] = time.time
    pops: Pops = field(default_factory=lambda: Pops(PLAN))

    def __post_init__(self) -> None:
        self.pops.read_from(Source(self.pops))

    async def authenticate(self, token: str) -> DeskUser | None:
        return self.sessions.get(token)

    @asynccontextmanager
    async def open(self, **changes: Any) -> AsyncIterator[DeskHub]:
        hub = DeskHub(
            inbox=self.facts.append,
            clock=self.now,
            authenticate=self.authenticate,
            pops=self.pops,
            host="127.0.0.1",
            port=0,
            picture=lambda: self.picture,
            **{"origins": [ORIGIN], **changes},
        )
        await hub.start()
        try:
            yield hub
        finally:
            await hub.close()

    def desk_facts(self, agent: AgentId) -> list[str]:
        """``fresh`` or the reason of staleness, in order."""
        return [
            "fresh" if isinstance(fact, DeskFresh) else fact.why
            for fact in self.facts
            if isinstance(fact, DeskFresh | DeskStale) and fact.agent == agent
        ]


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def hello(
        self, tab: str = "tab", *, epoch: str | None = None, last_seq: int = 0, take_over: bool = False
    ) -> dict[str, Any]:
        """Say hello; returns the answer."""
        await self.say(type="hello", tab=tab, epoch=epoch, last_seq=last_seq, take_over=take_over)
        return await self.read()

    async def beat(self, *, phone: str = "registered", microphone: str = "ok", visible: bool = True) -> None:
        await self.say(type="beat", seen=0, visible=visible, phone=phone, microphone=microphone)

    async def read(self) -> dict[str, Any]:
        """The next message."""
        async with asyncio.timeout(PATIENCE_S):
            message: dict[str, Any] = json.loads(await self.socket.recv())
        return message

    async def read_until(self, kind: str) -> dict[str, Any]:
        """The next message of this type."""
        while (message := await self.read())["type"] != kind:
            pass
        return message

    async def read_all(self) -> list[dict[str, Any]]:
        """Everything that was sent before an echo of ours comes back."""
        async with asyncio.timeout(PATIENCE_S):
            await (await self.socket.ping())
            messages = []
            while True:
                try:
                    async with asyncio.timeout(0):
                        messages.append(json.loads(await self.socket.recv()))
                except TimeoutError:
                    return messages

    async def close_code(self) -> int:
        """Waits for the server to close; returns its code."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while True:
                    await self.socket.recv()
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd is not None else 1006


@asynccontextmanager
async def page(
    hub: DeskHub, token: str | None = "anna-token", *, origin: str = ORIGIN, path: str = "/desk/socket", **changes: Any
) -> AsyncIterator[Page]:
    """A tab with a session cookie."""
    headers = {"Cookie": f"other=1; callfloor_session={token}"} if token is not None else {}
    async with connect(
        f"ws://127.0.0.1:{hub.port}{path}",
        origin=Origin(origin),
        subprotocols=[Subprotocol("callfloor.desk.1")],
        additional_headers=headers,
        compression=None,
        proxy=None,
        **changes,
    ) as socket:
        yield Page(socket)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something observable."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)
