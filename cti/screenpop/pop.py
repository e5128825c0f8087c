"""The cards: what each agent's page shows of the conversation at its phone (``pop`` in ``docs/desk-protocol.md``).

``Pops`` keeps, per live interaction, what a card needs: from facts who calls, how, and what happens; from the look-up
(``cti.screenpop.caller_lookup``) the customers, one reading per kind of viewer, already cut by the field rules. The
look-up begins when the call is offered, so that none lies between a ringing phone and its card; a card that is shown
before its look-up is done says ``pending`` and is sent again.

    ShowPop ──▶ ringing ──AgentJoined──▶ talking ⇄ held ──WRAP_UP──▶ wrap_up ──ClosePop──▶ (gone)
                   │                        ⇅ attended transfer         ▲
                   └──ClosePop──▶ (gone)  consulting ───────────────────┘

Nothing here waits, reads a clock or knows a socket. Whoever shows the cards subscribes and renders what changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from cti.commands import ClosePop, ShowPop
from cti.events import (
    AgentChosen,
    AgentJoined,
    AgentRang,
    AgentState,
    AgentStateChanged,
    CallerLookedUp,
    CustomerChosen,
    DispositionSet,
    Event,
    InteractionEnded,
    InteractionHeld,
    InteractionMerged,
    InteractionQueued,
    InteractionStarted,
    NoteSaved,
    PlanChanged,
    RecordingChanged,
    TransferEnded,
    TransferStarted,
)

if TYPE_CHECKING:
    from cti.ids import AgentId, InteractionId, QueueId
    from cti.routing.plan import Plan


@dataclass(frozen=True, slots=True)
class PopChanged:
    """The card of ``interaction`` at the desk of ``agent`` must be sent (again)."""

    interaction: InteractionId
    agent: AgentId


@dataclass(frozen=True, slots=True)
class PopClosed:
    """The card of ``interaction`` leaves the desk of ``agent``. ``reason`` as in ``ClosePop``."""

    interaction: InteractionId
    agent: AgentId
    reason: str


Subscriber = Callable[[PopChanged | PopClosed], None]

_OfInteraction = (
    AgentChosen
    | InteractionQueued
    | AgentRang
    | AgentJoined
    | InteractionHeld
    | TransferStarted
    | TransferEnded
    | RecordingChanged
    | NoteSaved
    | DispositionSet
    | CustomerChosen
    | CallerLookedUp
)


class ReadingSource(Protocol):
    """Where cards get what they do not have yet. Both begin at once, never wait and never raise; the answers come
    through ``know_sight`` and ``know_readings``."""

    def want_sight(self, viewer: Viewer, agent: AgentId) -> None:
        """``agent`` is one of these viewers."""
        ...

    def want_reading(self, interaction: InteractionId, viewer: Viewer) -> None: ...


@dataclass(frozen=True, slots=True)
class Viewer:
    """A kind of person at a desk: the same field rules hold for all of them."""

    role: str
    is_blind: bool
    """The plan denies this person numbers, whatever the role."""
    language: str = ""


Sight = Callable[[dict[str, Any]], dict[str, Any]]
"""Cuts a row of ``interaction`` fields down to what a viewer may see: hidden ones absent, masked ones masked."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The customers and products of an interaction as one viewer may see them (card fields, JSON-ready)."""

    customers: tuple[dict[str, Any], ...]
    products: tuple[dict[str, Any], ...]


@dataclass(slots=True)
class _Shown:
    """One card at one desk. Times are Unix seconds."""

    phase: str
    since: float
    until: float | None
    waited_s: float | None
    from_agent: str


@dataclass(slots=True)
class _Transfer:
    by: AgentId
    target: str
    kind: str
    phase: str


