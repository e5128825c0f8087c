"""The floor: the one place that pages ask. Reads the live picture, passes requests on to the deciding core.

Pages never talk to the switch, and nothing here waits for it: a request becomes a fact in the core's inbox, its effect
is seen in the desk socket. What cannot be done now raises ``Refused``; what is malformed raises ``BadInput``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cti.events import AgentState, Passed, SpyMode
    from cti.ids import AgentId, InteractionId, QueueId
    from cti.routing.plan import Plan


@dataclass(frozen=True, slots=True)
class AgentView:
    """One agent as shown on the floor. Times are Unix seconds."""

    id: AgentId
    name: str
    state: AgentState
    reason: str
    since: float
    until: float | None
    next_state: AgentState | None
    interaction: InteractionId | None
    is_desk_fresh: bool
    desk_why: str
    is_phone_reachable: bool
    queues: tuple[QueueId, ...]
    skills: tuple[tuple[str, int], ...]
    team: str = ""
    next_reason: str = ""
    set_by: str = ""
    """Who set the state: ``agent``, ``system``, a user's name, or empty: not known."""
    calls_taken: int = 0
    """Today."""
    occupancy: float | None = None
    """Of today, 0–1: ringing, talking and wrap-up against that and available; None: not at work yet."""


@dataclass(frozen=True, slots=True)
class ListenerView:
    """``listener`` hears the talk of ``agent``. ``mode``: as ``cti.events.SpyMode``; ``since``: Unix seconds."""

    interaction: InteractionId
    agent: AgentId
    listener: AgentId
    mode: str
    since: float


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that a live interaction met. ``what``: ``queued``, ``overflow``, ``announced``, ``callback``,
    ``message_left``, ``transfer``, ``pick``, ``spy``; the other fields complete it, empty where there is nothing."""

    at: float
    what: str
    queue: QueueId | None = None
    agent: AgentId | None = None
    to: str = ""
    by: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CallbackView:
    """A place in a queue that is kept for a caller who hung up. Times are Unix seconds."""

    id: str
    interaction: InteractionId
    queue: QueueId
    number: str
    queued_at: float
    expires_at: float
    is_dialled: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """What there is to say of one who waits. ``position``: 1 is served next in this queue. ``expected_s``: how long
    it will likely take from now on, ``at_most_s``: what four of five do not wait longer than; None: nobody can tell.
    ``required``: the expression that counts now (empty: anybody), and from
    ``next_at`` (Unix seconds) on ``required_next``."""

    position: int
    expected_s: float | None
    at_most_s: float | None
    required: str
    next_at: float | None
    required_next: str


@dataclass(frozen=True, slots=True)
class QueueView:
    """One queue as shown on the floor."""

    id: QueueId
    name: str
    waiting: int
    longest_wait_since: float | None
    talking: int
    agents_available: int
    agents_logged_in: int


@dataclass(frozen=True, slots=True)
class CallView:
    """One live interaction as shown on the floor.

    ``phase``: ``offered``, ``waiting``, ``ringing``, ``talking``, ``held``, ``consulting``, ``fallback``.
    """

    id: InteractionId
    direction: str
    phase: str
    queue: QueueId | None
    agent: AgentId | None
    ani: str
    ani_name: str
    is_withheld: bool
    dnis: str
    account: str
    choice: str
    language: str
    started_at: float
    queued_at: float | None
    phase_since: float
    parties: tuple[int, ...]
    party: int | None
    how: str
    recording: str
    recording_basis: str = ""
    """Why it is, or is not, recorded; as in ``RecordingChanged``."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a caller waits, or went where it went: the last decision with all candidates."""

    interaction: InteractionId
    queue: QueueId | None
    agent: AgentId | None
    rule: str
    at: float
    passed: tuple[Passed, ...]
    others: tuple[AgentId, ...] = ()
    """Rung at the same time."""
    required: str = ""
    """What was required then: an expression, empty: anybody."""


@dataclass(frozen=True, slots=True)
class RepairView:
    """Something in the state that could not be, and was put right. ``what``: as in ``Repaired``."""

    at: float
    what: str
    agent: AgentId | None
    interaction: InteractionId | None
    detail: str


class Floor(Protocol):
    """What pages may see and ask. ``by`` is the user's name for the audit; ids are checked here."""

    @property
    def plan(self) -> Plan: ...
    @property
    def pbx_status(self) -> dict[str, str]:
        """PBX → ``up`` or why not."""
        ...

    def agents(self) -> Sequence[AgentView]: ...
    def agent(self, agent: AgentId) -> AgentView: ...
    def queues(self) -> Sequence[QueueView]: ...
    def calls(self) -> Sequence[CallView]: ...
    def call(self, interaction: InteractionId) -> CallView | None: ...
    def reasons(self, interaction: InteractionId) -> Sequence[Reason]: ...
    def waiting(self) -> Mapping[InteractionId, Waiting]:
        """Those who wait, first served first."""
        ...

    def story(self, interaction: InteractionId) -> Sequence[Happening]:
        """What a live interaction met so far, oldest first."""
        ...

    def listeners(self) -> Sequence[ListenerView]:
        """Who listens to which talk now."""
        ...

    def callbacks(self) -> Sequence[CallbackView]:
        """The places kept, longest kept first."""
        ...

    @property
    def counted_since(self) -> float | None:
        """From when on the agents' work of today is known (Unix seconds)."""
        ...

    def repairs(self) -> Sequence[RepairView]:
        """The latest, newest first."""
        ...

    def log_in(self, agent: AgentId) -> None: ...
    def log_out(self, agent: AgentId, *, by: str) -> None: ...
    def set_state(self, agent: AgentId, state: str, reason: str, *, by: str) -> None: ...
    def save_note(self, agent: AgentId, interaction: InteractionId, text: str) -> None: ...
    def set_disposition(self, agent: AgentId, interaction: InteractionId, code: str) -> None: ...
    def choose_customer(self, agent: AgentId, interaction: InteractionId, party: int | None) -> None: ...
    def finish_wrap_up(self, agent: AgentId) -> None: ...
    def hang_up(self, agent: AgentId, interaction: InteractionId) -> None: ...
    def pause_recording(self, agent: AgentId, interaction: InteractionId, *, is_paused: bool) -> None: ...
    def object_to_recording(self, agent: AgentId, interaction: InteractionId) -> None: ...
    def transfer(self, agent: AgentId, interaction: InteractionId, target: str, *, is_attended: bool) -> None: ...
    def complete_transfer(self, agent: AgentId, interaction: InteractionId) -> None: ...
    def cancel_transfer(self, agent: AgentId, interaction: InteractionId) -> None: ...
    def confer(self, agent: AgentId, interaction: InteractionId) -> None: ...
    def read_message(self, agent: AgentId, message: str) -> None: ...

    # What supervisors ask. ``listener`` and ``taker``: the supervisor's own seat.
    def spy(self, listener: AgentId, interaction: InteractionId, agent: AgentId, mode: SpyMode, *, by: str) -> None: ...
    def end_spying(self, listener: AgentId, interaction: InteractionId, *, by: str) -> None: ...
    def take_over(self, taker: AgentId, interaction: InteractionId, agent: AgentId, *, by: str) -> None: ...
    def pick(self, interaction: InteractionId, agent: AgentId, *, by: str) -> None: ...
    def send_message(self, agents: Sequence[AgentId], text: str, *, by: str, name: str) -> None: ...
