"""Errors of the CRM core, split by blame.

CrmError
├── BadInput   what somebody typed, sent or uploaded; names the field
│   └── BadInputs  several fields of it
├── Unfit      settings that do not fit together
├── CannotUndo a change of the settings that can't be taken back any more
├── Conflict   somebody else changed the record since it was read
├── Missing    the record named is not there
└── Refused    understood, but not for this reader
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Fault(NamedTuple):
    """What is wrong with one setting. ``position``: of the character at fault in an expression, from 0."""

    kind: str
    key: str
    field: str
    problem: str
    position: int | None = None


class CrmError(Exception):
    """Root of the CRM core's errors."""


class BadInput(CrmError):
    """What came from outside is wrong; ``field`` says where, ``problem`` is a stable code for translation."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class BadInputs(BadInput):
    """Several fields are wrong: ``faults`` holds (field, problem), the first of them as ``field`` and ``problem``."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        super().__init__(*faults[0])
        self.faults = tuple(faults)


class Unfit(CrmError):
    """Settings that do not fit together: ``faults`` says which, where and why."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{one.kind} {one.key}, {one.field}: {one.problem}" for one in faults))
        self.faults = tuple(faults)


class CannotUndo(CrmError):
    """``why``: ``changed_since``, ``is_gone``, ``is_back`` or ``is_undone``; ``field``: what was changed since."""

    def __init__(self, why: str, field: str = "") -> None:
        super().__init__(f"{why} {field}".strip())
        self.why = why
        self.field = field


class Conflict(CrmError):
    """The record changed since it was read; ``version`` is the one stored now."""

    def __init__(self, record: str, key: int | str, version: int) -> None:
        super().__init__(f"{record} {key} is at version {version}")
        self.record = record
        self.key = key
        self.version = version


class Missing(CrmError):
    """There is no such record."""

    def __init__(self, record: str, key: int | str) -> None:
        super().__init__(f"no {record} {key}")
        self.record = record
        self.key = key


class Refused(CrmError):
    """Not for this reader; ``why`` is a stable code for translation, ``field`` the field concerned, if one is."""

    def __init__(self, why: str, field: str = "") -> None:
        super().__init__(f"{why} {field}".strip())
        self.why = why
        self.field = field
