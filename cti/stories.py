"""Stories: the journal's facts folded into what the CRM keeps of each interaction.

Pure. The same fold runs live (``cti.recorder``) and in a rebuild; feeding it a stretch of the journal twice tells the
same story twice, never a longer one. In a rebuild it folds the conversations for itself; live it looks at those of the
deciding core, which folded the same facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter

from cti import events as e
from cti.events import AgentState, Event
from cti.ids import AgentId, InteractionId, LegId, PbxId
from cti.interaction import Conversations, Interaction
from cti.journal import Position


@dataclass(slots=True)
class Tape:
    """One recording of an interaction. ``paused``: spans of silence by order, (from, until) in Unix seconds."""

    file: str
    leg: LegId
    started_at: float
    ended_at: float | None = None
    paused: list[tuple[float, float | None]] = field(default_factory=list)
    basis: str = ""
    objected_at: float | None = None


@dataclass(slots=True)
class Offer:
    """One stay of the caller in one queue, which belongs to the moment in which it began. Times in Unix seconds;
    ``outcome`` empty while it lasts; ``went_to``: the destination of one who left for another."""

    queue: str
    began_at: float
    ended_at: float | None = None
    outcome: str = ""
    went_to: str = ""

    def end(self, at: float, outcome: str, went_to: str = "") -> None:
        """Once: what was concluded first counts."""
        if self.ended_at is None:
            self.ended_at, self.outcome, self.went_to = at, outcome, went_to


@dataclass(slots=True)
class Story:
    """All that is kept of one interaction. Times in Unix seconds, durations in seconds."""

    id: InteractionId
    began: Position
    """The journal from here on tells all of it."""
    direction: str = ""
    ani: str = ""
    ani_name: str = ""
    is_withheld: bool = False
    dnis: str = ""
    account: str = ""
    choice: str = ""
    language: str = ""
    started_at: float = 0.0
    queue: str = ""
    queued_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    outcome: str = ""
    agent: str = ""
    from_agent: str = ""
    talk_s: float = 0.0
    hold_s: float = 0.0
    wrap_up_s: float = 0.0
    party: int | None = None
    candidates: tuple[int, ...] = ()
    how: str = ""
    chosen_by: str = ""
    recording_basis: str = ""
    note: str = ""
    disposition: str = ""
    merged_into: InteractionId | None = None
    decisions: list[e.AgentChosen] = field(default_factory=list)
    written_at: float = 0.0
    """When its rows were written last, Unix seconds."""
    decisions_written: int = 0
    """How many of the decisions are in the database; they never change."""
    tapes: list[Tape] = field(default_factory=list)
    path: str = ""
    """The way through the menus."""
    offers: list[Offer] = field(default_factory=list)
    messages: list[e.MessageLeft] = field(default_factory=list)
    live: Interaction | None = None
    recorded: e.CallRecorded | None = None
    """The PBX's own record of it, once it was needed: goes before everything about times and legs that was heard."""
    is_alone: bool = False
    """Known from that record alone; what else the database knows of it stays."""
    talking: dict[AgentId, float] = field(default_factory=dict)
    talk_since: float | None = None
    held_since: float | None = None
    wrapping_up: dict[AgentId, float] = field(default_factory=dict)

    @property
    def is_told(self) -> bool:
        """Nothing more is to come."""
        return (self.ended_at is not None and not self.wrapping_up) or self.merged_into is not None


def _leg_of(fact: Event) -> LegId | None:
    """The leg that a fact is about, of those that tell of one leg."""
    kind = type(fact)
    read = _LEG_READERS.get(kind)
    if read is None:
        names = getattr(kind, "__slots__", ())
        name = "leg" if "leg" in names else "to" if kind in (e.DialStarted, e.DialEnded) else ""
        read = _LEG_READERS[kind] = attrgetter(name) if name else _nothing
    leg: LegId | None = read(fact)
    return leg


def _nothing(_: Event) -> None:
    return None


_LEG_READERS: dict[type[Event], Callable[[Event], LegId | None]] = {}
"""By class, made when first asked for: thousands of facts a second pass here."""


