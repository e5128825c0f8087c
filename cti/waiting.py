"""What a caller meets while waiting: announcements, overflow, and the place that is kept for a call back.

Pure: it is told what the core knows of a caller (``Seen``) and answers with the next ``Step``; ``now`` is passed in and
``wake_at`` says when it wants to be asked again. What callers were told comes back after a restart from the journal's
``AnnouncementPlayed``, kept places from ``CallbackPlaced``, ``CallbackDialled`` and ``CallbackClosed``.

A kept place::

    key 1 ─▶ confirm (own number) or type one ─▶ CallbackPlaced ─ its turn, an agent is kept free ─▶ CallbackDialled
                                                    │ called in, expired, queue gone                      │ once
                                                    ▼                                                     ▼
                                              CallbackClosed ◀── answered (a caller like any other) · busy · no answer
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from cti import events as e
from cti.errors import BadInput
from cti.events import HangupCause
from cti.ids import AgentId, InteractionId, LegId, PbxId, QueueId
from cti.routing.hours import is_open, opens_at
from cti.routing.plan import Calendar, CallbackPlan, OverflowWhen, Plan, QueuePlan

SAY_S = 60.0
"""An announcement of which nothing is heard for so long is taken as over."""
ANSWER_S = 20.0
"""How long a caller may think about a question, or between two digits."""
FAREWELL_S = 15.0
"""How long a caller whose place is kept stays on the line at most."""
NOBODY_EVERY_S = 2.0
"""How often is looked whether anybody is there at all."""
LATE_S = 10.0
"""A call back that has not ended so long after its ring was to end never was, or nobody can say what came of it."""
RETRY_S = 5.0
CLOSING_EVERY_S = 15.0
"""How often is looked whether it has closed: then whoever still waits goes where the closed queue says."""
LOST_S = 60.0
MOST_DIGITS = 15
CALLBACK_KEY = "1"
YES, NO = "1", "2"
EVERY_KEY = "0123456789*#"
CLOSED_MESSAGE = "message:closed"
LONGEST_SAID_MINUTES = 60
LARGEST_SAID_POSITION = 99

_DIALABLE = re.compile(r"\+?[0-9]{5,15}")

OUTCOME_OF_CAUSE = {
    HangupCause.BUSY: "busy",
    HangupCause.REJECTED: "busy",
    HangupCause.NORMAL: "no_answer",
    HangupCause.NO_ANSWER: "no_answer",
}
"""How a call back ended that nobody answered; every other cause is ``failed``."""


# ── how long it will take ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Wait:
    """An expected wait in seconds: the middle, and what four of five callers will not wait longer than."""

    likely_s: float
    upper_s: float


RECENT_S = 1800.0
MOST_GAPS = 20
FEWEST_GAPS = 5
WIDEST = 3.0
"""The upper value is this many times the middle at most; a guess that is wider is not told."""


class Pace:
    """How fast a queue takes its callers, from the last times at which one was taken while others waited.

    Each such gap, times the agents at work, is one observation of the work that a caller makes; gaps of a line that is
    served at a rate are exponential, so the time until the k-th is taken divides into their mean as F(2k, 2m) for m
    observations. That is what makes few observations a wide guess. Seconds are times of the clock that is passed in.
    """

    def __init__(self) -> None:
        self._gaps: deque[tuple[float, float]] = deque(maxlen=MOST_GAPS)
        self._since: float | None = None

    def taken(self, *, agents: int, is_anybody_left: bool, now: float) -> None:
        """A caller was taken; ``agents`` are at work in this queue."""
        if self._since is not None and agents > 0:
            self._gaps.append((now, max(0.0, now - self._since) * agents))
        self._since = now if is_anybody_left else None

    def nobody_waits(self) -> None:
        """The line is empty: the time until the next caller comes says nothing of the pace."""
        self._since = None

    def expected(self, position: int, *, agents: int, now: float) -> Wait | None:
        """The wait of who stands at ``position`` (from 1); None when that can't be said."""
        recent = [work for at, work in self._gaps if now - at <= RECENT_S]
        if len(recent) < FEWEST_GAPS or agents <= 0 or position < 1:
            return None
        mean_s = position * sum(recent) / len(recent) / agents
        likely = _f_quantile(0.0, 2 * position, 2 * len(recent))
        upper = _f_quantile(Z_80, 2 * position, 2 * len(recent))
        return Wait(mean_s * likely, mean_s * upper)


