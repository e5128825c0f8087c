"""A hall to try the deciding core in: facts as a PBX tells them, with the time passed in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from cti import commands as c
from cti import events as e
from cti.agent_state import Agent
from cti.events import AgentState, BridgeKind, DialOutcome, HangupCause
from cti.ids import AgentId, BridgeId, InteractionId, LegId
from cti.inbound import Inbound, Output
from cti.routing.plan import Plan
from tests.core.plans import PBX

T = TypeVar("T")


class Hall:
    """One core, one PBX of paper. ``said`` holds everything that the core put out, oldest first."""

    def __init__(self, plan: Plan) -> None:
        self.core = Inbound(plan, boot="boot1")
        self.now = 1000.0
        self.said: list[Output] = []
        self._gathered: list[e.Event] | None = None
        self._next = 0
        for endpoint in sorted(agent.phone.endpoint for agent in plan.agents.values()):
            self.feed(e.PhoneReachable(at=self.now, pbx=PBX, endpoint=endpoint))
        self.feed(e.LinkUp(at=self.now, pbx=PBX, version="22"))

    def feed(self, event: e.Event) -> list[Output]:
        if self._gathered is not None:
            self._gathered.append(event)
            return []
        outputs = self.core.handle(event, now=self.now)
        self.said.extend(outputs)
        return outputs

    @contextmanager
    def in_one_turn(self) -> Iterator[None]:
        """What is fed in this block reaches the core at once, as after a moment in which the program was busy."""
        gathered = self._gathered = []
        yield
        self._gathered = None
        self.said.extend(self.core.handle_all(gathered, now=self.now))

    def keep_journal(self) -> list[e.Event]:
        """From here on, all that the core is told and concludes, in the order of a journal."""
        journaled: list[e.Event] = []
        decide = self.core.handle

        def remember(event: e.Event, *, now: float) -> list[Output]:
            outputs = decide(event, now=now)
            journaled.append(event)
            journaled.extend(one for one in outputs if isinstance(one, e.Event))
            return outputs

        self.core.handle = remember  # type: ignore[method-assign]
        return journaled

    def wait(self, seconds: float) -> list[Output]:
        """Let time pass, waking the core whenever it asked for it."""
        until, heard = self.now + seconds, len(self.said)
        while (due := self.core.wake_at()) is not None and due <= until:
            self.now = max(self.now, due)
            self.said.extend(self.core.wake(now=self.now))
        self.now = until
        return self.said[heard:]

    def all(self, kind: type[T]) -> list[T]:
        return [one for one in self.said if isinstance(one, kind)]

    def last(self, kind: type[T]) -> T:
        return self.all(kind)[-1]

    def agent(self, agent: AgentId) -> Agent:
        return self.core.agents[agent]

    # ── people ────────────────────────────────────────────────────────────────────────────────────────────

    def ready(self, *agents: AgentId) -> None:
        for agent in agents:
            self.feed(e.AgentLoggedIn(at=self.now, agent=agent))
            self.feed(e.DeskFresh(at=self.now, agent=agent))
            self.feed(e.StateRequested(at=self.now, agent=agent, state=AgentState.AVAILABLE, reason="", by="agent"))
            self.now += 1

    # ── the PBX ───────────────────────────────────────────────────────────────────────────────────────────

    def leg(self) -> LegId:
        self._next += 1
        return LegId(f"{PBX}/{self._next}.1")

    def leg_started(self, endpoint: str, conversation: LegId | None = None, number: str = "") -> LegId:
        leg = self.leg()
        self.feed(
            e.LegStarted(
                at=self.now,
                leg=leg,
                conversation=conversation or leg,
                channel=f"PJSIP/{endpoint}-{self._next:08x}",
                tech="PJSIP",
                endpoint=endpoint,
                number=number,
                name="",
                dialled="",
            )
        )
        return leg

    def offer(
        self, leg: LegId, *, dnis: str = "4001", target: str = "", waited_s: float = 0.0, ani: str = "+4912"
    ) -> None:
        self.feed(
            e.CallOffered(
                at=self.now,
                leg=leg,
                ani=ani,
                ani_name="Caller",
                is_withheld=not ani,
                dnis=dnis,
                account="",
                choice="",
                language="",
                waited_s=waited_s,
                target=target,
            )
        )

    def call(self, *, dnis: str = "4001", ani: str = "+4912") -> tuple[LegId, InteractionId]:
        """A caller arrives in the hold loop."""
        leg = self.leg_started("trunk", number=ani)
        self.feed(e.LegAnswered(at=self.now, leg=leg))
        self.offer(leg, dnis=dnis, ani=ani)
        return leg, InteractionId(leg.replace("/", "-"))

    def rings(self, caller: LegId, endpoint: str) -> LegId:
        leg = self.leg_started(endpoint, conversation=caller)
        self.feed(e.DialStarted(at=self.now, by=caller, to=leg))
        self.feed(e.LegRinging(at=self.now, leg=leg))
        return leg

    def ring_ends(self, caller: LegId, leg: LegId, outcome: DialOutcome) -> None:
        self.feed(e.DialEnded(at=self.now, by=caller, to=leg, outcome=outcome))
        self.ends(leg, HangupCause.NO_ANSWER)

    def answers(self, caller: LegId, leg: LegId) -> BridgeId:
        self.feed(e.LegAnswered(at=self.now, leg=leg))
        self.feed(e.DialEnded(at=self.now, by=caller, to=leg, outcome=DialOutcome.ANSWERED))
        return self.bridge(caller, leg)

    def bridge(self, *legs: LegId) -> BridgeId:
        self._next += 1
        bridge = BridgeId(f"{PBX}/bridge{self._next}")
        for leg in legs:
            self.feed(e.BridgeJoined(at=self.now, leg=leg, bridge=bridge, kind=BridgeKind.TALK))
        return bridge

    def part(self, bridge: BridgeId, *legs: LegId) -> None:
        for leg in legs:
            self.feed(e.BridgeParted(at=self.now, leg=leg, bridge=bridge))

    def ends(self, leg: LegId, cause: HangupCause = HangupCause.NORMAL) -> None:
        self.feed(e.LegEnded(at=self.now, leg=leg, cause=cause))

    def talk(self, agent: AgentId, *, dnis: str = "4001") -> tuple[LegId, LegId, BridgeId, InteractionId]:
        """A caller who speaks with ``agent`` (who must be the one to be chosen)."""
        caller, interaction = self.call(dnis=dnis)
        ring = self.last(c.RingAgent)
        assert ring.agent == agent
        leg = self.rings(caller, ring.endpoint)
        return caller, leg, self.answers(caller, leg), interaction