class Stories:
    """The fold. ``take`` returns which interactions changed."""

    def __init__(self, owner_of: Callable[[PbxId, str], AgentId | None]) -> None:
        self._conversations = Conversations(owner_of)
        self._lived: Conversations | None = None
        self._begun: dict[InteractionId, Interaction] = {}
        self.stories: dict[InteractionId, Story] = {}
        self._wraps: dict[AgentId, InteractionId] = {}
        self._handlers: dict[type[Event], Callable[..., Iterator[InteractionId]]] = {
            e.InteractionStarted: self._started,
            e.InteractionMerged: self._merged,
            e.InteractionQueued: self._queued,
            e.InteractionEnded: self._ended,
            e.AgentChosen: self._chosen,
            e.AgentJoined: self._joined,
            e.AgentLeft: self._left,
            e.InteractionHeld: self._held,
            e.AgentStateChanged: self._state_changed,
            e.CallerLookedUp: self._looked_up,
            e.CustomerChosen: self._customer_chosen,
            e.NoteSaved: self._note_saved,
            e.DispositionSet: self._disposition_set,
            e.RecordingChanged: self._recording_changed,
            e.CallRecorded: self._recorded,
            e.CallerOverflowed: self._overflowed,
            e.CallbackPlaced: self._place_kept,
            e.MessageLeft: self._message_left,
        }

    def follow(self, conversations: Conversations) -> None:
        """From now on these conversations are folded by somebody else, who has folded all that was taken so far."""
        self._lived = conversations
        conversations.on_start = self._keep_begun
        for story in self.stories.values():
            # What is over for the other one is kept as it was folded here.
            story.live = conversations.get(story.id) or story.live

    def _keep_begun(self, home: Interaction) -> None:
        self._begun[home.id] = home

    def take(self, fact: Event, *, before: Position) -> set[InteractionId]:
        """Fold one fact of the journal. ``before``: a position at or before it."""
        changed: set[InteractionId] = set()
        # What these conversations conclude stands in the journal too, said by the deciding core, which may have
        # refined it; only the legs are read from them.
        if self._lived is None:
            self._conversations.handle(fact)
        if (leg := _leg_of(fact)) is not None:
            home = (self._lived or self._conversations).of_leg(leg)
            if home is not None and (story := self.stories.get(home.id)) is not None:
                story.live = home
                changed.add(home.id)
        if isinstance(fact, e.InteractionStarted | e.CallRecorded) and fact.interaction not in self.stories:
            is_alone = isinstance(fact, e.CallRecorded)
            self.stories[fact.interaction] = Story(fact.interaction, before, is_alone=is_alone)
        handler = self._handlers.get(type(fact))
        if handler is not None:
            changed.update(handler(fact))
        return changed

    def forget_told(self, written: set[InteractionId]) -> None:
        """Drop the finished stories among those that have been written."""
        for interaction in written:
            story = self.stories.get(interaction)
            if story is not None and story.is_told:
                del self.stories[interaction]

    def oldest(self) -> Position | None:
        """From where the journal must be read again to tell all unfinished stories."""
        return min((story.began for story in self.stories.values()), default=None)

    def _home(self, interaction: InteractionId) -> Interaction | None:
        if self._lived is not None:
            begun = self._begun.pop(interaction, None) or self._lived.get(interaction)
            if begun is not None:
                return begun
        return self._conversations.get(interaction)

    # ── the facts ─────────────────────────────────────────────────────────────────────────────────────────

    def _of(self, interaction: InteractionId) -> Iterator[Story]:
        story = self.stories.get(interaction)
        if story is not None:
            yield story

    def _heard(self, interaction: InteractionId) -> Iterator[Story]:
        """As ``_of``, for facts that a record of the whole call goes before."""
        return (story for story in self._of(interaction) if story.recorded is None)

    def _started(self, fact: e.InteractionStarted) -> Iterator[InteractionId]:
        story = self.stories[fact.interaction]
        story.direction = fact.direction
        story.ani, story.ani_name, story.is_withheld = fact.ani, fact.ani_name, fact.is_withheld
        story.dnis, story.account, story.choice, story.language = fact.dnis, fact.account, fact.choice, fact.language
        story.path = fact.path
        story.live = self._home(fact.interaction)
        # Told when it was clear what it is; begun when its first leg was.
        began_at = story.live.started_at if story.live is not None else fact.at
        story.started_at = story.started_at or min(began_at, fact.at)
        yield story.id

    def _merged(self, fact: e.InteractionMerged) -> Iterator[InteractionId]:
        for story in self._of(fact.gone):
            story.merged_into = fact.into
            story.ended_at = story.ended_at or fact.at
            story.wrapping_up.clear()
            for into in self._of(fact.into):
                into.began = min(into.began, story.began)
                into.note = into.note or story.note
                into.disposition = into.disposition or story.disposition
                into.party = into.party if into.party is not None else story.party
                yield into.id
            yield story.id

    def _queued(self, fact: e.InteractionQueued) -> Iterator[InteractionId]:
        for story in self._heard(fact.interaction):
            story.queue = fact.queue
            story.queued_at = fact.queued_at if story.queued_at is None else story.queued_at
            last = story.offers[-1] if story.offers else None
            if last is None or last.ended_at is not None or last.queue != fact.queue:
                if last is not None:
                    last.end(fact.at, "overflowed", f"queue:{fact.queue}")
                began_at = fact.queued_at if last is None else fact.at
                story.offers.append(Offer(fact.queue, began_at))
            yield story.id

    def _overflowed(self, fact: e.CallerOverflowed) -> Iterator[InteractionId]:
        return self._end_offer(fact.interaction, fact.at, "closed" if fact.why == "closed" else "overflowed", fact.to)

    def _place_kept(self, fact: e.CallbackPlaced) -> Iterator[InteractionId]:
        return self._end_offer(fact.interaction, fact.at, "callback")

    def _end_offer(self, one: InteractionId, at: float, outcome: str, went_to: str = "") -> Iterator[InteractionId]:
        for story in self._heard(one):
            if story.offers:
                story.offers[-1].end(at, outcome, went_to)
            yield story.id

    def _message_left(self, fact: e.MessageLeft) -> Iterator[InteractionId]:
        for story in self._of(fact.interaction):
            if all(one.file != fact.file for one in story.messages):
                story.messages.append(fact)
            yield story.id

    def _chosen(self, fact: e.AgentChosen) -> Iterator[InteractionId]:
        for story in self._of(fact.interaction):
            story.decisions.append(fact)
            yield story.id

    def _joined(self, fact: e.AgentJoined) -> Iterator[InteractionId]:
        for story in self._heard(fact.interaction):
            if fact.role != "talk":
                continue
            if story.answered_at is None:
                story.answered_at = fact.at
            if story.offers:
                story.offers[-1].end(fact.at, "answered")
            if story.agent and story.agent != fact.agent:
                story.from_agent = story.agent
            story.agent = fact.agent
            if not story.talking:
                story.talk_since = fact.at
            story.talking[fact.agent] = fact.at
            yield story.id

    def _left(self, fact: e.AgentLeft) -> Iterator[InteractionId]:
        for story in self._heard(fact.interaction):
            story.talking.pop(fact.agent, None)
            if not story.talking and story.talk_since is not None:
                story.talk_s += max(0.0, fact.at - story.talk_since)
                story.talk_since = None
            yield story.id

    def _held(self, fact: e.InteractionHeld) -> Iterator[InteractionId]:
        for story in self._heard(fact.interaction):
            if fact.is_held and story.held_since is None:
                story.held_since = fact.at
            elif not fact.is_held and story.held_since is not None:
                story.hold_s += max(0.0, fact.at - story.held_since)
                story.held_since = None
            yield story.id

    def _state_changed(self, fact: e.AgentStateChanged) -> Iterator[InteractionId]:
        was = self._wraps.pop(fact.agent, None)
        if was is not None:
            for story in self._of(was):
                since = story.wrapping_up.pop(fact.agent, fact.at)
                story.wrap_up_s += max(0.0, fact.at - since)
                yield story.id
        if fact.state is AgentState.WRAP_UP and fact.interaction is not None:
            for story in self._of(fact.interaction):
                story.wrapping_up[fact.agent] = fact.at
                self._wraps[fact.agent] = story.id
                yield story.id

    def _looked_up(self, fact: e.CallerLookedUp) -> Iterator[InteractionId]:
        for story in self._of(fact.interaction):
            story.candidates, story.how = fact.parties, fact.how
            if not story.chosen_by:
                story.party = fact.parties[0] if len(fact.parties) == 1 else None
            yield story.id

    def _customer_chosen(self, fact: e.CustomerChosen) -> Iterator[InteractionId]:
        for story in self._of(fact.interaction):
            story.party, story.chosen_by = fact.party, fact.agent
            yield story.id

    def _note_saved(self, fact: e.NoteSaved) -> Iterator[InteractionId]:
        for story in self._of(fact.interaction):
            story.note = fact.text
            yield story.id

    def _disposition_set(self, fact: e.DispositionSet) -> Iterator[InteractionId]:
        for story in self._of(fact.interaction):
            story.disposition = fact.code
            yield story.id

    def _recording_changed(self, fact: e.RecordingChanged) -> Iterator[InteractionId]:
        for story in self._of(fact.interaction):
            story.recording_basis = fact.basis or story.recording_basis
            tape = next((one for one in story.tapes if one.file == fact.file), None)
            if tape is None and fact.file:
                leg = fact.on_leg or (story.live.recorded_leg if story.live is not None else None)
                tape = Tape(fact.file, leg or LegId(""), fact.at, basis=fact.basis)
                story.tapes.append(tape)
            if tape is None:
                yield story.id
                continue
            if fact.basis == "objected":
                for one in story.tapes:
                    one.objected_at = one.objected_at or fact.at
            is_paused = bool(tape.paused) and tape.paused[-1][1] is None
            if fact.state == "paused" and not is_paused:
                tape.paused.append((fact.at, None))
            elif fact.state != "paused" and is_paused:
                tape.paused[-1] = (tape.paused[-1][0], fact.at)
            if fact.state == "off":
                tape.ended_at = fact.at
            yield story.id

    def _ended(self, fact: e.InteractionEnded) -> Iterator[InteractionId]:
        for story in self._heard(fact.interaction):
            story.ended_at = fact.at
            story.outcome = fact.outcome
            if story.offers:
                story.offers[-1].end(fact.at, fact.outcome)
            if story.talk_since is not None:
                story.talk_s += max(0.0, fact.at - story.talk_since)
                story.talk_since = None
            if story.held_since is not None:
                story.hold_s += max(0.0, fact.at - story.held_since)
                story.held_since = None
            for tape in story.tapes:
                tape.ended_at = tape.ended_at or fact.at
                if tape.paused and tape.paused[-1][1] is None:
                    tape.paused[-1] = (tape.paused[-1][0], fact.at)
            yield story.id

    def _recorded(self, fact: e.CallRecorded) -> Iterator[InteractionId]:
        for gone in fact.merged:
            for story in self._of(gone):
                story.merged_into = fact.interaction
                story.ended_at = story.ended_at or fact.ended_at
                story.wrapping_up.clear()
                yield story.id
        for story in self._of(fact.interaction):
            story.recorded = fact
            if story.is_alone:
                story.direction = fact.direction
            if story.is_alone or fact.was_offered:
                story.ani, story.ani_name, story.is_withheld = fact.ani, fact.ani_name, fact.is_withheld
                story.dnis, story.account = fact.dnis, fact.account
                story.choice, story.language = fact.choice, fact.language
            story.started_at, story.ended_at, story.outcome = fact.started_at, fact.ended_at, fact.outcome
            story.queue = fact.queue or story.queue
            story.queued_at = fact.queued_at if fact.queued_at is not None else story.queued_at
            story.path = fact.path or story.path
            story.recording_basis = fact.recording_basis or story.recording_basis
            self._books_of_record(story, fact)
            if fact.answered_at is not None or story.answered_at is None:
                story.answered_at, story.agent, story.from_agent = fact.answered_at, fact.agent, fact.from_agent
                # Records know nothing of the phones' own hold.
                story.talk_s, story.hold_s = fact.talk_s, max(story.hold_s, fact.hold_s)
            story.talk_since = story.held_since = None
            story.talking.clear()
            if not story.chosen_by and not story.how:
                story.candidates, story.how = fact.parties, fact.how
                story.party = fact.parties[0] if len(fact.parties) == 1 else None
            for recorded in fact.tapes:
                tape = next((one for one in story.tapes if one.file == recorded.file), None)
                if tape is None:
                    tape = Tape(recorded.file, recorded.leg, recorded.started_at, basis=recorded.basis)
                    story.tapes.append(tape)
                tape.ended_at = recorded.ended_at
            yield story.id

    def _books_of_record(self, story: Story, fact: e.CallRecorded) -> None:
        if not story.offers and fact.queue and fact.queued_at is not None:
            story.offers.append(Offer(fact.queue, fact.queued_at))
        if story.offers:
            is_answered = fact.answered_at is not None
            story.offers[-1].end(fact.answered_at or fact.ended_at, "answered" if is_answered else fact.outcome)