Z_80 = 0.8416
"""Of a hundred values of a normal distribution eighty lie below."""


def _f_quantile(z: float, degrees: int, below: int) -> float:
    """Paulson's approximation of a quantile of the F distribution; ``z``: the same quantile of the normal one."""
    a, b = 2 / (9 * degrees), 2 / (9 * below)
    spread = (1 - b) ** 2 * a + (1 - a) ** 2 * b - a * b * z * z
    root = ((1 - b) * (1 - a) + z * math.sqrt(max(0.0, spread))) / ((1 - b) ** 2 - b * z * z)
    return max(0.0, root) ** 3


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────────


def position_words(position: int) -> tuple[str, ...]:
    """The recordings that say a place in line; none for a place too far behind."""
    if position == 1:
        return ("position-first",)
    if 1 < position <= LARGEST_SAID_POSITION:
        return ("position-before", f"number-{position}", "position-after")
    return ()


def said_minutes(wait: Wait | None) -> int | None:
    """The minutes that are told: the upper value, rounded up (in steps of five from ten on); None: nothing is told."""
    if wait is None or wait.upper_s > WIDEST * wait.likely_s:
        return None
    minutes = max(1, math.ceil(wait.upper_s / 60))
    minutes = minutes if minutes <= 10 else 5 * math.ceil(minutes / 5)
    return minutes if minutes <= LONGEST_SAID_MINUTES else None


def wait_words(minutes: int | None) -> tuple[str, ...]:
    """The recordings that say an expected wait."""
    if minutes is None:
        return ()
    return ("wait-minute",) if minutes == 1 else ("wait-before", f"count-{minutes}", "wait-after")


# ── what is decided ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Seen:
    """What the core knows of a caller at this moment. ``entered_at``: when the caller came into this queue;
    ``is_anybody_there``: somebody is logged in who could ever serve this caller; ``number``: to call back, empty if
    there is none; ``tried``: destinations that were of no use to this caller."""

    queue: QueuePlan
    queued_at: float
    entered_at: float
    position: int
    wait: Wait | None
    is_anybody_there: bool
    number: str
    can_call_back: bool
    is_open: bool = True
    tried: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the caller this, and listen to these keys."""

    what: str
    says: tuple[str, ...] = ()
    keys: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Leave:
    """The caller goes to ``to`` (a destination). ``why``: as in ``CallerOverflowed``."""

    to: str
    why: str


@dataclass(frozen=True, slots=True)
class Place:
    """Keep the caller's place and call this number back."""

    number: str


@dataclass(frozen=True, slots=True)
class LetGo:
    """The caller's place is kept: the call may end."""


@dataclass(slots=True)
class Guest:
    """One caller: what was told when, what is being said, what is asked (``confirm``, ``number`` or nothing)."""

    told: dict[str, float] = field(default_factory=dict)
    saying: str = ""
    saying_since: float = 0.0
    detail: str = ""
    asks: str = ""
    asked_at: float = 0.0
    typed: str = ""
    has_place: bool = False
    nobody_since: float | None = None

    def begin(self, say: Say, now: float) -> None:
        """This is being said from now on."""
        self.told[say.what] = now
        if say.says:
            self.saying, self.saying_since, self.detail = say.what, now, say.detail


@dataclass(slots=True)
class Kept:
    """A place that is kept. Times are Unix seconds. ``leg``: the one call back, None before it is made."""

    id: str
    interaction: InteractionId
    pbx: PbxId
    queue: QueueId
    number: str
    language: str
    queued_at: float
    expires_at: float
    leg: LegId | None = None
    agent: AgentId | None = None
    dialled_at: float = 0.0
    gives_up_at: float = 0.0
    """When nothing more can come of the call."""
    is_leg_seen: bool = False
    not_before: float = 0.0
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def waiter(self) -> InteractionId:
        """The name of this place in the line."""
        return InteractionId(f"callback-{self.id}")


