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

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from cti import commands as c
from cti import events as e
from cti.agent_state import BUSY, Agent, Move
from cti.events import AgentState, DialOutcome, Event, HangupCause
from cti.ids import AgentId, InteractionId, LegId, PbxId, QueueId, handle_of, interaction_id, pbx_of
from cti.interaction import WIRE_TECHS, Conversations, dialable
from cti.mirror import Mirror
from cti.routing.plan import AgentPlan, PhoneKind, Plan, RecordingPolicy
from cti.routing.select import Choice, choose, is_free, may_ring, why_not
from cti.state_doctor import ANSWER_S, Ailment, StateDoctor, ailments, is_lost

Output: TypeAlias = "Event | c.Command"

BEAT_S = 1.0
LOOK_UP_DEADLINE_S = 2.0
RETRY_S = 1.0
"""What could not be done (a ring that did not start, a caller who stayed with a dead phone) is tried again then."""
RECENTLY_TOLD = 500
"""Facts of ours that are kept while a journal is read, so that none is told twice."""
RETURN_S = 15.0
"""How long a caller waits for the agent whose phone was lost in the middle of their talk."""
OFFER_S = 2.0
"""A hold loop offers its caller within that time to a daemon that (again) beats; else it is asked to."""
WITHDRAW_AGAIN_S = 5.0
"""A caller in the fall-back queue could not be taken out because a phone rings: tried again then, twice as late each
time."""
FALLBACK_PREFIX = "callfloor-"
"""Before the queue in the PBX's own name of its fall-back queue."""

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
    at: float
    target_agent: AgentId | None = None
    target_leg: LegId | None = None
    is_answered: bool = False
    is_joining: bool = False
    """Two of the three are being connected: another order now would part them again."""
    is_handing_over: bool = False
    """Those two are the caller and the one who was consulted."""


