"""The deciding core and a real Asterisk: a supervisor listens, the daemon is killed and comes back, and takes over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cti import commands as c
from cti import events as e
from cti.events import AgentState
from cti.ids import AgentId, InteractionId, QueueId
from cti.inbound import Inbound
from cti.routing.plan import AgentPlan, DnisRoute, Phone, PhoneKind, Plan, QueuePlan, RecordingPolicy
from tests.sim.stage import DNIS, PBX

if TYPE_CHECKING:
    from cti.events import Event
    from cti.inbound import Output
    from tests.sim.stage import AsteriskStage

pytestmark = pytest.mark.pbx
ANN, BOB, SALES = AgentId("ann"), AgentId("bob"), QueueId("sales")
PLAN = Plan(
    {SALES: QueuePlan(SALES, "Sales", recording=RecordingPolicy.OFF)},
    {
        ANN: AgentPlan(ANN, "Ann", Phone(PBX, "ann", PhoneKind.DESK), queues=(SALES,)),
        BOB: AgentPlan(BOB, "Bob", Phone(PBX, "bob", PhoneKind.DESK)),
    },
    (DnisRoute(DNIS, SALES),),
    SALES,
)


class Decided:
    """A core that hears what the stage hears, and whose orders the PBX carries out. ``journal``: as on disk."""

    def __init__(self, stage: AsteriskStage) -> None:
        self.stage = stage
        self.journal: list[Event] = []
        self.core: Inbound | None = None
        self._hear, self._settle = stage.take, stage.settle
        stage.take = self.take  # type: ignore[method-assign]
        stage.settle = self.settle  # type: ignore[method-assign]

    def start(self) -> None:
        """A start of the daemon: what the journal says, then whatever comes."""
        core = Inbound(PLAN, boot=self.stage.boot)
        core.restore(self.journal)
        self.core = core

    async def reconnect(self) -> None:
        """A new link, and the reading that comes with it; the core may have asked for others before."""
        self.stage._facts_seen = len(self.stage.facts)
        await self.stage.reconnect()

    def take(self, fact: Event) -> None:
        self._hear(fact)
        if self.core is not None:
            self.journal.append(fact)
            self._carry_out(self.core.handle(fact, now=fact.at))

    def settle(self, now: float) -> None:
        self._settle(now)
        if self.core is not None:
            self._carry_out(self.core.wake(now=now))

    def _carry_out(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, c.Command):
                if not isinstance(output, c.Beat):
                    self.stage.order(output)
            else:
                self.journal.append(output)

    def tell(self, fact: Event) -> None:
        """What a person at a page does."""
        self.stage._received(fact)

    async def concludes(self, what: type[Event], **values: object) -> None:
        def found() -> bool:
            return any(
                isinstance(fact, what) and all(getattr(fact, name) == value for name, value in values.items())
                for fact in self.journal
            )

        await self.stage.until(found, f"{what.__name__} {values}")

    @property
    def now(self) -> float:
        return self.stage.facts[-1].at

    def interaction(self) -> InteractionId:
        assert self.core is not None
        (call,) = self.core.calls
        return call


async def test_listening_outlives_the_daemon_and_the_listener_takes_over(asterisk: AsteriskStage) -> None:
    it = Decided(asterisk)
    it.start()
    await it.reconnect()
    for agent in (ANN, BOB):
        it.tell(e.AgentLoggedIn(at=it.now, agent=agent))
        it.tell(e.DeskFresh(at=it.now, agent=agent))
    it.tell(e.StateRequested(at=it.now, agent=ANN, state=AgentState.AVAILABLE, reason="", by="ann"))
    await asterisk.call_in()
    await it.concludes(e.AgentRang, agent=ANN)
    await asterisk.answer("ann")
    await it.concludes(e.AgentJoined, agent=ANN)
    interaction = it.interaction()
    it.tell(
        e.SpyRequested(at=it.now, interaction=interaction, agent=ANN, listener=BOB, mode=e.SpyMode.WHISPER, by="bob")
    )
    await asterisk.answer("bob")
    await it.concludes(e.SpyStarted, listener=BOB, mode=e.SpyMode.WHISPER)
    it.core = None
    it.start()
    await it.reconnect()
    assert it.core is not None
    assert (it.core.agents[BOB].state, it.core.agents[BOB].reason) == (AgentState.ON_CALL, "listening")
    assert not any(isinstance(fact, e.Repaired | e.SpyEnded) for fact in it.journal)
    it.tell(e.TakeOverRequested(at=it.now, interaction=interaction, agent=ANN, taker=BOB, by="bob"))
    await it.concludes(e.TransferEnded, kind="take_over", outcome="completed")
    await it.concludes(e.SpyEnded, why="took_over")
    await it.concludes(e.AgentStateChanged, agent=ANN, state=AgentState.WRAP_UP)
    await asterisk.caller_hangs_up()
    await it.concludes(e.InteractionEnded, interaction=interaction, outcome="answered")
    assert len([fact for fact in it.journal if isinstance(fact, e.InteractionStarted)]) == 1
