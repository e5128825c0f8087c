"""What the pages need of the stored configuration: field rules, reasons, dispositions. Read anew every few seconds, so
that a change shows soon and a page costs no query; while the database is away, the last reading serves."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crm_core import centre, users
from crm_core.access import FieldRules
from crm_core.database import DatabaseAway
from web.sentences import Names, word
from web.words import OUR_REASONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crm_core.database import Database
    from cti.routing.plan import Plan
    from web.languages import Language

READ_EVERY_S = 3.0
log = logging.getLogger("callfloor.web")


@dataclass(frozen=True, slots=True)
class Configuration:
    """One reading."""

    rules: FieldRules
    reasons: tuple[centre.Reason, ...]
    dispositions: tuple[centre.Disposition, ...]
    seats: Mapping[str, tuple[str, str | None]]
    """User name → what the user is called, and the agent that the user works as."""

    def disposition_labels(self, tag: str) -> dict[str, str]:
        """Code → label, of dispositions in use and of those that were."""
        return {one.code: label_in(one.labels, tag, one.code) for one in self.dispositions}

    def names(self, plan: Plan, language: Language) -> Names:
        """What everything is called in a language."""
        return Names(
            agents={agent.id: agent.name for agent in plan.agents.values()},
            queues={queue.id: queue.name for queue in plan.queues.values()},
            reasons={code: word(language.gettext, "reason", code) for code in OUR_REASONS}
            | {one.code: label_in(one.labels, language.tag, one.code) for one in self.reasons},
            people={username: name for username, (name, _agent) in self.seats.items()},
        )


def label_in(labels: Mapping[str, str], tag: str, code: str) -> str:
    """A label in a language, else in English, else the code."""
    return labels.get(tag) or labels.get("en") or code


class Configured:
    """Gives the current configuration."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last: Configuration | None = None
        self._read_at = 0.0
        self._turn = asyncio.Lock()

    async def current(self, *, now: float) -> Configuration:
        """The configuration, at most a few seconds old."""
        if (last := self._fresh(now)) is not None:
            return last
        async with self._turn:
            if (last := self._fresh(now)) is not None:
                return last
            try:
                async with self._database.read() as connection:
                    whole = await centre.load_centre(connection)
                    rules = await FieldRules.load(connection)
                    seats = await users.seats(connection)
            except DatabaseAway as error:
                if self._last is None:
                    raise
                log.warning("! the configuration could not be read: %s", error.kind)
                self._read_at = now
                return self._last
            self._last = Configuration(rules, whole.reasons, whole.dispositions, seats)
            self._read_at = now
            return self._last

    def _fresh(self, now: float) -> Configuration | None:
        return self._last if 0 <= now - self._read_at < READ_EVERY_S else None
