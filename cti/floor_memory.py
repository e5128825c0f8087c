"""What the floor remembers beside what the deciding core needs: the agents' work of the day, who set a state, who
listens to whom, what a caller met while waiting, and the places kept for callbacks.

Fed with every fact, live and from the journal of the last run. Nothing here decides anything or reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from cti import events as e
from cti.events import AgentState, Event
from cti.floor import CallbackView, Happening, ListenerView
from cti.ids import AgentId, InteractionId

MOST_HAPPENINGS = 60
"""Of one interaction."""
AT_WORK = (AgentState.RESERVED, AgentState.ON_CALL, AgentState.WRAP_UP)
_REMEMBERED = frozenset(
    {
        e.AgentStateChanged,
        e.AgentJoined,
        e.InteractionStarted,
        e.InteractionMerged,
        e.InteractionEnded,
        e.InteractionQueued,
        e.CallerOverflowed,
        e.CallerAnnounced,
        e.CallbackPlaced,
        e.CallbackDialled,
        e.CallbackClosed,
        e.MessageLeft,
        e.TransferStarted,
        e.PickRequested,
        e.SpyStarted,
        e.SpyEnded,
    }
)


def local_day(at: float) -> int:
    """The day in the server's own time zone, counted from whenever."""
    return datetime.fromtimestamp(at).toordinal()  # noqa: DTZ006


@dataclass(slots=True)
class Shift:
    """One agent's work of one day. ``work_s``: ringing, talking and wrap-up; ``free_s``: available."""

    day: int = 0
    calls: int = 0
    work_s: float = 0.0
    free_s: float = 0.0
    state: AgentState = AgentState.LOGGED_OUT
    since: float = 0.0
    set_by: str = ""
    taken: set[InteractionId] = field(default_factory=set)


