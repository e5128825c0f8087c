"""One floor, two adapters: what a story needs to be told on the simulated PBX and on a real Asterisk alike."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from cti import commands as c
from cti import events as e
from cti.asterisk.sim_pbx import Caller, PhoneBehaviour, SimPbx
from cti.asterisk.switch import AsteriskSwitch, PbxAddress
from cti.ids import AgentId, LegId, PbxId
from cti.interaction import Conversations
from cti.routing.plan import RecordingPolicy
from tests.asterisk.sip_phone import Call, Phone
from tests.interaction.story import line

if TYPE_CHECKING:
    from cti.asterisk.local_pbx import LocalPbx
    from cti.commands import Command
    from cti.events import Event

PBX = PbxId("pbx1")
AGENTS = ("ann", "bob", "cho")
UNREACHABLE = "cho"
PASSWORD = "storypassword"
DNIS = "4930111"
ANI = "+4930901820"
PATIENCE_S = 20.0
"""How long a story waits for what it expects, on the floor's own clock."""


class Stage(ABC):
    """A PBX with the phones of ann and bob, callers, and a daemon that does what the story says.

    ``said`` holds what the conversations concluded. ``says`` waits for one line and goes on from there, so that a story
    reads in its own order.
    """

    def __init__(self) -> None:
        self.conversations = Conversations(lambda pbx, endpoint: AgentId(endpoint) if endpoint in AGENTS else None)
        self.facts: list[Event] = []
        self.said: list[str] = []
        self.boot = "boot1"
        self.is_beating = True
        self._beats = itertools.count(1)
        self._said_seen = 0
        self._facts_seen = 0

    def take(self, fact: Event) -> None:
        self.facts.append(fact)
        self.said += [line(conclusion) for conclusion in self.conversations.handle(fact)]

    def settle(self, now: float) -> None:
        self.said += [line(conclusion) for conclusion in self.conversations.wake(now=now)]

    def next_beat(self) -> c.Beat:
        return c.Beat(pbx=PBX, boot=self.boot, count=next(self._beats))

    # ── what a story says ─────────────────────────────────────────────────────────────────────────────────

    async def says(self, *lines: str) -> None:
        """Wait until each of these has been concluded since the last call, in any order among themselves."""

        def found() -> bool:
            return all(self.said[self._said_seen :].count(one) >= lines.count(one) for one in lines)

        await self.until(found, f"{lines} in {self.said[self._said_seen :]}")
        self._said_seen += 1 + max(
            (self.said[self._said_seen :].index(one) for one in lines if one in self.said[self._said_seen :]),
            default=-1,
        )

    async def hears(self, kind: type[Event], **values: object) -> Event:
        """Wait for a switch fact that came since the last such wait."""
        hits: list[int] = []

        def found() -> bool:
            hits[:] = [
                index
                for index, fact in enumerate(self.facts[self._facts_seen :])
                if isinstance(fact, kind) and all(getattr(fact, name) == value for name, value in values.items())
            ]
            return bool(hits)

        await self.until(found, f"{kind.__name__} {values}")
        fact = self.facts[self._facts_seen + hits[0]]
        self._facts_seen += hits[0] + 1
        return fact

    async def offered(self, leg: LegId | None = None) -> e.CallOffered:
        offer = await self.hears(e.CallOffered, **({"leg": leg} if leg else {}))
        assert isinstance(offer, e.CallOffered)
        return offer

    async def take_call(self) -> LegId:
        """A caller comes in and is acknowledged."""
        await self.call_in()
        offer = await self.offered()
        self.order(c.AcceptOffer(leg=offer.leg))
        return offer.leg

    def ring(self, leg: LegId, agent: str, *also: str, ring_timeout_s: int = 20, is_recorded: bool = False) -> None:
        found = self.conversations.of_leg(leg)
        assert found is not None
        self.order(
            c.RingAgent(
                interaction=found.id,
                leg=leg,
                agent=AgentId(agent),
                endpoint=agent,
                ring_timeout_s=ring_timeout_s,
                recording=RecordingPolicy.ANNOUNCED if is_recorded else RecordingPolicy.OFF,
                also=also,
            )
        )

    async def talk(self, leg: LegId, agent: str, *, is_recorded: bool = False) -> LegId:
        """Ring and answer; gives the agent's leg."""
        self.ring(leg, agent, is_recorded=is_recorded)
        await self.says(f"rang {agent}")
        await self.answer(agent)
        await self.says(f"joined {agent} talk")
        return self.leg_of(agent)

    def leg_of(self, agent: str) -> LegId:
        """The live leg of an agent's phone."""
        (leg,) = [
            leg.id
            for interaction in self.conversations.interactions.values()
            for leg in interaction.live_legs
            if leg.agent == agent
        ]
        return leg

    async def ends(self) -> None:
        """Wait until nobody is on the line."""
        await self.until(
            lambda: all(found.ended_at is not None for found in self.conversations.interactions.values()),
            "everybody gone",
        )

    # ── what an adapter provides ──────────────────────────────────────────────────────────────────────────

    @abstractmethod
    async def until(self, is_so: Callable[[], bool], what: str) -> None: ...
    @abstractmethod
    def order(self, command: Command) -> None: ...
    @abstractmethod
    async def call_in(self) -> None: ...
    @abstractmethod
    async def caller_hangs_up(self) -> None: ...
    @abstractmethod
    async def answer(self, agent: str) -> None: ...
    @abstractmethod
    async def reject(self, agent: str) -> None: ...
    @abstractmethod
    async def hang_up(self, agent: str) -> None: ...
    @abstractmethod
    async def hold(self, agent: str) -> None: ...
    @abstractmethod
    async def resume(self, agent: str) -> None: ...
    @abstractmethod
    async def refer(self, agent: str, to: str) -> None: ...
    @abstractmethod
    async def reconnect(self) -> None: ...
    @abstractmethod
    async def pass_time(self, seconds: float) -> None: ...
    @abstractmethod
    async def outside_answers(self) -> None: ...
    @abstractmethod
    async def outside_refuses(self, forwards_to: str = "") -> None: ...


