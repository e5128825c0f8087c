"""Who calls: carries out ``LookUpCaller`` against the CRM, beside the call and never in its way.

Begun when the call is offered, it finds the customers (account number first, then the number called from) and reads
them for every kind of viewer at a desk, so that the card is complete before a phone rings; of a customer who is known
for sure, also what routing may ask. Whatever happens, the deciding core has its answer (``CallerLookedUp``) within the
deadline: one that is slow or fails is reported as ``failed``, and when the late answer comes it is reported again and
still improves the card. Bounded are both the number of look-ups that use the database at once and the number of those
that wait for their turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from crm_core.access import FieldRules, Reader
from crm_core.caller_facts import caller_facts
from crm_core.customers import Found, cards, find_callers, product_panel
from crm_core.errors import CrmError
from crm_core.one_visit import OneVisit
from cti.events import CallerLookedUp, Event
from cti.screenpop.pop import Pops, Reading, Sight, Viewer

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.database import Database
    from cti.commands import LookUpCaller
    from cti.ids import AgentId, InteractionId

AT_ONCE = 4
MOST_WAITING = 500
GIVEN_UP_AFTER_S = 60.0
RETRY_S = 5.0
MOST_VIEWERS = 6
"""Kinds of viewers that are read for ahead of the ring; rarer ones are read for when it rings."""

DIGITS_OF_A_NUMBER = 7

_Readers = dict[Viewer, tuple[Reader, FieldRules]]
_FAILURES = (SQLAlchemyError, CrmError, OSError, TimeoutError)

log = logging.getLogger(__name__)


class CallerLookup:
    """Looks callers up in ``database``.

    ``inbox`` gets ``CallerLookedUp``; ``clock`` is Unix seconds; ``default_region`` (ISO 3166) is where numbers without
    a country code belong. ``visits`` reads in another way (tests).
    """

    def __init__(
        self,
        database: Database,
        *,
        pops: Pops,
        inbox: Callable[[Event], None],
        clock: Callable[[], float],
        default_region: str,
        visits: OneVisit | None = None,
    ) -> None:
        self._visits = visits if visits is not None else OneVisit(database)
        self._pops = pops
        self._inbox = inbox
        self._clock = clock
        self._default_region = default_region
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._latest: dict[InteractionId, LookUpCaller] = {}
        self._readers: _Readers = {}
        pops.read_from(self)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._visits.close()

    def carry_out(self, command: LookUpCaller) -> None:
        """Begin a look-up. Never raises, never waits; the answer is ``CallerLookedUp`` in the inbox."""
        self._pops.expect(command.interaction, command.dnis)
        self._latest[command.interaction] = command
        if len(self._tasks) >= MOST_WAITING:
            del self._latest[command.interaction]
            log.warning("! too many look-ups wait: %s goes without", command.interaction)
            self._report(command.interaction, (), "failed")
            return
        self._begin(self._look_up(command))

    def want_sight(self, viewer: Viewer, agent: AgentId) -> None:
        """Learn what these viewers may see; tried again until the database answers."""
        self._begin(self._learn_sight(viewer, agent))

    def want_reading(self, interaction: InteractionId, viewer: Viewer) -> None:
        """Read an interaction's customers for one kind of viewer."""
        self._begin(self._read_for(interaction, viewer))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_up(self, command: LookUpCaller) -> None:
        interaction = command.interaction
        deadline = asyncio.get_running_loop().call_later(
            max(0.0, command.deadline_s), self._report, interaction, (), "failed"
        )
        now = self._clock()
        codes, readers = self._pops.product_codes(interaction), self._readers_of(self._pops.viewers[:MOST_VIEWERS])

        async def reading(connection: AsyncConnection) -> tuple[Found, dict[str, str], dict[Viewer, Reading]]:
            found = await find_callers(
                connection, account=command.account, ani=command.ani, default_region=self._default_region
            )
            facts: dict[str, str] = {}
            if len(found.parties) == 1:
                facts = await caller_facts(connection, found.parties[0], interaction_id=interaction, now=now)
            return found, facts, await _read(connection, found.parties, codes, readers)

        try:
            async with asyncio.timeout(GIVEN_UP_AFTER_S), self._turn:
                found, facts, readings = await self._visits.read(reading)
        except _FAILURES as error:
            log.warning("! look-up of %s failed: %s", interaction, type(error).__name__)
            if not deadline.cancelled() and deadline.when() > asyncio.get_running_loop().time():
                self._report(interaction, (), "failed")
        else:
            # A caller who turned out to be known by something else is asked for anew; this answer is nobody's then.
            if self._latest.get(interaction) is command:
                self._pops.know_readings(interaction, readings, found=(found.parties, found.how))
                self._report(interaction, found.parties, found.how, facts)
        finally:
            deadline.cancel()
            if self._latest.get(interaction) is command:
                del self._latest[interaction]

    async def _read_for(self, interaction: InteractionId, viewer: Viewer) -> None:
        readings: dict[Viewer, Reading | None] = {viewer: None}
        parties, codes = self._pops.parties(interaction), self._pops.product_codes(interaction)
        readers = self._readers_of([viewer])

        async def reading(connection: AsyncConnection) -> dict[Viewer, Reading]:
            return await _read(connection, parties, codes, readers)

        try:
            async with asyncio.timeout(GIVEN_UP_AFTER_S), self._turn:
                readings.update(await self._visits.read(reading))
        except _FAILURES as error:
            log.warning("! reading the customers of %s failed: %s", interaction, type(error).__name__)
        self._pops.know_readings(interaction, readings)

    def _readers_of(self, viewers: Sequence[Viewer]) -> _Readers:
        return {viewer: self._readers[viewer] for viewer in viewers if viewer in self._readers}

    async def _learn_sight(self, viewer: Viewer, agent: AgentId) -> None:
        while True:
            try:
                async with self._turn:
                    rules = await self._visits.read(FieldRules.load)
            except _FAILURES as error:
                log.warning("! cannot read the field rules: %s", type(error).__name__)
                await asyncio.sleep(RETRY_S)
            else:
                break
        reader = Reader(user="", role=viewer.role, agent=agent)
        self._readers[viewer] = (reader, rules)
        self._pops.know_sight(viewer, _sight(reader, rules))

    def _report(
        self, interaction: InteractionId, parties: tuple[int, ...], how: str, facts: Mapping[str, str] | None = None
    ) -> None:
        self._inbox(
            CallerLookedUp(at=self._clock(), interaction=interaction, parties=parties, how=how, variables=facts or {})
        )


async def _read(
    connection: AsyncConnection, parties: Sequence[int], codes: Sequence[str], readers: _Readers
) -> dict[Viewer, Reading]:
    """The customers and products, as each of these viewers may see them. Runs in a thread: looks at nothing of ours."""
    customers: dict[tuple[str, bool], tuple[dict[str, Any], ...]] = {}
    readings: dict[Viewer, Reading] = {}
    for viewer, (reader, rules) in readers.items():
        key = (viewer.role, viewer.is_blind)
        if key not in customers:
            customers[key] = tuple(await cards(connection, reader, parties, rules))
        products = await product_panel(connection, reader, rules, parties, codes, language=viewer.language)
        readings[viewer] = Reading(customers[key], tuple(products))
    return readings


def _sight(reader: Reader, rules: FieldRules) -> Sight:
    may_read_numbers = rules.may_read(reader, "phone", "e164")

    def see(row: dict[str, Any]) -> dict[str, Any]:
        seen = rules.visible(reader, "interaction", row)
        # Callers asked for a choice sometimes type their number.
        if not may_read_numbers and sum(character.isdecimal() for character in row["choice"]) >= DIGITS_OF_A_NUMBER:
            seen = {**seen, "choice": ""}
        return seen

    return see