@dataclass(slots=True)
class Returning:
    """The agent's phone was lost in the middle of the talk; the caller waits for this agent until ``until``."""

    agent: AgentId
    until: float
    is_rung: bool = False
    retry_at: float | None = None


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
    is_accepted: bool = False
    """The hold loop was told that this caller is ours."""
    is_restored: bool = False
    """Known from the journal alone: its hold loop will offer it to this start of the program."""
    is_answered: bool = False
    not_before: float = 0.0
    wanted_agent: AgentId | None = None
    ringing: AgentId | None = None
    ring_until: float | None = None
    rung_at: float = 0.0
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
    recording_basis: str = ""
    recorded_leg: LegId | None = None
    transfer: Transfer | None = None
    returning: Returning | None = None
    fallback_queue: QueueId | None = None
    """The fall-back queue that it was last seen in."""
    withdraw_at: float | None = None
    withdrawals: int = 0
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
        self._returning: dict[InteractionId, Call] = {}
        self._withdrawing: dict[InteractionId, Call] = {}
        self._unoffered: dict[LegId, float] = {}
        self._again: list[tuple[float, c.Command]] = []
        self._free: set[AgentId] = set()
        self._works_on: dict[AgentId, InteractionId] = {}
        self._at_work: dict[InteractionId, set[AgentId]] = {}
        self._is_match_due = False
        self._is_restoring = False
        self._is_look_up_due = False
        self._untold: list[Event] = []
        self._mirror = Mirror()
        self._must_mirror_again = False
        self._doctor = StateDoctor()
        self._lost_phones: dict[AgentId, float] = {}
        self._take_plan(plan)
        self._handlers: dict[type[Event], Callable[..., Iterator[Output]]] = {
            e.PlanChanged: self._plan_changed,
            e.CallOffered: self._call_offered,
            e.CallerFellBack: self._caller_fell_back,
            e.ForeignQueueJoined: self._foreign_queue_joined,
            e.CallerLookedUp: self._caller_looked_up,
            e.CustomerChosen: self._customer_chosen,
            e.LegStarted: self._leg_started,
            e.LegEnded: self._leg_ended,
            e.PhoneReachable: self._phone_reachable,
            e.PhoneUnreachable: self._phone_unreachable,
            e.DeviceChanged: self._device_changed,
            e.PbxRead: self._pbx_read,
            e.LegsRead: self._legs_read,
            e.LinkUp: self._link_up,
            e.LinkLost: self._link_lost,
            e.CommandFailed: self._command_failed,
            e.AgentLoggedIn: self._agent_logged_in,
            e.AgentLoggedOut: self._agent_logged_out,
            e.StateRequested: self._state_requested,
            e.DeskFresh: self._desk_fresh,
            e.DeskStale: self._desk_stale,
            e.PageLeft: self._page_left,
            e.WrapUpFinished: self._wrap_up_finished,
            e.HangUpRequested: self._hang_up_requested,
            e.RecordingPauseRequested: self._recording_pause_requested,
            e.RecordingObjected: self._recording_objected,
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
        return self.handle_all((event,), now=now)

    def handle_all(self, events: Iterable[Event], *, now: float) -> list[Output]:
        """Take facts that came together; who gets whom is decided when all of them are known."""
        outputs: list[Output] = []
        for event in events:
            outputs.extend(self._take(event, now))
        outputs.extend(self._assign(now))
        outputs.extend(self._mirror.commands())
        return outputs

    def _take(self, event: Event, now: float) -> Iterator[Output]:
        if isinstance(event, e.LegEnded):
            yield from self._phone_fell_silent(event, now)
            self._forget_leg(event.leg)
        elif isinstance(event, e.PbxRead):
            yield from self._phones_read(event, now)
        # The calls must be known to the flow before the conversations speak of them, and legs must be known to the
        # conversations before the flow asks for them: the conversations go first.
        for fact in self.conversations.handle(event):
            yield from self._concluded(fact, now)
        handler = self._handlers.get(type(event))
        if handler is not None:
            yield from handler(event, now)

    def wake_at(self) -> float | None:
        """When the next time-out of ours is due (Unix seconds), or None."""
        times: list[float] = [] if self._beat_at is None else [self._beat_at]
        settled_at = self.conversations.wake_at()
        if settled_at is not None:
            times.append(settled_at)
        times.extend(self._wrap_up_ends.values())
        times.extend(self._unoffered.values())
        times.extend(at for at, _ in self._again)
        for call in self._returning.values():
            assert call.returning is not None
            if not call.returning.is_rung:
                times.append(call.returning.until)
            if call.returning.retry_at is not None:
                times.append(call.returning.retry_at)
        times.extend(call.withdraw_at for call in self._withdrawing.values() if call.withdraw_at is not None)
        times.extend(call.not_before for call in self._waiting.values() if call.not_before)
        return min(times, default=None)

    def wake(self, *, now: float) -> list[Output]:
        """Do what time alone makes due."""
        outputs: list[Output] = []
        for fact in self.conversations.wake(now=now):
            outputs.extend(self._concluded(fact, now))
        for agent, until in list(self._wrap_up_ends.items()):
            if until <= now:
                # It ended when it was to end, also when nobody was there to see it.
                outputs.extend(self._finish_wrap_up(self._agent(agent), until))
        for call in list(self._returning.values()):
            outputs.extend(self._wait_for_return(call, now))
        for call in list(self._withdrawing.values()):
            if call.withdraw_at is not None and call.withdraw_at <= now:
                outputs.extend(self._withdraw(call, now))
        for leg in [leg for leg, due in self._unoffered.items() if due <= now]:
            outputs.extend(self._ask_for_offer(leg, now))
        if self._again:
            outputs.extend(command for at, command in self._again if at <= now)
            self._again = [(at, command) for at, command in self._again if at > now]
        for call in self._waiting.values():
            if call.not_before and call.not_before <= now:
                call.not_before = 0.0
                self._is_match_due = True
        outputs.extend(self._assign(now))
        # Last of all, so that a beat says "everything before this is decided".
        if self._beat_at is not None and self._beat_at <= now:
            self._beat_at = now + BEAT_S
            outputs.extend(self._heal(now))
            outputs.extend(self._mirror.commands())
            outputs.extend(self._beat())
        return outputs

    # ── restoring ─────────────────────────────────────────────────────────────────────────────────────────

    def restore(
        self, facts: Iterable[Event], *, show: Callable[[Output, float], None] = lambda output, at: None
    ) -> None:
        """Take up the state that a journal tells of, without deciding anything anew.

        Switch and desk facts go through the same handlers, whose outputs are dropped (they were carried out then); the
        agents' states and the choices of routing are taken from the floor facts, which say what really came of it.
        ``PbxRead`` corrects the rest as soon as the link stands. ``show`` is told the facts and the orders to the
        screens in their order, each with its time (Unix seconds), so that the cards of talks in progress can be drawn
        again.
        """
        self._is_restoring = True
        shown: dict[AgentId, InteractionId] = {}
        told: deque[Event] = deque(maxlen=RECENTLY_TOLD)
        untold: list[Event] = []
        last_at = 0.0
        for fact in facts:
            last_at = fact.at
            if isinstance(fact, e.PlanChanged):
                self._mirror.remember(fact.plan)
                continue
            show(fact, fact.at)
            if isinstance(fact, FLOOR_FACTS):
                told.append(fact)
                untold.clear()
                if isinstance(fact, e.AgentStateChanged):
                    self._restore_state(fact)
                elif isinstance(fact, e.AgentChosen):
                    self._restore_choice(fact)
            elif not isinstance(fact, e.LegsRead):
                for output in self.handle(fact, now=fact.at):
                    if isinstance(output, OF_A_CONVERSATION) and output not in told:
                        untold.append(output)
                    elif isinstance(output, c.ShowPop):
                        shown[output.agent] = output.interaction
                        show(output, fact.at)
                    elif isinstance(output, c.ClosePop):
                        show(output, fact.at)
        self._is_restoring = False
        # The last run was killed between writing what it heard and writing what it concluded from it.
        self._untold = untold
        for one, interaction in shown.items():
            if self._agent(one).interaction != interaction:
                show(c.ClosePop(interaction=interaction, agent=one, reason="done"), last_at)
        for agent in self.agents.values():
            agent.is_desk_fresh = False
            agent.desk_why = "gone"
            self._touched(agent)
        for call in self.calls.values():
            call.is_restored = True
            if call.transfer is not None:
                call.transfer.is_joining = call.transfer.is_handing_over = False
        self._is_look_up_due = True
        self._wrap_up_ends = {
            agent.id: agent.until
            for agent in self.agents.values()
            if agent.state is AgentState.WRAP_UP and agent.until is not None
        }
        for pbx in list(self.links):
            self._doctor.link_lost(pbx)
            self._mirror.link_lost(pbx)
        self.links.clear()
        self._unoffered.clear()
        self._again.clear()
        self._beat_at = None

    def _restore_state(self, fact: e.AgentStateChanged) -> None:
        agent = self._agent(fact.agent)
        if fact.state in (AgentState.RESERVED, AgentState.ON_CALL) and agent.state not in BUSY:
            # First heard of in the middle of a call: it came from where calls come to.
            was_known = agent.since > 0.0
            agent.came_from = (agent.state, agent.reason) if was_known else (AgentState.AVAILABLE, "")
        elif fact.state is AgentState.WRAP_UP and agent.state not in BUSY:
            agent.came_from = (AgentState.AVAILABLE, "")
        agent.state = fact.state
        agent.reason = fact.reason
        agent.since = fact.at
        agent.until = fact.until
        agent.interaction = fact.interaction
        agent.next_state = fact.next_state
        if fact.state is AgentState.AVAILABLE:
            agent.idle_since = fact.at
        for call in list(self._returning.values()):
            if call.returning is not None and call.returning.agent == agent.id and fact.state != AgentState.RESERVED:
                self._end_return(call)
        self._touched(agent)

    def _restore_choice(self, fact: e.AgentChosen) -> None:
        call = self.calls.get(fact.interaction)
        if call is not None and fact.agent is not None:
            call.decisions.append(fact)
            self._begin_ring(call, fact.agent, fact.at)

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
        self._mirror.take_plan(plan, self.agents.values())
        for one in self.agents.values():
            self._touched(one)

    def _touched(self, agent: Agent) -> None:
        """Something about this agent changed that others look at: is it free, is its phone to be paused?"""
        if agent.id in self.plan.agents and is_free(agent):
            self._free.add(agent.id)
        else:
            self._free.discard(agent.id)
        self._is_match_due = True
        works_on = self._works_on.get(agent.id)
        if works_on != agent.interaction:
            if works_on is not None:
                colleagues = self._at_work[works_on]
                colleagues.discard(agent.id)
                if not colleagues:
                    del self._at_work[works_on]
            if agent.interaction is None:
                del self._works_on[agent.id]
            else:
                self._works_on[agent.id] = agent.interaction
                self._at_work.setdefault(agent.interaction, set()).add(agent.id)
        self._mirror.note(agent)

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
                self._free.discard(agent.id)

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
        self._unoffered.pop(event.leg, None)
        queue, wanted = self._destination(event, call)
        if queue is None and wanted is None:
            # Nobody is responsible for this number: left unaccepted, the hold loop takes the caller to its fall-back.
            yield e.Repaired(at=now, what="no_route", agent=None, interaction=call.id, detail=event.dnis)
            return
        call.queue = queue if queue is not None else call.queue
        yield c.AcceptOffer(leg=event.leg, queue=call.queue or "")
        call.is_accepted = True
        if call.ringing is not None and not call.is_ring_seen:
            # It came back to the loop before the phone ever rang: the PBX has no way to this phone.
            yield from self._phone_not_found(call, now)
        is_returning = call.returning is not None
        if call.returning is not None and call.returning.is_rung:
            yield from self._give_up_return(call, now)
        elif call.returning is not None:
            wanted = call.returning.agent
        # Who only comes back to the loop (another start of ours, the fall-back) keeps the place that it had.
        is_return = call.is_answered or (call.queued_at is not None and not call.is_waiting and not call.is_fallen_back)
        call.wanted_agent = wanted
        if call.queued_at is None:
            # The dialplan counts whole seconds; nobody waits since before the call began.
            call.queued_at = max(interaction.started_at, now - max(0.0, event.waited_s))
        call.is_head = call.is_head or is_return or wanted is not None
        call.is_fallen_back = call.is_restored = False
        call.not_before = 0.0
        call.phase_since = now
        self._end_withdrawal(call)
        self._start_waiting(call)
        yield from self._look_up(call, now)
        if is_returning:
            return
        yield from self._told_queued(call, now)
        self._undecided.append(call)

    def _told_queued(self, call: Call, now: float) -> Iterator[Output]:
        if call.queue is not None and call.queued_at is not None:
            place = self._place(call)
            yield e.InteractionQueued(
                at=now,
                interaction=call.id,
                queue=call.queue,
                queued_at=call.queued_at,
                position=1 + sum(1 for other in self._waiting.values() if self._place(other) < place),
            )

    def _start_waiting(self, call: Call) -> None:
        call.is_waiting = True
        self._waiting[call.id] = call
        self._is_match_due = True

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
        if call.returning is not None:
            yield from self._give_up_return(call, now)
        self._fall_back(call, now)

    def _fall_back(self, call: Call, now: float) -> None:
        self._stop_waiting(call)
        self._unoffered.pop(call.leg, None)
        call.is_fallen_back = True
        call.phase_since = now

    def _foreign_queue_joined(self, event: e.ForeignQueueJoined, now: float) -> Iterator[Output]:
        """A caller of ours went to its fall-back queue though we live: it is taken out again."""
        interaction = self.conversations.of_leg(event.leg)
        call = self.calls.get(interaction.id) if interaction is not None else None
        if call is None or not call.is_fallen_back or not event.queue.startswith(FALLBACK_PREFIX):
            return
        call.fallback_queue = QueueId(event.queue.removeprefix(FALLBACK_PREFIX))
        if call.is_accepted and self.links.get(pbx_of(call.leg)) == "up":
            self._plan_withdrawal(call, now)
            if call.withdrawals == 0:
                yield from self._withdraw(call, now)

    def _plan_withdrawal(self, call: Call, now: float) -> None:
        call.withdraw_at = now + WITHDRAW_AGAIN_S * 2.0 ** min(call.withdrawals, 6)
        self._withdrawing[call.id] = call

    def _withdraw(self, call: Call, now: float) -> Iterator[Output]:
        """Out of the fall-back queue, unless somebody serves the caller there; the dialplan then offers it again."""
        if not call.is_fallen_back or call.talking or call.fallback_queue is None:
            self._end_withdrawal(call)
            return
        self._plan_withdrawal(call, now)
        call.withdrawals += 1
        yield c.WithdrawCaller(leg=call.leg, queue=call.fallback_queue)

    def _end_withdrawal(self, call: Call) -> None:
        call.withdraw_at = None
        self._withdrawing.pop(call.id, None)

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
        if gone is not None:
            self._forget(gone)
        into = self.calls.get(event.into)
        if gone is not None and into is None:
            gone.id = event.into
            self.calls[event.into] = gone
        elif gone is not None and into is not None:
            into.talking.update(gone.talking)
            into.served_by |= gone.served_by
            into.queue = into.queue or gone.queue
            into.is_answered = into.is_answered or gone.is_answered
        for one in sorted(self._at_work.get(event.gone, ())):
            agent = self.agents[one]
            agent.interaction = event.into
            self._touched(agent)
        return
        yield

    def _interaction_ended(self, event: e.InteractionEnded, now: float) -> Iterator[Output]:
        call = self.calls.pop(event.interaction, None)
        if call is None:
            return
        self._forget(call)
        if call.ringing is not None:
            yield from self._release_rung(call, now)
        if call.transfer is not None:
            yield from self._end_transfer(call, now, "caller_gone")
        for one in sorted(self._at_work.get(event.interaction, ())):
            agent = self.agents[one]
            if agent.state in (AgentState.RESERVED, AgentState.ON_CALL):
                if agent.legs:
                    # A phone that is up for a conversation that is over: sentence 8.
                    yield e.Repaired(
                        at=now, what="stuck_agent", agent=agent.id, interaction=event.interaction, detail=agent.state
                    )
                yield from self._leave(agent, call, now)

    def _forget(self, call: Call) -> None:
        for kept in (self._waiting, self._returning, self._withdrawing):
            kept.pop(call.id, None)
        self._unoffered.pop(call.leg, None)

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

    def _assign(self, now: float) -> Iterator[Output]:
        if self._is_restoring:
            self._undecided.clear()
            return
        if self._is_match_due:
            self._is_match_due = False
            if self._waiting and (self._free or self._returning):
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
            if call.not_before > now or call.is_restored or (call.wanted_agent is None and call.queue in exhausted):
                continue
            if call.returning is not None:
                if may_ring(self._agent(call.returning.agent)):
                    yield from self._ring(call, Choice(call.returning.agent, "returning", ()), now)
                continue
            if not self._free:
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
        ring_timeout_s = self._ring_s(call)
        yield self._noted(call, choice, now)
        self._begin_ring(call, agent.id, now)
        if call.returning is not None:
            # RESERVED for this very caller already.
            call.returning.is_rung = True
        else:
            yield from self._move(agent, Move.RESERVE, now, interaction=call.id)
        yield c.RingAgent(
            interaction=call.id,
            leg=call.leg,
            agent=agent.id,
            endpoint=plan.phone.endpoint,
            ring_timeout_s=ring_timeout_s,
            recording=self.plan.recording_policy(call.queue, call.ani),
            shown_as=self._shown_to(plan, call),
        )

    def _begin_ring(self, call: Call, agent: AgentId, now: float) -> None:
        self._stop_waiting(call)
        call.wanted_agent = None
        call.ringing = agent
        call.rung_at = now
        call.ring_until = now + self._ring_s(call)
        call.is_ring_seen = False
        call.phase_since = now

    def _shown_to(self, agent: AgentPlan, call: Call) -> str:
        """What the phone of an agent who may not see numbers shows instead."""
        return "" if agent.may_see_numbers else handle_of(call.id)

    def _stop_ringing(self, call: Call) -> AgentId | None:
        rung, call.ringing, call.ring_until = call.ringing, None, None
        return rung

    def _release_rung(self, call: Call, now: float) -> Iterator[Output]:
        """The ring that was asked for is off before anybody answered; the agent was not at fault."""
        agent_id = self._stop_ringing(call)
        if agent_id is None:
            return
        agent = self._agent(agent_id)
        if call.is_ring_seen:
            yield c.ClosePop(interaction=call.id, agent=agent_id, reason="caller_gone")
        if call.returning is not None:
            call.returning.is_rung = False
        elif agent.state is AgentState.RESERVED and agent.interaction == call.id:
            yield from self._move(agent, Move.RELEASE, now)

    def _phone_not_found(self, call: Call, now: float) -> Iterator[Output]:
        """The PBX made no leg for the phone that it was to ring: this phone is not there, whatever was told of it."""
        assert call.ringing is not None
        agent = self._agent(call.ringing)
        agent.is_phone_reachable = False
        yield from self._release_rung(call, now)
        self._touched(agent)
        yield from self._read_anew(pbx_of(call.leg), now)

    def _take_ring_back(self, call: Call, now: float) -> Iterator[Output]:
        yield from self._release_rung(call, now)
        call.is_head = True
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
            if call is not None and call.ringing == event.agent:
                # The talk is to be seen in a moment.
                call.ring_until = now
            return
        was_ours = call is not None and call.ringing == event.agent
        if call is not None and was_ours:
            self._stop_ringing(call)
        is_returning = call is not None and call.returning is not None and call.returning.agent == event.agent
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
        if is_returning and (failure is None or not was_ours):
            # The caller gave up (then there is a talk to wrap up), or is offered once more.
            return
        if call is not None and is_returning:
            self._end_return(call)
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
            self._unoffered.pop(call.leg, None)
            self._end_withdrawal(call)
            if call.returning is not None and event.role == "talk":
                if call.returning.agent != event.agent:
                    yield from self._give_up_return(call, now)
                self._end_return(call)
            call.talking[event.agent] = event.leg
            call.phase_since = now
            transfer = call.transfer
            if event.role == "talk":
                call.served_by.add(event.agent)
                call.is_answered = True
                call.queued_at = None
                call.is_head = False
                call.is_fallen_back = call.is_restored = False
                call.queue = call.queue or self._queue_of(event.interaction)
                yield from self._note_policy(call, now)
            if transfer is not None and event.agent != transfer.by:
                transfer.target_agent, transfer.target_leg = event.agent, event.leg
                transfer.is_answered = True
                if event.role == "talk":
                    yield from self._end_transfer(call, now, "completed")
            elif transfer is not None and event.role == "talk":
                yield from self._end_transfer(call, now, "cancelled" if transfer.kind == "attended" else "failed")
        before = agent.interaction
        if agent.may(Move.JOIN):
            yield from self._move(agent, Move.JOIN, now, interaction=event.interaction)
        if call is not None and before != event.interaction:
            yield from self._show_unheard_call(event, before)

    def _show_unheard_call(self, event: e.AgentJoined, before: InteractionId | None) -> Iterator[Output]:
        """The PBX rang this agent without us: the caller's card comes now, and that of the call before goes."""
        home = self.conversations.get(event.interaction)
        if home is None or home.direction != "inbound":
            return
        if before is not None:
            yield c.ClosePop(interaction=before, agent=event.agent, reason="done")
        yield c.ShowPop(interaction=event.interaction, agent=event.agent, until=None, is_talking=True)

    def _agent_left(self, event: e.AgentLeft, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        if call is not None:
            call.talking.pop(event.agent, None)
            call.phase_since = now
            if call.returning is not None and call.returning.agent == event.agent:
                return
        agent = self._agent(event.agent)
        if event.leg not in agent.legs and agent.interaction == event.interaction:
            yield from self._leave(agent, call, now)

    def _queue_of(self, interaction: InteractionId) -> QueueId | None:
        """Whose caller it is who was never offered to us: that of the fall-back queue that it waited in."""
        home = self.conversations.get(interaction)
        if home is None or not home.queue.startswith(FALLBACK_PREFIX):
            return None
        queue = QueueId(home.queue.removeprefix(FALLBACK_PREFIX))
        return queue if queue in self.plan.queues else None

    def _leg_started(self, event: e.LegStarted, now: float) -> Iterator[Output]:
        owner = self._phones.get((pbx_of(event.leg), event.endpoint))
        if owner is not None:
            agent = self._agent(owner)
            agent.legs.add(event.leg)
            self._leg_owner[event.leg] = owner
            self._touched(agent)
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
            agent = self._agent(owner)
            agent.legs.discard(leg)
            self._parted[leg] = owner
            self._touched(agent)

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
        is_returning = call is not None and call.returning is not None and call.returning.agent == agent.id
        if call is not None and is_returning:
            self._end_return(call)
        if agent.state is AgentState.RESERVED and not (is_returning and has_served):
            yield from self._move(agent, Move.RELEASE, now)
        elif agent.state in (AgentState.RESERVED, AgentState.ON_CALL):
            if has_served and queue is not None and queue.wrap_up_s > 0:
                yield from self._move(agent, Move.LEAVE, now, interaction=interaction, until=now + queue.wrap_up_s)
                return
            yield from self._move(agent, Move.LEAVE_FREE if agent.state is AgentState.ON_CALL else Move.RELEASE, now)
        if interaction is not None:
            yield c.ClosePop(interaction=interaction, agent=agent.id, reason="done")

    # ── an agent whose phone was lost in the middle of a talk ─────────────────────────────────────────────

    def _page_left(self, event: e.PageLeft, now: float) -> Iterator[Output]:
        """A phone that lived in the page is gone with it; the PBX does not know yet. A desk phone stays."""
        plan = self.plan.agents.get(event.agent)
        if plan is None or plan.phone.kind is not PhoneKind.BROWSER:
            return
        agent = self._agent(event.agent)
        agent.is_desk_fresh, agent.desk_why = False, "gone"
        self._touched(agent)
        call = self.calls.get(agent.interaction) if agent.interaction is not None else None
        if call is not None and call.returning is not None and call.returning.agent == agent.id and not agent.legs:
            return
        if agent.state is AgentState.RESERVED and call is not None and call.ringing == agent.id:
            yield from self._ring_elsewhere(call, agent, now)
        elif agent.state is AgentState.ON_CALL and call is not None:
            yield from self._save_customer(call, agent, now)
        elif agent.state in (AgentState.RESERVED, AgentState.ON_CALL):
            yield from self._hang_up_all(agent)

    def _hang_up_all(self, agent: Agent) -> Iterator[Output]:
        return (c.HangUp(leg=leg) for leg in sorted(agent.legs))

    def _ring_elsewhere(self, call: Call, agent: Agent, now: float) -> Iterator[Output]:
        """It rings where nobody hears it."""
        self._stop_ringing(call)
        yield c.ClosePop(interaction=call.id, agent=agent.id, reason="unreachable")
        if call.returning is not None:
            yield from self._give_up_return(call, now)
        elif agent.state is AgentState.RESERVED:
            yield from self._move(agent, Move.RELEASE, now)
        call.is_head = True
        yield c.ReturnToHold(leg=call.leg)

    def _save_customer(self, call: Call, agent: Agent, now: float) -> Iterator[Output]:
        """Who spoke with the agent must not be left in silence."""
        transfer = call.transfer
        home = self.conversations.get(call.id)
        leg = call.talking.get(agent.id) or next(
            (leg for leg in sorted(agent.legs) if self.conversations.of_leg(leg) is home), None
        )
        customer = self.customer_leg(call.id)
        if customer is None and home is not None and leg is not None:
            # Somebody from outside of whose coming nothing was heard.
            peer = home.peer_of(leg)
            customer = peer if peer is not None and home.legs[peer].agent is None else None
        if customer is None or leg is None or home is None:
            yield from self._hang_up_all(agent)
        elif transfer is not None and transfer.kind == "blind" and transfer.by == agent.id:
            return  # the caller is on the way to somebody else already
        elif transfer is not None and transfer.kind == "attended":
            if transfer.by == agent.id and not transfer.is_handing_over:
                yield from self._end_transfer(call, now, "failed")
                yield from self._keep(call, agent, customer, leg, now)
            elif transfer.by != agent.id and transfer.is_handing_over:
                yield c.SendToHold(leg=customer, other=leg, target="")
            else:
                yield c.HangUp(leg=leg)
        elif agent.id not in call.served_by or set(home.peers_of(customer)) - {leg}:
            # The caller is not alone with this agent.
            yield c.HangUp(leg=leg)
        else:
            yield from self._keep(call, agent, customer, leg, now)

    def _keep(self, call: Call, agent: Agent, customer: LegId, leg: LegId, now: float) -> Iterator[Output]:
        yield from self._expect_return(call, agent, now)
        yield c.SendToHold(leg=customer, other=leg, target=f"agent:{agent.id}")

    def _expect_return(self, call: Call, agent: Agent, now: float) -> Iterator[Output]:
        """The agent stays RESERVED for this caller."""
        call.returning = Returning(agent.id, now + RETURN_S)
        self._returning[call.id] = call
        move = Move.KEEP if agent.state is AgentState.ON_CALL else Move.RESERVE
        if agent.may(move):
            yield from self._move(agent, move, now, reason="returning", interaction=call.id)

    def _phone_fell_silent(self, event: e.LegEnded, now: float) -> Iterator[Output]:
        """The PBX gave up a phone that sent no sound; the dialplan offers the caller again in a moment."""
        if event.cause is not HangupCause.CONGESTION:
            return
        agent = self.agents.get(self._leg_owner.get(event.leg, AgentId("")))
        call = self.calls.get(agent.interaction) if agent is not None and agent.interaction is not None else None
        if agent is None or call is None or agent.id not in call.served_by or call.returning is not None:
            return
        customer = self.customer_leg(call.id)
        if agent.state is not AgentState.ON_CALL or customer is None or customer == event.leg:
            return
        if call.transfer is not None:
            if call.transfer.by != agent.id or call.transfer.kind == "blind" or call.transfer.is_handing_over:
                return
            yield from self._end_transfer(call, now, "failed")
        yield from self._expect_return(call, agent, now)

    def _wait_for_return(self, call: Call, now: float) -> Iterator[Output]:
        returning = call.returning
        assert returning is not None
        if returning.until <= now and not returning.is_rung:
            yield from self._return_is_off(call, now)
        elif returning.retry_at is not None and returning.retry_at <= now:
            returning.retry_at = None
            yield from self._send_away(call)

    def _return_is_off(self, call: Call, now: float) -> Iterator[Output]:
        if call.returning is not None and call.returning.is_rung and call.ringing == call.returning.agent:
            # It rings for the one who will not answer.
            self._stop_ringing(call)
            yield c.ReturnToHold(leg=call.leg)
        yield from self._give_up_return(call, now)
        if call.is_waiting:
            yield from self._told_queued(call, now)
            self._undecided.append(call)

    def _send_away(self, call: Call) -> Iterator[Output]:
        """The order to take the caller from the dead phone, if the two are still connected."""
        assert call.returning is not None
        home, customer = self.conversations.get(call.id), self.customer_leg(call.id)
        leg = home.agents_talking.get(call.returning.agent) if home is not None else None
        if home is not None and customer is not None and leg in home.peers_of(customer):
            yield c.SendToHold(leg=customer, other=leg, target=f"agent:{call.returning.agent}")

    def _give_up_return(self, call: Call, now: float) -> Iterator[Output]:
        """The agent did not come back: the caller is everybody's, and first."""
        assert call.returning is not None
        agent = self._agent(call.returning.agent)
        self._end_return(call)
        call.is_head = True
        call.queue = call.queue or self.plan.default_queue
        if call.queue is not None:
            call.wanted_agent = None
        self._is_match_due = True
        call.served_by.discard(agent.id)
        if agent.state is AgentState.RESERVED and agent.interaction == call.id:
            yield c.ClosePop(interaction=call.id, agent=agent.id, reason="unreachable")
            yield from self._move(agent, Move.FAIL, now, reason="browser_lost")

    def _end_return(self, call: Call) -> None:
        call.returning = None
        self._returning.pop(call.id, None)

    def _phone_reachable(self, event: e.PhoneReachable, now: float) -> Iterator[Output]:
        return self._reach(event.pbx, event.endpoint, is_reachable=True)

    def _phone_unreachable(self, event: e.PhoneUnreachable, now: float) -> Iterator[Output]:
        return self._reach(event.pbx, event.endpoint, is_reachable=False)

    def _device_changed(self, event: e.DeviceChanged, now: float) -> Iterator[Output]:
        return self._reach(event.pbx, event.endpoint, is_reachable=event.state in REACHABLE)

    def _reach(self, pbx: PbxId, endpoint: str, *, is_reachable: bool) -> Iterator[Output]:
        owner = self._phones.get((pbx, endpoint))
        if owner is not None:
            agent = self._agent(owner)
            if agent.is_phone_reachable is not is_reachable:
                agent.is_phone_reachable = is_reachable
                self._touched(agent)
        return
        yield

    # ── the link ──────────────────────────────────────────────────────────────────────────────────────────

    def _link_up(self, event: e.LinkUp, now: float) -> Iterator[Output]:
        self.links[event.pbx] = "up"
        self._doctor.link_up(event.pbx, now)
        if self._beat_at is None:
            self._beat_at = now + BEAT_S
        yield from self._beat()
        if self._is_look_up_due and not self._is_restoring:
            self._is_look_up_due = False
            untold, self._untold = self._untold, []
            yield from untold
            # Asked by the run before, which did not live to hear the answer.
            for call in list(self.calls.values()):
                if call.is_looked_up and not call.how:
                    call.is_looked_up = False
                    yield from self._look_up(call, now)

    def _link_lost(self, event: e.LinkLost, now: float) -> Iterator[Output]:
        self.links[event.pbx] = event.why
        self._doctor.link_lost(event.pbx)
        self._mirror.link_lost(event.pbx)
        return
        yield

    def _beat(self) -> Iterator[Output]:
        self._beat_count += 1
        for pbx, status in self.links.items():
            if status == "up":
                yield c.Beat(pbx=pbx, boot=self.boot, count=self._beat_count)

    def _phones_read(self, event: e.PbxRead, now: float) -> Iterator[Output]:
        """What the reading says of the phones, before it is asked who talks: whose caller came back to the loop because
        the phone is gone is to have that caller again."""
        devices = dict(event.devices)
        waiting = {leg.leg for leg in event.legs if leg.is_waiting}
        legs: dict[str, set[LegId]] = {}
        for leg in event.legs:
            legs.setdefault(leg.endpoint, set()).add(leg.leg)
        for agent in self._agents_on(event.pbx):
            endpoint = self.plan.agents[agent.id].phone.endpoint
            agent.is_phone_reachable = devices.get(endpoint) in REACHABLE
            had_legs = bool(agent.legs)
            for gone in agent.legs:
                self._leg_owner.pop(gone, None)
            agent.legs = set(legs.get(endpoint, ()))
            self._leg_owner.update(dict.fromkeys(agent.legs, agent.id))
            self._touched(agent)
            call = self.calls.get(agent.interaction) if agent.interaction is not None else None
            if call is None or not had_legs or agent.legs or agent.state is not AgentState.ON_CALL:
                continue
            if call.leg in waiting and agent.id in call.served_by and call.returning is None:
                yield from self._expect_return(call, agent, now)

    def _agents_on(self, pbx: PbxId) -> list[Agent]:
        return [self._agent(plan.id) for plan in self.plan.agents.values() if plan.phone.pbx == pbx]

    def _pbx_read(self, event: e.PbxRead, now: float) -> Iterator[Output]:
        """State heals: what the PBX says overrules what we believed."""
        self._doctor.pbx_read(event.pbx, now)
        self._mirror.pbx_read(event.pbx, event.members)
        seen = {leg.leg: leg for leg in event.legs}
        queued = {one.leg: one for one in event.queued}
        for agent in self._agents_on(event.pbx):
            if not agent.legs and agent.state in (AgentState.RESERVED, AgentState.ON_CALL):
                yield from self._phone_is_empty(agent, now)
        for call in list(self._waiting.values()):
            leg = seen.get(call.leg)
            if pbx_of(call.leg) == event.pbx and (leg is None or not leg.is_waiting):
                self._stop_waiting(call)
                call.is_fallen_back = leg is not None and leg.bridge is None
                if call.leg not in queued:
                    yield e.Repaired(at=now, what="not_waiting", agent=None, interaction=call.id, detail="")
        for leg in event.legs:
            if leg.is_waiting:
                yield from self._stands_in_the_loop(leg.leg, now)
        for one in event.queued:
            if one.leg in seen:
                yield from self._take_back(one, now)
        for call in list(self._returning.values()):
            if call.returning is not None and pbx_of(call.leg) == event.pbx and call.is_restored:
                call.returning.until = now + RETURN_S
                yield from self._send_away(call)
        for call in self.calls.values():
            if call.leg not in self._unoffered and pbx_of(call.leg) == event.pbx:
                call.is_restored = False

    def _phone_is_empty(self, agent: Agent, now: float) -> Iterator[Output]:
        """A busy agent whose phone has no call at all."""
        call = self.calls.get(agent.interaction) if agent.interaction is not None else None
        if call is not None:
            if call.returning is not None and call.returning.agent == agent.id:
                return
            if call.ringing == agent.id and self._is_on_its_way(call, now):
                return
            if call.transfer is not None and call.transfer.target_agent == agent.id:
                if now < call.transfer.at + ANSWER_S:
                    return
                call.transfer.target_agent = None
        yield e.Repaired(at=now, what="stuck_agent", agent=agent.id, interaction=agent.interaction, detail=agent.state)
        yield from self._free_agent(agent, call, now)

    def _free_agent(self, agent: Agent, call: Call | None, now: float) -> Iterator[Output]:
        if call is not None and call.ringing == agent.id:
            self._stop_ringing(call)
        yield from self._leave(agent, call, now)

    def _is_on_its_way(self, call: Call, now: float) -> bool:
        """The order to ring was given a moment ago: the PBX may not have come to it."""
        return not call.is_ring_seen and not call.is_restored and now < call.rung_at + ANSWER_S

    def _stands_in_the_loop(self, leg: LegId, now: float) -> Iterator[Output]:
        """The loop offers its caller by itself to another start of ours; where it does not, the offer was lost."""
        interaction = self.conversations.of_leg(leg)
        call = self.calls.get(interaction.id) if interaction is not None else None
        if call is not None and call.is_waiting and not call.is_restored:
            return
        if call is not None and call.ringing is not None:
            if self._is_on_its_way(call, now):
                return
            yield from self._release_rung(call, now)
            call.is_head = True
        self._unoffered.setdefault(leg, now + OFFER_S)

    def _ask_for_offer(self, leg: LegId, now: float) -> Iterator[Output]:
        del self._unoffered[leg]
        interaction = self.conversations.of_leg(leg)
        if interaction is None or not interaction.legs[leg].is_live:
            return
        call = self.calls.get(interaction.id)
        if call is None or call.is_restored or is_lost(self, call):
            yield c.ReturnToHold(leg=leg)

    def _take_back(self, queued: e.QueuedSeen, now: float) -> Iterator[Output]:
        """The PBX's own queue kept this caller while we were away."""
        interaction = self.conversations.of_leg(queued.leg)
        call = self.calls.get(interaction.id) if interaction is not None else None
        if call is None:
            order = c.WithdrawCaller(leg=queued.leg, queue=queued.queue)
            self._again.append((now + WITHDRAW_AGAIN_S, order))
            yield order
        elif call.is_accepted or call.queue is not None:
            if not call.is_fallen_back:
                self._fall_back(call, now)
            call.fallback_queue = queued.queue
            yield from self._withdraw(call, now)

    # ── the state doctor ──────────────────────────────────────────────────────────────────────────────────

    def _heal(self, now: float) -> Iterator[Output]:
        repairs, readings = self._doctor.examine(ailments(self, now), now)
        for pbx in readings:
            yield c.ReadLegs(pbx=pbx, is_full=True)
        for one in repairs:
            yield from self._repair(one, now)
        for pbx in self._doctor.wants_legs(now):
            yield c.ReadLegs(pbx=pbx)
            if self._must_mirror_again:
                self._must_mirror_again = False
                self._mirror.tell_again()
        yield from self._note_lost_phones(now)
        yield from self._assign(now)

    def _repair(self, one: Ailment, now: float) -> Iterator[Output]:
        yield e.Repaired(at=now, what=one.what, agent=one.agent, interaction=one.interaction, detail="")
        agent = self._agent(one.agent) if one.agent is not None else None
        call = self.calls.get(one.interaction) if one.interaction is not None else None
        match one.what:
            case "ghost_leg" if agent is not None and one.leg is not None:
                agent.legs.discard(one.leg)
                self._leg_owner.pop(one.leg, None)
                self._touched(agent)
            case "stuck_agent" if agent is not None:
                yield from self._free_agent(agent, call, now)
            case "unseen_talk" if agent is not None and agent.may(Move.JOIN):
                yield from self._move(agent, Move.JOIN, now, interaction=one.interaction)
            case "ghost_call" if call is not None:
                del self.calls[call.id]
                self._forget(call)
                for colleague in sorted(self._at_work.get(call.id, ())):
                    yield from self._free_agent(self.agents[colleague], call, now)
            case "silent_ring" if call is not None:
                yield from self._take_ring_back(call, now)
            case "stuck_transfer" if call is not None:
                yield from self._end_transfer(call, now, "failed")
            case "lost_caller" if call is not None:
                call.is_head = True
                yield c.ReturnToHold(leg=call.leg)
            case _:
                pass

    def _legs_read(self, event: e.LegsRead, now: float) -> Iterator[Output]:
        gone, unknown = self._doctor.legs_read(event, self.conversations.live_legs(event.pbx), now)
        for leg in gone:
            home = self.conversations.of_leg(leg)
            yield e.Repaired(
                at=now,
                what="lost_leg",
                agent=self._leg_owner.get(leg),
                interaction=home.id if home is not None else None,
                detail=leg,
            )
            ended = e.LegEnded(at=now, leg=leg, cause=HangupCause.FAILED)
            yield ended
            yield from self._take(ended, now)
        if unknown:
            yield e.Repaired(at=now, what="unknown_leg", agent=None, interaction=None, detail=" ".join(unknown))
            yield from self._read_anew(event.pbx, now)

    def _read_anew(self, pbx: PbxId, now: float) -> Iterator[Output]:
        if self._doctor.wants_reading(pbx, now):
            yield c.ReadLegs(pbx=pbx, is_full=True)

    def _note_lost_phones(self, now: float) -> Iterator[Output]:
        """A talk whose agent has neither page nor phone any more, and whose leg lives on: said once."""
        lost = {
            agent.id: self._lost_phones.get(agent.id, now)
            for agent in self.agents.values()
            if agent.state is AgentState.ON_CALL and not agent.is_phone_reachable and not agent.is_desk_fresh
        }
        for one, since in lost.items():
            if since + RETURN_S <= now:
                lost[one] = float("inf")
                agent = self.agents[one]
                yield e.Repaired(
                    at=now, what="phone_gone", agent=one, interaction=agent.interaction, detail="the talk goes on"
                )
        self._lost_phones = lost

    def _command_failed(self, event: e.CommandFailed, now: float) -> Iterator[Output]:
        if event.command in ("MirrorMembers", "MirrorSetting"):
            self._must_mirror_again = self._must_mirror_again or event.why != "link_down"
            return
        if event.command == "StopRecording" and event.leg is not None and event.why in ("timeout", "link_down"):
            self._again.append((now + RETRY_S, c.StopRecording(leg=event.leg)))
            return
        interaction = self.conversations.of_leg(event.leg) if event.leg is not None else None
        call = self.calls.get(interaction.id) if interaction is not None else None
        if call is None:
            return
        if event.command == "SendToHold" and call.returning is not None:
            call.returning.retry_at = now + RETRY_S
            return
        if event.command in ("StartConsult", "SendToHold"):
            yield from self._end_transfer(call, now, "failed")
            return
        if event.command == "JoinLegs" and call.transfer is not None:
            call.transfer.is_joining = call.transfer.is_handing_over = False
        if event.command != "RingAgent" or call.ringing is None or call.is_ring_seen:
            return
        yield from self._release_rung(call, now)
        call.is_head = True
        call.not_before = now + RETRY_S
        self._start_waiting(call)

    # ── the desk ──────────────────────────────────────────────────────────────────────────────────────────

    def _agent_logged_in(self, event: e.AgentLoggedIn, now: float) -> Iterator[Output]:
        agent = self._agent(event.agent)
        if agent.may(Move.LOG_IN):
            yield from self._move(agent, Move.LOG_IN, now, reason="logged_in", by="agent")

    def _agent_logged_out(self, event: e.AgentLoggedOut, now: float) -> Iterator[Output]:
        agent = self._agent(event.agent)
        agent.is_desk_fresh, agent.desk_why = False, "gone"
        self._touched(agent)
        if agent.may(Move.LOG_OUT):
            yield from self._move(agent, Move.LOG_OUT, now, by=event.by)
        elif agent.state is not AgentState.LOGGED_OUT:
            agent.ask_next(AgentState.LOGGED_OUT, "")
            self._touched(agent)
            call = self.calls.get(agent.interaction) if agent.interaction is not None else None
            if call is not None and call.returning is not None and call.returning.agent == agent.id:
                yield from self._return_is_off(call, now)
            else:
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
            self._touched(agent)
            yield self._state_of(agent, now, by=event.by)

    def _desk_fresh(self, event: e.DeskFresh, now: float) -> Iterator[Output]:
        agent = self._agent(event.agent)
        agent.is_desk_fresh, agent.desk_why = True, ""
        self._touched(agent)
        return
        yield

    def _desk_stale(self, event: e.DeskStale, now: float) -> Iterator[Output]:
        agent = self._agent(event.agent)
        agent.is_desk_fresh, agent.desk_why = False, event.why
        self._touched(agent)
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

    def _note_policy(self, call: Call, now: float) -> Iterator[Output]:
        """Nothing is recorded because nothing may be; of every other talk the switch says why."""
        is_off = self.plan.recording_policy(call.queue, call.ani) is RecordingPolicy.OFF
        if call.queue is not None and is_off and call.recording == "off" and not call.recording_basis:
            call.recording_basis = "off"
            yield e.RecordingChanged(at=now, interaction=call.id, file="", state="off", basis="off")

    def _recording_objected(self, event: e.RecordingObjected, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        if call is not None:
            yield c.StopRecording(leg=call.recorded_leg or call.leg)

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
            call.transfer = Transfer(event.agent, agent_leg, event.target, kind, now, target_agent=target.id)
            yield self._transfer_started(call, now)
            reserved = self._agent(target.id)
            if reserved.may(Move.RESERVE):
                yield from self._move(reserved, Move.RESERVE, now, reason="consult", interaction=call.id)
            yield c.StartConsult(
                leg=customer,
                agent_leg=agent_leg,
                endpoint=target.phone.endpoint,
                ring_timeout_s=self._ring_s(call),
                shown_as=self._shown_to(target, call),
            )
        else:
            call.transfer = Transfer(event.agent, agent_leg, event.target, kind, now)
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
            transfer.is_joining = transfer.is_handing_over = True
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
            call.recording, call.recording_basis = event.state, event.basis
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
        self._touched(agent)
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

OF_A_CONVERSATION = (
    e.AgentJoined,
    e.AgentLeft,
    e.AgentRang,
    e.AgentRingEnded,
    e.InteractionEnded,
    e.InteractionHeld,
    e.InteractionMerged,
    e.InteractionQueued,
    e.InteractionStarted,
    e.RecordingChanged,
    e.TransferEnded,
    e.TransferStarted,
)
"""What the story of a call is made of."""