class SimStage(Stage):
    """Told on the simulated PBX, on a clock that jumps to whatever comes next."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_795_000_000.0
        still = PhoneBehaviour(answers_after_s=None)
        self.sim = SimPbx(
            PBX,
            rng=random.Random(1),
            phones=dict.fromkeys((*AGENTS, ANI), still),
            fallback_queue="callfloor-sales",
            fallback_phones=("ann",),
            fallback_s=20,
        )
        self.sim.lose_phone(UNREACHABLE, now=self.now)
        self._next_beat_at = self.now
        self._take_all(self.sim.restore_link(now=self.now))
        self._take_all(self.sim.handle(self.next_beat(), now=self.now))

    def _take_all(self, facts: list[Event]) -> None:
        for fact in facts:
            self.take(fact)

    async def until(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = self.now + PATIENCE_S
        while not is_so():
            assert self.now < deadline, f"waited in vain for {what}"
            self._step(deadline)

    def _step(self, deadline: float) -> None:
        """Go to the next moment at which something happens."""
        due = [self.sim.wake_at(), self.conversations.wake_at(), self._next_beat_at if self.is_beating else None]
        self.now = max(self.now, min([at for at in due if at is not None], default=deadline))
        if self.is_beating and self._next_beat_at <= self.now:
            self._next_beat_at = self.now + 1
            self._take_all(self.sim.handle(self.next_beat(), now=self.now))
        self._take_all(self.sim.wake(now=self.now))
        self.settle(self.now)

    async def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self._step(until)

    def order(self, command: Command) -> None:
        self._take_all(self.sim.handle(command, now=self.now))

    async def call_in(self) -> None:
        self._take_all(self.sim.call_in(Caller(ANI, "José", DNIS), now=self.now))

    async def caller_hangs_up(self) -> None:
        self._take_all(self.sim.caller_hangs_up(self.sim.live_callers()[-1], now=self.now))

    async def answer(self, agent: str) -> None:
        self._take_all(self.sim.answer(agent, now=self.now))

    async def reject(self, agent: str) -> None:
        self._take_all(self.sim.reject(agent, now=self.now))

    async def hang_up(self, agent: str) -> None:
        self._take_all(self.sim.hang_up(agent, now=self.now))

    async def hold(self, agent: str) -> None:
        self._take_all(self.sim.hold(agent, now=self.now))

    async def resume(self, agent: str) -> None:
        self._take_all(self.sim.resume(agent, now=self.now))

    async def refer(self, agent: str, to: str) -> None:
        self._take_all(self.sim.refer(agent, to, now=self.now))

    async def reconnect(self) -> None:
        self._take_all(self.sim.break_link(now=self.now))
        self._take_all(self.sim.restore_link(now=self.now))

    async def outside_answers(self) -> None:
        self._take_all(self.sim.answer(ANI, now=self.now))

    async def outside_refuses(self, forwards_to: str = "") -> None:
        self._take_all(self.sim.reject(ANI, now=self.now))


class KnownPhone(Phone):
    """A phone that registers with its name and password."""

    async def register(self, expires_s: int = 300) -> None:
        me, proof = f"<sip:{self.user}@{self.pbx}>", ""
        for _attempt in range(2):
            self._register_cseq += 1
            answer = self.expect(self._register_id, "REGISTER")
            self.request(
                "REGISTER",
                f"sip:{self.pbx}",
                f"{me};tag=r{self._register_cseq}",
                me,
                self._register_id,
                self._register_cseq,
                extra=(("Expires", str(expires_s)), *([("Authorization", proof)] if proof else [])),
            )
            async with asyncio.timeout(5):
                packet = await answer
            if packet.status == 200:
                return
            proof = self._prove(packet.get("www-authenticate"))
        raise AssertionError(f"{self.user} could not register: {packet.start}")

    def _prove(self, challenge: str) -> str:
        asked = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge))
        realm, nonce, uri = asked["realm"], asked["nonce"], f"sip:{self.pbx}"
        secret = _md5(f"{self.user}:{realm}:{PASSWORD}")
        count, client = "00000001", "c1"
        response = _md5(f"{secret}:{nonce}:{count}:{client}:auth:{_md5(f'REGISTER:{uri}')}")
        return (
            f'Digest username="{self.user}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}", '
            f'algorithm=MD5, qop=auth, nc={count}, cnonce="{client}"'
            + (f', opaque="{asked["opaque"]}"' if "opaque" in asked else "")
        )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


class AsteriskStage(Stage):
    """Told on a real Asterisk through the real adapter, with small SIP phones."""

    def __init__(self, pbx: LocalPbx, outside_port: int) -> None:
        super().__init__()
        self._pbx = pbx
        self._outside_port = outside_port
        self._phones: dict[str, Phone] = {}
        self._calls: dict[str, Call] = {}
        self._outside: Phone | None = None
        self._call: Call | None = None
        self._changed = asyncio.Event()
        self._switch = self._new_switch()
        self._beating: asyncio.Task[None] | None = None

    def _new_switch(self) -> AsteriskSwitch:
        address = PbxAddress(PBX, "127.0.0.1", self._pbx.ami_port, self._pbx.ami_username, self._pbx.ami_secret)
        return AsteriskSwitch(address, self._received, clock=time.time, jitter=random.Random(1))

    def _received(self, fact: Event) -> None:
        self.take(fact)
        self._changed.set()

    async def start(self) -> None:
        host = f"127.0.0.1:{self._pbx.sip_port}"
        for agent in AGENTS:
            if agent != UNREACHABLE:
                self._phones[agent] = await KnownPhone.open(agent, host)
                await self._phones[agent].register()
        self._outside = await Phone.open(ANI, host, "José", port=self._outside_port)
        self._switch.start()
        await self.hears(e.PbxRead)
        self.order(self.next_beat())
        self._beating = asyncio.create_task(self._beat())

    async def close(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])
        await self._switch.close()
        for phone in (*self._phones.values(), *([self._outside] if self._outside else [])):
            phone.close()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            if self.is_beating:
                self.order(self.next_beat())

    async def until(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.time() + PATIENCE_S
        while not is_so():
            assert time.time() < deadline, f"waited in vain for {what}"
            self._changed.clear()
            due = self.conversations.wake_at() or deadline
            try:
                async with asyncio.timeout(max(0.0, min(due, deadline) - time.time())):
                    await self._changed.wait()
            except TimeoutError:
                self.settle(time.time())

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def order(self, command: Command) -> None:
        self._switch.carry_out(command)

    async def call_in(self) -> None:
        assert self._outside is not None
        self._call = self._outside.dial(DNIS)

    async def caller_hangs_up(self) -> None:
        assert self._call is not None
        await self._call.hang_up()

    async def _rung(self, agent: str) -> Call:
        call = await self._phones[agent].rung()
        while call.state == "ended":
            call = await self._phones[agent].rung()
        self._calls[agent] = call
        return call

    async def answer(self, agent: str) -> None:
        call = await self._rung(agent)
        call.ring()
        call.answer()

    async def reject(self, agent: str) -> None:
        (await self._rung(agent)).refuse()

    async def hang_up(self, agent: str) -> None:
        await self._calls[agent].hang_up()

    async def hold(self, agent: str) -> None:
        await self._calls[agent].hold()

    async def resume(self, agent: str) -> None:
        await self._calls[agent].resume()

    async def refer(self, agent: str, to: str) -> None:
        self._calls[agent].transfer(to)

    async def outside_answers(self) -> None:
        assert self._outside is not None
        self._call = await self._outside.rung()
        self._call.answer()

    async def outside_refuses(self, forwards_to: str = "") -> None:
        assert self._outside is not None
        call = await self._outside.rung()
        if forwards_to:
            call.forward(forwards_to)
        else:
            call.refuse()

    async def reconnect(self) -> None:
        await self._switch.close()
        self._switch = self._new_switch()
        self._switch.start()
        await self.hears(e.PbxRead)
