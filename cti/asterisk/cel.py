"""Asterisk's own records of calls → the facts that the live link would have told.

Lines of ``cel-custom/callfloor.csv`` (columns: ``cti.asterisk.local_pbx.CEL_COLUMNS``) and of the fall-back queues'
``queue_log``. Everything in a line is hostile: it is limited, matched and cleaned as what comes over AMI is, and
nothing here raises, whatever the bytes. Channels of which no beginning was read are passed over, so that reading may
begin anywhere.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from cti import events as e
from cti.asterisk.local_pbx import CEL_COLUMNS
from cti.asterisk.translator import (
    HANGUP_CAUSES,
    HOLDING_TECHNOLOGY,
    INTERNAL_TECHS,
    MAX_WAITED_S,
    RECORDING_BASES,
    REFUSALS,
    clean_text,
    extension,
    split_channel,
)
from cti.events import BridgeKind, Event, HangupCause
from cti.ids import SLUG, BridgeId, LegId, PbxId

LONGEST_LINE = 16_384
MOST_LEGS = 50_000
"""Living channels that are remembered; a PBX that died leaves some for ever."""

_COLUMNS = tuple(CEL_COLUMNS)
_UNIQUEID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,149}")
_ANI = re.compile(r"\+?[0-9]{1,20}")
_NOT_DIALLABLE = re.compile(r"[^0-9+]")
_WORD = re.compile(r"[A-Za-z0-9._-]{0,40}")
_TARGET = re.compile(r"(?:agent|queue):[a-z0-9][a-z0-9._-]{0,39}")
_PATH = re.compile(r"[a-z0-9:>*#._-]{0,120}")
_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,120}\.wav")
_DIALLING = frozenset({"Dial", "Queue"})


@dataclass(frozen=True, slots=True)
class RangOut:
    """A fall-back queue's note that a phone rang until its time was up. ``caller``: the leg that it rang for."""

    at: float
    caller: LegId
    endpoint: str


def at_of_cel(line: bytes) -> float | None:
    """When a record was made (Unix seconds on the PBX's clock); None for a line that is no record."""
    row = _row(line)
    return None if row is None else _time(row["eventtime"])


def at_of_queue_log(line: bytes) -> float | None:
    """When a line of the queue's log was written (Unix seconds on the PBX's clock); None for any other line."""
    return _time(line.partition(b"|")[0].decode("ascii", "replace"))


def rang_out_of(pbx: PbxId, line: bytes) -> RangOut | None:
    """What a line of ``queue_log`` says of a phone that nobody answered; None for every other line."""
    if len(line) > LONGEST_LINE:
        return None
    parts = line.decode("utf-8", "replace").rstrip("\r\n").split("|")
    if len(parts) < 5 or parts[4] != "RINGNOANSWER" or _UNIQUEID.fullmatch(parts[1]) is None:
        return None
    at = _time(parts[0])
    tech, _, endpoint = clean_text(parts[3], 80).partition("/")
    return RangOut(at, LegId(f"{pbx}/{parts[1]}"), endpoint) if at is not None and tech == "PJSIP" else None


@dataclass(slots=True)
class _Known:
    leg: LegId
    conversation: str
    tech: str
    has_dialled: bool = False
    is_dialling: bool = False
    has_ended: bool = False