def callback_leg(pbx: PbxId, callback: str) -> LegId:
    """The leg of the one call back of a place."""
    return LegId(f"{pbx}/callback-{callback}")


def may_call_back(plan: CallbackPlan, number: str, *, is_typed: bool) -> bool:
    """Whether a number may be called. A typed one could be anybody's: only where the plan names how numbers begin."""
    if _DIALABLE.fullmatch(number) is None:
        return False
    digits = _bare(number)
    if not plan.prefixes:
        return not is_typed
    return any(digits.startswith(_bare(prefix)) for prefix in plan.prefixes)


def _bare(number: str) -> str:
    return number.removeprefix("+").removeprefix("00")


def is_open_now(calendars: Mapping[str, Calendar], name: str, now: float) -> bool:
    """Whether what goes by this calendar is open; without one it always is, and with one that can't be read too: a
    caller is rather taken than sent away."""
    calendar = calendars.get(name)
    if calendar is None:
        return True
    try:
        return is_open(calendar, now)
    except BadInput:
        return True


def at_the_door(plan: Plan, queue: QueuePlan, *, waiting: int, wait: Wait | None, now: float) -> Leave | None:
    """Whether a caller who comes now may not wait here, and where to go instead. ``waiting``: who waits already."""
    if not is_open_now(plan.calendars, queue.calendar, now):
        return Leave(queue.closed_to or CLOSED_MESSAGE, "closed")
    for rule in queue.overflows:
        is_full = rule.when is OverflowWhen.LENGTH and waiting >= rule.limit
        is_slow = rule.when is OverflowWhen.EXPECTED_WAIT and wait is not None and wait.likely_s > rule.limit
        if is_full or is_slow:
            return Leave(rule.to, rule.when.value)
    return None


