"""The configured call centre as the deciding core sees it: queues, agents, phones and numbers.

Immutable; a change is a new plan (``PlanChanged``). Made by ``cti.daemon`` from what ``crm_core.centre`` reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cti.ids import AgentId, PbxId, QueueId


class RecordingPolicy(StrEnum):
    """Whether talks are recorded: never, after an announcement that the caller may object to, or by the caller's own
    yes."""

    OFF = "off"
    ANNOUNCED = "announced"
    CONSENT = "consent"


STRICTNESS = (RecordingPolicy.ANNOUNCED, RecordingPolicy.CONSENT, RecordingPolicy.OFF)
"""From what the caller is protected by least to most; of two policies the later one counts."""
UNKNOWN_NUMBER = "unknown"
"""Stands for the leading digits of a number that is withheld or was not sent."""


class PhoneKind(StrEnum):
    """Where an agent's phone lives: in the page (WebRTC), on the desk (any PJSIP endpoint), or outside."""

    BROWSER = "browser"
    DESK = "desk"
    OUTSIDE = "outside"
    """A number outside, called through a trunk; ``Phone.endpoint`` is that number. A key is pressed to accept."""


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone of ours. ``endpoint`` is the PJSIP endpoint's name, a slug from our own table."""

    pbx: PbxId
    endpoint: str
    kind: PhoneKind


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """One agent. ``skills``: skill → proficiency 1–10 (higher is better)."""

    id: AgentId
    name: str
    phone: Phone
    skills: Mapping[str, int] = field(default_factory=dict)
    queues: tuple[QueueId, ...] = ()
    may_see_numbers: bool = True
    team: str = ""
    language: str = ""
    """What a phone outside is asked in whether its owner takes the call; empty: the PBX's own."""


class Selection(StrEnum):
    """Which of the free and qualified agents a queue takes."""

    LONGEST_IDLE = "longest_idle"
    BEST_SKILLED = "best_skilled"
    LEAST_OCCUPIED = "least_occupied"
    FEWEST_SKILLS = "fewest_skills"
    ROUND_ROBIN = "round_robin"
    WEIGHTED_RANDOM = "weighted_random"


class Preferred(StrEnum):
    """Whom a caller is given to first: nobody in particular, the customer's owner, or who spoke with them last."""

    NONE = "none"
    OWNER = "owner"
    LAST_AGENT = "last_agent"


@dataclass(frozen=True, slots=True)
class Step:
    """What a caller requires who has waited ``after_s``, until the next step. ``text``: an expression of
    ``cti.routing.expression``; empty: anybody."""

    after_s: int
    text: str


class OverflowWhen(StrEnum):
    """What sends a caller away from a queue."""

    WAITED = "waited"
    """``limit`` seconds waited."""
    LENGTH = "length"
    """``limit`` callers wait already when this one comes."""
    EXPECTED_WAIT = "expected_wait"
    """The expected wait is over ``limit`` seconds when this one comes."""
    NO_AGENTS = "no_agents"
    """For ``limit`` seconds nobody has been logged in who could ever serve this caller."""


@dataclass(frozen=True, slots=True)
class Overflow:
    """When a caller goes where. ``to``: a destination, see ``DESTINATION_KINDS``."""

    when: OverflowWhen
    limit: int
    to: str


DESTINATION_KINDS = ("queue", "agent", "number", "message", "voicemail", "menu", "skill")
"""A destination is ``<kind>:<value>``: a queue, agent or menu by its id, an outside number (digits and ``+``), a prompt
by its name, the voicemail of a queue, or (transfers) whoever meets an expression."""


@dataclass(frozen=True, slots=True)
class Comfort:
    """What a caller hears while waiting. Prompts by name, empty: none. Times in seconds, 0: never."""

    greeting: str = ""
    music: str = ""
    message: str = ""
    every_s: int = 0
    says_position: bool = False
    says_wait: bool = False
    callback_after_s: int = 0
    """From then on the caller is offered a call back that keeps the place."""
    voicemail_key: str = ""


@dataclass(frozen=True, slots=True)
class CallbackPlan:
    """How places kept for callers are called back. ``calendar``: when it is allowed, empty: always. ``trunk``: the
    PJSIP endpoint to call through; without one nobody is called back. ``prefixes``: how numbers begin (without ``+``
    and ``00``) that may be called; empty: only the number that the caller calls from, and none that is typed."""

    calendar: str = ""
    expires_s: int = 4 * 3600
    trunk: str = ""
    shown_number: str = ""
    ring_s: int = 30
    prefixes: tuple[str, ...] = ()


HOLD_RECALL_S = 120
"""After so long an agent is reminded of a caller on hold, where a queue says nothing else."""


