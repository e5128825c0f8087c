"""The state doctor: what cannot be, how long it has been so, and when it may be put right.

It looks at the deciding core's own state, and at which legs the PBX says that it has. Nothing is repaired at first
sight: what looks wrong may be a fact that is still under way. It must last ``GRACE_S``, then the PBX is read anew, and
only what the reading did not put right is repaired. So a repair never parts two who talk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from cti import events as e
from cti.events import AgentState
from cti.ids import AgentId, InteractionId, LegId, PbxId, pbx_of

if TYPE_CHECKING:
    from cti.agent_state import Agent
    from cti.inbound import Call, Inbound

GRACE_S = 2.0
"""How long something that cannot be must last before the PBX is asked about it."""
SETTLED_S = 1.0
"""What a reading found takes that long to be told and acted upon."""
ANSWER_S = 5.0
"""A PBX that has not answered by then is not waited for; nor is it asked again before."""
LEGS_EVERY_S = 15.0
STRANGERS_EVERY_S = 60.0


class Ailment(NamedTuple):
    """Something that cannot be. ``what`` is the code of the ``Repaired`` that puts it right."""

    what: str
    pbx: PbxId
    agent: AgentId | None
    interaction: InteractionId | None
    leg: LegId | None = None


@dataclass(slots=True)
class _Chart:
    """What is known of one PBX: when it was read, what was missing or strange in its last list of legs."""

    asked_at: float = float("-inf")
    read_at: float = float("-inf")
    legs_due_at: float = 0.0
    legs_asked_at: float = 0.0
    strangers_at: float = float("-inf")
    missing: frozenset[LegId] = frozenset()
    strange: frozenset[LegId] = frozenset()
    hopeless: set[LegId] = field(default_factory=set)


class StateDoctor:
    """Keeps since when each ailment lasts, and what each PBX was asked."""

    def __init__(self) -> None:
        self._since: dict[Ailment, float] = {}
        self._charts: dict[PbxId, _Chart] = {}

    def link_up(self, pbx: PbxId, now: float) -> None:
        """Look after this PBX from now on; it is being read."""
        self._charts[pbx] = _Chart(asked_at=now, legs_due_at=now + LEGS_EVERY_S)

    def link_lost(self, pbx: PbxId) -> None:
        """What can't be asked about is left as it is."""
        self._charts.pop(pbx, None)

    def pbx_read(self, pbx: PbxId, now: float) -> None:
        """The whole state of this PBX was told."""
        if (chart := self._charts.get(pbx)) is not None:
            chart.read_at = now

    def wants_legs(self, now: float) -> Iterator[PbxId]:
        """The PBXs whose list of legs is due; they are asked now."""
        for pbx, chart in self._charts.items():
            if chart.legs_due_at <= now:
                chart.legs_due_at, chart.legs_asked_at = now + LEGS_EVERY_S, now
                yield pbx

    def wants_reading(self, pbx: PbxId, now: float) -> bool:
        """Whether the PBX may be asked for everything now; it is, then."""
        chart = self._charts.get(pbx)
        if chart is None or now < chart.asked_at + ANSWER_S:
            return False
        chart.asked_at = now
        return True

    def examine(self, found: Iterable[Ailment], now: float) -> tuple[list[Ailment], list[PbxId]]:
        """What must be put right now, and which PBXs must be read first for the rest."""
        since = {one: self._since.get(one, now) for one in found if one.pbx in self._charts}
        repairs: list[Ailment] = []
        readings: list[PbxId] = []
        for one, began_at in list(since.items()):
            chart = self._charts[one.pbx]
            if now < began_at + GRACE_S:
                continue
            is_read = chart.read_at >= began_at and now >= chart.read_at + SETTLED_S
            is_unanswered = chart.asked_at >= began_at and now >= chart.asked_at + ANSWER_S and not is_read
            if is_read or is_unanswered:
                repairs.append(one)
                since[one] = now
            elif chart.asked_at < began_at and one.pbx not in readings and self.wants_reading(one.pbx, now):
                readings.append(one.pbx)
        self._since = since
        return repairs, readings

    def legs_read(
        self, event: e.LegsRead, known: Mapping[LegId, float], now: float
    ) -> tuple[tuple[LegId, ...], tuple[LegId, ...]]:
        """Legs of ours (``known``: live leg → since when) that the PBX has had no more twice, and legs of the PBX that
        we did not know twice."""
        chart = self._charts.get(event.pbx)
        if chart is None:
            return (), ()
        alive = frozenset(event.legs)
        asked_at = chart.legs_asked_at
        missing = frozenset(leg for leg, began_at in known.items() if leg not in alive and began_at < asked_at)
        strange = alive - known.keys() - chart.hopeless
        gone = tuple(sorted(missing & chart.missing))
        unknown = tuple(sorted(strange & chart.strange))
        chart.missing, chart.strange = missing - set(gone), strange
        if unknown and now < chart.strangers_at + STRANGERS_EVERY_S:
            return gone, ()
        if unknown:
            # Asked about once; a leg that no reading makes known is none of ours.
            chart.strangers_at = now
            chart.hopeless = (chart.hopeless & alive) | set(unknown)
        return gone, unknown


