"""What the doctor says: findings, each with what was seen, why it matters, and the exact lines to change."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

WIDTH = 100
_GLOBAL = re.compile(r"extensions\.conf, \[globals\]: (\w+) = (.*)")


class Level(StrEnum):
    """``UNSEEN``: it can't be seen from here; ``change`` then says where to look."""

    GOOD = "good"
    UNSEEN = "unseen"
    WARNING = "warning"
    ERROR = "error"


MARKS = {Level.GOOD: "  ok    ", Level.UNSEEN: "  ?     ", Level.WARNING: "  WARN  ", Level.ERROR: "  ERROR "}


@dataclass(frozen=True, slots=True)
class Finding:
    """``check``: its name, ``settings`` or ``pbx1.rights``; ``change``: lines to type or to write, as they are."""

    check: str
    level: Level
    seen: str
    why: str = ""
    change: tuple[str, ...] = ()


def good(check: str, seen: str) -> Finding:
    """Nothing to do."""
    return Finding(check, Level.GOOD, seen)


def unseen(check: str, seen: str, *look: str) -> Finding:
    """It can't be seen from here: ``look`` says where."""
    return Finding(check, Level.UNSEEN, seen, "", look)


def warning(check: str, seen: str, why: str, *change: str) -> Finding:
    """It works, and will hurt some day."""
    return Finding(check, Level.WARNING, seen, why, change)


def error(check: str, seen: str, why: str, *change: str) -> Finding:
    """It does not work, or somebody gets in."""
    return Finding(check, Level.ERROR, seen, why, change)


def for_own_pbx(findings: Iterable[Finding]) -> list[Finding]:
    """The same where our installer writes the PBX's files: its variables are set in ``pbx.toml``."""
    there = r'pbx.toml, [dialplan]: \1 = "…"   (\2), then callfloor pbx'
    return [replace(one, change=tuple(_GLOBAL.sub(there, line) for line in one.change)) for one in findings]


def exit_code(findings: Iterable[Finding]) -> int:
    """2 with an error, 1 with a warning, otherwise 0."""
    levels = {finding.level for finding in findings}
    if Level.ERROR in levels:
        return 2
    return 1 if Level.WARNING in levels else 0


def as_text(findings: Sequence[Finding]) -> str:
    """The report for a person."""
    lines: list[str] = []
    for finding in findings:
        lines += _wrapped(MARKS[finding.level], f"{finding.check}: {finding.seen}")
        if finding.why:
            lines += _wrapped("          ", finding.why)
        lines += [f"            {line}" for line in finding.change]
    counts = {level: sum(1 for finding in findings if finding.level is level) for level in Level}
    lines.append("")
    lines.append(
        f"{counts[Level.ERROR]} errors, {counts[Level.WARNING]} warnings, {counts[Level.UNSEEN]} things that can't be"
        f" seen from here, {counts[Level.GOOD]} in order."
    )
    return "\n".join(lines)


def _wrapped(mark: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=mark, subsequent_indent=" " * 10, break_long_words=False, break_on_hyphens=False
    )


def as_json(findings: Sequence[Finding]) -> str:
    """The report for a program."""
    return json.dumps({"exit_code": exit_code(findings), "findings": [asdict(one) for one in findings]}, indent=1)