class Waiting:
    """All callers who are told something while they wait, all kept places, and the pace of every queue."""

    def __init__(self) -> None:
        self._guests: dict[InteractionId, Guest] = {}
        self._due: list[tuple[float, InteractionId]] = []
        self._due_at: dict[InteractionId, float] = {}
        self.kept: dict[str, Kept] = {}
        self.paces: dict[QueueId, Pace] = {}

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────

    def wake_at(self) -> float | None:
        """When somebody is due (Unix seconds), or None."""
        while self._due and self._due_at.get(self._due[0][1]) != self._due[0][0]:
            heappop(self._due)
        times = [self._due[0][0]] if self._due else []
        times.extend(self._kept_due(one) for one in self.kept.values())
        return min(times, default=None)

    def due(self, now: float) -> Iterator[InteractionId]:
        """The callers who are due; each is to be asked for with ``next_step``, or forgotten."""
        while self._due and self._due[0][0] <= now:
            at, guest = heappop(self._due)
            if self._due_at.get(guest) == at:
                del self._due_at[guest]
                yield guest

    def kept_due(self, now: float) -> list[Kept]:
        """The kept places of which time alone has something to say."""
        return [one for one in self.kept.values() if self._kept_due(one) <= now]

    def _kept_due(self, one: Kept) -> float:
        if one.leg is not None:
            return one.gives_up_at
        return min(one.expires_at, one.not_before) if one.not_before else one.expires_at

    def look_at(self, interaction: InteractionId, at: float) -> None:
        """This caller is due then."""
        self._due_at[interaction] = at
        heappush(self._due, (at, interaction))

    # ── a caller ──────────────────────────────────────────────────────────────────────────────────────────

    def guest(self, interaction: InteractionId) -> Guest:
        """What is kept of this caller."""
        return self._guests.setdefault(interaction, Guest())

    def forget(self, interaction: InteractionId) -> None:
        """The caller is gone."""
        self._guests.pop(interaction, None)
        self._due_at.pop(interaction, None)

    def rename(self, gone: InteractionId, into: InteractionId) -> None:
        """Two conversations are one."""
        guest = self._guests.pop(gone, None)
        self._due_at.pop(gone, None)
        if guest is not None:
            self._guests.setdefault(into, guest)

    def next_step(self, interaction: InteractionId, seen: Seen, *, now: float) -> Say | Leave | LetGo | None:
        """What is to be done for a caller who waits, if anything; plans when to look again."""
        guest = self.guest(interaction)
        step = self._leave(guest, seen, now) or self._say(guest, seen, now)
        if isinstance(step, Say):
            guest.begin(step, now)
        if not isinstance(step, Leave | LetGo):
            next_at = self._next_at(guest, seen, now)
            if next_at is not None:
                self.look_at(interaction, next_at)
        return step

    def _leave(self, guest: Guest, seen: Seen, now: float) -> Leave | LetGo | None:
        if guest.has_place:
            return LetGo() if not guest.saying and now >= guest.asked_at + FAREWELL_S else None
        if not seen.is_open:
            to = seen.queue.closed_to or CLOSED_MESSAGE
            return Leave(CLOSED_MESSAGE if to in seen.tried else to, "closed")
        if guest.asks:
            return None
        for rule in seen.queue.overflows:
            if rule.to in seen.tried:
                continue
            if rule.when is OverflowWhen.WAITED and now >= seen.entered_at + rule.limit:
                return Leave(rule.to, rule.when.value)
            if rule.when is OverflowWhen.NO_AGENTS:
                if seen.is_anybody_there:
                    guest.nobody_since = None
                elif guest.nobody_since is None:
                    guest.nobody_since = now
                if guest.nobody_since is not None and now >= guest.nobody_since + rule.limit:
                    return Leave(rule.to, rule.when.value)
        return None

    def _say(self, guest: Guest, seen: Seen, now: float) -> Say | None:
        """The emergency message first of all, then the greeting, then whatever is due."""
        if guest.saying and now < guest.saying_since + SAY_S:
            return None
        guest.saying = ""
        if guest.has_place:
            return None
        if guest.asks and now < guest.asked_at + ANSWER_S:
            return None
        guest.asks = guest.typed = ""
        queue, comfort = seen.queue, seen.queue.comfort
        if queue.emergency_message and "emergency" not in guest.told:
            return Say("emergency", (queue.emergency_message,), self._keys(guest, seen))
        standing = self._standing(seen)
        if "greeting" not in guest.told:
            words = ((comfort.greeting,) if comfort.greeting else ()) + standing
            if words:
                return Say("greeting", words, self._keys(guest, seen), self._detail(seen))
        if self._offers_callback(seen) and "callback" not in guest.told and now >= self._callback_at(seen):
            guest.told["callback"] = now
            return Say("callback", ("callback-offer",), self._keys(guest, seen))
        if comfort.every_s > 0 and now >= self._comfort_at(guest, seen):
            words = ((comfort.message,) if comfort.message else ()) + standing
            if "callback" in guest.told and self._offers_callback(seen):
                words += ("callback-offer",)
            if comfort.voicemail_key:
                words += ("voicemail-offer", f"number-{comfort.voicemail_key}")
            guest.told["comfort"] = now
            return Say("comfort", words, self._keys(guest, seen), self._detail(seen)) if words else None
        return None

    def _standing(self, seen: Seen) -> tuple[str, ...]:
        comfort = seen.queue.comfort
        position = position_words(seen.position) if comfort.says_position else ()
        return position + (wait_words(said_minutes(seen.wait)) if comfort.says_wait else ())

    def _detail(self, seen: Seen) -> str:
        comfort = seen.queue.comfort
        minutes = said_minutes(seen.wait) if comfort.says_wait else None
        position = f"position={seen.position}" if comfort.says_position else ""
        return " ".join(one for one in (position, f"minutes={minutes}" if minutes is not None else "") if one)

    def _offers_callback(self, seen: Seen) -> bool:
        return seen.queue.comfort.callback_after_s > 0 and seen.can_call_back

    def _callback_at(self, seen: Seen) -> float:
        return seen.entered_at + seen.queue.comfort.callback_after_s

    def _comfort_at(self, guest: Guest, seen: Seen) -> float:
        last = max((guest.told[one] for one in ("greeting", "comfort") if one in guest.told), default=seen.entered_at)
        return last + seen.queue.comfort.every_s

    def _keys(self, guest: Guest, seen: Seen) -> str:
        key = seen.queue.comfort.voicemail_key
        is_offered = self._offers_callback(seen) and "callback" in guest.told
        return "".join(dict.fromkeys((CALLBACK_KEY if is_offered else "") + (key if key in EVERY_KEY else "")))

    def _next_at(self, guest: Guest, seen: Seen, now: float) -> float | None:
        if guest.has_place:
            return max(guest.saying_since + SAY_S if guest.saying else now, guest.asked_at + FAREWELL_S)
        times: list[float] = [now + CLOSING_EVERY_S] if seen.queue.calendar else []
        for rule in seen.queue.overflows:
            if rule.to in seen.tried:
                continue
            if rule.when is OverflowWhen.WAITED:
                times.append(seen.entered_at + rule.limit)
            elif rule.when is OverflowWhen.NO_AGENTS:
                times.append(now + NOBODY_EVERY_S)
        if guest.saying:
            times.append(guest.saying_since + SAY_S)
        elif guest.asks:
            times.append(guest.asked_at + ANSWER_S)
        else:
            if seen.queue.comfort.every_s > 0:
                times.append(self._comfort_at(guest, seen))
            if self._offers_callback(seen) and "callback" not in guest.told:
                times.append(self._callback_at(seen))
        return max(now + 0.1, min(times)) if times else None

    def played(self, interaction: InteractionId, what: str, now: float) -> str:
        """An announcement is over; gives its detail. The caller is due again."""
        guest = self.guest(interaction)
        guest.told.setdefault(what, now)
        detail = guest.detail if guest.saying == what else ""
        if guest.saying == what:
            guest.saying = guest.detail = ""
            # Time to think begins when the question has been asked; a farewell needs none.
            guest.asked_at = now - FAREWELL_S if guest.has_place else now
        self.look_at(interaction, now)
        return detail

    def key(self, interaction: InteractionId, key: str, seen: Seen, *, now: float) -> Say | Leave | Place | None:
        """A key was pressed: what follows from it."""
        guest = self.guest(interaction)
        step = self._pressed(guest, key, seen, now)
        if isinstance(step, Say):
            guest.begin(step, now)
        return step

    def farewell(self, interaction: InteractionId, now: float) -> Say:
        """What a caller is told whose place is kept."""
        say = Say("callback_placed", ("callback-placed",))
        self.guest(interaction).begin(say, now)
        self.look_at(interaction, now + SAY_S)
        return say

    def keys_of(self, interaction: InteractionId, seen: Seen) -> str:
        """The keys that mean something to a caller who was told of them."""
        return self._keys(self.guest(interaction), seen) if self.guest(interaction).told else ""

    def _pressed(self, guest: Guest, key: str, seen: Seen, now: float) -> Say | Leave | Place | None:
        plan = seen.queue.callback
        if guest.has_place:
            return None
        if guest.asks == "number" and plan is not None:
            return self._type(guest, key, seen, plan, now)
        if guest.asks == "confirm" and plan is not None:
            if key == YES and may_call_back(plan, seen.number, is_typed=False):
                return self._place(guest, seen.number, now)
            return self._stop_asking(guest, seen) if key == NO else None
        if key == CALLBACK_KEY and self._offers_callback(seen) and "callback" in guest.told and plan is not None:
            guest.asked_at = now
            if may_call_back(plan, seen.number, is_typed=False):
                guest.asks = "confirm"
                return Say("callback_confirm", ("callback-confirm",), YES + NO)
            if plan.prefixes:
                guest.asks, guest.typed = "number", ""
                return Say("callback_number", ("callback-number",), EVERY_KEY)
            return self._impossible(guest, seen)
        if key and key == seen.queue.comfort.voicemail_key:
            return Leave(f"voicemail:{seen.queue.id}", "chosen")
        return None

    def _type(self, guest: Guest, key: str, seen: Seen, plan: CallbackPlan, now: float) -> Say | Place | None:
        guest.asked_at = now
        if key == "*":
            guest.typed = ""
        elif key == "#":
            number = guest.typed
            if may_call_back(plan, number, is_typed=True):
                return self._place(guest, number, now)
            return self._impossible(guest, seen)
        elif len(guest.typed) < MOST_DIGITS:
            guest.typed += key
        return None

    def _place(self, guest: Guest, number: str, now: float) -> Place:
        guest.asks = guest.typed = ""
        guest.has_place, guest.asked_at = True, now
        return Place(number)

    def _impossible(self, guest: Guest, seen: Seen) -> Say:
        guest.asks = guest.typed = ""
        return Say("callback_impossible", ("callback-impossible",), self._keys(guest, seen))

    def _stop_asking(self, guest: Guest, seen: Seen) -> Say:
        guest.asks = guest.typed = ""
        return Say("keys", (), self._keys(guest, seen))

    # ── kept places ───────────────────────────────────────────────────────────────────────────────────────

    def placed(self, fact: e.CallbackPlaced) -> Kept:
        """A place is kept from now on (also as a journal tells)."""
        kept = self.kept[fact.callback] = Kept(
            id=fact.callback,
            interaction=fact.interaction,
            pbx=fact.pbx,
            queue=fact.queue,
            number=fact.number,
            language=fact.language,
            queued_at=fact.queued_at,
            expires_at=fact.expires_at,
            variables=fact.variables,
        )
        return kept

    def dialled(self, fact: e.CallbackDialled, *, ring_s: float) -> None:
        """The one call of this place is made."""
        kept = self.kept.get(fact.callback)
        if kept is not None:
            kept.leg, kept.agent, kept.dialled_at = fact.leg, fact.agent, fact.at
            kept.gives_up_at = fact.at + ring_s + LATE_S

    def closed(self, fact: e.CallbackClosed) -> Kept | None:
        """The place is gone."""
        return self.kept.pop(fact.callback, None)

    def by_waiter(self, waiter: InteractionId) -> Kept | None:
        """The kept place of this name in the line."""
        return self.kept.get(waiter.removeprefix("callback-"))

    def by_leg(self, leg: LegId) -> Kept | None:
        """The kept place that is called back on this leg."""
        kept = self.kept.get(leg.partition("/callback-")[2]) if self.kept else None
        return kept if kept is not None and kept.leg == leg else None

    def by_number(self, number: str) -> Kept | None:
        """The kept place of somebody who calls from this number; one that is being called is left alone."""
        bare = _bare(number)
        same = (one for one in self.kept.values() if one.leg is None and _bare(one.number) == bare)
        return min(same, key=lambda one: one.queued_at, default=None) if bare else None

    def of_interaction(self, interaction: InteractionId) -> Kept | None:
        """The place that this caller left behind and has not been called for."""
        return next((one for one in self.kept.values() if one.interaction == interaction and one.leg is None), None)

    def is_kept_free(self, agent: AgentId) -> bool:
        """Whether this agent is to speak with somebody who is being called back."""
        return any(one.agent == agent for one in self.kept.values())

    def lost(self, plan: Plan, now: float) -> Iterator[Kept]:
        """Kept places without a queue, long expired, or called back long ago: nobody will ever come to them."""
        for one in self.kept.values():
            ends_at = one.gives_up_at if one.leg is not None else one.expires_at
            if one.queue not in plan.queues or now > ends_at + LOST_S:
                yield one

    def allowed_at(self, plan: Plan, kept: Kept, now: float) -> float | None:
        """From when on this place may be called; None: never, as far as one can see."""
        queue = plan.queues.get(kept.queue)
        if queue is None or queue.callback is None:
            return None
        calendar = plan.calendars.get(queue.callback.calendar)
        if calendar is None:
            return now
        try:
            return opens_at(calendar, now)
        except BadInput:
            return None

    def preface(self) -> Iterator[e.Event]:
        """What a new segment of the journal must hold so that no kept place is lost with the old ones."""
        for one in self.kept.values():
            yield e.CallbackPlaced(
                at=one.queued_at,
                callback=one.id,
                interaction=one.interaction,
                pbx=one.pbx,
                queue=one.queue,
                number=one.number,
                language=one.language,
                queued_at=one.queued_at,
                expires_at=one.expires_at,
                variables=one.variables,
            )
            if one.leg is not None:
                yield e.CallbackDialled(at=one.dialled_at, callback=one.id, leg=one.leg, agent=one.agent)

    # ── the pace of queues ────────────────────────────────────────────────────────────────────────────────

    def pace(self, queue: QueueId) -> Pace:
        """How fast this queue takes its callers."""
        return self.paces.setdefault(queue, Pace())
