"""The words of a description and of a change, as they stand in a TOML file. Errors name the field.

What is said of queues and calendars becomes the words of ``cti.routing.plan``; whatever a file leaves out keeps the
value that it has (a change) or that a queue has by itself (a description).
"""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from cti.errors import BadInput
from cti.ids import SLUG, AgentId, QueueId
from cti.routing import expression, hours
from cti.routing.plan import (
    DESTINATION_KINDS,
    AgentPlan,
    Calendar,
    Overflow,
    OverflowWhen,
    Preferred,
    QueuePlan,
    Selection,
    Step,
)
from cti.whatif.draws import NEVER, Draw, Shape

DAY_MINUTES = 24 * 60
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])")


def minutes_of(text: object) -> int:
    """Minutes of the day of ``"08:30"`` (or a TOML time); ``"24:00"`` is the day's end. Raises ``ValueError``."""
    if isinstance(text, datetime.time):
        return text.hour * 60 + text.minute
    found = _CLOCK.fullmatch(text) if isinstance(text, str) else None
    minutes = int(found[1]) * 60 + int(found[2]) if found is not None else DAY_MINUTES + 1
    if minutes > DAY_MINUTES:
        raise ValueError('a time of day such as "08:30"')
    return minutes


def stretch_of(text: object) -> tuple[int, int]:
    """Minutes of the day of ``"08:30-17:00"``. Raises ``ValueError``."""
    first, _, end = text.partition("-") if isinstance(text, str) else ("", "", "")
    stretch = minutes_of(first.strip()), minutes_of(end.strip())
    if stretch[0] >= stretch[1]:
        raise ValueError('a stretch of the day such as "08:30-17:00"')
    return stretch


def _slug(text: str) -> str:
    if SLUG.fullmatch(text) is None:
        raise ValueError("small letters, digits, dots and dashes")
    return text


def _requirement(text: str) -> str:
    try:
        expression.parse(text)
    except expression.ExpressionError as error:
        raise ValueError(f"{error.problem} at character {error.position + 1}") from None
    return text


def _zone(name: str) -> str:
    try:
        hours.zone_of(name)
    except BadInput:
        raise ValueError("no such time zone") from None
    return name


def _destination(text: str) -> str:
    kind, _, value = text.partition(":")
    if kind not in DESTINATION_KINDS or not value:
        raise ValueError("a destination such as queue:sales")
    return text


Slug = Annotated[str, AfterValidator(_slug)]
Clock = Annotated[int, BeforeValidator(minutes_of)]
Stretch = Annotated[tuple[int, int], BeforeValidator(stretch_of)]
Seconds = Annotated[int, Field(ge=0, le=86_400)]
Requires = Annotated[str, AfterValidator(_requirement)]
Zone = Annotated[str, AfterValidator(_zone)]
Destination = Annotated[str, AfterValidator(_destination)]
Skills = dict[Slug, Annotated[int, Field(ge=1, le=10)]]
Positive = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]