class FloorMemory:
    """Feed it with ``listen``; read it when a page is drawn."""

    def __init__(self, *, day_of: Callable[[float], int] = local_day) -> None:
        self._day_of = day_of
        self._shifts: dict[AgentId, Shift] = {}
        self._began: float | None = None
        self._listeners: dict[tuple[InteractionId, AgentId], ListenerView] = {}
        self._stories: dict[InteractionId, list[Happening]] = {}
        self._callbacks: dict[str, CallbackView] = {}

    # ── facts ─────────────────────────────────────────────────────────────────────────────────────────────

    def listen(self, fact: Event) -> None:
        """Take in a fact; what nothing here shows is passed over."""
        if self._began is None:
            self._began = fact.at
        if type(fact) not in _REMEMBERED:
            return
        match fact:
            case e.AgentStateChanged():
                self._state_changed(fact)
            case e.AgentJoined(role="talk"):
                shift = self._shift(fact.agent, fact.at)
                if fact.interaction not in shift.taken:
                    shift.taken.add(fact.interaction)
                    shift.calls += 1
            case e.InteractionStarted():
                self._stories.setdefault(fact.interaction, [])
            case e.InteractionMerged():
                told = self._stories.pop(fact.gone, [])
                self._stories[fact.into] = sorted(
                    [*told, *self._stories.get(fact.into, [])], key=lambda happening: happening.at
                )
            case e.InteractionEnded():
                self._stories.pop(fact.interaction, None)
                self._listeners = {
                    key: view for key, view in self._listeners.items() if view.interaction != fact.interaction
                }
            case e.SpyStarted():
                self._listeners[fact.interaction, fact.listener] = ListenerView(
                    interaction=fact.interaction,
                    agent=fact.agent,
                    listener=fact.listener,
                    mode=fact.mode.value,
                    since=fact.at,
                )
                self._tell(fact.interaction, Happening(fact.at, "spy", agent=fact.agent, by=fact.by, detail=fact.mode))
            case e.SpyEnded():
                self._listeners.pop((fact.interaction, fact.listener), None)
            case e.CallbackPlaced() | e.CallbackDialled() | e.CallbackClosed():
                self._callback(fact)
            case _:
                self._happened(fact)

    def _state_changed(self, fact: e.AgentStateChanged) -> None:
        shift = self._shift(fact.agent, fact.at)
        if fact.state is shift.state and fact.at <= shift.since:
            # Told again at the beginning of a journal's segment: nobody set it now.
            return
        if fact.state is not shift.state or fact.by != "system":
            shift.set_by = fact.by
        self._count(shift, fact.at)
        shift.state, shift.since = fact.state, fact.at

    def _shift(self, agent: AgentId, at: float) -> Shift:
        """The agent's shift of the day of ``at``: a new day begins at nought, in the state of the evening before."""
        day = self._day_of(at)
        shift = self._shifts.get(agent)
        if shift is None:
            shift = self._shifts[agent] = Shift(day=day, since=at)
        elif day > shift.day:
            known = replace(shift, day=day, calls=0, work_s=0.0, free_s=0.0, taken=set())
            shift = self._shifts[agent] = known
            # A state that lasted over midnight counts from then on.
            shift.since = self._dawn(shift.since, at)
        return shift

    def _dawn(self, since: float, at: float) -> float:
        """The first moment of the day of ``at``, found between ``since`` and it."""
        early, late, day = since, at, self._day_of(at)
        while late - early > 1.0:
            middle = (early + late) / 2
            if self._day_of(middle) < day:
                early = middle
            else:
                late = middle
        return late

    def _count(self, shift: Shift, until: float) -> None:
        spent_s = max(0.0, until - shift.since)
        if shift.state in AT_WORK:
            shift.work_s += spent_s
        elif shift.state is AgentState.AVAILABLE:
            shift.free_s += spent_s

    def _callback(self, fact: e.CallbackPlaced | e.CallbackDialled | e.CallbackClosed) -> None:
        match fact:
            case e.CallbackPlaced():
                self._callbacks[fact.callback] = CallbackView(
                    id=fact.callback,
                    interaction=fact.interaction,
                    queue=fact.queue,
                    number=fact.number,
                    queued_at=fact.queued_at,
                    expires_at=fact.expires_at,
                    is_dialled=False,
                )
                self._tell(fact.interaction, Happening(fact.at, "callback", queue=fact.queue))
            case e.CallbackDialled():
                if (kept := self._callbacks.get(fact.callback)) is not None:
                    self._callbacks[fact.callback] = replace(kept, is_dialled=True)
            case e.CallbackClosed():
                self._callbacks.pop(fact.callback, None)

    def _happened(self, fact: Event) -> None:
        match fact:
            case e.InteractionQueued():
                self._tell(fact.interaction, Happening(fact.at, "queued", queue=fact.queue, detail=str(fact.position)))
            case e.CallerOverflowed():
                self._tell(
                    fact.interaction, Happening(fact.at, "overflow", queue=fact.queue, to=fact.to, detail=fact.why)
                )
            case e.CallerAnnounced():
                self._tell(fact.interaction, Happening(fact.at, "announced", to=fact.what, detail=fact.detail))
            case e.MessageLeft():
                self._tell(fact.interaction, Happening(fact.at, "message_left", queue=fact.queue))
            case e.TransferStarted():
                self._tell(
                    fact.interaction, Happening(fact.at, "transfer", agent=fact.agent, to=fact.target, detail=fact.kind)
                )
            case e.PickRequested():
                self._tell(fact.interaction, Happening(fact.at, "pick", agent=fact.agent, by=fact.by))
            case _:
                pass

    def _tell(self, interaction: InteractionId, happening: Happening) -> None:
        story = self._stories.get(interaction)
        if story is not None and len(story) < MOST_HAPPENINGS:
            story.append(happening)

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def began(self) -> float | None:
        """The time of the first fact that was heard of (Unix seconds): what was before is not counted."""
        return self._began

    def work(self, agent: AgentId, *, now: float) -> tuple[int, float | None]:
        """How many calls the agent has taken today, and the occupancy of today (0–1; None: not at work yet)."""
        if agent not in self._shifts:
            return 0, None
        shift = self._shift(agent, now)
        spent_s = max(0.0, now - shift.since)
        work_s = shift.work_s + (spent_s if shift.state in AT_WORK else 0.0)
        whole_s = work_s + shift.free_s + (spent_s if shift.state is AgentState.AVAILABLE else 0.0)
        return shift.calls, work_s / whole_s if whole_s > 0 else None

    def set_by(self, agent: AgentId) -> str:
        """Who set the agent's state: ``agent``, ``system``, a user's name, or empty: not known."""
        shift = self._shifts.get(agent)
        return shift.set_by if shift is not None else ""

    def listeners(self) -> tuple[ListenerView, ...]:
        """Who listens to which call now."""
        return tuple(self._listeners.values())

    def story(self, interaction: InteractionId) -> tuple[Happening, ...]:
        """What a live interaction met so far, oldest first."""
        return tuple(self._stories.get(interaction, ()))

    def callbacks(self) -> tuple[CallbackView, ...]:
        """The places kept, longest kept first."""
        return tuple(sorted(self._callbacks.values(), key=lambda view: (view.queued_at, view.id)))
