"""The waiting callers' part of the deciding core: what ``cti.waiting`` decides is done here, with the core's own hands.

Pure, as the core is. Every method that yields gives floor facts and commands in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from cti import commands as c
from cti import events as e
from cti.agent_state import Move
from cti.events import AgentState, Event
from cti.ids import AgentId, InteractionId, LegId, PbxId, QueueId, pbx_of, uniqueid_of
from cti.routing.expression import parse
from cti.routing.line import Waiter
from cti.routing.plan import OverflowWhen, QueuePlan
from cti.waiting import (
    CLOSED_MESSAGE,
    LATE_S,
    OUTCOME_OF_CAUSE,
    RETRY_S,
    Kept,
    Leave,
    LetGo,
    Place,
    Say,
    Seen,
    Wait,
    Waiting,
    at_the_door,
    callback_leg,
    is_open_now,
)

if TYPE_CHECKING:
    from cti.inbound import Call, Inbound
    from cti.routing.select import Choice

Output: TypeAlias = "Event | c.Command"

CALLBACK = "callback"
"""What a caller left for who keeps a place; the reason of an agent who is kept free for one."""
AT_WORK = frozenset({AgentState.AVAILABLE, AgentState.RESERVED, AgentState.ON_CALL, AgentState.WRAP_UP})


class Attending:
    """What is done for waiting callers by this core."""

    def __init__(self, core: Inbound) -> None:
        self._core = core
        self.waiting = Waiting()
        self.missing: dict[tuple[PbxId, str, str], float] = {}
        """Recordings that a PBX did not have (PBX, language, name), and when that was last noticed (Unix seconds)."""

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────

    def wake(self, now: float) -> Iterator[Output]:
        """Announcements, overflows and kept places that are due."""
        for interaction in list(self.waiting.due(now)):
            call = self._core.calls.get(interaction)
            if call is None:
                self.waiting.forget(interaction)
            elif call.is_waiting or call.away == CALLBACK:
                yield from self._attend(call, now)
        for kept in self.waiting.kept_due(now):
            yield from self._kept_is_due(kept, now)

    def _attend(self, call: Call, now: float) -> Iterator[Output]:
        seen = self._seen(call, now)
        if seen is None or call.is_restored or call.returning is not None:
            return
        match self.waiting.next_step(call.id, seen, now=now):
            case Say() as say:
                yield self._announce(call, say)
            case Leave() as leave:
                yield from self._leave(call, leave, now)
            case LetGo():
                yield c.HangUp(leg=call.leg)
            case _:
                pass

    def _announce(self, call: Call, say: Say) -> c.Announce:
        return c.Announce(leg=call.leg, what=say.what, says=say.says, keys=say.keys)

    def _seen(self, call: Call, now: float) -> Seen | None:
        core = self._core
        queue = core.plan.queues.get(call.queue) if call.queue is not None else None
        if queue is None or call.queued_at is None:
            return None
        position = core.line.position(call.id) if call.id in core.line else 1
        plan = queue.callback
        return Seen(
            queue=queue,
            queued_at=call.queued_at,
            entered_at=call.entered_at,
            position=position,
            wait=self._wait(queue, position, now) if queue.comfort.says_wait else None,
            is_anybody_there=self._is_anybody_there(queue, call),
            number=call.ani,
            can_call_back=plan is not None
            and bool(plan.trunk)
            and not call.is_answered
            and is_open_now(core.plan.calendars, plan.calendar, now),
            is_open=call.is_answered or is_open_now(core.plan.calendars, queue.calendar, now),
            tried=frozenset(call.tried),
        )

    def _wait(self, queue: QueuePlan, position: int, now: float) -> Wait | None:
        return self.waiting.pace(queue.id).expected(position, agents=self._at_work(queue.id), now=now)

    def _at_work(self, queue: QueueId) -> int:
        return sum(1 for agent in self._core.members(queue) if self._core.agents[agent].state in AT_WORK)

    def _is_anybody_there(self, queue: QueuePlan, call: Call) -> bool:
        """Whether anybody is logged in who could ever serve this caller."""
        core = self._core
        if not any(rule.when is OverflowWhen.NO_AGENTS for rule in queue.overflows):
            return True
        required = parse(call.required if call.required is not None else queue.steps[-1].text if queue.steps else "")
        variables = core._variables(call)
        return any(
            core.agents[agent].state is not AgentState.LOGGED_OUT
            and required.meets(core.plan.agents[agent].skills, variables)
            for agent in core.members(queue.id)
        )

    # ── callers come, are told things and press keys ──────────────────────────────────────────────────────

    def queue_of_callback(self, leg: LegId) -> QueueId | None:
        """The queue of who answered our call back on this leg."""
        kept = self.waiting.by_leg(leg)
        return kept.queue if kept is not None else None

    def arrived(self, call: Call, *, is_new: bool, now: float) -> Iterator[Output]:
        """A caller stands in the line (again). ``is_new``: for the first time."""
        core = self._core
        call.away = "" if call.away != CALLBACK else call.away
        if is_new:
            call.entered_at = call.queued_at if call.queued_at is not None else now
        called_back, left = self.waiting.by_leg(call.leg), self.waiting.of_interaction(call.id)
        if called_back is not None:
            yield from self._answered(called_back, call, now)
        elif left is not None:
            # Still on the line, while the daemon that was to end the call died: the caller waits on.
            yield from self.close(left, "called_in", now, call)
            call.away = ""
        elif is_new and (kept := self.waiting.by_number(call.ani)) is not None and kept.queue == call.queue:
            yield from self.close(kept, "called_in", now, call)
            call.queued_at = min(kept.queued_at, call.queued_at if call.queued_at is not None else now)
            core._stand_in_line(call, now)
        queue = core.plan.queues.get(call.queue) if call.queue is not None else None
        if queue is None:
            return
        if is_new and called_back is None and not call.is_answered and not core._is_restoring:
            yield from self._at_the_door(call, queue, now)
        guest = self.waiting.guest(call.id)
        guest.saying = guest.asks = guest.typed = ""
        guest.has_place = False
        if call.is_waiting and (seen := self._seen(call, now)) is not None:
            if keys := self.waiting.keys_of(call.id, seen):
                yield c.Announce(leg=call.leg, what="keys", keys=keys)
            self.waiting.look_at(call.id, now)

    def _at_the_door(self, call: Call, queue: QueuePlan, now: float) -> Iterator[Output]:
        is_asked = any(rule.when is OverflowWhen.EXPECTED_WAIT for rule in queue.overflows)
        waiting = self._core.line.waiting_in(queue.id) - 1
        wait = self._wait(queue, waiting + 1, now) if is_asked else None
        leave = at_the_door(self._core.plan, queue, waiting=waiting, wait=wait, now=now)
        if leave is not None and leave.why == "closed" and leave.to in call.tried:
            leave = Leave(CLOSED_MESSAGE, leave.why)
        if leave is not None and leave.to not in call.tried:
            yield from self._leave(call, leave, now)

    def played(self, event: e.AnnouncementPlayed, now: float) -> Iterator[Output]:
        """The dialplan has carried out an announcement, or could not."""
        call = self._call_of(event.leg)
        if call is None:
            return
        detail = self.waiting.played(call.id, event.what, now)
        if not event.missing:
            yield e.CallerAnnounced(at=now, interaction=call.id, what=event.what, detail=detail)

    def key_pressed(self, event: e.KeyPressed, now: float) -> Iterator[Output]:
        """A waiting caller wants something."""
        call = self._call_of(event.leg)
        seen = self._seen(call, now) if call is not None and call.is_waiting else None
        if call is None or seen is None or self._core._is_restoring:
            return
        match self.waiting.key(call.id, event.key, seen, now=now):
            case Say() as say:
                yield self._announce(call, say)
            case Leave() as leave:
                yield from self._leave(call, leave, now)
            case Place(number):
                yield from self._place(call, number, seen, now)
            case _:
                pass
        self.waiting.look_at(call.id, now)

    def message_recorded(self, event: e.MessageRecorded, now: float) -> Iterator[Output]:
        """Somebody leaves a message: work for a queue."""
        home = self._core.conversations.of_leg(event.leg)
        call = self._call_of(event.leg)
        queue = QueueId(event.queue) if event.queue else call.queue if call is not None else None
        queue = queue if queue in self._core.plan.queues else self._core.plan.default_queue
        if home is not None and queue is not None:
            yield e.MessageLeft(at=now, interaction=home.id, queue=queue, file=event.file)

    def call_recorded(self, event: e.CallRecorded, now: float) -> Iterator[Output]:
        """A call that nobody heard is told from the PBX's records: a message may have been left in it."""
        queue = QueueId(event.message_queue)
        queue = queue if queue in self._core.plan.queues else self._core.plan.default_queue or QueueId("")
        if event.message and queue:
            yield e.MessageLeft(at=now, interaction=event.interaction, queue=queue, file=event.message)
        if event.answered_at is not None and (kept := self.waiting.by_number(event.ani)) is not None:
            yield from self.close(kept, "called_in", now)

    def prompt_missing(self, event: e.PromptMissing, now: float) -> Iterator[Output]:
        """Kept for those who look after the recordings."""
        self.missing[event.pbx, event.language, event.prompt] = now
        return
        yield

    def _call_of(self, leg: LegId) -> Call | None:
        home = self._core.conversations.of_leg(leg)
        return self._core.calls.get(home.id) if home is not None else None

    # ── callers go ────────────────────────────────────────────────────────────────────────────────────────

    def _leave(self, call: Call, leave: Leave, now: float) -> Iterator[Output]:
        """Out of this queue: to another, or away. Nobody goes to the same place twice."""
        core = self._core
        assert call.queue is not None
        kind, _, name = leave.to.partition(":")
        if kind == "queue" and QueueId(name) not in core.plan.queues:
            leave = Leave(CLOSED_MESSAGE, leave.why)
        yield (fact := e.CallerOverflowed(at=now, interaction=call.id, queue=call.queue, to=leave.to, why=leave.why))
        self.overflowed(fact)
        if call.away:
            yield c.SendAway(leg=call.leg, to=leave.to)
            return
        yield c.AcceptOffer(leg=call.leg, queue=call.queue)
        yield from core._told_queued(call, now)
        queue = core.plan.queues[call.queue]
        if kind == "queue":
            yield from self._at_the_door(call, queue, now)
        if call.is_waiting:
            self.waiting.look_at(call.id, now)

    def overflowed(self, fact: e.CallerOverflowed) -> None:
        """A caller left a queue for another destination (also as a journal tells)."""
        core, call = self._core, self._core.calls.get(fact.interaction)
        if call is None:
            return
        kind, _, name = fact.to.partition(":")
        call.tried |= {f"queue:{fact.queue}", fact.to}
        if kind == "queue":
            call.queue, call.entered_at = QueueId(name), fact.at
            self.waiting.guest(call.id).told.clear()
        elif kind == "agent":
            queue = core.plan.queues.get(fact.queue)
            call.wanted_agent, call.entered_at = AgentId(name), fact.at
            call.wanted_until = fact.at + (queue.preferred_patience_s if queue is not None else 0)
        else:
            call.away, call.away_why = fact.to, fact.why
            core._stop_waiting(call)
            return
        if call.is_waiting:
            core._stand_in_line(call, fact.at)

    def outcome_of(self, call: Call) -> str:
        """How the interaction of a caller ended who went away; empty for everybody else."""
        if not call.away or call.is_answered:
            return ""
        return CALLBACK if call.away == CALLBACK else "closed" if call.away_why == "closed" else "overflowed"

    # ── kept places ───────────────────────────────────────────────────────────────────────────────────────

    def _place(self, call: Call, number: str, seen: Seen, now: float) -> Iterator[Output]:
        plan = seen.queue.callback
        assert plan is not None
        fact = e.CallbackPlaced(
            at=now,
            callback=f"{uniqueid_of(call.leg)}-{int(now)}",
            interaction=call.id,
            pbx=pbx_of(call.leg),
            queue=seen.queue.id,
            number=number,
            language=call.language,
            queued_at=seen.queued_at,
            expires_at=now + plan.expires_s,
            variables=dict(self._core._variables(call)),
        )
        yield fact
        yield self._announce(call, self.waiting.farewell(call.id, now))
        yield from self.placed(fact, now)

    def placed(self, fact: e.CallbackPlaced, now: float) -> Iterator[Output]:
        """A place is kept (also as a journal tells): the caller no longer waits, the place does."""
        kept = self.waiting.placed(fact)
        call = self._core.calls.get(fact.interaction)
        if call is not None and not call.is_answered:
            call.away = CALLBACK
            self._core._stop_waiting(call)
        if not self._core._is_restoring:
            yield from self.stand(kept, now)

    def stand(self, kept: Kept, now: float) -> Iterator[Output]:
        """The place stands in the line, and is served when it may be."""
        allowed_at = self.waiting.allowed_at(self._core.plan, kept, now)
        if allowed_at is None:
            yield from self.close(kept, "cancelled", now)
            return
        kept.not_before = max(kept.not_before, allowed_at)
        is_parked = kept.not_before > now
        if not is_parked:
            kept.not_before = 0.0
        waiter = Waiter(kept.waiter, kept.queue, kept.queued_at, kept.variables, is_parked=is_parked)
        self._core.line.put(waiter, now=now)

    def stand_all(self, now: float) -> Iterator[Output]:
        """After a restart, or when the plan changed."""
        for kept in list(self.waiting.kept.values()):
            if kept.leg is None:
                yield from self.stand(kept, now)

    def dial(self, kept: Kept, choice: Choice, now: float) -> Iterator[Output]:
        """It is this place's turn, and somebody is free: the one call is made, and the agent kept free for it."""
        core = self._core
        queue = core.plan.queues.get(kept.queue)
        plan = queue.callback if queue is not None else None
        if plan is None or not plan.trunk or core.links.get(kept.pbx) != "up":
            kept.not_before = now + RETRY_S
            yield from self.stand(kept, now)
            return
        agent = core.agents[choice.agents[0]]
        leg = callback_leg(kept.pbx, kept.id)
        yield (fact := e.CallbackDialled(at=now, callback=kept.id, leg=leg, agent=agent.id))
        self.waiting.dialled(fact, ring_s=plan.ring_s)
        yield from core._move(agent, Move.RESERVE, now, reason=CALLBACK)
        yield c.CallBack(
            leg=leg,
            number=kept.number,
            trunk=plan.trunk,
            shown_number=plan.shown_number,
            ring_timeout_s=plan.ring_s,
            queue=kept.queue,
            language=kept.language,
            waited_s=int(now - kept.queued_at),
        )

    def dialled(self, fact: e.CallbackDialled) -> None:
        """As a journal tells: never again."""
        kept = self.waiting.kept.get(fact.callback)
        queue = self._core.plan.queues.get(kept.queue) if kept is not None else None
        ring_s = queue.callback.ring_s if queue is not None and queue.callback is not None else 0
        self.waiting.dialled(fact, ring_s=ring_s)

    def restore(self, fact: Event) -> None:
        """What a journal tells of conclusions of ours."""
        match fact:
            case e.CallerOverflowed():
                self.overflowed(fact)
            case e.CallbackPlaced():
                for _ in self.placed(fact, fact.at):
                    pass
            case e.CallbackDialled():
                self.dialled(fact)
            case e.CallbackClosed():
                self.closed(fact)
            case _:
                pass

    def restored(self, at: float) -> None:
        """The journal has been read, up to ``at``: the kept places stand in the line, and are looked at at once."""
        for kept in self.waiting.kept.values():
            if kept.leg is None:
                kept.not_before = at
                waiter = Waiter(kept.waiter, kept.queue, kept.queued_at, kept.variables, is_parked=True)
                self._core.line.put(waiter, now=at)

    def heal(self, interaction: InteractionId, now: float) -> Iterator[Output]:
        """A kept place that nobody will ever come to is closed."""
        for kept in list(self.waiting.lost(self._core.plan, now)):
            if kept.interaction == interaction:
                yield from self.close(kept, "unknown" if kept.leg is not None else "cancelled", now)

    def leg_started(self, leg: LegId) -> None:
        """A channel came into being: it may be a call back of ours."""
        if (kept := self.waiting.by_leg(leg)) is not None:
            kept.is_leg_seen = True

    def leg_ended(self, event: e.LegEnded, now: float) -> Iterator[Output]:
        """A call back that nobody answered is over."""
        if (kept := self.waiting.by_leg(event.leg)) is not None:
            yield from self.close(kept, OUTCOME_OF_CAUSE.get(event.cause, "failed"), now)

    def failed(self, event: e.CommandFailed, now: float) -> Iterator[Output]:
        """A call back could not be ordered, and whether it was made all the same is not always known; or a caller could
        not be sent away."""
        call = self._call_of(event.leg) if event.command == "SendAway" and event.leg is not None else None
        if call is not None:
            call.away = ""
            self._core._start_waiting(call, now)
            self.waiting.look_at(call.id, now + RETRY_S)
        kept = self.waiting.by_leg(event.leg) if event.leg is not None else None
        if kept is not None and not kept.is_leg_seen:
            yield from self.close(kept, "unknown" if event.why == "timeout" else "failed", now)

    def _answered(self, kept: Kept, call: Call, now: float) -> Iterator[Output]:
        """The customer is there: before everybody else, for the agent who was kept free."""
        agent = kept.agent
        yield from self.close(kept, "answered", now, call)
        call.queue, call.queued_at, call.entered_at = kept.queue, kept.queued_at, kept.queued_at
        call.is_head, call.wanted_agent = True, agent
        self._core._stand_in_line(call, now)
        guest = self.waiting.guest(call.id)
        guest.told.update(dict.fromkeys(("greeting", "callback", "comfort"), now))

    def _kept_is_due(self, kept: Kept, now: float) -> Iterator[Output]:
        if kept.leg is None:
            if kept.expires_at <= now:
                yield from self.close(kept, "expired", now)
            else:
                yield from self.stand(kept, now)
        elif self._core.links.get(kept.pbx) != "up" or self._core.conversations.of_leg(kept.leg) is not None:
            kept.gives_up_at = now + LATE_S  # what became of it will be told
        else:
            yield from self.close(kept, "failed" if kept.is_leg_seen else "unknown", now)

    def close(self, kept: Kept, outcome: str, now: float, call: Call | None = None) -> Iterator[Output]:
        """The place is gone, and the agent who was kept free for it is everybody's again."""
        interaction = call.id if call is not None else None
        fact = e.CallbackClosed(at=now, callback=kept.id, outcome=outcome, interaction=interaction)
        yield fact
        self.closed(fact)
        agent = self._core.agents.get(kept.agent) if kept.agent is not None else None
        if agent is not None and agent.state is AgentState.RESERVED and agent.reason == CALLBACK:
            yield from self._core._move(agent, Move.RELEASE, now)

    def closed(self, fact: e.CallbackClosed) -> None:
        """As a journal tells, too."""
        kept = self.waiting.closed(fact)
        if kept is not None:
            self._core.line.remove(kept.waiter)

    # ── the pace of queues ────────────────────────────────────────────────────────────────────────────────

    def joined(self, call: Call, now: float) -> Iterator[Output]:
        """An agent speaks with a caller who waited, or who kept a place and was served all the same."""
        if (kept := self.waiting.of_interaction(call.id)) is not None:
            yield from self.close(kept, "called_in", now, call)
        if call.queue is not None and call.queued_at is not None:
            is_anybody_left = self._core.line.waiting_in(call.queue) > 0
            agents = self._at_work(call.queue)
            self.waiting.pace(call.queue).taken(agents=agents, is_anybody_left=is_anybody_left, now=now)

    def gone(self, call: Call) -> None:
        """The call is over."""
        self.waiting.forget(call.id)
        if call.queue is not None and call.queue in self.waiting.paces and not self._core.line.waiting_in(call.queue):
            self.waiting.pace(call.queue).nobody_waits()
