"""The floor: the one place that pages ask. Reads the live picture, passes requests on to the deciding core.

Pages never talk to the switch, and nothing here waits for it: a request becomes a fact in the core's inbox, its effect
is seen in the desk socket. What cannot be done now raises ``Refused``; what is malformed raises ``BadInput``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cti.events import AgentState, Passed
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
