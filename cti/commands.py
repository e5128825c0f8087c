"""Orders, in the imperative: what the deciding core wants done. Who carries them out is the driver's business.

A command that fails comes back as ``CommandFailed``; nothing raises into the core.
"""

from __future__ import annotations

from dataclasses import dataclass

from cti.events import SpyMode
from cti.ids import AgentId, InteractionId, LegId, PbxId, QueueId
from cti.routing.plan import RecordingPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Root of all orders."""


# ── to the switch ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat(Command):
    """Show the dialplan of ``pbx`` that the core decides. ``boot`` changes with every start of the daemon."""

    pbx: PbxId
    boot: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptOffer(Command):
    """Tell the hold loop that this caller is ours now. ``queue``: the fall-back queue to use from now on, empty: as it
    was."""

    leg: LegId
    queue: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RingAgent(Command):
    """Take the caller out of the hold loop and ring ``endpoint``; unanswered, the dialplan itself returns the caller
    to the loop. ``recording``: how this caller may be recorded from the answer on; the dialplan keeps to it."""

    interaction: InteractionId
    leg: LegId
    agent: AgentId
    endpoint: str
    ring_timeout_s: int
    recording: RecordingPolicy = RecordingPolicy.OFF
    shown_as: str = ""
    """What the agent's phone shows as the caller's number: empty for the number itself, else digits and letters."""
    also: tuple[str, ...] = ()
    """Further endpoints that ring at the same time; whoever answers first has the caller."""
    is_outside: bool = False
    """``endpoint`` is a number outside, where a key must be pressed (asked for in ``language``) before the caller is
    connected; who answers and presses none has not answered."""
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnToHold(Command):
    """Put the caller (back) into the hold loop with music; ends whatever rings for it.

    ``target`` as in ``CallOffered``.
    """

    leg: LegId
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce(Command):
    """Tell a caller in the hold loop something at the loop's next turn; the caller keeps the place, and a ring ordered
    meanwhile interrupts it. ``says``: recordings by name, played one after the other in the caller's language; empty:
    nothing. ``keys``: the keys that are told as ``KeyPressed`` from now on. Answered by ``AnnouncementPlayed``."""

    leg: LegId
    what: str
    says: tuple[str, ...] = ()
    keys: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendAway(Command):
    """The caller leaves the hold loop for ``to``: ``message:<prompt>`` (then the call ends), ``voicemail:<queue>``,
    ``number:<digits>`` outside, or ``menu:<id>``."""

    leg: LegId
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallBack(Command):
    """Call ``number`` through ``trunk``, once, on ``leg`` (an id that we chose); who answers enters the hold loop as a
    caller of ``queue`` who has waited ``waited_s``. ``shown_number``: what the called phone shows, empty: the trunk's
    own. Asking for forwarding ends the call."""

    leg: LegId
    number: str
    trunk: str
    shown_number: str
    ring_timeout_s: int
    queue: QueueId
    language: str
    waited_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HangUp(Command):
    """End a leg."""

    leg: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class SendToHold(Command):
    """Out of a talk: ``leg`` goes to the hold loop with ``target``, and ``other`` (the agent's leg) is ended."""

    leg: LegId
    other: LegId
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartConsult(Command):
    """Out of a talk: ``leg`` (the caller) waits with music, ``agent_leg`` rings ``endpoint`` and speaks with it.
    ``endpoint`` is a number outside if ``is_outside``. ``is_in_company``: the caller does not wait but goes on talking
    with others, and so does the agent afterwards."""

    leg: LegId
    agent_leg: LegId
    endpoint: str
    ring_timeout_s: int
    shown_as: str = ""
    """As in ``RingAgent``, for the phone of the one who is consulted."""
    is_outside: bool = False
    is_in_company: bool = False
    must_accept: bool = False
    """The number outside is an agent's: as ``RingAgent.is_outside``."""
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinConference(Command):
    """``leg``, and ``also``, with whom it speaks, enter the conference of the caller ``of`` (``leg`` itself: the caller
    enters). Who leaves, leaves; a caller with whom nobody is left is let go."""

    leg: LegId
    of: LegId
    also: LegId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOutside(Command):
    """Out of a talk: ``leg`` is connected with ``number`` outside, ``other`` (the agent's leg) is ended. Where nobody
    answers, ``leg`` goes to the hold loop with ``target``."""

    leg: LegId
    other: LegId
    number: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinLegs(Command):
    """Connect ``leg`` with ``to``, wherever ``to`` is now; whoever spoke with ``to`` before is out."""

    leg: LegId
    to: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class StartSpy(Command):
    """Ring ``endpoint`` as ``leg`` (an id that we chose); answered, it hears ``of`` in this mode, that leg and no
    other, and ends with it. ``shown_as``: what the phone shows."""

    leg: LegId
    of: LegId
    endpoint: str
    mode: SpyMode
    ring_timeout_s: int
    shown_as: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSpy(Command):
    """``leg``, which listens, goes on in this mode."""

    leg: LegId
    mode: SpyMode


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTakeOver(Command):
    """Ring ``endpoint`` as ``leg`` (an id that we chose); answered, it is connected with ``of``, and whoever spoke with
    that one is out. A ``leg`` that lives already (it listens) takes over at once."""

    leg: LegId
    of: LegId
    endpoint: str
    ring_timeout_s: int
    shown_as: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseRecording(Command):
    """Write silence (``is_paused``) or sound into the recording of ``leg``."""

    leg: LegId
    is_paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRecording(Command):
    """End the recording of ``leg`` for good: nothing more of this caller is recorded."""

    leg: LegId


@dataclass(frozen=True, slots=True)
class Member:
    """An agent's phone as a member of a fall-back queue."""

    endpoint: str
    is_paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorMembers(Command):
    """Make the members of a fall-back queue just these. What is the same already is not sent."""

    pbx: PbxId
    queue: QueueId
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorSetting(Command):
    """Keep a setting where the dialplan finds it without the daemon, over restarts of the PBX too.

    ``key`` is ``family/…`` below ``callfloor/`` in the PBX's own database (``dialplans/CONTRACT.md`` lists the keys);
    an empty ``value`` means that there is none.
    """

    pbx: PbxId
    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawCaller(Command):
    """Take a caller who waits out of a fall-back queue; the dialplan then offers it again with its first waiting time.
    A caller who talks, or for whom a phone rings, is left alone by the PBX."""

    leg: LegId
    queue: QueueId


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLegs(Command):
    """Ask which legs live on ``pbx`` now; answered by ``LegsRead``. ``is_full``: read everything anew, answered by
    ``PbxRead``."""

    pbx: PbxId
    is_full: bool = False


# ── to the screens and the CRM ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class LookUpCaller(Command):
    """Find the customer: by ``account`` first, then by ``ani``.

    Answered by ``CallerLookedUp`` within ``deadline_s``.
    """

    interaction: InteractionId
    account: str
    ani: str
    dnis: str
    choice: str
    deadline_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowPop(Command):
    """The phone of ``agent`` rings: show the card there, and only there."""

    interaction: InteractionId
    agent: AgentId
    until: float | None
    is_talking: bool = False
    """It rang without us and was answered: a card that is there already stays as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosePop(Command):
    """Take the card away.

    ``reason``: ``answered_elsewhere``, ``caller_gone``, ``no_answer``, ``rejected``, ``unreachable``, ``done``.
    """

    interaction: InteractionId
    agent: AgentId
    reason: str