@dataclass(slots=True)
class _Call:
    """What the cards of one interaction are made of."""

    direction: str = "inbound"
    ani: str = ""
    ani_name: str = ""
    is_withheld: bool = False
    dnis: str = ""
    account: str = ""
    choice: str = ""
    language: str = ""
    queue: QueueId | None = None
    queued_at: float | None = None
    match: str = "pending"
    how: str = "none"
    parties: tuple[int, ...] = ()
    party: int | None = None
    has_chosen: bool = False
    readings: dict[Viewer, Reading | None] = field(default_factory=dict)
    asked: set[tuple[Viewer, int | None]] = field(default_factory=set)
    note: str = ""
    disposition: str = ""
    recording: str = "off"
    recording_basis: str = ""
    transfer: _Transfer | None = None
    transferred_by: AgentId | None = None
    held_by: set[AgentId] = field(default_factory=set)
    shown: dict[AgentId, _Shown] = field(default_factory=dict)
    conference: str = ""
    """Whom caller and agent speak with together, as the target of the transfer that became it."""
    chosen: dict[AgentId, str] = field(default_factory=dict)
    """By which rule the caller came to an agent."""
    has_ended: bool = False

    def row(self) -> dict[str, Any]:
        """What the caller (or a colleague) said, under the names that field rules know."""
        return {
            "ani_raw": self.ani,
            "ani_name": self.ani_name,
            "account": self.account,
            "choice": self.choice,
            "note": self.note,
        }


