"""Asterisk's configuration files as far as the doctor reads them, and our own dialplan as Asterisk shows it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_SECTION = re.compile(r"\[([^\]]+)\]\s*(\(([^)]*)\))?")
_SETTING = re.compile(r"([A-Za-z0-9_.-]+(?:\([^)]*\))?)\s*=>?\s*(.*)")
_COMMENT = re.compile(r"(?<!\\);.*")
_INCLUDE = re.compile(r'#(?:try)?include\s+"?([^"\s]+)"?')
DEEPEST_INCLUDE = 8


@dataclass
class Section:
    """One ``[name]``. Names may come twice (PJSIP has an endpoint and an aor of one name)."""

    name: str
    settings: list[tuple[str, str]] = field(default_factory=list)

    def all(self, key: str) -> list[str]:
        """Every value of a key, in order."""
        return [value for name, value in self.settings if name == key]

    def get(self, key: str, default: str = "") -> str:
        """The last value of a key."""
        return next(reversed(self.all(key)), default)


def read_sections(path: Path, *, depth: int = 0) -> list[Section]:
    """The sections of a configuration file with its includes and templates. Raises ``OSError``."""
    sections: list[Section] = []
    known: dict[str, Section] = {}
    for raw in path.read_text(encoding="utf-8", errors="replace").splitlines():
        include = _INCLUDE.match(raw.strip())
        if include is not None:
            for one in _included(path, include[1]) if depth < DEEPEST_INCLUDE else ():
                sections += read_sections(one, depth=depth + 1)
            continue
        line = _COMMENT.sub("", raw).strip()
        head = _SECTION.match(line)
        if head is not None:
            section = Section(head[1])
            for template in (part.strip() for part in (head[3] or "").split(",")):
                if template in known:
                    section.settings += known[template].settings
            known[section.name] = section
            sections.append(section)
            continue
        setting = _SETTING.fullmatch(line)
        if setting is not None and sections:
            sections[-1].settings.append((setting[1].strip().lower(), setting[2].strip()))
    return sections


def _included(path: Path, name: str) -> list[Path]:
    pattern = Path(name)
    if pattern.is_absolute():
        return sorted(one for one in Path("/").glob(str(pattern.relative_to("/"))) if one.is_file())
    return sorted(one for one in path.parent.glob(name) if one.is_file())


# ── the dialplan ──────────────────────────────────────────────────────────────────────────────────────────

Priority = tuple[str, int, str, str]
"""Extension, priority, application, its data."""

_LINE = re.compile(r"(exten|same)\s*=>?\s*(.*)")
_FIRST = re.compile(r"([^,]+),(n|[0-9]+)(?:\(([^)]*)\))?,(.*)")
_SAME = re.compile(r"(n|[0-9]+)(?:\(([^)]*)\))?,(.*)")


def read_dialplan(files: Iterable[Path]) -> dict[str, list[Priority]]:
    """Context → its priorities, as ``ShowDialPlan`` lists them. Raises ``OSError``."""
    contexts: dict[str, list[Priority]] = {}
    for path in files:
        context, exten, priority = "", "", 0
        for raw in path.read_text(encoding="utf-8").splitlines():
            line = _COMMENT.sub("", raw).strip()
            head = _SECTION.fullmatch(line)
            if head is not None:
                context = head[1]
                contexts.setdefault(context, [])
                continue
            found = _LINE.fullmatch(line)
            if found is None or not context:
                continue
            parts = _FIRST.fullmatch(found[2]) if found[1] == "exten" else _SAME.fullmatch(found[2])
            if parts is None:
                continue
            if found[1] == "exten":
                exten = parts[1]
            number, text = (parts[2], parts[4]) if found[1] == "exten" else (parts[1], parts[3])
            priority = priority + 1 if number == "n" else int(number)
            application, _open, data = text.strip().partition("(")
            contexts[context].append((exten, priority, application, data.rpartition(")")[0]))
    return contexts


def normal(priorities: Iterable[Priority]) -> list[Priority]:
    """The same dialplan always reads the same: without blanks and backslashes, which Asterisk itself rewrites."""
    return sorted(
        (exten, number, name.lower(), re.sub(r"[\s\\]", "", data)) for exten, number, name, data in priorities
    )


def first_difference(ours: Sequence[Priority], theirs: Sequence[Priority]) -> str:
    """Where two dialplans of one context part, empty where they don't."""
    wanted, found = normal(ours), normal(theirs)
    if wanted == found:
        return ""
    for one, other in zip(wanted, found, strict=False):
        if one != other:
            return f"extension {other[0]} priority {other[1]} is {other[2]}({other[3][:60]})"
    return f"it has {len(found)} steps, not {len(wanted)}"