def ailments(core: Inbound, now: float) -> Iterator[Ailment]:
    """Everything in the core's state that cannot be."""
    for agent in core.agents.values():
        if agent.state is AgentState.RESERVED or agent.state is AgentState.ON_CALL or agent.legs:
            yield from _of_agent(core, agent)
    for call in core.calls.values():
        yield from _of_call(core, call, now)
    yield from _of_line(core)
    for kept in core.attending.waiting.lost(core.plan, now):
        yield Ailment("lost_callback", kept.pbx, None, kept.interaction)


def _of_agent(core: Inbound, agent: Agent) -> Iterator[Ailment]:
    plan = core.plan.agents.get(agent.id)
    if plan is None or core.supervision.of(agent.id) is not None or core.attending.waiting.is_kept_free(agent.id):
        return
    pbx = plan.phone.pbx
    for leg in agent.legs:
        home = core.conversations.of_leg(leg)
        if home is None or not home.legs[leg].is_live:
            yield Ailment("ghost_leg", pbx_of(leg), agent.id, agent.interaction, leg)
    home = core.conversations.get(agent.interaction) if agent.interaction is not None else None
    if agent.state is AgentState.RESERVED:
        call = core.calls.get(home.id) if home is not None else None
        if home is None or (agent.id not in home.agents_ringing and (call is None or not _is_kept(call, agent.id))):
            yield Ailment("stuck_agent", pbx, agent.id, agent.interaction)
    elif agent.state is AgentState.ON_CALL and (home is None or home.ended_at is not None or not agent.legs):
        yield Ailment("stuck_agent", pbx, agent.id, agent.interaction)


def _of_line(core: Inbound) -> Iterator[Ailment]:
    """The line is what is decided from: it must be about the callers and agents that there are."""
    pbx = next(iter(core.links), None)
    if pbx is None:
        return
    for one in core.line:
        call = core.calls.get(one)
        if (call is None or not call.is_waiting) and core.attending.waiting.by_waiter(one) is None:
            yield Ailment("ghost_place", pbx, None, one)
    for agent in core.line.mistaken():
        yield Ailment("mistaken_agent", core.plan.agents[agent].phone.pbx, agent, None)


def _is_kept(call: Call, agent: AgentId) -> bool:
    """The agent is RESERVED for this caller though no phone rings (yet)."""
    return (
        agent in call.rings
        or (call.returning is not None and call.returning.agent == agent)
        or (call.transfer is not None and call.transfer.target_agent == agent)
    )


def _of_call(core: Inbound, call: Call, now: float) -> Iterator[Ailment]:
    pbx = pbx_of(call.leg)
    home = core.conversations.get(call.id)
    if home is None or home.ended_at is not None:
        yield Ailment("ghost_call", pbx, None, call.id)
        return
    for agent in home.agents_talking:
        state = core.agents[agent].state if agent in core.agents else None
        is_kept = call.returning is not None and call.returning.agent == agent
        if state is not None and state is not AgentState.ON_CALL and not is_kept:
            yield Ailment("unseen_talk", pbx, agent, call.id)
    if call.ringing is not None and call.ring_until is not None and call.ring_until <= now:
        yield Ailment("silent_ring", pbx, call.ringing, call.id)
    transfer = call.transfer
    is_due = transfer is not None and (transfer.kind != "take_over" or transfer.until <= now)
    if transfer is not None and is_due and not transfer.is_joining:
        customer = core.customer_leg(call.id)
        if customer is not None and transfer.by_leg in home.peers_of(customer):
            yield Ailment("stuck_transfer", pbx, transfer.by, call.id)
    if is_lost(core, call):
        yield Ailment("lost_caller", pbx, None, call.id)
    if call.is_waiting and call.id not in core.line:
        yield Ailment("lost_place", pbx, None, call.id)
    elif call.is_waiting and call.queue not in core.plan.queues and call.wanted_agent is None:
        yield Ailment("no_queue", pbx, None, call.id)


def is_lost(core: Inbound, call: Call) -> bool:
    """A caller of ours who is on the line and neither waits nor rings nor talks, nor is anywhere else."""
    home = core.conversations.get(call.id)
    if home is None or not call.is_accepted or call.is_waiting or call.ringing is not None or call.is_fallen_back:
        return False
    if call.away:
        return False
    if call.transfer is not None and call.transfer.kind == "attended":
        return False
    return home.is_customer_alone and not home.is_being_moved
