"""Errors of the CRM core, split by blame.

CrmError
├── BadInput   what somebody typed, sent or uploaded; names the field
├── Conflict   somebody else changed the record since it was read
├── Missing    the record named is not there
└── Refused    understood, but not for this reader
"""

from __future__ import annotations


class CrmError(Exception):
    """Root of the CRM core's errors."""


class BadInput(CrmError):
    """What came from outside is wrong; ``field`` says where, ``problem`` is a stable code for translation."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


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