@dataclass(frozen=True, slots=True)
class QueuePlan:
    """One queue. ``steps``: what is required, by the time waited; ``priority``: points; ``ageing_s``: a point is worth
    so many seconds of waiting. 0: who has points goes before all others however long they wait, and those may starve.
    ``parallel``: how many phones ring at once for one caller, 0: all that are free. ``breather_s`` is added to the
    wrap-up after a talk of at least ``breather_after_s``. ``calendar``: when it is open, empty: always; ``closed_to``:
    where callers go then. ``emergency_message``: a prompt that every caller is played before anything else.
    ``hold_recall_s``: an agent who keeps a caller on hold is reminded that often, 0: never. Times in seconds."""

    id: QueueId
    name: str
    steps: tuple[Step, ...] = ()
    ring_timeout_s: int = 20
    wrap_up_s: int = 30
    service_level_s: int = 20
    short_abandon_s: int = 5
    priority: int = 0
    recording: RecordingPolicy = RecordingPolicy.ANNOUNCED
    product: str = ""
    selection: Selection = Selection.LONGEST_IDLE
    preferred: Preferred = Preferred.NONE
    preferred_patience_s: int = 30
    parallel: int = 1
    ageing_s: int = 60
    service_level_target: float = 0.8
    breather_after_s: int = 0
    breather_s: int = 0
    calendar: str = ""
    closed_to: str = ""
    overflows: tuple[Overflow, ...] = ()
    comfort: Comfort = Comfort()
    callback: CallbackPlan | None = None
    emergency_message: str = ""
    hold_recall_s: int = HOLD_RECALL_S


@dataclass(frozen=True, slots=True)
class Calendar:
    """When something is open. ``weekly``: for Monday (0) to Sunday (6) the open intervals as minutes of the day, for
    example ``(480, 1080)``; ``days``: ISO date → the intervals of that day instead (a holiday: none; a make-up workday:
    some). ``zone``: a name of the time zone database."""

    id: str
    name: str
    zone: str
    weekly: tuple[tuple[tuple[int, int], ...], ...]
    days: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Menu:
    """A menu of the IVR. ``options``: key (``0``-``9``, ``*``, ``#``) → destination; ``language:<tag>`` sets the
    caller's language and plays the menu again. ``account_digits`` > 0: it asks for an account number of so many digits,
    the last being a check digit (Luhn) if ``has_check_digit``, and goes to ``options["#"]``. ``otherwise``: where
    callers go who chose nothing ``tries`` times."""

    id: str
    name: str
    prompt: str
    options: Mapping[str, str]
    otherwise: str
    timeout_s: int = 5
    tries: int = 3
    account_digits: int = 0
    has_check_digit: bool = False


@dataclass(frozen=True, slots=True)
class DnisRoute:
    """A number that callers dial, and the queue behind it. ``dnis`` holds digits and ``+`` only. ``menu``: the menu
    that comes before it, empty: none."""

    dnis: str
    queue: QueueId
    product: str = ""
    language: str = ""
    menu: str = ""


@dataclass(frozen=True, slots=True)
class Outside:
    """Which numbers outside a caller may be handed on to. ``allowed``: leading digits (or ``+`` and digits), none:
    nowhere; ``refused``: the same, for what lies within. The longest beginning that fits counts."""

    allowed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def allows(self, number: str) -> bool:
        """Whether ``number`` (an optional ``+`` and digits, anything else is none) may be called."""
        if re.fullmatch(r"\+?[0-9]{2,20}", number) is None:
            return False

        def longest(beginnings: tuple[str, ...]) -> int:
            return max((len(one) for one in beginnings if one and number.startswith(one)), default=0)

        return longest(self.allowed) > longest(self.refused)


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole configured centre."""

    queues: Mapping[QueueId, QueuePlan]
    agents: Mapping[AgentId, AgentPlan]
    routes: tuple[DnisRoute, ...]
    default_queue: QueueId | None
    jurisdictions: Mapping[str, RecordingPolicy] = field(default_factory=dict)
    """Leading digits of callers' numbers (or ``UNKNOWN_NUMBER``) → the least that the law there asks for."""
    calendars: Mapping[str, Calendar] = field(default_factory=dict)
    menus: Mapping[str, Menu] = field(default_factory=dict)
    tiers: Mapping[str, int] = field(default_factory=dict)
    """A customer's tier → points of priority."""
    most_occupied: float = 1.0
    """Occupancy (0–1, over the last hour) above which an agent gets a breather; 1: never."""
    is_spying_shown: bool = True
    """Whether agents see who listens to their call."""
    outside: Outside = Outside()

    def owner_of(self, pbx: PbxId, endpoint: str) -> AgentId | None:
        """The agent whose phone is ``endpoint`` on ``pbx``."""
        for agent in self.agents.values():
            if agent.phone.endpoint == endpoint and agent.phone.pbx == pbx:
                return agent.id
        return None

    def route(self, dnis: str) -> DnisRoute | None:
        """The route of a dialled number."""
        for route in self.routes:
            if route.dnis == dnis:
                return route
        return None

    def recording_policy(self, queue: QueueId | None, ani: str) -> RecordingPolicy:
        """How a caller of ``queue`` is recorded: the strictest of the queue's policy and the rule of the longest
        leading digits of ``ani`` (empty: withheld). Without a queue: not at all."""
        found = self.queues.get(queue) if queue is not None else None
        if found is None:
            return RecordingPolicy.OFF
        digits = ani.removeprefix("+").removeprefix("00")
        keys = (digits[:length] for length in range(len(digits), 0, -1)) if digits else (UNKNOWN_NUMBER,)
        rules = [self.jurisdictions[key] for key in keys if key in self.jurisdictions]
        return max((found.recording, *rules[:1]), key=STRICTNESS.index)


def recording_settings(plan: Plan) -> Mapping[str, str]:
    """What the dialplan needs to follow the same policy without the daemon: key of a ``MirrorSetting`` → value."""
    settings = {f"recording/{queue.id}": queue.recording.value for queue in plan.queues.values()}
    return settings | {f"recording-prefix/{digits}": rule.value for digits, rule in plan.jurisdictions.items()}
