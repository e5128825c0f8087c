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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from cti import commands as c
from cti import events as e
from cti.agent_state import BUSY, Agent, Move
from cti.attending import Attending
from cti.events import AgentState, DialOutcome, Event, HangupCause
from cti.ids import (
    AgentId,
    InteractionId,
    LegId,
    PbxId,
    QueueId,
    handle_of,
    interaction_id,
    is_spy,
    ordered_for,
    pbx_of,
    take_leg,
)
from cti.interaction import WIRE_TECHS, Conversations, dialable
from cti.mirror import Mirror
from cti.routing.expression import ExpressionError, parse
from cti.routing.line import Line, Waiter
from cti.routing.plan import HOLD_RECALL_S, AgentPlan, PhoneKind, Plan, QueuePlan, RecordingPolicy
from cti.routing.select import Choice, is_free, may_ring
from cti.state_doctor import ANSWER_S, Ailment, StateDoctor, ailments, is_lost
from cti.supervision import RING_S, Session, Supervision
from cti.transfers import OUTSIDE_RING_S, Transfer, is_chosen, outside_number, skill_of

Output: TypeAlias = "Event | c.Command"

BEAT_S = 1.0
LOOK_UP_DEADLINE_S = 2.0
RETRY_S = 1.0
"""What could not be done (a ring that did not start, a caller who stayed with a dead phone) is tried again then."""
RECENTLY_TOLD = 500
"""Facts of ours that are kept while a journal is read, so that none is told twice."""
ACCEPT_S = 25.0
"""As long as the dialplan gives a phone outside on top of its ring."""
RETURN_S = 15.0
"""How long a caller waits for the agent whose phone was lost in the middle of their talk."""
OFFER_S = 2.0
"""A hold loop offers its caller within that time to a daemon that (again) beats; else it is asked to."""
WITHDRAW_AGAIN_S = 5.0
"""A caller in the fall-back queue could not be taken out because a phone rings: tried again then, twice as late each
time."""
PICK_S = 30
"""Within that time a picked caller goes to the agent named, where the queue does not say how long."""
LISTENING = "listening"
"""The reason of an agent who hears a colleague's call."""
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
    """This agent and no other: for good (a transfer), or until ``wanted_until`` (picked out by a supervisor)."""
    wanted_until: float | None = None
    required: str | None = None
    """An expression that goes before what the queue requires (a transfer to a skill)."""
    known: Mapping[str, str] = field(default_factory=dict)
    """What the CRM knows of the customer, for routing: as in ``CallerLookedUp``."""
    rings: dict[AgentId, bool] = field(default_factory=dict)
    """Whose phones were asked to ring for this caller, best first, and whether they are known to."""
    is_ring_answered: bool = False
    ring_until: float | None = None
    rung_at: float = 0.0
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
    is_conference: bool = False
    """More than two speak, or did."""
    returning: Returning | None = None
    fallback_queue: QueueId | None = None
    """The fall-back queue that it was last seen in."""
    withdraw_at: float | None = None
    withdrawals: int = 0
    decisions: list[e.AgentChosen] = field(default_factory=list)
    entered_at: float = 0.0
    """Since when it waits in this queue."""
    away: str = ""
    """Where a caller went who left the line (a destination, or ``callback``: the place is kept), and why."""
    away_why: str = ""
    tried: set[str] = field(default_factory=set)
    """Destinations to which the caller is not sent again."""

    @property
    def ringing(self) -> AgentId | None:
        """Who is rung, the best of several."""
        return next(iter(self.rings), None)

    @property
    def is_ring_seen(self) -> bool:
        """Whether any phone is known to ring."""
        return any(self.rings.values())


@dataclass(slots=True)
class Hold:
    """A caller on an agent's hold; the agent is reminded at ``due_at``. Times are Unix seconds."""

    interaction: InteractionId
    since: float
    recall_s: int
    due_at: float


@dataclass(slots=True)
class EarlyLookUp:
    """Who calls, asked when the call reached the PBX, before it was offered. ``found`` None: not answered yet."""

    leg: LegId
    ani: str
    found: e.CallerLookedUp | None = None