class Pops:
    """All cards of the site."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.plan = plan
        self._calls: dict[InteractionId, _Call] = {}
        self._at_desk: dict[AgentId, dict[InteractionId, None]] = {}
        self._sights: dict[Viewer, Sight] = {}
        self._viewers: dict[Viewer, AgentId] = {}
        self._subscribers: list[Subscriber] = []
        self._source: ReadingSource | None = None

    @property
    def viewers(self) -> tuple[Viewer, ...]:
        """The kinds of people who sit at desks, as far as it is known what they may see."""
        return tuple(self._sights)

    def read_from(self, source: ReadingSource) -> None:
        """Name the place that customers are read from."""
        self._source = source
        self.look_anew()

    def meet(self, agent: AgentId, role: str, language: str = "") -> None:
        """Somebody with this role sits down at a desk."""
        viewer = self._viewer(agent, role, language)
        if viewer not in self._viewers:
            self._viewers[viewer] = agent
            if self._source is not None:
                self._source.want_sight(viewer, agent)

    def look_anew(self) -> None:
        """The field rules may have changed: until they are known again nothing that they govern is shown."""
        viewers, self._viewers = self._viewers, {}
        self._sights.clear()
        for call in self._calls.values():
            call.readings.clear()
            call.asked.clear()
        for viewer, agent in viewers.items():
            self.meet(agent, viewer.role, viewer.language)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Be told of every card that changes or goes; returns the way to stop it."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    # ── what others tell ──────────────────────────────────────────────────────────────────────────────────

    def listen(self, fact: Event) -> None:
        """Take in a fact; facts that no card shows are ignored."""
        match fact:
            case PlanChanged():
                self.plan = fact.plan
                self.look_anew()
            case InteractionStarted():
                self._start(fact)
            case InteractionMerged():
                self._merge(fact)
            case AgentStateChanged():
                self._follow_state(fact)
            case InteractionEnded():
                self._end(fact.interaction)
            case _ if isinstance(fact, _OfInteraction) and fact.interaction in self._calls:
                self._follow(self._calls[fact.interaction], fact)
            case _:
                return

    def carry_out(self, command: ShowPop | ClosePop, *, now: float) -> None:
        """Show or close one card at one desk."""
        match command:
            case ShowPop():
                call = self._calls.setdefault(command.interaction, _Call())
                if command.is_talking and command.agent in call.shown:
                    return
                self._at_desk.setdefault(command.agent, {})[command.interaction] = None
                call.shown[command.agent] = _Shown(
                    phase="talking" if command.is_talking else "ringing",
                    since=now,
                    until=command.until,
                    waited_s=None if command.is_talking else round(max(0.0, now - (call.queued_at or now)), 1),
                    from_agent="" if call.transferred_by == command.agent else self._name(call.transferred_by),
                )
                self._tell(PopChanged(command.interaction, command.agent))
            case ClosePop():
                self._close(command.interaction, command.agent, command.reason)

    def expect(self, interaction: InteractionId, dnis: str = "") -> None:
        """A look-up for this interaction begins (anew, if what the caller is known by turned out to be another)."""
        call = self._calls.setdefault(interaction, _Call(dnis=dnis))
        call.match, call.how, call.parties = "pending", "none", ()
        call.readings.clear()
        call.asked.clear()

    def know_sight(self, viewer: Viewer, sight: Sight) -> None:
        """What these viewers may see is known."""
        if viewer in self._viewers:
            self._sights[viewer] = sight
            self._tell_all(*self._calls)

    def know_readings(
        self,
        interaction: InteractionId,
        readings: Mapping[Viewer, Reading | None],
        *,
        found: tuple[tuple[int, ...], str] | None = None,
    ) -> None:
        """The customers as these viewers may see them (None: could not be read), and, from a look-up, who was
        ``found`` and how."""
        call = self._calls.get(interaction)
        if call is None:
            return
        call.readings.update(readings)
        if found is not None:
            self._know_parties(call, *found)
        self._tell_all(interaction)

    # ── what others ask ───────────────────────────────────────────────────────────────────────────────────

    def shown_to(self, agent: AgentId) -> tuple[InteractionId, ...]:
        """The interactions whose cards this agent's page shows now."""
        return tuple(self._at_desk.get(agent, ()))

    def shown_in(self, interaction: InteractionId) -> tuple[AgentId, ...]:
        """The agents whose pages show this interaction now."""
        call = self._calls.get(interaction)
        return tuple(call.shown) if call is not None else ()

    def parties(self, interaction: InteractionId) -> tuple[int, ...]:
        """The customers found, and the one that an agent chose."""
        call = self._calls.get(interaction)
        if call is None:
            return ()
        return call.parties if call.party is None or call.party in call.parties else (*call.parties, call.party)

    def product_codes(self, interaction: InteractionId) -> tuple[str, ...]:
        """What the caller asks about, by the number dialled, the queue and the IVR choice; not necessarily products."""
        call = self._calls.get(interaction)
        if call is None:
            return ()
        codes = [call.choice]
        if self.plan is not None:
            if (route := self.plan.route(call.dnis)) is not None:
                codes.append(route.product)
            queue = call.queue if call.queue is not None or route is None else route.queue
            if queue is not None and queue in self.plan.queues:
                codes.append(self.plan.queues[queue].product)
        return tuple(dict.fromkeys(code for code in codes if code))

    def message(
        self, interaction: InteractionId, agent: AgentId, role: str, language: str = ""
    ) -> dict[str, Any] | None:
        """The whole card for one desk, as ``role`` may see it; None when it is not shown there. What the card lacks for
        this viewer is asked for, once."""
        call = self._calls.get(interaction)
        if call is None or (shown := call.shown.get(agent)) is None:
            return None
        viewer = self._viewer(agent, role, language)
        sight = self._sights.get(viewer)
        reading = call.readings.get(viewer) if sight is not None else None
        if sight is not None:
            self._ask_for_reading(interaction, call, viewer)
        seen = {} if sight is None else sight(call.row())
        caller: dict[str, Any] = {"is_withheld": call.is_withheld, "handle": interaction}
        message: dict[str, Any] = {
            "type": "pop",
            "interaction": interaction,
            "phase": shown.phase,
            "since": shown.since,
            "until": shown.until,
            "direction": call.direction,
            "queue": self._queue(call.queue),
            "waited_s": shown.waited_s,
            "caller": caller,
            "dnis": call.dnis,
            "choice": seen.get("choice", ""),
            "language": call.language,
            "match": self._match(call, viewer, reading),
            "how": call.how,
            "party": call.party,
            "customers": list(reading.customers) if reading is not None else [],
            "products": list(reading.products) if reading is not None else [],
            "disposition": call.disposition,
            "recording": call.recording,
            "recording_basis": call.recording_basis,
            "transfer": None,
            "conference": call.conference,
            "from_agent": shown.from_agent,
            "why": call.chosen.get(agent, ""),
        }
        if call.transfer is not None and call.transfer.by == agent:
            message["transfer"] = {
                "target": call.transfer.target,
                "kind": call.transfer.kind,
                "phase": call.transfer.phase,
            }
        caller.update((card, seen[own]) for own, card in (("ani_raw", "number"), ("ani_name", "name")) if own in seen)
        message.update((own, seen[own]) for own in ("account", "note") if own in seen)
        return message

    def _match(self, call: _Call, viewer: Viewer, reading: Reading | None) -> str:
        if reading is not None or call.match not in {"one", "many"}:
            return call.match
        return "failed" if viewer in call.readings else "pending"

    def _viewer(self, agent: AgentId, role: str, language: str) -> Viewer:
        plan = self.plan.agents.get(agent) if self.plan is not None else None
        return Viewer(role, is_blind=plan is not None and not plan.may_see_numbers, language=language)

    def _ask_for_reading(self, interaction: InteractionId, call: _Call, viewer: Viewer) -> None:
        reading = call.readings.get(viewer)
        if reading is None:
            is_lacking = call.match in {"none", "one", "many"}
        else:
            is_lacking = call.party is not None and all(customer["id"] != call.party for customer in reading.customers)
        if is_lacking and self._source is not None and (viewer, call.party) not in call.asked:
            call.asked.add((viewer, call.party))
            self._source.want_reading(interaction, viewer)

    # ── facts ─────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self, fact: InteractionStarted) -> None:
        call = self._calls.setdefault(fact.interaction, _Call())
        call.direction = fact.direction
        call.ani = fact.ani
        call.ani_name = fact.ani_name
        call.is_withheld = fact.is_withheld
        call.dnis = fact.dnis
        call.account = fact.account
        call.choice = fact.choice
        call.language = fact.language
        self._tell_all(fact.interaction)

    def _follow(self, call: _Call, fact: _OfInteraction) -> None:
        match fact:
            case AgentChosen(agent=agent, rule=rule):
                # The card is about to be shown; one that is shown already was chosen before.
                if agent is not None:
                    call.chosen[agent] = rule
                return
            case InteractionQueued(queue=queue, queued_at=queued_at):
                call.queue, call.queued_at = queue, queued_at
            case AgentRang(agent=agent, until=until) if agent in call.shown and until is not None:
                if call.shown[agent].until == until:
                    return
                call.shown[agent].until = until
            case AgentJoined():
                self._join(call, fact)
            case InteractionHeld(agent=agent, is_held=is_held):
                (call.held_by.add if is_held else call.held_by.discard)(agent)
                self._settle(call, agent, fact.at)
            case TransferStarted(agent=agent, target=target, kind=kind):
                call.transfer = _Transfer(by=agent, target=target, kind=kind, phase="ringing")
                call.transferred_by = agent
                self._settle(call, agent, fact.at)
            case TransferEnded():
                self._end_transfer(call, fact)
            case RecordingChanged(state=state, basis=basis):
                call.recording, call.recording_basis = state, basis
            case NoteSaved(agent=agent, text=text):
                call.note = text
                self._tell_all(fact.interaction, but=agent)
                return
            case DispositionSet(code=code):
                call.disposition = code
            case CustomerChosen(party=party):
                call.party, call.has_chosen = party, True
            case CallerLookedUp(parties=parties, how=how):
                if (call.parties, call.how) == (parties, how) and call.match != "pending":
                    return
                self._know_parties(call, parties, how)
            case _:
                pass
        self._tell_all(fact.interaction)

    def _know_parties(self, call: _Call, parties: tuple[int, ...], how: str) -> None:
        # A failure never takes away what is known already: the answer came, and the deadline's report after it.
        if how == "failed" and call.match != "pending":
            return
        call.parties, call.how = parties, how
        if how == "failed":
            call.match = "failed"
        else:
            call.match = {0: "none", 1: "one"}.get(len(parties), "many")
        if not call.has_chosen:
            call.party = parties[0] if len(parties) == 1 else None

    def _join(self, call: _Call, fact: AgentJoined) -> None:
        transfer = call.transfer
        if fact.role == "consult" and transfer is not None and transfer.kind == "attended":
            transfer.phase = "talking"
        call.held_by.discard(fact.agent)
        self._settle(call, fact.agent, fact.at, is_consulting=fact.role == "consult")

    def _end_transfer(self, call: _Call, fact: TransferEnded) -> None:
        call.transfer = None
        if fact.outcome in {"cancelled", "failed", "nobody", "refused", "conference"}:
            call.transferred_by = None
        call.conference = fact.target if fact.outcome == "conference" else ""
        for agent, shown in call.shown.items():
            if shown.phase == "consulting":
                self._settle(call, agent, fact.at)

    def _settle(self, call: _Call, agent: AgentId, at: float, *, is_consulting: bool = False) -> None:
        """Set the phase of a card whose agent speaks, from what is known; a wrap-up stays one."""
        shown = call.shown.get(agent)
        if shown is None or shown.phase == "wrap_up":
            return
        transfer = call.transfer
        is_initiator = transfer is not None and transfer.by == agent and transfer.kind == "attended"
        at_ease = "held" if agent in call.held_by else "talking"
        phase = "consulting" if is_consulting or is_initiator else at_ease
        if shown.phase != phase:
            shown.phase, shown.since, shown.until = phase, at, None

    def _follow_state(self, fact: AgentStateChanged) -> None:
        agent = fact.agent
        for interaction in self.shown_to(agent):
            shown = self._calls[interaction].shown[agent]
            match fact.state:
                case AgentState.WRAP_UP if shown.phase != "ringing" and fact.interaction in {None, interaction}:
                    if (shown.phase, shown.until) != ("wrap_up", fact.until):
                        shown.phase, shown.since, shown.until = "wrap_up", fact.at, fact.until
                        self._tell(PopChanged(interaction, agent))
                case AgentState.AVAILABLE | AgentState.LOGGED_OUT:
                    self._close(interaction, agent, "done")
                case AgentState.NOT_READY if shown.phase == "wrap_up":
                    self._close(interaction, agent, "done")
                case _:
                    pass

    def _merge(self, fact: InteractionMerged) -> None:
        gone = self._calls.pop(fact.gone, None)
        if gone is None:
            return
        into = self._calls.setdefault(fact.into, gone)
        for agent, shown in gone.shown.items():
            into.shown.setdefault(agent, shown)
            self._at_desk[agent].pop(fact.gone, None)
            self._at_desk[agent][fact.into] = None
            self._tell(PopClosed(fact.gone, agent, "done"))
        into.note = into.note or gone.note
        into.disposition = into.disposition or gone.disposition
        self._tell_all(fact.into)

    def _end(self, interaction: InteractionId) -> None:
        call = self._calls.get(interaction)
        if call is not None:
            call.has_ended = True
            self._forget_if_over(interaction, call)

    def _close(self, interaction: InteractionId, agent: AgentId, reason: str) -> None:
        call = self._calls.get(interaction)
        if call is None or call.shown.pop(agent, None) is None:
            return
        del self._at_desk[agent][interaction]
        call.held_by.discard(agent)
        self._tell(PopClosed(interaction, agent, reason))
        self._forget_if_over(interaction, call)

    def _forget_if_over(self, interaction: InteractionId, call: _Call) -> None:
        if call.has_ended and not call.shown:
            del self._calls[interaction]

    # ── telling ───────────────────────────────────────────────────────────────────────────────────────────

    def _tell_all(self, *interactions: InteractionId, but: AgentId | None = None) -> None:
        for interaction in interactions:
            for agent in self._calls[interaction].shown:
                if agent != but:
                    self._tell(PopChanged(interaction, agent))

    def _tell(self, change: PopChanged | PopClosed) -> None:
        for subscriber in self._subscribers:
            subscriber(change)

    def _name(self, agent: AgentId | None) -> str:
        if agent is None:
            return ""
        return self.plan.agents[agent].name if self.plan is not None and agent in self.plan.agents else agent

    def _queue(self, queue: QueueId | None) -> dict[str, str] | None:
        if queue is None:
            return None
        is_known = self.plan is not None and queue in self.plan.queues
        return {"id": queue, "name": self.plan.queues[queue].name if self.plan is not None and is_known else queue}
