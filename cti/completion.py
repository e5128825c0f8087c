"""Completion: what happened on a PBX while the daemon did not hear it, told from the PBX's own records.

Pure. The facts that an adapter reads from the records are folded by the same ``Conversations`` and ``Stories`` as those
of the live link; what comes out is one ``CallRecorded`` for each conversation that ended. Which of them are wanted is
said by ``Gap``: a call of which any part lay in a time that was not heard.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from cti import events as e
from cti.events import DialOutcome, Event, HangupCause
from cti.ids import AgentId, InteractionId, LegId, PbxId, QueueId
from cti.interaction import Conversations, Interaction, LegRole
from cti.journal import START
from cti.routing.plan import Plan
from cti.stories import Stories, Story

MARGIN_S = 30.0
"""How far the clocks of PBX and daemon may be apart; a call too many that is completed changes nothing."""
RANG_OUT_WITHIN_S = 2.0
"""A queue's log counts whole seconds and is written behind the ring."""
FALLBACK_QUEUE = "callfloor-"


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which a PBX was not heard, Unix seconds; ``until`` None while it lasts."""

    since: float
    until: float | None

    def touches(self, began_at: float, ended_at: float) -> bool:
        """Whether any of a call from ``began_at`` to ``ended_at`` may not have been heard."""
        return ended_at >= self.since - MARGIN_S and (self.until is None or began_at <= self.until + MARGIN_S)


class Completion:
    """Folds the records of one PBX. ``plan`` is asked at each call: queues, routes and whose phone an endpoint is."""

    def __init__(self, pbx: PbxId, plan: Callable[[], Plan]) -> None:
        self._pbx = pbx
        self._plan = plan
        self._conversations = Conversations(self._owner_of)
        self._stories = Stories(self._owner_of)
        self._merged: dict[InteractionId, tuple[InteractionId, ...]] = {}
        self._rang_out: dict[LegId, list[tuple[float, str]]] = {}
        self._heard_at: dict[InteractionId, float] = {}
        self._messages: dict[LegId, e.MessageRecorded] = {}

    def _owner_of(self, pbx: PbxId, endpoint: str) -> AgentId | None:
        return self._plan().owner_of(pbx, endpoint)

    @property
    def is_idle(self) -> bool:
        """No conversation is under way in what was read."""
        return not self._conversations.interactions

    def has_begun_before(self, at: float) -> bool:
        """Some conversation under way in what was read began before that time (Unix seconds)."""
        return any(home.started_at <= at for home in self._conversations.interactions.values() if home.ended_at is None)

    def rang_out(self, caller: LegId, endpoint: str, at: float) -> None:
        """The queue's log: this phone rang for ``caller`` until its time was up."""
        self._rang_out.setdefault(caller, []).append((at, endpoint))

    def take(self, fact: Event) -> list[e.CallRecorded]:
        """One fact from the records, in their order; the conversations that it ended."""
        if isinstance(fact, e.MessageRecorded):
            self._messages[fact.leg] = fact
        told = list(self._conversations.handle(fact))
        self._stories.take(fact, before=START)
        leg = getattr(fact, "leg", None)
        home = self._conversations.of_leg(leg) if leg is not None else None
        if home is not None and home.ended_at is None:
            self._heard_at[home.id] = fact.at
        recorded: list[e.CallRecorded] = []
        for conclusion in told:
            self._stories.take(conclusion, before=START)
            if isinstance(conclusion, e.InteractionMerged):
                moved = (conclusion.gone, *self._merged.pop(conclusion.gone, ()))
                self._merged[conclusion.into] = (*self._merged.get(conclusion.into, ()), *moved)
                self._stories.forget_told({conclusion.gone})
                self._heard_at.pop(conclusion.gone, None)
            elif isinstance(conclusion, e.InteractionEnded):
                recorded.extend(self._recorded(conclusion))
        if home is not None and isinstance(fact, e.CallOffered | e.ForeignQueueJoined):
            self._queue(home, fact)
        return recorded

    def end_unheard(self, living: Collection[LegId], at: float) -> list[e.CallRecorded]:
        """The PBX was read at ``at`` and only these legs live: conversations that the records leave open (it died with
        them) ended with their last record."""
        recorded: list[e.CallRecorded] = []
        for home in list(self._conversations.interactions.values()):
            last = self._heard_at.get(home.id, home.started_at)
            if home.ended_at is None and last < at and not any(leg.id in living for leg in home.live_legs):
                for leg in home.live_legs:
                    recorded.extend(self.take(e.LegEnded(at=last, leg=leg.id, cause=HangupCause.FAILED)))
        return recorded

    def _queue(self, home: Interaction, fact: e.CallOffered | e.ForeignQueueJoined) -> None:
        story = self._stories.stories.get(home.id)
        if story is None:
            return
        if isinstance(fact, e.CallOffered):
            queue, since = self._destination(fact, story), max(home.started_at, fact.at - fact.waited_s)
        else:
            named = QueueId(fact.queue.removeprefix(FALLBACK_QUEUE))
            is_ours = fact.queue.startswith(FALLBACK_QUEUE) and named in self._plan().queues
            queue, since = (named if is_ours else None), fact.at
        if queue is not None:
            self._stories.take(
                e.InteractionQueued(at=fact.at, interaction=home.id, queue=queue, queued_at=since, position=0),
                before=START,
            )

    def _destination(self, offer: e.CallOffered, story: Story) -> QueueId | None:
        """The queue that an offer leads to, as the deciding core sees it."""
        plan = self._plan()
        kind, _, name = offer.target.partition(":")
        if kind == "queue" and QueueId(name) in plan.queues:
            return QueueId(name)
        if story.queue:
            return QueueId(story.queue)
        route = plan.route(offer.dnis)
        if kind != "agent" and route is not None and route.queue in plan.queues:
            return route.queue
        return plan.default_queue

    def _recorded(self, ended: e.InteractionEnded) -> Iterable[e.CallRecorded]:
        story = self._stories.stories.get(ended.interaction)
        merged = self._merged.pop(ended.interaction, ())
        self._heard_at.pop(ended.interaction, None)
        if story is None or story.live is None:
            return
        live = story.live
        message = next((one for leg in live.legs if (one := self._messages.pop(leg, None)) is not None), None)
        rung_for = [note for leg in live.legs for note in self._rang_out.pop(leg, ())]
        self._stories.forget_told({story.id})
        # Of what began before the first record that was read, the beginning is not known.
        if live.first_leg not in live.legs:
            return
        outcome = ended.outcome
        queue = self._plan().queues.get(QueueId(story.queue))
        if outcome == "abandoned" and queue is not None and story.queued_at is not None:
            outcome = "short_abandoned" if ended.at - story.queued_at < queue.short_abandon_s else outcome
        legs = tuple(
            e.RecordedLeg(
                leg=leg.id,
                role={LegRole.CUSTOMER: "customer", LegRole.AGENT: "agent"}.get(leg.role, "other"),
                started_at=leg.started_at,
                agent=leg.agent or "",
                endpoint=leg.endpoint,
                # A withheld number came along in the signalling; it is not ours to keep.
                number="" if story.is_withheld and leg.role is LegRole.CUSTOMER else leg.number,
                answered_at=leg.answered_at,
                ended_at=leg.ended_at,
                outcome=_outcome(leg.outcome, leg.endpoint, leg.ended_at, rung_for),
                cause=leg.cause or "",
            )
            for leg in live.legs.values()
            if leg.role is not LegRole.LOCAL
        )
        yield e.CallRecorded(
            at=ended.at,
            interaction=story.id,
            merged=merged,
            direction=story.direction,
            was_offered=live.was_offered,
            ani=story.ani,
            ani_name=story.ani_name,
            is_withheld=story.is_withheld,
            dnis=story.dnis,
            account=story.account,
            choice=story.choice,
            language=story.language,
            started_at=live.started_at,
            queue=story.queue,
            queued_at=story.queued_at,
            answered_at=story.answered_at,
            ended_at=ended.at,
            outcome=outcome,
            agent=story.agent,
            from_agent=story.from_agent,
            talk_s=story.talk_s,
            hold_s=story.hold_s,
            legs=legs,
            recording_basis=story.recording_basis,
            path=story.path,
            message=message.file if message is not None else "",
            message_queue=(message.queue or story.queue) if message is not None else "",
            tapes=tuple(
                e.RecordedTape(
                    file=tape.file,
                    leg=tape.leg,
                    started_at=tape.started_at,
                    ended_at=tape.ended_at or ended.at,
                    basis=tape.basis,
                )
                for tape in story.tapes
            ),
        )


def _outcome(
    known: DialOutcome | None, endpoint: str, ended_at: float | None, rung_for: Iterable[tuple[float, str]]
) -> str:
    # A ring that was called off looks the same in the records whether time was up or the caller left.
    if known is DialOutcome.CANCELLED and ended_at is not None:
        for at, phone in rung_for:
            if phone == endpoint and abs(at - ended_at) <= RANG_OUT_WITHIN_S:
                return DialOutcome.NO_ANSWER
    return known or ""
