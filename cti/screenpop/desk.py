"""One desk: who owns it, what its page has read, and whether it can ring. Pure; ``now`` (Unix seconds) is passed in.

A desk lives from its first page to the end of its log-in. Pages (tabs) come and go; one of them owns the desk. What is
sent is numbered within an ``epoch`` and kept for a while: a page that lost its socket gets exactly what it missed.

Whether it can ring, from what its page says in its beats::

    no page                          → gone            (after a moment: a reload is not an absence)
    page without a beat for 12 s     → silent, or asleep when it was hidden
    beats, phone in the page away    → no_phone        (browser phones only)
    beats, microphone lost           → no_microphone   (browser phones only)
    beats                            → fresh; a hidden page whose beats came late must first beat twice in time
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cti.events import DeskFresh, DeskStale
from cti.routing.plan import PhoneKind
from cti.screenpop.frames import numbered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cti.ids import AgentId
    from cti.screenpop.frames import Beat, Hello

SILENT_AFTER_S = 12.0
GONE_AFTER_S = 2.0
REPLAY_MESSAGES = 128
REPLAY_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Admitted:
    """The page owns the desk now. ``missed``: the frames to send when ``is_resumed``, otherwise a snapshot is due.
    ``ousted``: the socket that owned it until now. ``is_other_page``: the page that was here before is gone, with the
    phone that lived in it."""

    is_resumed: bool
    missed: tuple[bytes, ...]
    ousted: int | None
    is_other_page: bool = False


@dataclass(frozen=True, slots=True)
class Busy:
    """Another page owns the desk."""


class Desk:
    """One desk.

    ``agent`` is None for a desk that has no phone and is never offered calls (a supervisor's page). Sockets are named
    by numbers of the caller's choice.
    """

    def __init__(
        self,
        agent: AgentId | None,
        *,
        epoch: str,
        phone: PhoneKind = PhoneKind.BROWSER,
        silent_after_s: float = SILENT_AFTER_S,
        gone_after_s: float = GONE_AFTER_S,
    ) -> None:
        self.agent = agent
        self.epoch = epoch
        self.phone = phone
        self.owner: int | None = None
        self.why: str | None = None
        """Why it cannot ring, empty when it can, None as long as it is not known."""
        self._silent_after_s = silent_after_s
        self._gone_after_s = gone_after_s
        self._tab: str | None = None
        self._seq = 0
        self._kept: deque[tuple[int, bytes]] = deque()
        self._kept_bytes = 0
        self._beat: Beat | None = None
        self._heard_at = 0.0
        self._left_at: float | None = None
        self._is_drowsy = False
        self._has_page_left = False

    # ── messages ──────────────────────────────────────────────────────────────────────────────────────────

    def put(self, encoded: bytes, *, now: float) -> bytes:
        """Number a message (see ``frames.body``) and keep it; returns its frame."""
        self._seq += 1
        self._kept.append((self._seq, encoded))
        self._kept_bytes += len(encoded)
        while len(self._kept) > REPLAY_MESSAGES or self._kept_bytes > REPLAY_BYTES:
            self._kept_bytes -= len(self._kept.popleft()[1])
        return numbered(encoded, seq=self._seq, now=now)

    def renew(self, epoch: str) -> None:
        """Forget what was sent: it was meant for somebody else's eyes, or for another role's."""
        self.epoch = epoch
        self._seq = 0
        self._kept.clear()
        self._kept_bytes = 0

    def describe(self) -> dict[str, Any]:
        """The ``desk`` message."""
        return {"type": "desk", "is_fresh": self.why == "", "why": self.why or ""}

    # ── pages ─────────────────────────────────────────────────────────────────────────────────────────────

    def hello(self, socket: int, hello: Hello, *, now: float) -> Admitted | Busy:
        """A page asks for the desk. The same tab gets it at once: its old socket may be dead without our knowing."""
        ousted = self.owner if self.owner != socket else None
        if ousted is not None and self._tab != hello.tab and not hello.is_taking_over:
            return Busy()
        # A page that has just been loaded knows no epoch yet. One that knows one outlived a restart of ours.
        is_other_page = (
            self._tab != hello.tab and not self._has_page_left and (self._tab is not None or hello.epoch is None)
        )
        self._has_page_left = False
        if is_other_page:
            self._lose_phone()
        if self._tab != hello.tab:
            self._beat = None
        self.owner = socket
        self._tab = hello.tab
        self._heard_at = now
        self._left_at = None
        oldest = self._kept[0][0] if self._kept else self._seq + 1
        is_resumed = hello.epoch == self.epoch and oldest - 1 <= hello.last_seq <= self._seq
        missed = tuple(self._after(hello.last_seq, now=now)) if is_resumed else ()
        return Admitted(is_resumed=is_resumed, missed=missed, ousted=ousted, is_other_page=is_other_page)

    def left(self, socket: int, *, has_page_left: bool = False, now: float) -> None:
        """A socket closed, because its page was left or for another reason. Only the owner's matters."""
        if socket == self.owner:
            self.owner = None
            self._left_at = now
            self._has_page_left = has_page_left
            if has_page_left:
                self._lose_phone()

    def _lose_phone(self) -> None:
        """The phone that lived in the page is gone with it. Whoever hears of that (``PageLeft``) needs no other word;
        ``DeskFresh`` follows when a page's phone is there again."""
        if self.phone is PhoneKind.BROWSER and self.why is not None:
            self.why = "gone"

    # ── freshness ─────────────────────────────────────────────────────────────────────────────────────────

    def beat(self, socket: int, beat: Beat, *, now: float) -> DeskFresh | DeskStale | None:
        """The owner's page lives. Returns a fact when that changes whether the desk can ring."""
        if socket != self.owner:
            return None
        self._is_drowsy = not beat.is_visible and now >= self._heard_at + self._silent_after_s
        self._beat = beat
        self._heard_at = now
        return self._judge(now)

    def use_phone(self, phone: PhoneKind, *, now: float) -> DeskFresh | DeskStale | None:
        """The agent's phone was configured anew."""
        self.phone = phone
        return self._judge(now) if self.why is not None else None

    def wake_at(self) -> float | None:
        """When ``wake`` could have something to say, None: not before something happens."""
        if self.agent is None or self.why == "gone":
            return None
        if self.owner is None:
            return None if self._left_at is None else self._left_at + self._gone_after_s
        return None if self.why in {"silent", "asleep"} else self._heard_at + self._silent_after_s

    def wake(self, *, now: float) -> DeskFresh | DeskStale | None:
        """Time has passed."""
        return self._judge(now)

    def _judge(self, now: float) -> DeskFresh | DeskStale | None:
        why = self._why(now)
        if self.agent is None or why is None or why == self.why:
            return None
        self.why = why
        return DeskStale(at=now, agent=self.agent, why=why) if why else DeskFresh(at=now, agent=self.agent)

    def _why(self, now: float) -> str | None:
        if self.owner is None:
            is_gone = self._left_at is not None and now >= self._left_at + self._gone_after_s
            return "gone" if is_gone else self.why
        is_hidden = self._beat is not None and not self._beat.is_visible
        if now >= self._heard_at + self._silent_after_s or self._is_drowsy:
            return "asleep" if is_hidden else "silent"
        if self._beat is None:
            return self.why
        if self.phone is PhoneKind.BROWSER:
            if self._beat.phone != "registered":
                return "no_phone"
            if self._beat.microphone == "lost":
                return "no_microphone"
        return ""

    def _after(self, seq: int, *, now: float) -> Iterator[bytes]:
        return (numbered(encoded, seq=number, now=now) for number, encoded in self._kept if number > seq)
