"""The inbound flow: a caller is offered, waits, rings at the right agent, talks, and is wrapped up.

One object decides for the whole floor: ``handle(event, now)`` and ``wake(now)`` return what follows, floor facts and
commands in the order in which they are to be journaled and carried out; ``wake_at()`` says when it wants to be woken.
It reads no clock, waits for nothing and knows no wire; the live driver, the simulator and a replay run the same object.

The story of one call::

    CallOffered ─▶ AcceptOffer, LookUpCaller ─▶ InteractionQueued ─▶ AgentChosen ─▶ RingAgent (RESERVED)
       ▲                                                                    │ AgentRang ─▶ ShowPop
       │  head of the line; agent NOT_READY (RONA, rejected) ◀─ AgentRingEnded ─┤
       │                                                                    ▼ AgentJoined (ON_CALL)
       └─ transfer: SendToHold (blind, blonde) ◀─────────────────────────  talk ─▶ leg ends ─▶ WRAP_UP ─▶ done

Who is connected with whom comes from ``Conversations`` alone: it sees what the PBX says, so a call that somebody else
routed (an ``app_queue`` of the site, a direct dial) moves agent states and pops all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from cti import commands as c
from cti import events as e
from cti.agent_state import Agent, Move
from cti.events import AgentState, DialOutcome, Event
from cti.ids import AgentId, InteractionId, LegId, PbxId, QueueId, interaction_id, pbx_of
from cti.interaction import WIRE_TECHS, Conversations, dialable
from cti.routing.plan import AgentPlan, Plan
from cti.routing.select import Choice, choose, why_not

Output: TypeAlias = "Event | c.Command"

BEAT_S = 1.0
LOOK_UP_DEADLINE_S = 2.0
RING_GRACE_S = 5.0
"""A ring of which the PBX says nothing for that long after its time-out is taken back."""
RETRY_S = 1.0
"""A caller whose ring could not even be started waits that long before the next try."""

REACHABLE = frozenset(
    {
        e.DeviceState.NOT_INUSE,
        e.DeviceState.INUSE,
        e.DeviceState.BUSY,
        e.DeviceState.RINGING,
        e.DeviceState.ON_HOLD,
    }
)

RING_FAILURE = {
    DialOutcome.NO_ANSWER: "ring_no_answer",
    DialOutcome.BUSY: "rejected",
    DialOutcome.REJECTED: "rejected",
    DialOutcome.FORWARDED: "rejected",
    DialOutcome.UNREACHABLE: "phone_unreachable",
    DialOutcome.FAILED: "phone_unreachable",
}
"""Why an agent that we rang is NOT_READY now, by how the ring ended."""

POP_REASON = {
    DialOutcome.NO_ANSWER: "no_answer",
    DialOutcome.BUSY: "rejected",
    DialOutcome.REJECTED: "rejected",
    DialOutcome.FORWARDED: "rejected",
    DialOutcome.UNREACHABLE: "unreachable",
    DialOutcome.FAILED: "unreachable",
    DialOutcome.CANCELLED: "caller_gone",
}


@dataclass(slots=True)
class Transfer:
    """A transfer under way, asked for by ``by``, who speaks on ``by_leg``."""

    by: AgentId
    by_leg: LegId
    target: str
    kind: str
    target_agent: AgentId | None = None
    target_leg: LegId | None = None
    is_answered: bool = False
    is_joining: bool = False
    """Two of the three are being connected: another order now would part them again."""


@dataclass(slots=True)
class Call:
    """What the flow knows of a caller beyond who is connected with whom. Times are Unix seconds."""

    id: InteractionId
    leg: LegId
    queue: QueueId | None = None
    ani: str = ""
    ani_name: str = ""
    is_withheld: bool = False
    dnis: str = ""
    account: str = ""
    choice: str = ""
    language: str = ""
    started_at: float = 0.0
    queued_at: float | None = None
    is_waiting: bool = False
    is_head: bool = False
    is_fallen_back: bool = False
    is_answered: bool = False
    not_before: float = 0.0
    wanted_agent: AgentId | None = None
    ringing: AgentId | None = None
    ring_until: float | None = None
    is_ring_seen: bool = False
    talking: dict[AgentId, LegId] = field(default_factory=dict)
    served_by: set[AgentId] = field(default_factory=set)
    """Whoever spoke with the caller, not only about them, and is still in the call."""
    is_held: bool = False
    phase_since: float = 0.0
    parties: tuple[int, ...] = ()
    party: int | None = None
    how: str = ""
    is_looked_up: bool = False
    recording: str = "off"
    recorded_leg: LegId | None = None
    transfer: Transfer | None = None
    decisions: list[e.AgentChosen] = field(default_factory=list)


@dataclass(slots=True)
class EarlyLookUp:
    """Who calls, asked when the call reached the PBX, before it was offered. ``found`` None: not answered yet."""

    leg: LegId
    ani: str
    found: e.CallerLookedUp | None = None


class Inbound:
    """The deciding core of the floor. ``boot``: an id of this start of the program, shown to the dialplans."""

    def __init__(self, plan: Plan, *, boot: str) -> None:
        self.plan = plan
        self.boot = boot
        self.conversations = Conversations(plan.owner_of)
        self.agents: dict[AgentId, Agent] = {}
        self.calls: dict[InteractionId, Call] = {}
        self.links: dict[PbxId, str] = {}
        self._waiting: dict[InteractionId, Call] = {}
        self._undecided: list[Call] = []
        self._early: dict[InteractionId, EarlyLookUp] = {}
        self._beat_count = 0
        self._beat_at: float | None = None
        self._candidates: dict[QueueId, tuple[tuple[Agent, AgentPlan], ...]] = {}
        self._phones: dict[tuple[PbxId, str], AgentId] = {}
        self._leg_owner: dict[LegId, AgentId] = {}
        self._parted: dict[LegId, AgentId] = {}
        self._wrap_up_ends: dict[AgentId, float] = {}
        self._ringing: dict[InteractionId, Call] = {}
        self._take_plan(plan)
        self._handlers: dict[type[Event], Callable[..., Iterator[Output]]] = {
            e.PlanChanged: self._plan_changed,
            e.CallOffered: self._call_offered,
            e.CallerFellBack: self._caller_fell_back,
            e.CallerLookedUp: self._caller_looked_up,
            e.CustomerChosen: self._customer_chosen,
            e.LegStarted: self._leg_started,
            e.LegEnded: self._leg_ended,
            e.PhoneReachable: self._phone_reachable,
            e.PhoneUnreachable: self._phone_unreachable,
            e.DeviceChanged: self._device_changed,
            e.PbxRead: self._pbx_read,
            e.LinkUp: self._link_up,
            e.LinkLost: self._link_lost,
            e.CommandFailed: self._command_failed,
            e.AgentLoggedIn: self._agent_logged_in,
            e.AgentLoggedOut: self._agent_logged_out,
            e.StateRequested: self._state_requested,
            e.DeskFresh: self._desk_fresh,
            e.DeskStale: self._desk_stale,
            e.WrapUpFinished: self._wrap_up_finished,
            e.HangUpRequested: self._hang_up_requested,
            e.RecordingPauseRequested: self._recording_pause_requested,
            e.TransferRequested: self._transfer_requested,
            e.TransferCompleteRequested: self._transfer_complete_requested,
            e.TransferCancelRequested: self._transfer_cancel_requested,
            # what the conversations conclude
            e.InteractionStarted: self._interaction_started,
            e.InteractionMerged: self._interaction_merged,
            e.InteractionEnded: self._interaction_ended,
            e.AgentRang: self._agent_rang,
            e.AgentRingEnded: self._agent_ring_ended,
            e.AgentJoined: self._agent_joined,
            e.AgentLeft: self._agent_left,
            e.InteractionHeld: self._interaction_held,
            e.RecordingChanged: self._recording_changed,
        }

    # ── the three methods of every deciding machine ───────────────────────────────────────────────────────

    def handle(self, event: Event, *, now: float) -> list[Output]:
        """Take a switch or desk fact; return floor facts and commands in order."""
        outputs: list[Output] = []
        if isinstance(event, e.LegEnded):
            self._forget_leg(event.leg)
        # The calls must be known to the flow before the conversations speak of them, and legs must be known to the
        # conversations before the flow asks for them: the conversations go first.
        for fact in self.conversations.handle(event):
            outputs.extend(self._concluded(fact, now))
        handler = self._handlers.get(type(event))
        if handler is not None:
            outputs.extend(handler(event, now))
        outputs.extend(self._assign(now))
        return outputs

    def wake_at(self) -> float | None:
        """When the next time-out of ours is due (Unix seconds), or None."""
        times: list[float] = [] if self._beat_at is None else [self._beat_at]
        settled_at = self.conversations.wake_at()
        if settled_at is not None:
            times.append(settled_at)
        times.extend(self._wrap_up_ends.values())
        times.extend(call.ring_until + RING_GRACE_S for call in self._ringing.values() if call.ring_until is not None)
        times.extend(call.not_before for call in self._waiting.values() if call.not_before)
        return min(times, default=None)

    def wake(self, *, now: float) -> list[Output]:
        """Do what time alone makes due."""
        outputs: list[Output] = []
        for fact in self.conversations.wake(now=now):
            outputs.extend(self._concluded(fact, now))
        for agent, until in list(self._wrap_up_ends.items()):
            if until <= now:
                outputs.extend(self._finish_wrap_up(self._agent(agent), now))
        for call in list(self._ringing.values()):
            if call.ring_until is not None and call.ring_until + RING_GRACE_S <= now:
                outputs.extend(self._take_ring_back(call, now))
        for call in self._waiting.values():
            if call.not_before <= now:
                call.not_before = 0.0
        outputs.extend(self._assign(now))
        # Last of all, so that a beat says "everything before this is decided".
        if self._beat_at is not None and self._beat_at <= now:
            self._beat_at = now + BEAT_S
            outputs.extend(self._beat())
        return outputs

    # ── restoring ─────────────────────────────────────────────────────────────────────────────────────────

    def restore(self, facts: Iterable[Event]) -> None:
        """Take up the state that a journal tells of, without deciding anything anew.

        Switch and desk facts go through the same handlers, whose outputs are dropped (they were carried out then);
        the agents' states are taken from the floor facts, which say what really came of it. ``PbxRead`` corrects the
        rest as soon as the link stands.
        """
        for fact in facts:
            if isinstance(fact, e.AgentStateChanged):
                agent = self._agent(fact.agent)
                agent.state = fact.state
                agent.reason = fact.reason
                agent.since = fact.at
                agent.until = fact.until
                agent.interaction = fact.interaction
                agent.next_state = fact.next_state
                if fact.state is AgentState.AVAILABLE:
                    agent.idle_since = fact.at
            elif isinstance(fact, e.AgentChosen) and fact.agent is not None:
                call = self.calls.get(fact.interaction)
                if call is not None:
                    call.decisions.append(fact)
            elif not isinstance(fact, FLOOR_FACTS):
                self.handle(fact, now=fact.at)
        for agent in self.agents.values():
            agent.is_desk_fresh = False
            agent.desk_why = "gone"
        for call in self.calls.values():
            self._stop_ringing(call)
        self._wrap_up_ends = {
            agent.id: agent.until
            for agent in self.agents.values()
            if agent.state is AgentState.WRAP_UP and agent.until is not None
        }
        self.links.clear()
        self._beat_at = None

    # ── reading (for the floor's pages) ───────────────────────────────────────────────────────────────────

    def explain(self, call: Call, *, now: float) -> e.AgentChosen:
        """Why this caller waits, as of now."""
        choice = self._choose(call, now)
        return e.AgentChosen(
            at=now,
            interaction=call.id,
            queue=call.queue,
            agent=choice.agent,
            rule=choice.rule,
            passed=choice.passed,
        )

    def waiting_in_order(self) -> list[Call]:
        """The callers who wait, first served first."""
        return sorted(self._waiting.values(), key=self._place)

    def members(self, queue: QueueId) -> tuple[AgentId, ...]:
        """The agents of a queue."""
        return tuple(agent.id for agent, _ in self._candidates.get(queue, ()))

    def customer_leg(self, interaction: InteractionId) -> LegId | None:
        """The leg of the outside party of a live interaction; None as soon as that party has left."""
        found = self.conversations.get(interaction)
        if found is None or found.customer_leg is None or not found.legs[found.customer_leg].is_live:
            return None
        return found.customer_leg

    # ── the plan ──────────────────────────────────────────────────────────────────────────────────────────

    def _take_plan(self, plan: Plan) -> None:
        self.plan = plan
        self.conversations.owner_of = self.owner_of
        self._phones = {(agent.phone.pbx, agent.phone.endpoint): agent.id for agent in plan.agents.values()}
        for agent in plan.agents:
            self._agent(agent)
        self._candidates = {
            queue: tuple((self.agents[agent.id], agent) for agent in plan.agents.values() if queue in agent.queues)
            for queue in plan.queues
        }

    def owner_of(self, pbx: PbxId, endpoint: str) -> AgentId | None:
        """Whose phone an endpoint is."""
        return self._phones.get((pbx, endpoint))

    def _agent(self, agent: AgentId) -> Agent:
        found = self.agents.get(agent)
        if found is None:
            found = self.agents[agent] = Agent(agent)
        return found

    def _plan_changed(self, event: e.PlanChanged, now: float) -> Iterator[Output]:
        self._take_plan(event.plan)
        for agent in list(self.agents.values()):
            if agent.id not in self.plan.agents and agent.may(Move.LOG_OUT):
                yield from self._move(agent, Move.LOG_OUT, now, reason="removed")
                del self.agents[agent.id]

    # ── callers ───────────────────────────────────────────────────────────────────────────────────────────

    def _interaction_started(self, event: e.InteractionStarted, now: float) -> Iterator[Output]:
        if event.interaction not in self.calls:
            self.calls[event.interaction] = Call(
                event.interaction,
                event.first_leg,
                ani=event.ani,
                ani_name=event.ani_name,
                is_withheld=event.is_withheld,
                dnis=event.dnis,
                account=event.account,
                choice=event.choice,
                language=event.language,
                started_at=event.at,
                phase_since=event.at,
            )
        call = self.calls[event.interaction]
        if event.direction != "internal":
            yield from self._look_up(call, now)

    def _look_up(self, call: Call, now: float) -> Iterator[Output]:
        if call.is_looked_up:
            return
        call.is_looked_up = True
        early = self._early.pop(call.id, None)
        if early is not None and early.ani == call.ani and not call.account:
            if early.found is not None:
                # Told again, now that the interaction that it speaks of has begun.
                found = replace(early.found, at=now)
                yield found
                yield from self._caller_looked_up(found, now)
            return
        yield c.LookUpCaller(
            interaction=call.id,
            account=call.account,
            ani=call.ani,
            dnis=call.dnis,
            choice=call.choice,
            deadline_s=LOOK_UP_DEADLINE_S,
        )

    def _call_offered(self, event: e.CallOffered, now: float) -> Iterator[Output]:
        interaction = self.conversations.of_leg(event.leg)
        if interaction is None:
            # A leg of which nothing else was heard; after a reconnect PbxRead brings it.
            return
        call = self.calls.get(interaction.id)
        if call is None:
            return
        call.leg = event.leg
        queue, wanted = self._destination(event, call)
        if queue is None and wanted is None:
            # Nobody is responsible for this number: left unaccepted, the hold loop takes the caller to its fall-back.
            yield e.Repaired(at=now, what="no_route", agent=None, interaction=call.id, detail=event.dnis)
            return
        yield c.AcceptOffer(leg=event.leg)
        if call.ringing is not None and not call.is_ring_seen:
            # It came back to the loop before the phone ever rang.
            yield from self._release_rung(call, now)
        is_return = call.queued_at is not None or call.is_answered
        call.queue = queue if queue is not None else call.queue
        call.wanted_agent = wanted
        if call.queued_at is None:
            # The dialplan counts whole seconds; nobody waits since before the call began.
            call.queued_at = max(interaction.started_at, now - max(0.0, event.waited_s))
        call.is_head = call.is_head or is_return or wanted is not None
        call.is_waiting = True
        call.is_fallen_back = False
        call.phase_since = now
        self._waiting[call.id] = call
        yield from self._look_up(call, now)
        if call.queue is not None:
            yield e.InteractionQueued(
                at=now,
                interaction=call.id,
                queue=call.queue,
                queued_at=call.queued_at,
                position=1 + sum(1 for other in self._waiting.values() if self._place(other) < self._place(call)),
            )
        self._undecided.append(call)

    def _destination(self, event: e.CallOffered, call: Call) -> tuple[QueueId | None, AgentId | None]:
        kind, _, name = event.target.partition(":")
        if kind == "queue" and QueueId(name) in self.plan.queues:
            return QueueId(name), None
        if kind == "agent" and AgentId(name) in self.plan.agents:
            return self._queue_behind(call), AgentId(name)
        if call.queue is not None and call.queue in self.plan.queues:
            return call.queue, call.wanted_agent
        route = self.plan.route(event.dnis)
        if route is not None and route.queue in self.plan.queues:
            return route.queue, None
        return self.plan.default_queue, None

    def _queue_behind(self, call: Call) -> QueueId | None:
        """The queue that takes a caller whose named agent can't be had."""
        return call.queue if call.queue is not None else self.plan.default_queue

    def _caller_fell_back(self, event: e.CallerFellBack, now: float) -> Iterator[Output]:
        interaction = self.conversations.of_leg(event.leg)
        call = self.calls.get(interaction.id) if interaction is not None else None
        if call is None:
            return
        if call.ringing is not None and not call.is_ring_seen:
            yield from self._release_rung(call, now)
        self._stop_waiting(call)
        call.is_fallen_back = True
        call.phase_since = now

    def _stop_waiting(self, call: Call) -> None:
        call.is_waiting = False
        self._waiting.pop(call.id, None)

    def _caller_looked_up(self, event: e.CallerLookedUp, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        if call is not None:
            call.parties, call.how = event.parties, event.how
            call.party = event.parties[0] if len(event.parties) == 1 else None
        elif (early := self._early.get(event.interaction)) is not None:
            early.found = event
        return
        yield

    def _customer_chosen(self, event: e.CustomerChosen, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        if call is not None:
            call.party = event.party
        return
        yield

    def _interaction_merged(self, event: e.InteractionMerged, now: float) -> Iterator[Output]:
        gone = self.calls.pop(event.gone, None)
        self._waiting.pop(event.gone, None)
        self._ringing.pop(event.gone, None)
        into = self.calls.get(event.into)
        if gone is not None and into is None:
            gone.id = event.into
            self.calls[event.into] = gone
        elif gone is not None and into is not None:
            into.talking.update(gone.talking)
            into.served_by |= gone.served_by
            into.queue = into.queue or gone.queue
            into.is_answered = into.is_answered or gone.is_answered
        for agent in self.agents.values():
            if agent.interaction == event.gone:
                agent.interaction = event.into
        return
        yield

    def _interaction_ended(self, event: e.InteractionEnded, now: float) -> Iterator[Output]:
        call = self.calls.pop(event.interaction, None)
        self._waiting.pop(event.interaction, None)
        self._ringing.pop(event.interaction, None)
        if call is None:
            return
        if call.ringing is not None:
            yield from self._release_rung(call, now)
        if call.transfer is not None:
            yield from self._end_transfer(call, now, "caller_gone")
        for agent in self.agents.values():
            if agent.interaction == event.interaction and agent.state in (AgentState.RESERVED, AgentState.ON_CALL):
                if agent.legs:
                    # A phone that is up for a conversation that is over: sentence 8.
                    yield e.Repaired(
                        at=now, what="stuck_agent", agent=agent.id, interaction=event.interaction, detail=agent.state
                    )
                yield from self._leave(agent, call, now)

    def _refined(self, event: e.InteractionEnded, now: float) -> e.InteractionEnded:
        """An abandon within the queue's short-abandon time is counted apart."""
        call = self.calls.get(event.interaction)
        if call is None:
            return event
        if call.is_fallen_back and not call.is_answered:
            return replace(event, outcome="fell_back")
        if event.outcome == "abandoned" and call.queue is not None and call.queued_at is not None:
            queue = self.plan.queues.get(call.queue)
            if queue is not None and event.at - call.queued_at < queue.short_abandon_s:
                return replace(event, outcome="short_abandoned")
        return event

    # ── who gets whom ─────────────────────────────────────────────────────────────────────────────────────

    def _place(self, call: Call) -> tuple[int, int, float, str]:
        queue = self.plan.queues.get(call.queue) if call.queue is not None else None
        return (-(queue.priority if queue else 0), 0 if call.is_head else 1, call.queued_at or 0.0, call.id)

    def _choose(self, call: Call, now: float) -> Choice:
        if call.wanted_agent is not None:
            plan = self.plan.agents.get(call.wanted_agent)
            if plan is None:
                return Choice(None, "named_agent", ())
            reason = why_not(self._agent(plan.id), plan, None, now=now)
            if reason is None:
                return Choice(plan.id, "named_agent", ())
            return Choice(None, "named_agent", (reason,))
        queue = self.plan.queues.get(call.queue) if call.queue is not None else None
        if queue is None:
            return Choice(None, "no_queue", ())
        return choose(queue, self._candidates.get(queue.id, ()), now=now)

    def _is_anyone_free(self) -> bool:
        return any(
            agent.state is AgentState.AVAILABLE and agent.is_desk_fresh and agent.is_phone_reachable and not agent.legs
            for agent in self.agents.values()
        )

    def _assign(self, now: float) -> Iterator[Output]:
        if self._waiting and self._is_anyone_free():
            yield from self._serve(now)
        undecided, self._undecided = self._undecided, []
        for call in undecided:
            if call.is_waiting:
                yield self._noted(call, self._choose(call, now), now)

    def _noted(self, call: Call, choice: Choice, now: float) -> e.AgentChosen:
        """A decision, kept with the call."""
        decision = e.AgentChosen(
            at=now, interaction=call.id, queue=call.queue, agent=choice.agent, rule=choice.rule, passed=choice.passed
        )
        call.decisions.append(decision)
        return decision

    def _serve(self, now: float) -> Iterator[Output]:
        exhausted: set[QueueId] = set()
        for call in self.waiting_in_order():
            if call.not_before > now or (call.wanted_agent is None and call.queue in exhausted):
                continue
            choice = self._choose(call, now)
            if choice.agent is None:
                if call.wanted_agent is not None and self._is_letting_go(call.wanted_agent, call):
                    continue
                if call.wanted_agent is None and call.queue is not None:
                    exhausted.add(call.queue)
                elif call.wanted_agent is not None and call.queue is not None:
                    # The named agent can't take it now: the queue behind it serves the caller first.
                    call.wanted_agent = None
                    choice = self._choose(call, now)
                if choice.agent is None:
                    continue
            yield from self._ring(call, choice, now)

    def _is_letting_go(self, agent: AgentId, call: Call) -> bool:
        """The agent's phone is busy with this very caller's conversation, out of which the caller was just taken."""
        homes = (self.conversations.of_leg(leg) for leg in self._agent(agent).legs)
        return any(home is not None and home.id == call.id for home in homes)

    def _ring(self, call: Call, choice: Choice, now: float) -> Iterator[Output]:
        assert choice.agent is not None
        agent = self._agent(choice.agent)
        plan = self.plan.agents[choice.agent]
        queue = self.plan.queues.get(call.queue) if call.queue is not None else None
        ring_timeout_s = queue.ring_timeout_s if queue is not None else 20
        yield self._noted(call, choice, now)
        self._stop_waiting(call)
        call.wanted_agent = None
        call.ringing = agent.id
        call.ring_until = now + ring_timeout_s
        self._ringing[call.id] = call
        call.is_ring_seen = False
        call.phase_since = now
        yield from self._move(agent, Move.RESERVE, now, interaction=call.id)
        yield c.RingAgent(
            interaction=call.id,
            leg=call.leg,
            agent=agent.id,
            endpoint=plan.phone.endpoint,
            ring_timeout_s=ring_timeout_s,
            is_recorded=queue.is_recorded if queue is not None else False,
        )

    def _stop_ringing(self, call: Call) -> AgentId | None:
        rung, call.ringing, call.ring_until = call.ringing, None, None
        self._ringing.pop(call.id, None)
        return rung

    def _release_rung(self, call: Call, now: float) -> Iterator[Output]:
        """The ring that was asked for is off before anybody answered; the agent was not at fault."""
        agent_id = self._stop_ringing(call)
        if agent_id is None:
            return
        agent = self._agent(agent_id)
        if call.is_ring_seen:
            yield c.ClosePop(interaction=call.id, agent=agent_id, reason="caller_gone")
        if agent.state is AgentState.RESERVED and agent.interaction == call.id:
            yield from self._move(agent, Move.RELEASE, now)

    def _take_ring_back(self, call: Call, now: float) -> Iterator[Output]:
        agent_id = call.ringing
        yield e.Repaired(at=now, what="silent_ring", agent=agent_id, interaction=call.id, detail="")
        yield from self._release_rung(call, now)
        yield c.ReturnToHold(leg=call.leg)

    # ── agents and their phones ───────────────────────────────────────────────────────────────────────────

    def _agent_rang(self, event: e.AgentRang, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        agent = self._agent(event.agent)
        if call is None:
            return
        if call.transfer is not None and call.transfer.kind == "attended" and call.transfer.by != event.agent:
            call.transfer.target_agent = event.agent
            call.transfer.target_leg = event.leg
        if call.ringing == event.agent:
            call.is_ring_seen = True
        elif agent.state is not AgentState.RESERVED and agent.may(Move.RESERVE):
            yield from self._move(agent, Move.RESERVE, now, reason="direct", interaction=event.interaction)
        yield c.ShowPop(interaction=event.interaction, agent=event.agent, until=event.until)

    def _agent_ring_ended(self, event: e.AgentRingEnded, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        agent = self._agent(event.agent)
        if event.outcome is DialOutcome.ANSWERED:
            return
        was_ours = call is not None and call.ringing == event.agent
        if call is not None and was_ours:
            self._stop_ringing(call)
        if call is not None and call.transfer is not None and call.transfer.target_agent == event.agent:
            transfer = call.transfer
            if not transfer.is_answered and transfer.kind == "attended":
                yield from self._end_transfer(call, now, "failed")
        reason = POP_REASON.get(event.outcome, "no_answer")
        if reason == "caller_gone" and call is not None and call.talking:
            reason = "answered_elsewhere"
        yield c.ClosePop(interaction=event.interaction, agent=event.agent, reason=reason)
        if agent.state is not AgentState.RESERVED or agent.interaction not in (event.interaction, None):
            return
        failure = RING_FAILURE.get(event.outcome) if was_ours else None
        if failure is None:
            yield from self._move(agent, Move.RELEASE, now)
        else:
            yield from self._move(agent, Move.FAIL, now, reason=failure)

    def _agent_joined(self, event: e.AgentJoined, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        agent = self._agent(event.agent)
        if call is not None:
            if call.ringing == event.agent:
                self._stop_ringing(call)
            self._stop_waiting(call)
            call.talking[event.agent] = event.leg
            call.phase_since = now
            transfer = call.transfer
            if event.role == "talk":
                call.served_by.add(event.agent)
                call.is_answered = True
                call.queued_at = None
                call.is_head = False
                call.is_fallen_back = False
            if transfer is not None and event.agent != transfer.by:
                transfer.target_agent, transfer.target_leg = event.agent, event.leg
                transfer.is_answered = True
                if event.role == "talk":
                    yield from self._end_transfer(call, now, "completed")
            elif transfer is not None and event.role == "talk":
                yield from self._end_transfer(call, now, "cancelled" if transfer.kind == "attended" else "failed")
        if agent.may(Move.JOIN):
            yield from self._move(agent, Move.JOIN, now, interaction=event.interaction)

    def _agent_left(self, event: e.AgentLeft, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        if call is not None:
            call.talking.pop(event.agent, None)
            call.phase_since = now
        agent = self._agent(event.agent)
        if event.leg not in agent.legs and agent.interaction == event.interaction:
            yield from self._leave(agent, call, now)

    def _leg_started(self, event: e.LegStarted, now: float) -> Iterator[Output]:
        owner = self._phones.get((pbx_of(event.leg), event.endpoint))
        if owner is not None:
            self._agent(owner).legs.add(event.leg)
            self._leg_owner[event.leg] = owner
        elif event.leg == event.conversation and event.tech not in WIRE_TECHS:
            # A call from outside. The look-up begins now, so that none lies between the offer and a ringing phone.
            interaction = interaction_id(event.leg)
            ani = dialable(event.number)
            self._early[interaction] = EarlyLookUp(event.leg, ani)
            yield c.LookUpCaller(
                interaction=interaction,
                account="",
                ani=ani,
                dnis=dialable(event.dialled),
                choice="",
                deadline_s=LOOK_UP_DEADLINE_S,
            )

    def _forget_leg(self, leg: LegId) -> None:
        owner = self._leg_owner.pop(leg, None)
        if owner is not None:
            self._agent(owner).legs.discard(leg)
            self._parted[leg] = owner

    def _leg_ended(self, event: e.LegEnded, now: float) -> Iterator[Output]:
        self._early.pop(interaction_id(event.leg), None)
        home = self.conversations.of_leg(event.leg)
        left = self.calls.get(home.id) if home is not None and home.customer_leg == event.leg else None
        if left is not None:
            yield from self._end_transfer(left, now, "caller_gone")
        owner = self._parted.pop(event.leg, None)
        agent = self._agent(owner) if owner is not None else None
        if agent is not None and agent.state is AgentState.ON_CALL and not agent.legs:
            call = self.calls.get(agent.interaction) if agent.interaction is not None else None
            yield from self._leave(agent, call, now)

    def _leave(self, agent: Agent, call: Call | None, now: float) -> Iterator[Output]:
        """The agent's part in a call is over. Who was only consulted has nothing to wrap up."""
        interaction = agent.interaction
        has_served = call is not None and agent.id in call.served_by
        if call is not None:
            call.talking.pop(agent.id, None)
            call.served_by.discard(agent.id)
            if call.transfer is not None and call.transfer.by == agent.id and call.transfer.kind == "attended":
                yield from self._end_transfer(call, now, "failed")
        queue = self.plan.queues.get(call.queue) if call is not None and call.queue is not None else None
        if agent.state is AgentState.RESERVED:
            yield from self._move(agent, Move.RELEASE, now)
        elif agent.state is AgentState.ON_CALL:
            if has_served and queue is not None and queue.wrap_up_s > 0:
                yield from self._move(agent, Move.LEAVE, now, interaction=interaction, until=now + queue.wrap_up_s)
                return
            yield from self._move(agent, Move.LEAVE_FREE, now)
        if interaction is not None:
            yield c.ClosePop(interaction=interaction, agent=agent.id, reason="done")

    def _phone_reachable(self, event: e.PhoneReachable, now: float) -> Iterator[Output]:
        return self._reach(event.pbx, event.endpoint, is_reachable=True)

    def _phone_unreachable(self, event: e.PhoneUnreachable, now: float) -> Iterator[Output]:
        return self._reach(event.pbx, event.endpoint, is_reachable=False)

    def _device_changed(self, event: e.DeviceChanged, now: float) -> Iterator[Output]:
        return self._reach(event.pbx, event.endpoint, is_reachable=event.state in REACHABLE)

    def _reach(self, pbx: PbxId, endpoint: str, *, is_reachable: bool) -> Iterator[Output]:
        owner = self._phones.get((pbx, endpoint))
        if owner is not None:
            self._agent(owner).is_phone_reachable = is_reachable
        return
        yield

    # ── the link ──────────────────────────────────────────────────────────────────────────────────────────

    def _link_up(self, event: e.LinkUp, now: float) -> Iterator[Output]:
        self.links[event.pbx] = "up"
        if self._beat_at is None:
            self._beat_at = now + BEAT_S
        yield from self._beat()

    def _link_lost(self, event: e.LinkLost, now: float) -> Iterator[Output]:
        self.links[event.pbx] = event.why
        return
        yield

    def _beat(self) -> Iterator[Output]:
        self._beat_count += 1
        for pbx, status in self.links.items():
            if status == "up":
                yield c.Beat(pbx=pbx, boot=self.boot, count=self._beat_count)

    def _pbx_read(self, event: e.PbxRead, now: float) -> Iterator[Output]:
        """State heals: what the PBX says after a reconnect overrules what we believed."""
        seen = {leg.leg: leg for leg in event.legs}
        devices = dict(event.devices)
        for agent in self.agents.values():
            plan = self.plan.agents.get(agent.id)
            if plan is None or plan.phone.pbx != event.pbx:
                continue
            state = devices.get(plan.phone.endpoint)
            agent.is_phone_reachable = state in REACHABLE
            for gone in agent.legs:
                self._leg_owner.pop(gone, None)
            agent.legs = {leg.leg for leg in event.legs if leg.endpoint == plan.phone.endpoint}
            self._leg_owner.update(dict.fromkeys(agent.legs, agent.id))
            if not agent.legs and agent.state in (AgentState.RESERVED, AgentState.ON_CALL):
                call = self.calls.get(agent.interaction) if agent.interaction is not None else None
                yield e.Repaired(
                    at=now, what="stuck_agent", agent=agent.id, interaction=agent.interaction, detail=agent.state
                )
                if call is not None and call.ringing == agent.id:
                    self._stop_ringing(call)
                yield from self._leave(agent, call, now)
        for call in list(self._waiting.values()):
            leg = seen.get(call.leg)
            if pbx_of(call.leg) == event.pbx and (leg is None or not leg.is_waiting):
                self._stop_waiting(call)
                call.is_fallen_back = leg is not None and leg.bridge is None
                yield e.Repaired(at=now, what="not_waiting", agent=None, interaction=call.id, detail="")
        for leg in event.legs:
            if not leg.is_waiting:
                continue
            interaction = self.conversations.of_leg(leg.leg)
            call = self.calls.get(interaction.id) if interaction is not None else None
            if call is None or not call.is_waiting:
                # It stands in the hold loop and we don't know it (its offer was lost with the link): offer it again.
                yield c.ReturnToHold(leg=leg.leg)

    def _command_failed(self, event: e.CommandFailed, now: float) -> Iterator[Output]:
        interaction = self.conversations.of_leg(event.leg) if event.leg is not None else None
        call = self.calls.get(interaction.id) if interaction is not None else None
        if call is None:
            return
        if event.command in ("StartConsult", "SendToHold"):
            yield from self._end_transfer(call, now, "failed")
            return
        if event.command == "JoinLegs" and call.transfer is not None:
            call.transfer.is_joining = False
        if event.command != "RingAgent" or call.ringing is None or call.is_ring_seen:
            return
        yield from self._release_rung(call, now)
        call.is_head = True
        call.is_waiting = True
        call.not_before = now + RETRY_S
        self._waiting[call.id] = call

    # ── the desk ──────────────────────────────────────────────────────────────────────────────────────────

    def _agent_logged_in(self, event: e.AgentLoggedIn, now: float) -> Iterator[Output]:
        agent = self._agent(event.agent)
        if agent.may(Move.LOG_IN):
            yield from self._move(agent, Move.LOG_IN, now, reason="logged_in", by="agent")

    def _agent_logged_out(self, event: e.AgentLoggedOut, now: float) -> Iterator[Output]:
        agent = self._agent(event.agent)
        agent.is_desk_fresh, agent.desk_why = False, "gone"
        if agent.may(Move.LOG_OUT):
            yield from self._move(agent, Move.LOG_OUT, now, by=event.by)
        elif agent.state is not AgentState.LOGGED_OUT:
            agent.ask_next(AgentState.LOGGED_OUT, "")
            yield self._state_of(agent, now, by=event.by)

    def _state_requested(self, event: e.StateRequested, now: float) -> Iterator[Output]:
        agent = self._agent(event.agent)
        if agent.state is AgentState.LOGGED_OUT:
            return
        move = Move.BE_AVAILABLE if event.state is AgentState.AVAILABLE else Move.BE_NOT_READY
        if agent.may(move):
            interaction = agent.interaction if agent.state is AgentState.WRAP_UP else None
            yield from self._move(agent, move, now, reason=event.reason, by=event.by)
            if interaction is not None:
                yield c.ClosePop(interaction=interaction, agent=agent.id, reason="done")
        else:
            agent.ask_next(event.state, event.reason)
            yield self._state_of(agent, now, by=event.by)

    def _desk_fresh(self, event: e.DeskFresh, now: float) -> Iterator[Output]:
        agent = self._agent(event.agent)
        agent.is_desk_fresh, agent.desk_why = True, ""
        return
        yield

    def _desk_stale(self, event: e.DeskStale, now: float) -> Iterator[Output]:
        agent = self._agent(event.agent)
        agent.is_desk_fresh, agent.desk_why = False, event.why
        return
        yield

    def _wrap_up_finished(self, event: e.WrapUpFinished, now: float) -> Iterator[Output]:
        agent = self._agent(event.agent)
        if agent.state is AgentState.WRAP_UP:
            yield from self._finish_wrap_up(agent, now)

    def _finish_wrap_up(self, agent: Agent, now: float) -> Iterator[Output]:
        interaction = agent.interaction
        yield from self._move(agent, Move.FINISH, now)
        if interaction is not None:
            yield c.ClosePop(interaction=interaction, agent=agent.id, reason="done")

    def _hang_up_requested(self, event: e.HangUpRequested, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        leg = call.talking.get(event.agent) if call is not None else None
        if leg is not None:
            yield c.HangUp(leg=leg)
            return
        for leg in sorted(self._agent(event.agent).legs):
            yield c.HangUp(leg=LegId(leg))

    def _recording_pause_requested(self, event: e.RecordingPauseRequested, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        if call is not None and call.recorded_leg is not None and call.recording != "off":
            yield c.PauseRecording(leg=call.recorded_leg, is_paused=event.is_paused)

    # ── transfers ─────────────────────────────────────────────────────────────────────────────────────────

    def _transfer_requested(self, event: e.TransferRequested, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        agent_leg = call.talking.get(event.agent) if call is not None else None
        if call is None or agent_leg is None or call.transfer is not None:
            return
        customer = self.customer_leg(call.id)
        if customer is None:
            return
        kind = "attended" if event.is_attended else "blind"
        if event.is_attended:
            target = self.plan.agents.get(AgentId(event.target.removeprefix("agent:")))
            if target is None:
                return
            call.transfer = Transfer(event.agent, agent_leg, event.target, kind, target_agent=target.id)
            yield self._transfer_started(call, now)
            reserved = self._agent(target.id)
            if reserved.may(Move.RESERVE):
                yield from self._move(reserved, Move.RESERVE, now, reason="consult", interaction=call.id)
            yield c.StartConsult(
                leg=customer, agent_leg=agent_leg, endpoint=target.phone.endpoint, ring_timeout_s=self._ring_s(call)
            )
        else:
            call.transfer = Transfer(event.agent, agent_leg, event.target, kind)
            yield self._transfer_started(call, now)
            yield c.SendToHold(leg=customer, other=agent_leg, target=event.target)

    def _transfer_started(self, call: Call, now: float) -> e.TransferStarted:
        assert call.transfer is not None
        transfer = call.transfer
        return e.TransferStarted(
            at=now, interaction=call.id, agent=transfer.by, target=transfer.target, kind=transfer.kind
        )

    def _transfer_complete_requested(self, event: e.TransferCompleteRequested, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        transfer = call.transfer if call is not None else None
        customer = self.customer_leg(call.id) if call is not None else None
        if call is None or transfer is None or transfer.by != event.agent or transfer.kind != "attended":
            return
        if customer is None or transfer.is_joining:
            return
        if transfer.is_answered and transfer.target_leg is not None:
            transfer.is_joining = True
            yield c.JoinLegs(leg=customer, to=transfer.target_leg)
            return
        yield from self._end_transfer(call, now, "blonde")
        yield c.SendToHold(leg=customer, other=transfer.by_leg, target=transfer.target)

    def _transfer_cancel_requested(self, event: e.TransferCancelRequested, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        transfer = call.transfer if call is not None else None
        customer = self.customer_leg(call.id) if call is not None else None
        if call is None or transfer is None or transfer.by != event.agent or transfer.kind != "attended":
            return
        if customer is not None and not transfer.is_joining:
            transfer.is_joining = True
            yield c.JoinLegs(leg=transfer.by_leg, to=customer)

    def _end_transfer(self, call: Call, now: float, outcome: str) -> Iterator[Output]:
        transfer, call.transfer = call.transfer, None
        if transfer is None:
            return
        if transfer.target_agent is not None and not transfer.is_answered:
            target = self._agent(transfer.target_agent)
            if target.state is AgentState.RESERVED and target.interaction == call.id and not target.legs:
                yield from self._move(target, Move.RELEASE, now)
        yield e.TransferEnded(
            at=now,
            interaction=call.id,
            agent=transfer.by,
            target=transfer.target,
            kind=transfer.kind,
            outcome=outcome,
        )

    def _ring_s(self, call: Call) -> int:
        queue = self.plan.queues.get(call.queue) if call.queue is not None else None
        return queue.ring_timeout_s if queue is not None else 20

    def _interaction_held(self, event: e.InteractionHeld, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        if call is not None:
            call.is_held = event.is_held
            call.phase_since = now
        return
        yield

    def _recording_changed(self, event: e.RecordingChanged, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        if call is not None:
            call.recording = event.state
            call.recorded_leg = self.customer_leg(call.id) or call.leg
        return
        yield

    # ── plumbing ──────────────────────────────────────────────────────────────────────────────────────────

    def _concluded(self, fact: Event, now: float) -> Iterator[Output]:
        """A floor fact of the conversations: completed by what only the flow knows, then acted upon."""
        if isinstance(fact, e.InteractionEnded):
            fact = self._refined(fact, now)
        elif isinstance(fact, e.AgentRang):
            call = self.calls.get(fact.interaction)
            if call is not None and call.ringing == fact.agent:
                fact = replace(fact, until=call.ring_until)
        yield fact
        handler = self._handlers.get(type(fact))
        if handler is not None:
            yield from handler(fact, now)

    def _move(
        self,
        agent: Agent,
        move: Move,
        now: float,
        *,
        reason: str = "",
        by: str = "system",
        interaction: InteractionId | None = None,
        until: float | None = None,
    ) -> Iterator[Output]:
        before = (agent.state, agent.reason, agent.interaction)
        agent.move(move, now=now, reason=reason, interaction=interaction, until=until)
        if agent.state is AgentState.WRAP_UP and agent.until is not None:
            self._wrap_up_ends[agent.id] = agent.until
        else:
            self._wrap_up_ends.pop(agent.id, None)
        if (agent.state, agent.reason, agent.interaction) != before:
            yield self._state_of(agent, now, by=by)

    def _state_of(self, agent: Agent, now: float, *, by: str) -> e.AgentStateChanged:
        return e.AgentStateChanged(
            at=now,
            agent=agent.id,
            state=agent.state,
            reason=agent.reason,
            by=by,
            interaction=agent.interaction,
            until=agent.until,
            next_state=agent.next_state,
        )


FLOOR_FACTS = (
    e.AgentChosen,
    e.AgentJoined,
    e.AgentLeft,
    e.AgentRang,
    e.AgentRingEnded,
    e.AgentStateChanged,
    e.InteractionEnded,
    e.InteractionHeld,
    e.InteractionMerged,
    e.InteractionQueued,
    e.InteractionStarted,
    e.RecordingChanged,
    e.Repaired,
    e.TransferEnded,
    e.TransferStarted,
)
"""What the core concludes itself: in a journal beside what it was concluded from."""