class Words(BaseModel):
    """A table of a file. A key that it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DurationWords(Words):
    """How long something lasts: ``{ mean_s = 240 }`` is exponential, with ``cv`` lognormal, or say the ``shape``."""

    mean_s: Positive
    cv: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = None
    shape: Shape | None = None

    def draw(self) -> Draw:
        """The same as a distribution."""
        if self.cv == 0:
            return Draw(self.mean_s, Shape.FIXED)
        shape = self.shape or (Shape.EXPONENTIAL if self.cv is None else Shape.LOGNORMAL)
        return Draw(self.mean_s, shape, 1.0 if self.cv is None else self.cv)


def _duration(value: object) -> object:
    return {"mean_s": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


Duration = Annotated[DurationWords, BeforeValidator(_duration)]
"""A bare number is an exponential mean."""


def draw_of(words: DurationWords | None) -> Draw:
    """Left out: it never ends."""
    return words.draw() if words is not None else NEVER


class StepWords(Words):
    """What is required from so many seconds on."""

    after_s: Seconds = 0
    requires: Requires = ""


class OverflowWords(Words):
    """What sends a caller where."""

    when: OverflowWhen
    limit: Seconds
    to: Destination


class QueueWords(Words):
    """What a file says of a queue; see ``cti.routing.plan.QueuePlan``."""

    name: str | None = None
    requires: Requires | None = None
    """Short for one step from the beginning."""
    steps: tuple[StepWords, ...] | None = None
    selection: Selection | None = None
    preferred: Preferred | None = None
    preferred_patience_s: Seconds | None = None
    parallel: Annotated[int, Field(ge=0, le=50)] | None = None
    priority: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    ageing_s: Seconds | None = None
    ring_timeout_s: Annotated[int, Field(ge=1, le=300)] | None = None
    wrap_up_s: Seconds | None = None
    breather_after_s: Seconds | None = None
    breather_s: Seconds | None = None
    service_level_s: Annotated[int, Field(ge=1, le=3600)] | None = None
    service_level_target: Annotated[float, Field(gt=0, le=1)] | None = None
    short_abandon_s: Seconds | None = None
    calendar: str | None = None
    closed_to: Destination | None = None
    overflows: tuple[OverflowWords, ...] | None = None

    def applied_to(self, queue: QueuePlan) -> QueuePlan:
        """The queue with what is said here."""
        plain = QueueWords.model_fields.keys() - {"requires", "steps", "overflows"}
        changes: dict[str, Any] = {name: value for name in plain if (value := getattr(self, name)) is not None}
        if self.requires is not None:
            changes["steps"] = (Step(0, self.requires),)
        if self.steps is not None:
            changes["steps"] = tuple(Step(one.after_s, one.requires) for one in self.steps)
        if self.overflows is not None:
            changes["overflows"] = tuple(Overflow(one.when, one.limit, one.to) for one in self.overflows)
        return replace(queue, **changes)


class CalendarWords(Words):
    """When something is open: ``weekly = { mon = ["08:00-18:00"] }``, and ``days`` that differ."""

    zone: Zone | None = None
    weekly: Mapping[str, tuple[Stretch, ...]] = {}
    days: Mapping[str, tuple[Stretch, ...]] = {}

    def calendar(self, id_: str, zone: str) -> Calendar:
        """The calendar; ``zone`` if it names none. Raises ``BadInput``."""
        if unknown := self.weekly.keys() - set(WEEKDAYS):
            raise BadInput(f"calendars.{id_}.weekly.{min(unknown)}", "one of " + ", ".join(WEEKDAYS))
        for day in self.days:
            try:
                datetime.date.fromisoformat(day)
            except ValueError:
                raise BadInput(f"calendars.{id_}.days.{day}", "a date such as 2026-12-25") from None
        weekly = tuple(self.weekly.get(day, ()) for day in WEEKDAYS)
        return Calendar(id_, id_, self.zone or zone, weekly, dict(self.days))


class AgentWords(Words):
    """What a file says of agents, alike or one: ``shifts`` are the stretches of the day at the desk, none: all of it;
    a stretch without work between two shifts is a break."""

    queues: tuple[Slug, ...] | None = None
    skills: Skills | None = None
    shifts: tuple[Stretch, ...] | None = None

    def applied_to(self, agent: AgentPlan) -> AgentPlan:
        """The agent with what is said here."""
        changed = agent
        if self.queues is not None:
            changed = replace(changed, queues=tuple(QueueId(one) for one in self.queues))
        if self.skills is not None:
            changed = replace(changed, skills=dict(self.skills))
        return changed


class GroupWords(AgentWords):
    """``count`` agents alike, called ``name1``, ``name2``…"""

    count: Annotated[int, Field(ge=1, le=5000)] = 1
    name: Annotated[Slug, Field(max_length=30)] = "agent"

    def ids(self) -> list[AgentId]:
        """What they are called."""
        return [AgentId(f"{self.name}{number}") for number in range(1, self.count + 1)]


Read = TypeVar("Read", bound=Words)


def read_file(path: Path, kind: type[Read]) -> Read:
    """The words of a file. Raises ``BadInput`` with the field's place in it."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(str(path), getattr(error, "strerror", None) or "not UTF-8") from None
    return read_text(text, kind)


def read_text(text: str, kind: type[Read]) -> Read:
    """The words of a text. Raises ``BadInput`` with the field's place in it."""
    try:
        return kind.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise BadInput("file", str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "file"
        raise BadInput(field, first["msg"].removeprefix("Value error, ")) from None


def shift_moments(shifts: tuple[tuple[int, int], ...] | None, first: int, end: int) -> list[tuple[int, bool]]:
    """When somebody comes (True) and goes (False), in minutes of the day, within a day from ``first`` to ``end``; whose
    shift ends with the day stays for the last callers."""
    moments: list[tuple[int, bool]] = []
    for begin, over in sorted(shifts) if shifts is not None else [(first, end)]:
        if begin < end and over > first:
            moments.append((max(begin, first), True))
            if over < end:
                moments.append((over, False))
    return moments
