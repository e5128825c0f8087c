"""A short hand for switch facts, and for what the conversations make of them."""

from __future__ import annotations

from typing import Any

from cti import events as e
from cti.events import BridgeKind, DialOutcome, Event, HangupCause
from cti.ids import AgentId, BridgeId, LegId, PbxId
from cti.interaction import Conversations

PBX = PbxId("pbx1")
AGENTS = {"ann": AgentId("ann"), "bob": AgentId("bob"), "cho": AgentId("cho")}
FLOOR = (
    e.InteractionStarted,
    e.InteractionMerged,
    e.InteractionEnded,
    e.AgentRang,
    e.AgentRingEnded,
    e.AgentJoined,
    e.AgentLeft,
    e.InteractionHeld,
    e.TransferStarted,
    e.TransferEnded,
    e.RecordingChanged,
)


def owner_of(pbx: PbxId, endpoint: str) -> AgentId | None:
    return AGENTS.get(endpoint) if pbx == PBX else None


def leg(name: str) -> LegId:
    """``c1`` → ``pbx1/1.1`` and so on: the digits order the legs by age."""
    number = name.lstrip("abcdefghijklmnopqrstuvwxyz")
    return LegId(f"{PBX}/{ord(name[0])}.{number or 0}")


class Story:
    """Tells switch facts to ``Conversations`` and keeps what came out. ``at`` moves on by ``later``."""

    def __init__(self) -> None:
        self.conversations = Conversations(owner_of)
        self.at = 1000.0
        self.facts: list[Event] = []

    def later(self, seconds: float) -> None:
        self.at += seconds

    def tell(self, *events: Event) -> list[Event]:
        told: list[Event] = []
        for event in events:
            told.extend(self.conversations.handle(event))
        self.facts.extend(told)
        return told

    def rest(self) -> list[Event]:
        """Let pass whatever time the conversations wait for."""
        told: list[Event] = []
        while (due := self.conversations.wake_at()) is not None:
            self.at = max(self.at, due)
            told.extend(self.conversations.wake(now=self.at))
        self.facts.extend(told)
        return told

    # ── facts ─────────────────────────────────────────────────────────────────────────────────────────────

    def started(self, name: str, of: str = "", endpoint: str = "trunk", **more: Any) -> Event:
        values = {"number": "+4930123456" if endpoint == "trunk" else "", "name": "", "dialled": "", "tech": "PJSIP"}
        values |= more
        if values["tech"] == "Local":
            endpoint = ""
        return e.LegStarted(
            at=self.at,
            leg=leg(name),
            conversation=leg(of or name),
            channel=f"{values['tech']}/{endpoint or 'x'}-{name}",
            endpoint=endpoint,
            **values,
        )

    def offered(self, name: str, **more: Any) -> Event:
        values: dict[str, Any] = {
            "ani": "+4930123456",
            "ani_name": "Li Wei",
            "is_withheld": False,
            "dnis": "4001",
            "account": "",
            "choice": "",
            "language": "zh",
            "waited_s": 0.0,
            "target": "",
        }
        return e.CallOffered(at=self.at, leg=leg(name), **(values | more))

    def dial(self, by: str | None, to: str) -> Event:
        return e.DialStarted(at=self.at, by=leg(by) if by else None, to=leg(to))

    def dialled(self, by: str | None, to: str, outcome: DialOutcome) -> Event:
        return e.DialEnded(at=self.at, by=leg(by) if by else None, to=leg(to), outcome=outcome)

    def joined(self, name: str, bridge: str, kind: BridgeKind = BridgeKind.TALK) -> Event:
        return e.BridgeJoined(at=self.at, leg=leg(name), bridge=BridgeId(f"{PBX}/{bridge}"), kind=kind)

    def parted(self, name: str, bridge: str) -> Event:
        return e.BridgeParted(at=self.at, leg=leg(name), bridge=BridgeId(f"{PBX}/{bridge}"))

    def ended(self, name: str, cause: HangupCause = HangupCause.NORMAL) -> Event:
        return e.LegEnded(at=self.at, leg=leg(name), cause=cause)

    def answered(self, name: str) -> Event:
        return e.LegAnswered(at=self.at, leg=leg(name))

    def relinked(self, name: str, to: str) -> Event:
        return e.LegRelinked(at=self.at, leg=leg(name), conversation=leg(to))

    def paired(self, one: str, two: str) -> Event:
        return e.LocalPaired(at=self.at, one=leg(one), two=leg(two))

    def held(self, name: str) -> Event:
        return e.LegHeld(at=self.at, leg=leg(name))

    def resumed(self, name: str) -> Event:
        return e.LegResumed(at=self.at, leg=leg(name))

    # ── scenes ────────────────────────────────────────────────────────────────────────────────────────────

    def waiting_caller(self, name: str = "a1") -> None:
        self.tell(self.started(name, dialled="4001"), self.answered(name), self.offered(name))

    def ring(self, by: str, to: str, endpoint: str) -> None:
        self.tell(self.started(to, of=by, endpoint=endpoint), self.dial(by, to))

    def answer(self, by: str, to: str, bridge: str) -> None:
        self.tell(
            self.answered(to),
            self.dialled(by, to, DialOutcome.ANSWERED),
            self.joined(to, bridge),
            self.joined(by, bridge),
        )

    def in_talk(self, caller: str = "a1", agent: str = "b1", endpoint: str = "ann", bridge: str = "one") -> None:
        self.waiting_caller(caller)
        self.ring(caller, agent, endpoint)
        self.answer(caller, agent, bridge)

    def hang_up(self, bridge: str, *names: str) -> None:
        for name in names:
            self.tell(self.parted(name, bridge))
        for name in names:
            self.tell(self.ended(name))

    def said(self) -> list[str]:
        """What the conversations concluded so far, as one line each."""
        return [line(fact) for fact in self.facts]


def line(fact: Event) -> str:
    """One floor fact in a few words: ``joined ann talk``."""
    match fact:
        case e.InteractionStarted():
            return f"started {fact.direction}"
        case e.InteractionMerged():
            return "merged"
        case e.InteractionEnded():
            return f"ended {fact.outcome}"
        case e.AgentRang():
            return f"rang {fact.agent}"
        case e.AgentRingEnded():
            return f"ring-ended {fact.agent} {fact.outcome}"
        case e.AgentJoined():
            return f"joined {fact.agent} {fact.role}"
        case e.AgentLeft():
            return f"left {fact.agent}"
        case e.InteractionHeld():
            return f"{'held' if fact.is_held else 'resumed'} {fact.agent}"
        case e.TransferStarted():
            return f"transfer {fact.kind} {fact.agent} {fact.target}"
        case e.TransferEnded():
            return f"transferred {fact.kind} {fact.outcome}"
        case e.RecordingChanged():
            return f"recording {fact.state}"
    raise AssertionError(f"no floor fact of the conversations: {fact}")