class CelTranslator:
    """Translates one PBX's records, in the order in which they were written."""

    def __init__(self, pbx: PbxId) -> None:
        self._pbx = pbx
        self._known: dict[str, _Known] = {}
        self._halves: dict[str, LegId] = {}

    def facts(self, line: bytes) -> list[Event]:
        """The facts in one line, none for what is no record of a call. ``at`` is the record's own time."""
        row = _row(line)
        if row is None:
            return []
        at = _time(row["eventtime"])
        unique = row["uniqueid"]
        if at is None or _UNIQUEID.fullmatch(unique) is None:
            return []
        kind = row["eventtype"]
        if kind == "CHAN_START":
            return list(self._started(row, unique, at))
        known = self._known.get(unique)
        if known is None:
            return []
        facts = list(self._relinked(known, row["linkedid"], at))
        facts.extend(self._told(kind, known, row, at))
        if kind == "CHAN_END":
            self._forget(unique, row["channame"])
        return facts

    def _id(self, unique: str) -> LegId:
        return LegId(f"{self._pbx}/{unique}")

    def _started(self, row: dict[str, str], unique: str, at: float) -> Iterator[Event]:
        channel = clean_text(row["channame"])
        tech, endpoint = split_channel(channel)
        if unique in self._known or tech in INTERNAL_TECHS or len(self._known) >= MOST_LEGS:
            return
        leg = self._id(unique)
        linked = row["linkedid"] if _UNIQUEID.fullmatch(row["linkedid"]) else unique
        self._known[unique] = _Known(leg, linked, tech)
        yield e.LegStarted(
            at=at,
            leg=leg,
            conversation=self._id(linked),
            channel=channel,
            tech=tech,
            endpoint=endpoint,
            number=clean_text(unquote(row["cidnum"]), 40),
            name=clean_text(unquote(row["cidname"])),
            dialled=extension(unquote(row["exten"])),
        )
        if tech == "Local":
            wire, _, half = channel.rpartition(";")
            other = self._halves.pop(wire, None)
            if other is not None and half in ("1", "2"):
                yield e.LocalPaired(at=at, one=other, two=leg)
            else:
                self._halves[wire] = leg
        elif linked != unique and (dialler := self._dialler(linked)) is not None:
            # Asterisk writes no record of a dial: whoever was made while another leg of the talk dials is called by it.
            yield e.DialStarted(at=at, by=dialler, to=leg)

    def _dialler(self, linked: str) -> LegId | None:
        first = self._known.get(linked)
        if first is not None and first.is_dialling:
            return first.leg
        for known in reversed(self._known.values()):
            if known.conversation == linked and known.is_dialling:
                return known.leg
        return first.leg if first is not None else None

    def _relinked(self, known: _Known, linked: str, at: float) -> Iterator[Event]:
        if linked != known.conversation and _UNIQUEID.fullmatch(linked):
            known.conversation = linked
            yield e.LegRelinked(at=at, leg=known.leg, conversation=self._id(linked))

    def _told(self, kind: str, known: _Known, row: dict[str, str], at: float) -> Iterator[Event]:
        leg = known.leg
        match kind:
            case "ANSWER":
                yield e.LegAnswered(at=at, leg=leg)
            case "APP_START" if row["appname"] in _DIALLING:
                known.is_dialling = True
                if row["appname"] == "Queue":
                    queue = clean_text(unquote(row["appdata"]).partition(",")[0], 80)
                    yield e.ForeignQueueJoined(at=at, leg=leg, queue=queue, position=0)
            case "APP_END" if row["appname"] in _DIALLING:
                known.is_dialling = False
            case "BRIDGE_ENTER" | "BRIDGE_EXIT":
                extra = _extra(row)
                bridge = BridgeId(f"{self._pbx}/{clean_text(extra.get('bridge_id', ''), 150)}")
                if kind == "BRIDGE_EXIT":
                    yield e.BridgeParted(at=at, leg=leg, bridge=bridge)
                    return
                is_holding = extra.get("bridge_technology") == HOLDING_TECHNOLOGY.decode()
                yield e.BridgeJoined(
                    at=at, leg=leg, bridge=bridge, kind=BridgeKind.HOLDING if is_holding else BridgeKind.TALK
                )
            case "HANGUP":
                known.has_ended = True
                cause = str(_extra(row).get("hangupcause", "")).encode("ascii", "replace")
                yield e.LegEnded(at=at, leg=leg, cause=HANGUP_CAUSES.get(cause, HangupCause.FAILED))
            case "CHAN_END" if not known.has_ended:
                yield e.LegEnded(at=at, leg=leg, cause=HangupCause.NORMAL)
            case "BLINDTRANSFER":
                extra = _extra(row)
                yield e.BlindTransferred(
                    at=at,
                    by=leg,
                    moved=self._leg_in(extra, "transferee_channel_uniqueid"),
                    to=clean_text(extra.get("extension", ""), 80),
                    ok=True,
                )
            case "ATTENDEDTRANSFER":
                extra = _extra(row)
                second = self._leg_in(extra, "channel2_uniqueid")
                if second is not None:
                    yield e.AttendedTransferred(
                        at=at,
                        by=leg,
                        by_second=second,
                        moved=self._leg_in(extra, "transferee_channel_uniqueid"),
                        target=self._leg_in(extra, "transfer_target_channel_uniqueid"),
                        ok=True,
                    )
            case "PICKUP":
                by = self._leg_in(_extra(row), "pickup_channel_uniqueid")
                if by is not None:
                    yield e.PickedUp(at=at, by=by, target=leg)
            case "CallfloorOffer":
                yield _offer(_own(row), leg, at)
            case "CallfloorPhone":
                number = clean_text(_own(row).get("Phone", ""), 40)
                if _ANI.fullmatch(number):
                    yield e.LegOwned(at=at, leg=leg, endpoint=number)
            case "CallfloorFallback":
                yield e.CallerFellBack(at=at, leg=leg)
            case "CallfloorUnrecorded" if (why := _own(row).get("Why", "")) in REFUSALS:
                yield e.RecordingRefused(at=at, leg=leg, why=why)
            case "CallfloorMessage":
                own = _own(row)
                file, queue = clean_text(own.get("File", ""), 200), own.get("Queue", "")
                if _FILE.fullmatch(file):
                    yield e.MessageRecorded(at=at, leg=leg, file=file, queue=queue if SLUG.match(queue) else "")
            case "CallfloorRecording":
                own = _own(row)
                recorded = self._known.get(own.get("Channelid", ""), known)
                file = clean_text(own.get("File", ""), 200)
                if _FILE.fullmatch(file):
                    basis = own.get("Basis", "")
                    basis = basis if basis in RECORDING_BASES else ""
                    yield e.RecordingStarted(at=at, leg=recorded.leg, file=file, basis=basis)

    def _leg_in(self, extra: dict[str, str], name: str) -> LegId | None:
        unique = extra.get(name, "")
        return self._id(unique) if _UNIQUEID.fullmatch(unique) else None

    def _forget(self, unique: str, channel: str) -> None:
        del self._known[unique]
        self._halves.pop(channel.rpartition(";")[0], None)