class Inbound:
    """The deciding core of the floor. ``boot``: an id of this start of the program, shown to the dialplans.
    ``beat_s``: how often it beats and looks for what cannot be; where nothing breaks (the simulator), rarely."""

    def __init__(self, plan: Plan, *, boot: str, beat_s: float = BEAT_S) -> None:
        self.plan = plan
        self.boot = boot
        self._beat_s = beat_s
        self.conversations = Conversations(plan.owner_of)
        self.agents: dict[AgentId, Agent] = {}
        self.calls: dict[InteractionId, Call] = {}
        self.links: dict[PbxId, str] = {}
        self._waiting: dict[InteractionId, Call] = {}
        self._undecided: list[Call] = []
        self._early: dict[InteractionId, EarlyLookUp] = {}
        self._beat_count = 0
        self._beat_at: float | None = None
        self.line = Line(Plan({}, {}, (), None), {})
        self._members: dict[QueueId, tuple[AgentId, ...]] = {}
        self._retrying: dict[InteractionId, Call] = {}
        self._phones: dict[tuple[PbxId, str], AgentId] = {}
        self._leg_owner: dict[LegId, AgentId] = {}
        self._parted: dict[LegId, AgentId] = {}
        self._wrap_up_ends: dict[AgentId, float] = {}
        self._returning: dict[InteractionId, Call] = {}
        self._withdrawing: dict[InteractionId, Call] = {}
        self._unoffered: dict[LegId, float] = {}
        self._again: list[tuple[float, c.Command]] = []
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
        self.supervision = Supervision()
        self._on_hold: dict[AgentId, Hold] = {}
        self.attending = Attending(self)
        self._take_plan(plan, now=0.0)
        self._handlers: dict[type[Event], Callable[..., Iterator[Output]]] = {
            e.PlanChanged: self._plan_changed,
            e.CallOffered: self._call_offered,
            e.CallerFellBack: self._caller_fell_back,
            e.AnnouncementPlayed: self.attending.played,
            e.KeyPressed: self.attending.key_pressed,
            e.MessageRecorded: self.attending.message_recorded,
            e.CallRecorded: self.attending.call_recorded,
            e.PromptMissing: self.attending.prompt_missing,
            e.ForeignQueueJoined: self._foreign_queue_joined,
            e.CallerLookedUp: self._caller_looked_up,
            e.CustomerChosen: self._customer_chosen,
            e.LegStarted: self._leg_started,
            e.LegOwned: self._leg_owned,
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
            e.PickRequested: self._pick_requested,
            e.HangUpRequested: self._hang_up_requested,
            e.RecordingPauseRequested: self._recording_pause_requested,
            e.RecordingObjected: self._recording_objected,
            e.TransferRequested: self._transfer_requested,
            e.TransferCompleteRequested: self._transfer_complete_requested,
            e.TransferCancelRequested: self._transfer_cancel_requested,
            e.ConferenceRequested: self._conference_requested,
            e.DialEnded: self._dial_ended,
            e.SpyRequested: self._spy_requested,
            e.SpyEndRequested: self._spy_end_requested,
            e.SpyPlaced: self._spy_placed,
            e.TakeOverRequested: self._take_over_requested,
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
        times.extend(self.supervision.due())
        times.extend(hold.due_at for hold in self._on_hold.values())
        times.extend(at for at, _ in self._again)
        for call in self._returning.values():
            assert call.returning is not None
            if not call.returning.is_rung:
                times.append(call.returning.until)
            if call.returning.retry_at is not None:
                times.append(call.returning.retry_at)
        times.extend(call.withdraw_at for call in self._withdrawing.values() if call.withdraw_at is not None)
        times.extend(call.not_before for call in self._retrying.values())
        if (attends_at := self.attending.waiting.wake_at()) is not None:
            times.append(attends_at)
        relaxes_at = self.line.wake_at()
        if relaxes_at is not None:
            times.append(relaxes_at)
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
        for one, hold in [(one, hold) for one, hold in self._on_hold.items() if hold.due_at <= now]:
            outputs.extend(self._recall(one, hold, now))
        for session in self.supervision.overdue(now):
            outputs.extend(self._stop_listening(session, session.why or "refused", now))
            outputs.extend(self._has_listened(session, now))
        if self._again:
            outputs.extend(command for at, command in self._again if at <= now)
            self._again = [(at, command) for at, command in self._again if at > now]
        for call in [one for one in self._retrying.values() if one.not_before <= now]:
            call.not_before = 0.0
            self._stand_in_line(call, now)
        outputs.extend(self.attending.wake(now))
        self.line.wake(now=now)
        outputs.extend(self._assign(now))
        # Last of all, so that a beat says "everything before this is decided".
        if self._beat_at is not None and self._beat_at <= now:
            self._beat_at = now + self._beat_s
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
                else:
                    self.attending.restore(fact)
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
                call.transfer.is_joining = call.transfer.is_handing_over = call.transfer.is_conference = False
            if call.is_waiting:
                self._stand_in_line(call, last_at)
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
        self.attending.restored(last_at)

    def _restore_state(self, fact: e.AgentStateChanged) -> None:
        agent = self._agent(fact.agent)
        if fact.state in (AgentState.RESERVED, AgentState.ON_CALL) and agent.state not in BUSY:
            # First heard of in the middle of a call: it came from where calls come to.
            was_known = agent.since > 0.0
            agent.came_from = (agent.state, agent.reason) if was_known else (AgentState.AVAILABLE, "")
        elif fact.state is AgentState.WRAP_UP and agent.state not in BUSY:
            agent.came_from = (AgentState.AVAILABLE, "")
        agent.workload.add(agent.state, fact.at)
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
            self._begin_ring(call, (fact.agent, *fact.others), fact.at)
            if call.queue is not None:
                self.line.took(call.queue, fact.agent)

    # ── reading (for the floor's pages) ───────────────────────────────────────────────────────────────────

    def explain(self, call: Call, *, now: float) -> e.AgentChosen:
        """Why this caller waits, as of now."""
        return self._decision(call, self._choose(call, now), now)

    def waiting_in_order(self) -> list[Call]:
        """The callers who wait, first served first."""
        return [self._waiting[one] for one in self.line.in_order() if one in self._waiting]

    def members(self, queue: QueueId) -> tuple[AgentId, ...]:
        """The agents of a queue."""
        return self._members.get(queue, ())

    def customer_leg(self, interaction: InteractionId) -> LegId | None:
        """The leg of the outside party of a live interaction; None as soon as that party has left."""
        found = self.conversations.get(interaction)
        if found is None or found.customer_leg is None or not found.legs[found.customer_leg].is_live:
            return None
        return found.customer_leg

    # ── the plan ──────────────────────────────────────────────────────────────────────────────────────────

    def _take_plan(self, plan: Plan, *, now: float) -> None:
        self.plan = plan
        self.conversations.owner_of = self.owner_of
        self._phones = {(agent.phone.pbx, agent.phone.endpoint): agent.id for agent in plan.agents.values()}
        for agent in plan.agents.values():
            if agent.phone.kind is PhoneKind.OUTSIDE:
                # No PBX knows it before it is called.
                self._agent(agent.id).is_phone_reachable = True
            self._agent(agent.id)
        self._members = {
            queue: tuple(agent.id for agent in plan.agents.values() if queue in agent.queues) for queue in plan.queues
        }
        before, self.line = self.line, Line(plan, self.agents)
        self.line.take_over(before, now=now)
        self._mirror.take_plan(plan, self.agents.values())
        for one in self.agents.values():
            self._touched(one)

    def _touched(self, agent: Agent) -> None:
        """Something about this agent changed that others look at: is it free, is its phone to be paused?"""
        self.line.note(agent)
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
        self._take_plan(event.plan, now=now)
        for agent in list(self.agents.values()):
            if agent.id not in self.plan.agents and agent.may(Move.LOG_OUT):
                yield from self._move(agent, Move.LOG_OUT, now, reason="removed")
                del self.agents[agent.id]
        for call in list(self._waiting.values()):
            if call.queue is not None and call.queue not in event.plan.queues:
                yield from self._queue_anew(call, now)
        yield from self.attending.stand_all(now)

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
        is_new = call.queued_at is None
        call.queue = call.queue or self.attending.queue_of_callback(event.leg)
        queue, wanted = self._destination(event, call)
        if queue is None and wanted is None:
            # Nobody is responsible for this number: left unaccepted, the hold loop takes the caller to its fall-back.
            yield e.Repaired(at=now, what="no_route", agent=None, interaction=call.id, detail=event.dnis)
            return
        call.queue = queue if queue is not None else call.queue
        if call.transfer is not None and call.transfer.kind == "blind" and outside_number(call.transfer.target):
            yield from self._end_transfer(call, now, "failed")
        yield c.AcceptOffer(leg=event.leg, queue=call.queue or "")
        call.is_accepted = True
        yield from self._was_not_accepted(call, now)
        if not all(call.rings.values()):
            # It came back to the loop before the phone ever rang: the PBX has no way to this phone.
            yield from self._phones_not_found(call, now)
        is_returning = call.returning is not None
        if call.returning is not None and call.returning.is_rung:
            yield from self._give_up_return(call, now)
        elif call.returning is not None:
            wanted = call.returning.agent
        # Who only comes back to the loop (another start of ours, the fall-back) keeps the place that it had.
        is_return = call.is_answered or (call.queued_at is not None and not call.is_waiting and not call.is_fallen_back)
        call.wanted_agent, call.wanted_until = wanted, None
        if call.queued_at is None:
            # The dialplan counts whole seconds; nobody waits since before the call began.
            call.queued_at = max(interaction.started_at, now - max(0.0, event.waited_s))
        call.is_head = call.is_head or is_return or wanted is not None
        call.is_fallen_back = call.is_restored = False
        call.not_before = 0.0
        call.phase_since = now
        self._end_withdrawal(call)
        self._start_waiting(call, now)
        yield from self._look_up(call, now)
        if is_returning:
            return
        yield from self._told_queued(call, now)
        self._undecided.append(call)
        yield from self.attending.arrived(call, is_new=is_new, now=now)

    def _told_queued(self, call: Call, now: float) -> Iterator[Output]:
        if call.queue is not None and call.queued_at is not None:
            yield e.InteractionQueued(
                at=now,
                interaction=call.id,
                queue=call.queue,
                queued_at=call.queued_at,
                position=self.line.position(call.id),
            )

    def _start_waiting(self, call: Call, now: float) -> None:
        call.is_waiting = True
        self._waiting[call.id] = call
        self._stand_in_line(call, now)

    def _destination(self, event: e.CallOffered, call: Call) -> tuple[QueueId | None, AgentId | None]:
        kind, _, name = event.target.partition(":")
        is_stale = f"queue:{name}" in call.tried and call.queue is not None
        if kind == "queue" and QueueId(name) in self.plan.queues and not is_stale:
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
        if not all(call.rings.values()):
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
        self._retrying.pop(call.id, None)
        self.line.remove(call.id)

    def _caller_looked_up(self, event: e.CallerLookedUp, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        if call is not None:
            call.parties, call.how = event.parties, event.how
            call.party = event.parties[0] if len(event.parties) == 1 else None
            if call.known != event.variables:
                call.known = event.variables
                if call.is_waiting:
                    self._stand_in_line(call, now)
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
        self.attending.waiting.rename(event.gone, event.into)
        if gone is not None and into is None:
            gone.id = event.into
            self.calls[event.into] = gone
            if gone.is_waiting:
                self._start_waiting(gone, now)
        elif gone is not None and into is not None:
            into.talking.update(gone.talking)
            into.served_by |= gone.served_by
            into.queue = into.queue or gone.queue
            into.is_answered = into.is_answered or gone.is_answered
        for one in sorted(self._at_work.get(event.gone, ())):
            agent = self.agents[one]
            agent.interaction = event.into
            self._touched(agent)
        for session in self.supervision.of_call(event.gone):
            session.interaction = event.into
        for hold in self._on_hold.values():
            if hold.interaction == event.gone:
                hold.interaction = event.into
        return
        yield

    def _interaction_ended(self, event: e.InteractionEnded, now: float) -> Iterator[Output]:
        for session in self.supervision.of_call(event.interaction):
            yield from self._stop_listening(session, "call_over", now)
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
        for kept in (self._waiting, self._retrying, self._returning, self._withdrawing):
            kept.pop(call.id, None)
        self.line.remove(call.id)
        self.attending.gone(call)
        self._unoffered.pop(call.leg, None)

    def _refined(self, event: e.InteractionEnded, now: float) -> e.InteractionEnded:
        """An abandon within the queue's short-abandon time is counted apart."""
        call = self.calls.get(event.interaction)
        if call is None:
            return event
        if call.is_fallen_back and not call.is_answered:
            return replace(event, outcome="fell_back")
        if outcome := self.attending.outcome_of(call):
            return replace(event, outcome=outcome)
        if event.outcome == "abandoned" and call.queue is not None and call.queued_at is not None:
            queue = self.plan.queues.get(call.queue)
            if queue is not None and event.at - call.queued_at < queue.short_abandon_s:
                return replace(event, outcome="short_abandoned")
        return event

    # ── who gets whom ─────────────────────────────────────────────────────────────────────────────────────

    def _variables(self, call: Call) -> Mapping[str, str]:
        """What may be asked of this call: what the caller said goes before what the CRM knows."""
        queue = self.plan.queues.get(call.queue) if call.queue is not None else None
        route = self.plan.route(call.dnis)
        said = {
            "account": call.account,
            "choice": call.choice,
            "dnis": call.dnis,
            "language": call.language,
            "product": (route.product if route is not None else "") or (queue.product if queue is not None else ""),
            "queue": call.queue or "",
        }
        return {**call.known, **{name: value for name, value in said.items() if value}}

    def _queue_anew(self, call: Call, now: float) -> Iterator[Output]:
        """The caller's queue is no more: whoever takes everybody takes this caller too; else the fall-back does."""
        call.queue = self.plan.default_queue
        if call.queue is None:
            self._stop_waiting(call)
            yield c.ReturnToHold(leg=call.leg)
            return
        self._stand_in_line(call, now)
        yield from self._told_queued(call, now)

    def _stand_in_line(self, call: Call, now: float) -> None:
        """The caller's place in the line, from what is known of the caller now."""
        self._is_match_due = True
        if call.not_before > now:
            self._retrying[call.id] = call
        else:
            self._retrying.pop(call.id, None)
        waiter = Waiter(
            call.id,
            call.queue,
            call.queued_at if call.queued_at is not None else now,
            self._variables(call),
            is_head=call.is_head,
            required=call.required,
            wanted=call.wanted_agent,
            wanted_until=call.wanted_until,
            wanted_why="named_agent" if call.wanted_until is None else "picked",
            is_parked=call.not_before > now or call.is_restored or call.returning is not None,
        )
        self.line.put(waiter, now=now)

    def _pick_requested(self, event: e.PickRequested, now: float) -> Iterator[Output]:
        """Before everybody to this agent, if the agent can have the caller soon; else first in the line."""
        call = self.calls.get(event.interaction)
        if call is None or not call.is_waiting or call.returning is not None or event.agent not in self.plan.agents:
            return
        queue = self.plan.queues.get(call.queue) if call.queue is not None else None
        patience_s = queue.preferred_patience_s if queue is not None else PICK_S
        call.wanted_agent, call.wanted_until = event.agent, now + patience_s
        self._stand_in_line(call, now)
        return
        yield

    def _choose(self, call: Call, now: float) -> Choice:
        """What would be decided now, as far as this caller alone is concerned."""
        if call.returning is not None:
            return Choice((), "returning")
        return self.line.explain(call.id, now=now) if call.id in self.line else Choice((), "no_queue")

    def _assign(self, now: float) -> Iterator[Output]:
        if self._is_restoring:
            self._undecided.clear()
            return
        if self._is_match_due or self.line.has_news:
            self._is_match_due = False
            yield from self._serve(now)
        undecided, self._undecided = self._undecided, []
        for call in undecided:
            if call.is_waiting:
                yield self._noted(call, self._choose(call, now), now)

    def _noted(self, call: Call, choice: Choice, now: float) -> e.AgentChosen:
        """A decision, kept with the call."""
        decision = self._decision(call, choice, now)
        call.decisions.append(decision)
        return decision

    def _decision(self, call: Call, choice: Choice, now: float) -> e.AgentChosen:
        return e.AgentChosen(
            at=now,
            interaction=call.id,
            queue=call.queue,
            agent=choice.agent,
            rule=choice.rule,
            passed=choice.passed,
            others=choice.agents[1:],
            step=choice.step,
            required=choice.required,
            waited_s=choice.waited_s,
            points=choice.points,
        )

    def _serve(self, now: float) -> Iterator[Output]:
        for call in list(self._returning.values()):
            assert call.returning is not None
            is_here = call.is_waiting and not call.is_restored and call.not_before <= now
            if is_here and may_ring(self._agent(call.returning.agent)):
                yield from self._ring(call, Choice((call.returning.agent,), "returning"), now)
        self._let_go_of_named(now)
        while (match := self.line.next_match(now=now)) is not None:
            served = self._waiting.get(match.interaction)
            kept = self.attending.waiting.by_waiter(match.interaction)
            if served is not None:
                yield from self._ring(served, match.choice, now)
            elif kept is not None:
                yield from self.attending.dial(kept, match.choice, now)
            self._let_go_of_named(now)

    def _let_go_of_named(self, now: float) -> None:
        """A caller for an agent who can't take it now is served by the queue behind that agent."""
        if not self.line.is_anybody_free:
            return
        for interaction in self.line.named():
            call = self._waiting.get(interaction)
            if call is None or call.wanted_agent is None or call.wanted_until is not None or call.queue is None:
                continue
            agent = self._agent(call.wanted_agent)
            if not is_free(agent) and not self._is_letting_go(agent.id, call):
                call.wanted_agent = None
                self._stand_in_line(call, now)

    def _is_letting_go(self, agent: AgentId, call: Call) -> bool:
        """The agent's phone is busy with this very caller's conversation, out of which the caller was just taken."""
        homes = (self.conversations.of_leg(leg) for leg in self._agent(agent).legs)
        return any(home is not None and home.id == call.id for home in homes)

    def _ring(self, call: Call, choice: Choice, now: float) -> Iterator[Output]:
        first = self.plan.agents[choice.agents[0]]
        plans = [self.plan.agents[agent] for agent in choice.agents if self._may_ring_with(first, agent)]
        agents = tuple(plan.id for plan in plans)
        yield self._noted(call, replace(choice, agents=agents), now)
        self._begin_ring(call, agents, now)
        if call.returning is not None:
            # RESERVED for this very caller already.
            call.returning.is_rung = True
        else:
            for agent in agents:
                yield from self._move(self._agent(agent), Move.RESERVE, now, interaction=call.id)
        yield c.RingAgent(
            interaction=call.id,
            leg=call.leg,
            agent=first.id,
            endpoint=first.phone.endpoint,
            ring_timeout_s=self._ring_s(call),
            recording=self.plan.recording_policy(call.queue, call.ani),
            shown_as=next((shown for plan in plans if (shown := self._shown_to(plan, call))), ""),
            also=tuple(plan.phone.endpoint for plan in plans[1:]),
            is_outside=first.phone.kind is PhoneKind.OUTSIDE,
            language=first.language,
        )

    def _may_ring_with(self, first: AgentPlan, agent: AgentId) -> bool:
        """Phones that ring at once are rung by one dial of one PBX."""
        phone = self.plan.agents[agent].phone
        is_alike = phone.pbx == first.phone.pbx and PhoneKind.OUTSIDE not in (phone.kind, first.phone.kind)
        return agent == first.id or is_alike

    def _begin_ring(self, call: Call, agents: tuple[AgentId, ...], now: float) -> None:
        self._stop_waiting(call)
        call.wanted_agent = call.wanted_until = None
        call.rings = dict.fromkeys(agents, False)
        call.is_ring_answered = False
        call.rung_at = now
        call.ring_until = now + self._ring_s(call) + self._accept_s(agents)
        call.phase_since = now

    def _accept_s(self, agents: tuple[AgentId, ...]) -> float:
        """How long it may take to listen and to press a key on a phone outside."""
        plans = (self.plan.agents.get(agent) for agent in agents)
        return ACCEPT_S if any(plan is not None and plan.phone.kind is PhoneKind.OUTSIDE for plan in plans) else 0.0

    def _shown_to(self, agent: AgentPlan, call: Call) -> str:
        """What the phone of an agent who may not see numbers shows instead."""
        return "" if agent.may_see_numbers else handle_of(call.id)

    def _stop_ringing(self, call: Call, agent: AgentId | None = None) -> None:
        """``agent`` None: none of the phones that were asked to ring does any more."""
        if agent is None:
            call.rings.clear()
        else:
            call.rings.pop(agent, None)
        if not call.rings:
            call.ring_until = None

    def _release_rung(self, call: Call, now: float) -> Iterator[Output]:
        """The ring that was asked for is off before anybody answered; no agent was at fault."""
        rings = dict(call.rings)
        self._stop_ringing(call)
        for agent_id, is_seen in rings.items():
            agent = self._agent(agent_id)
            if is_seen:
                yield c.ClosePop(interaction=call.id, agent=agent_id, reason="caller_gone")
            if call.returning is not None:
                call.returning.is_rung = False
            elif agent.state is AgentState.RESERVED and agent.interaction == call.id:
                yield from self._move(agent, Move.RELEASE, now)

    def _was_not_accepted(self, call: Call, now: float) -> Iterator[Output]:
        """A phone outside answered and nobody pressed the key: a mailbox, for all we know."""
        for one in list(call.rings):
            plan = self.plan.agents.get(one)
            if plan is None or plan.phone.kind is not PhoneKind.OUTSIDE or not call.is_ring_answered:
                continue
            del call.rings[one]
            yield c.ClosePop(interaction=call.id, agent=one, reason="no_answer")
            agent = self._agent(one)
            if agent.state is AgentState.RESERVED and agent.interaction == call.id:
                yield from self._move(agent, Move.FAIL, now, reason="not_accepted")

    def _phones_not_found(self, call: Call, now: float) -> Iterator[Output]:
        """The PBX made no leg for a phone that it was to ring: this phone is not there, whatever was told of it."""
        lost = [self._agent(agent) for agent, is_seen in call.rings.items() if not is_seen]
        for agent in lost:
            if agent.id not in self.plan.agents or self.plan.agents[agent.id].phone.kind is not PhoneKind.OUTSIDE:
                agent.is_phone_reachable = False
            elif agent.state is AgentState.RESERVED and agent.interaction == call.id:
                # The way out is shut: not tried again before the agent says so.
                yield from self._move(agent, Move.FAIL, now, reason="phone_unreachable")
        yield from self._release_rung(call, now)
        for agent in lost:
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
        if call.transfer is not None and call.transfer.kind != "blind" and call.transfer.by != event.agent:
            call.transfer.target_agent = event.agent
            call.transfer.target_leg = event.leg
        if event.agent in call.rings:
            call.rings[event.agent] = True
        elif agent.state is not AgentState.RESERVED and agent.may(Move.RESERVE):
            yield from self._move(agent, Move.RESERVE, now, reason="direct", interaction=event.interaction)
        yield c.ShowPop(interaction=event.interaction, agent=event.agent, until=event.until)

    def _agent_ring_ended(self, event: e.AgentRingEnded, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        agent = self._agent(event.agent)
        if event.outcome is DialOutcome.ANSWERED:
            if call is not None and event.agent in call.rings:
                # The talk is to be seen in a moment.
                call.ring_until = now + self._accept_s((event.agent,))
                call.is_ring_answered = True
            return
        was_ours = call is not None and event.agent in call.rings
        was_member = False
        if call is not None and was_ours:
            self._stop_ringing(call, event.agent)
        is_returning = call is not None and call.returning is not None and call.returning.agent == event.agent
        if call is not None and call.transfer is not None and call.transfer.target_agent == event.agent:
            transfer = call.transfer
            if not transfer.is_answered and transfer.kind == "attended" and is_chosen(transfer.target):
                # Absent as for a caller; the next one is rung as soon as agent and caller are together again.
                was_member = True
                transfer.target_agent = transfer.target_leg = None
            elif not transfer.is_answered and transfer.kind != "blind":
                yield from self._end_transfer(call, now, "failed")
        reason = POP_REASON.get(event.outcome, "no_answer")
        if reason == "caller_gone" and call is not None and (call.talking or call.is_ring_answered):
            reason = "answered_elsewhere"
        yield c.ClosePop(interaction=event.interaction, agent=event.agent, reason=reason)
        if agent.state is not AgentState.RESERVED or agent.interaction not in (event.interaction, None):
            return
        failure = RING_FAILURE.get(event.outcome) if was_ours or was_member else None
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
            if event.agent in call.rings:
                yield from self._answered_elsewhere(call, event.agent, now)
            if event.role == "talk" and not call.talking:
                yield from self.attending.joined(call, now)
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
            yield from self._listener_joined(agent, event.leg, now)
            if event.role == "talk":
                call.served_by.add(event.agent)
                call.is_answered = True
                call.tried.clear()
                call.queued_at = None
                call.required = None
                call.is_head = False
                call.is_fallen_back = call.is_restored = False
                call.queue = call.queue or self._queue_of(event.interaction)
                yield from self._note_policy(call, now)
            if transfer is not None and event.agent != transfer.by:
                transfer.target_agent, transfer.target_leg = event.agent, event.leg
                transfer.is_answered = True
                if event.role == "talk":
                    yield from self._end_transfer(call, now, "conference" if transfer.is_conference else "completed")
            elif transfer is not None and event.role == "talk":
                yield from self._back_with_caller(call, transfer, now)
        before = agent.interaction
        if agent.may(Move.JOIN):
            yield from self._move(agent, Move.JOIN, now, interaction=event.interaction)
        if call is not None and before != event.interaction:
            yield from self._show_unheard_call(event, before)

    def _answered_elsewhere(self, call: Call, by: AgentId, now: float) -> Iterator[Output]:
        """One of several phones was answered. Those that rang are told so by the PBX; of the others nothing comes."""
        silent = [agent for agent, is_seen in call.rings.items() if agent != by and not is_seen]
        self._stop_ringing(call)
        for one in silent:
            agent = self._agent(one)
            if agent.state is AgentState.RESERVED and agent.interaction == call.id and not agent.legs:
                yield from self._move(agent, Move.RELEASE, now)

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
            if call.is_conference and call.transfer is None and event.leg in self._agent(event.agent).legs:
                # The last one in a conference.
                yield c.HangUp(leg=event.leg)
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
        self.attending.leg_started(event.leg)
        if is_spy(event.leg):
            if (session := self.supervision.of_leg(event.leg)) is not None:
                session.has_leg = True
            return
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

    def _leg_owned(self, event: e.LegOwned, now: float) -> Iterator[Output]:
        owner = self._phones.get((pbx_of(event.leg), event.endpoint))
        if owner is not None and event.leg not in self._leg_owner:
            agent = self._agent(owner)
            agent.legs.add(event.leg)
            self._leg_owner[event.leg] = owner
            self._touched(agent)
        return
        yield

    def _forget_leg(self, leg: LegId) -> None:
        owner = self._leg_owner.pop(leg, None)
        if owner is not None:
            agent = self._agent(owner)
            agent.legs.discard(leg)
            self._parted[leg] = owner
            self._touched(agent)

    def _leg_ended(self, event: e.LegEnded, now: float) -> Iterator[Output]:
        for listening in self.supervision.hearing(event.leg):
            yield from self._stop_listening(listening, "call_over", now)
        if (session := self.supervision.of_leg(event.leg)) is not None:
            yield from self._has_listened(session, now)
        self._early.pop(interaction_id(event.leg), None)
        yield from self.attending.leg_ended(event, now)
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
            transfer = call.transfer
            if transfer is not None and transfer.by == agent.id and transfer.kind == "attended":
                is_done = transfer.is_handing_over and transfer.is_answered
                yield from self._end_transfer(call, now, "completed" if is_done else "failed")
        queue = self.plan.queues.get(call.queue) if call is not None and call.queue is not None else None
        is_returning = call is not None and call.returning is not None and call.returning.agent == agent.id
        if call is not None and is_returning:
            self._end_return(call)
        if agent.state is AgentState.RESERVED and not (is_returning and has_served):
            yield from self._move(agent, Move.RELEASE, now)
        elif agent.state in (AgentState.RESERVED, AgentState.ON_CALL):
            wrap_up_s = _wrap_up_s(queue, now - agent.since) if has_served and queue is not None else 0
            if wrap_up_s > 0:
                yield from self._move(agent, Move.LEAVE, now, interaction=interaction, until=now + wrap_up_s)
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
        if (session := self.supervision.of(agent.id)) is not None:
            yield from self._stop_listening(session, "hung_up", now)
        call = self.calls.get(agent.interaction) if agent.interaction is not None else None
        if call is not None and call.returning is not None and call.returning.agent == agent.id and not agent.legs:
            return
        if agent.state is AgentState.RESERVED and call is not None and agent.id in call.rings:
            yield from self._ring_elsewhere(call, agent, now)
        elif agent.state is AgentState.ON_CALL and call is not None:
            yield from self._save_customer(call, agent, now)
        elif agent.state in (AgentState.RESERVED, AgentState.ON_CALL):
            yield from self._hang_up_all(agent)

    def _hang_up_all(self, agent: Agent) -> Iterator[Output]:
        return (c.HangUp(leg=leg) for leg in sorted(agent.legs))

    def _ring_elsewhere(self, call: Call, agent: Agent, now: float) -> Iterator[Output]:
        """It rings where nobody hears it."""
        self._stop_ringing(call, agent.id)
        yield c.ClosePop(interaction=call.id, agent=agent.id, reason="unreachable")
        if call.rings:
            # Others hear it.
            yield from self._hang_up_all(agent)
            yield from self._move(agent, Move.RELEASE, now)
            return
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
        if call.is_waiting:
            self._stand_in_line(call, now)
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
            self._beat_at = now + self._beat_s
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
            if not (is_spy(leg.leg) and leg.bridge is None):
                legs.setdefault(leg.endpoint, set()).add(leg.leg)
        for agent in self._agents_on(event.pbx):
            phone = self.plan.agents[agent.id].phone
            is_outside = phone.kind is PhoneKind.OUTSIDE
            agent.is_phone_reachable = is_outside or devices.get(phone.endpoint) in REACHABLE
            had_legs = bool(agent.legs)
            for gone in agent.legs:
                self._leg_owner.pop(gone, None)
            # Of a number outside the reading shows the trunk.
            alive = {leg.leg for leg in event.legs} & agent.legs if is_outside else legs.get(phone.endpoint, set())
            agent.legs = set(alive)
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
        yield from self._listeners_read(event, now)
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
            if call.leg not in self._unoffered and pbx_of(call.leg) == event.pbx and call.is_restored:
                call.is_restored = False
                if call.is_waiting:
                    self._stand_in_line(call, now)

    def _phone_is_empty(self, agent: Agent, now: float) -> Iterator[Output]:
        """A busy agent whose phone has no call at all."""
        if self.supervision.of(agent.id) is not None or self.attending.waiting.is_kept_free(agent.id):
            return
        call = self.calls.get(agent.interaction) if agent.interaction is not None else None
        if call is not None:
            if call.returning is not None and call.returning.agent == agent.id:
                return
            if agent.id in call.rings and self._is_on_its_way(call, now):
                return
            if call.transfer is not None and call.transfer.target_agent == agent.id:
                if now < call.transfer.at + ANSWER_S:
                    return
                call.transfer.target_agent = None
        yield e.Repaired(at=now, what="stuck_agent", agent=agent.id, interaction=agent.interaction, detail=agent.state)
        yield from self._free_agent(agent, call, now)

    def _free_agent(self, agent: Agent, call: Call | None, now: float) -> Iterator[Output]:
        if call is not None:
            self._stop_ringing(call, agent.id)
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
            case "stuck_transfer" if call is not None and call.transfer is not None:
                if is_chosen(call.transfer.target):
                    yield from self._back_with_caller(call, call.transfer, now)
                else:
                    yield from self._end_transfer(call, now, "failed")
            case "lost_callback" if one.interaction is not None:
                yield from self.attending.heal(one.interaction, now)
            case "mistaken_agent" if agent is not None:
                self._touched(agent)
            case "ghost_place" if one.interaction is not None:
                self.line.remove(one.interaction)
            case "lost_place" if call is not None:
                self._stand_in_line(call, now)
            case "no_queue" if call is not None:
                yield from self._queue_anew(call, now)
            case "lost_caller" if call is not None:
                call.is_head = True
                yield c.ReturnToHold(leg=call.leg)
            case _:
                pass

    def _legs_read(self, event: e.LegsRead, now: float) -> Iterator[Output]:
        gone, unknown = self._doctor.legs_read(event, self._live_legs(event.pbx), now)
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
        if event.command in ("CallBack", "SendAway"):
            yield from self.attending.failed(event, now)
            return
        if event.command == "StartSpy" and event.leg is not None:
            session = self.supervision.of_leg(event.leg)
            if session is not None:
                session.why = "refused"
                yield from self._has_listened(session, now)
            return
        if event.command == "ChangeSpy" and event.leg is not None:
            session = self.supervision.of_leg(event.leg)
            if session is not None and session.heard is not None:
                session.mode = session.heard
            return
        if event.command == "StartTakeOver" and event.leg is not None:
            yield from self._could_not_take_over(event.leg, now)
            return
        interaction = self.conversations.of_leg(event.leg) if event.leg is not None else None
        call = self.calls.get(interaction.id) if interaction is not None else None
        if call is None:
            return
        if event.command == "SendToHold" and call.returning is not None:
            call.returning.retry_at = now + RETRY_S
            return
        if event.command in ("StartConsult", "SendToHold", "SendOutside"):
            yield from self._end_transfer(call, now, "failed")
            return
        if event.command in ("JoinLegs", "JoinConference") and call.transfer is not None:
            call.transfer.is_joining = call.transfer.is_handing_over = call.transfer.is_conference = False
        if event.command != "RingAgent" or call.ringing is None or call.is_ring_seen:
            return
        yield from self._release_rung(call, now)
        call.is_head = True
        call.not_before = now + RETRY_S
        self._start_waiting(call, now)

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

    def _finish_wrap_up_of(self, agent: AgentId, now: float) -> Iterator[Output]:
        if self._agent(agent).state is AgentState.WRAP_UP:
            yield from self._finish_wrap_up(self._agent(agent), now)

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
        home = self.conversations.get(call.id)
        call.transfer = Transfer(event.agent, agent_leg, event.target, kind, now)
        call.transfer.is_in_company = home is not None and bool(set(home.peers_of(customer)) - {agent_leg})
        yield self._transfer_started(call, now)
        why = self._why_no_transfer(call, call.transfer, now)
        if why:
            yield from self._end_transfer(call, now, why)
        elif event.is_attended:
            yield from self._consult(call, customer, now)
        else:
            yield from self._send_on(call, customer, call.transfer)

    def _why_no_transfer(self, call: Call, transfer: Transfer, now: float) -> str:
        """The outcome of a transfer that can't begin; empty: it can."""
        kind, _, name = transfer.target.partition(":")
        match kind:
            case "agent":
                return "" if AgentId(name) in self.plan.agents else "failed"
            case "queue" if QueueId(name) not in self.plan.queues:
                return "failed"
            case "number":
                return "" if self.plan.outside.allows(name) else "refused"
            case "queue" | "skill":
                if transfer.kind == "attended":
                    return "" if self._whom_to_consult(call, transfer, now) is not None else "nobody"
                return "" if kind == "queue" or self._is_met_by_anybody(call, name, transfer.by) else "nobody"
            case _:
                return "failed"

    def _is_met_by_anybody(self, call: Call, text: str, but: AgentId) -> bool:
        try:
            required = parse(text)
        except ExpressionError:
            return False
        return any(
            required.meets(plan.skills, self._variables(call))
            for plan in self.plan.agents.values()
            if plan.id != but and self._agent(plan.id).state is not AgentState.LOGGED_OUT
        )

    def _whom_to_consult(self, call: Call, transfer: Transfer, now: float) -> AgentId | None:
        """The agent named, or whoever of the queue or skill would have the next caller."""
        kind, _, name = transfer.target.partition(":")
        if kind == "agent":
            return AgentId(name)
        if kind == "skill" and not self._is_met_by_anybody(call, name, transfer.by):
            return None
        asking = InteractionId(f"consult {call.id}")
        queue = QueueId(name) if kind == "queue" else call.queue
        required = name if kind == "skill" else None
        self.line.put(Waiter(asking, queue, now, self._variables(call), required=required, is_parked=True), now=now)
        choice = self.line.explain(asking, now=now)
        self.line.remove(asking)
        return choice.agent

    def _consult(self, call: Call, customer: LegId, now: float) -> Iterator[Output]:
        transfer = call.transfer
        assert transfer is not None
        number = outside_number(transfer.target)
        target = None if number else self._whom_to_consult(call, transfer, now)
        if target is None and not number:
            yield from self._end_transfer(call, now, "nobody")
            return
        plan = self.plan.agents[target] if target is not None else None
        if plan is not None:
            transfer.target_agent, transfer.target_leg = plan.id, None
            reserved = self._agent(plan.id)
            if reserved.may(Move.RESERVE):
                yield from self._move(reserved, Move.RESERVE, now, reason="consult", interaction=call.id)
        yield c.StartConsult(
            leg=customer,
            agent_leg=transfer.by_leg,
            endpoint=plan.phone.endpoint if plan is not None else number,
            ring_timeout_s=self._ring_s(call) if plan is not None else OUTSIDE_RING_S,
            shown_as=self._shown_to(plan, call) if plan is not None else "",
            is_outside=plan is None or plan.phone.kind is PhoneKind.OUTSIDE,
            must_accept=plan is not None and plan.phone.kind is PhoneKind.OUTSIDE,
            language=plan.language if plan is not None else "",
            is_in_company=transfer.is_in_company,
        )

    def _send_on(self, call: Call, customer: LegId, transfer: Transfer) -> Iterator[Output]:
        """The caller goes; the agent who sent them is out."""
        number, skill = outside_number(transfer.target), skill_of(transfer.target)
        if number:
            # Nobody there: whoever sent the caller has them back.
            back = f"agent:{transfer.by}"
            yield c.SendOutside(leg=customer, other=transfer.by_leg, number=number, target=back)
            return
        call.required = skill or None
        yield c.SendToHold(leg=customer, other=transfer.by_leg, target="" if skill else transfer.target)

    def _back_with_caller(self, call: Call, transfer: Transfer, now: float) -> Iterator[Output]:
        """Whoever asked for the transfer speaks with the caller (again)."""
        customer = self.customer_leg(call.id)
        is_unheard = not (transfer.is_answered or transfer.is_joining) and is_chosen(transfer.target)
        if transfer.is_conference:
            yield from self._end_transfer(call, now, "conference")
        elif transfer.kind == "attended" and is_unheard and customer is not None:
            if transfer.target_agent is not None:
                # No leg was made for this phone: it is not there, whatever was told of it.
                absent = self._agent(transfer.target_agent)
                absent.is_phone_reachable = False
                if absent.state is AgentState.RESERVED and absent.interaction == call.id:
                    yield from self._move(absent, Move.RELEASE, now)
                self._touched(absent)
            yield from self._consult(call, customer, now)
        else:
            yield from self._end_transfer(call, now, "cancelled" if transfer.kind == "attended" else "failed")

    def _dial_ended(self, event: e.DialEnded, now: float) -> Iterator[Output]:
        """A number outside answered, or did not, to whom a caller is being handed on."""
        home = self.conversations.of_leg(event.to)
        call = self.calls.get(home.id) if home is not None else None
        transfer = call.transfer if call is not None else None
        if home is None or call is None or transfer is None or not outside_number(transfer.target):
            return
        is_answered = event.outcome is DialOutcome.ANSWERED
        if transfer.kind == "attended" and event.by == transfer.by_leg:
            if is_answered:
                transfer.target_leg, transfer.is_answered = event.to, True
            else:
                yield from self._end_transfer(call, now, "failed")
        elif transfer.kind == "blind" and event.by == home.customer_leg and is_answered:
            yield from self._end_transfer(call, now, "completed")

    def _conference_requested(self, event: e.ConferenceRequested, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        transfer = call.transfer if call is not None else None
        customer = self.customer_leg(call.id) if call is not None else None
        if call is None or transfer is None or transfer.by != event.agent or transfer.kind != "attended":
            return
        if customer is None or transfer.is_joining or not transfer.is_answered or transfer.target_leg is None:
            return
        transfer.is_joining = transfer.is_conference = True
        if not transfer.is_in_company:
            # First, so that the others find the caller there whatever becomes of the next order.
            yield c.JoinConference(leg=customer, of=customer)
        yield c.JoinConference(leg=transfer.by_leg, of=customer, also=transfer.target_leg)

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
            if transfer.is_in_company:
                yield c.JoinConference(leg=transfer.target_leg, of=customer)
                yield c.HangUp(leg=transfer.by_leg)
            else:
                yield c.JoinLegs(leg=customer, to=transfer.target_leg)
            return
        if transfer.is_in_company:
            # Nobody sends a caller on out of a talk with others before there is anybody.
            return
        yield from self._end_transfer(call, now, "blonde")
        yield from self._send_on(call, customer, transfer)

    def _transfer_cancel_requested(self, event: e.TransferCancelRequested, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        transfer = call.transfer if call is not None else None
        customer = self.customer_leg(call.id) if call is not None else None
        if call is None or transfer is None or transfer.by != event.agent or transfer.kind != "attended":
            return
        if customer is not None and not transfer.is_joining:
            transfer.is_joining = True
            if transfer.is_in_company:
                yield c.JoinConference(leg=transfer.by_leg, of=customer)
            else:
                yield c.JoinLegs(leg=transfer.by_leg, to=customer)

    def _end_transfer(self, call: Call, now: float, outcome: str) -> Iterator[Output]:
        transfer, call.transfer = call.transfer, None
        if transfer is None:
            return
        call.is_conference = outcome == "conference" or (call.is_conference and transfer.is_in_company)
        if transfer.target_agent is not None and not transfer.is_answered:
            target = self._agent(transfer.target_agent)
            if transfer.kind == "take_over" and transfer.target_leg is not None:
                yield c.HangUp(leg=transfer.target_leg)
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

    # ── company ───────────────────────────────────────────────────────────────────────────────────────────

    def _spy_requested(self, event: e.SpyRequested, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        spied = call.talking.get(event.agent) if call is not None else None
        session = self.supervision.of(event.listener)
        if session is not None and (session.interaction, session.agent) == (event.interaction, event.agent):
            if session.mode is not event.mode and not session.why:
                session.mode, session.by = event.mode, event.by
                if session.heard is not None:
                    yield c.ChangeSpy(leg=session.leg, mode=session.mode)
            return
        plan = self.plan.agents.get(event.listener)
        if spied is None or plan is None or session is not None or not self._may_be_called(plan, spied, event.agent):
            yield e.SpyEnded(
                at=now, interaction=event.interaction, agent=event.agent, listener=event.listener, why="refused"
            )
            return
        yield from self._finish_wrap_up_of(plan.id, now)
        session = self.supervision.begin(event, spied, plan.phone.pbx, now=now)
        yield from self._move(self._agent(plan.id), Move.RESERVE, now, reason=LISTENING, by=event.by)
        yield c.StartSpy(
            leg=session.leg,
            of=spied,
            endpoint=plan.phone.endpoint,
            mode=session.mode,
            ring_timeout_s=RING_S,
            # Whatever the listener may read in the pages: a phone's display and its list of calls are nobody's page.
            shown_as=handle_of(event.interaction),
        )

    def _may_be_called(self, plan: AgentPlan, leg: LegId, other: AgentId) -> bool:
        """Whether this agent's phone can be called to join the call of ``leg``, in which ``other`` speaks."""
        agent = self._agent(plan.id)
        is_there = agent.is_phone_reachable and not agent.legs and plan.phone.pbx == pbx_of(leg)
        return is_there and agent.may(Move.RESERVE) and plan.id != other and plan.phone.kind is not PhoneKind.OUTSIDE

    def _spy_placed(self, event: e.SpyPlaced, now: float) -> Iterator[Output]:
        session = self.supervision.of_leg(event.leg)
        if session is None:
            return
        if event.mode is None:
            session.why = session.why or "call_over"
            return
        yield from self._listens(session, event.mode, now)
        if session.mode is not event.mode and not session.why:
            yield c.ChangeSpy(leg=session.leg, mode=session.mode)

    def _listens(self, session: Session, mode: e.SpyMode, now: float) -> Iterator[Output]:
        session.has_leg, session.heard = True, mode
        listener = self._agent(session.listener)
        if listener.state is AgentState.RESERVED:
            yield from self._move(listener, Move.JOIN, now, reason=LISTENING, by=session.by)
        yield e.SpyStarted(
            at=now,
            interaction=session.interaction,
            agent=session.agent,
            listener=session.listener,
            mode=mode,
            by=session.by,
        )

    def _spy_end_requested(self, event: e.SpyEndRequested, now: float) -> Iterator[Output]:
        session = self.supervision.of(event.listener)
        if session is not None and session.interaction == event.interaction:
            yield from self._stop_listening(session, "asked", now)

    def _stop_listening(self, session: Session, why: str, now: float) -> Iterator[Output]:
        """The listener's leg is ended; what follows, follows from its end."""
        if not session.why:
            session.why, session.ordered_at = why, now
        yield c.HangUp(leg=session.leg)

    def _has_listened(self, session: Session, now: float) -> Iterator[Output]:
        self.supervision.end(session)
        listener = self._agent(session.listener)
        if listener.reason == LISTENING:
            move = Move.LEAVE_FREE if listener.state is AgentState.ON_CALL else Move.RELEASE
            yield from self._move(listener, move, now)
        why = session.why or ("refused" if session.heard is None else "hung_up")
        yield e.SpyEnded(
            at=now, interaction=session.interaction, agent=session.agent, listener=session.listener, why=why
        )

    def _listener_joined(self, agent: Agent, leg: LegId, now: float) -> Iterator[Output]:
        """Whoever listened is in the call now."""
        session = self.supervision.of(agent.id)
        if session is not None and session.leg == leg:
            session.why = "took_over"
            agent.legs.add(leg)
            self._leg_owner[leg] = agent.id
            agent.reason = ""
            yield from self._has_listened(session, now)

    def _listeners_read(self, event: e.PbxRead, now: float) -> Iterator[Output]:
        """Who listens was not told while the link was down: what the PBX says overrules what we believed."""
        seen = {leg.leg: leg for leg in event.legs}
        for session in self.supervision.on(event.pbx):
            leg = seen.get(session.leg)
            if leg is None and (session.has_leg or session.ordered_at + ANSWER_S <= now):
                yield from self._has_listened(session, now)
            elif leg is not None and session.spied not in seen:
                yield from self._stop_listening(session, "call_over", now)
            elif leg is not None and leg.is_up and session.heard is None:
                yield from self._listens(session, session.mode, now)
            elif leg is not None:
                session.has_leg = True
        for leg in event.legs:
            if is_spy(leg.leg) and leg.bridge is None and self.supervision.of_leg(leg.leg) is None:
                # Nobody knows who hears what there.
                yield c.HangUp(leg=leg.leg)

    def _live_legs(self, pbx: PbxId) -> dict[LegId, float]:
        return self.supervision.live_legs(pbx) | self.conversations.live_legs(pbx)

    def _take_over_requested(self, event: e.TakeOverRequested, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        agent_leg = call.talking.get(event.agent) if call is not None else None
        customer = self.customer_leg(event.interaction)
        plan = self.plan.agents.get(event.taker)
        if call is None or agent_leg is None or customer is None or plan is None or call.transfer is not None:
            return
        session = self.supervision.of(plan.id)
        is_here = session is not None and session.interaction == call.id and session.heard is not None
        if not is_here and (session is not None or not self._may_be_called(plan, customer, event.agent)):
            return
        call.transfer = Transfer(event.agent, agent_leg, f"agent:{plan.id}", "take_over", now, target_agent=plan.id)
        call.transfer.until = now + self._ring_s(call) + ANSWER_S
        yield self._transfer_started(call, now)
        if session is None:
            yield from self._finish_wrap_up_of(plan.id, now)
            yield from self._move(
                self._agent(plan.id), Move.RESERVE, now, reason="take_over", by=event.by, interaction=call.id
            )
        yield c.StartTakeOver(
            leg=session.leg if session is not None else take_leg(customer, event.at),
            of=customer,
            endpoint=plan.phone.endpoint,
            ring_timeout_s=self._ring_s(call),
            shown_as=self._shown_to(plan, call) or call.ani,
        )

    def _could_not_take_over(self, leg: LegId, now: float) -> Iterator[Output]:
        of = ordered_for(leg)
        session = self.supervision.of_leg(leg)
        home = self.conversations.of_leg(of if of is not None else session.spied if session is not None else leg)
        call = self.calls.get(home.id) if home is not None else None
        if call is not None and call.transfer is not None and call.transfer.kind == "take_over":
            yield from self._end_transfer(call, now, "failed")

    def _ring_s(self, call: Call) -> int:
        queue = self.plan.queues.get(call.queue) if call.queue is not None else None
        return queue.ring_timeout_s if queue is not None else 20

    def _interaction_held(self, event: e.InteractionHeld, now: float) -> Iterator[Output]:
        call = self.calls.get(event.interaction)
        if call is None:
            return
        call.is_held = event.is_held
        call.phase_since = now
        queue = self.plan.queues.get(call.queue) if call.queue is not None else None
        recall_s = queue.hold_recall_s if queue is not None else HOLD_RECALL_S
        if event.is_held and recall_s:
            self._on_hold[event.agent] = Hold(call.id, event.at, recall_s, event.at + recall_s)
        else:
            self._on_hold.pop(event.agent, None)
        return
        yield

    def _recall(self, agent: AgentId, hold: Hold, now: float) -> Iterator[Output]:
        """The caller still waits on this agent's hold."""
        if hold.interaction not in self.calls:
            del self._on_hold[agent]
            return
        hold.due_at = now + hold.recall_s
        yield e.HoldRecalled(at=now, interaction=hold.interaction, agent=agent, held_s=now - hold.since)

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
            if call is not None and fact.agent in call.rings:
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


def _wrap_up_s(queue: QueuePlan, talk_s: float) -> int:
    """A long talk is followed by a breather."""
    is_long = queue.breather_s > 0 and talk_s >= queue.breather_after_s
    return queue.wrap_up_s + (queue.breather_s if is_long else 0)


FLOOR_FACTS = (
    e.AgentChosen,
    e.AgentJoined,
    e.AgentLeft,
    e.AgentRang,
    e.AgentRingEnded,
    e.AgentStateChanged,
    e.CallbackClosed,
    e.CallbackDialled,
    e.CallbackPlaced,
    e.CallerAnnounced,
    e.CallerOverflowed,
    e.HoldRecalled,
    e.InteractionEnded,
    e.InteractionHeld,
    e.InteractionMerged,
    e.InteractionQueued,
    e.InteractionStarted,
    e.MessageLeft,
    e.RecordingChanged,
    e.Repaired,
    e.SpyEnded,
    e.SpyStarted,
    e.TransferEnded,
    e.TransferStarted,
)
"""What the core concludes itself: in a journal beside what it was concluded from."""

OF_A_CONVERSATION = (
    e.AgentJoined,
    e.AgentLeft,
    e.AgentRang,
    e.AgentRingEnded,
    e.CallbackClosed,
    e.InteractionEnded,
    e.InteractionHeld,
    e.InteractionMerged,
    e.InteractionQueued,
    e.InteractionStarted,
    e.MessageLeft,
    e.RecordingChanged,
    e.SpyEnded,
    e.SpyStarted,
    e.TransferEnded,
    e.TransferStarted,
)
"""What the story of a call is made of."""