def _row(line: bytes) -> dict[str, str] | None:
    if len(line) > LONGEST_LINE:
        return None
    try:
        fields = next(csv.reader([line.decode("utf-8", "replace").rstrip("\r\n")], strict=True))
    except (csv.Error, StopIteration):
        return None
    return dict(zip(_COLUMNS, fields, strict=True)) if len(fields) == len(_COLUMNS) else None


def _time(text: str) -> float | None:
    try:
        at = float(text)
    except ValueError:
        return None
    return at if math.isfinite(at) and 0 < at < 1e11 else None


def _extra(row: dict[str, str]) -> dict[str, str]:
    """``eventextra`` as texts; empty for what is no JSON object."""
    try:
        found: Any = json.loads(row["eventextra"]) if row["eventextra"] else {}
    except (ValueError, RecursionError):
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _own(row: dict[str, str]) -> dict[str, str]:
    """What our dialplan says in a record of its own: ``Name=value`` joined with ``&``."""
    pairs = (part.partition("=") for part in _extra(row).get("extra", "").split("&"))
    return {name: value for name, _, value in pairs if name}


def _offer(own: dict[str, str], leg: LegId, at: float) -> e.CallOffered:
    def word(name: str) -> str:
        text = own.get(name, "")
        return text if _WORD.fullmatch(text) else ""

    ani = own.get("Ani", "")
    is_withheld = own.get("Withheld") == "1" or _ANI.fullmatch(ani) is None
    waited, target, consent = own.get("Waited", ""), own.get("Target", ""), own.get("Consent", "")
    path = own.get("Path", "")
    return e.CallOffered(
        at=at,
        leg=leg,
        ani="" if is_withheld else ani,
        ani_name="" if is_withheld else clean_text(unquote(own.get("Aniname", ""))),
        is_withheld=is_withheld,
        dnis=_NOT_DIALLABLE.sub("", own.get("Dnis", ""))[:32],
        account=word("Account"),
        choice=word("Choice"),
        language=word("Callerlanguage")[:12],
        waited_s=min(float(waited), MAX_WAITED_S) if re.fullmatch(r"[0-9]{1,9}", waited, re.ASCII) else 0.0,
        target=target if _TARGET.fullmatch(target) else "",
        consent=consent if consent in ("yes", "no") else "",
        path=path if _PATH.fullmatch(path) else "",
    )
