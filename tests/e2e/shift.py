"""A shift: one site and two agents at their pages, for many calls one after the other.

Ann works in sales and Bo in support, so a call to 4001 rings at Ann's and a transfer has somewhere to go.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cti.demo.callers import Call, Callers
from tests.conftest import Chromium
from tests.desk.watching import becomes
from tests.e2e.seat import Seat, open_seat
from tests.e2e.site import ANN, BO, LI_NUMBER, Person, Site
from tests.rtp import TonePhone

CALLER_HZ, ANN_HZ, BO_HZ = 440.0, 1000.0, 1400.0
RING_S = 6
PEOPLE = (replace(ANN, queues=("sales",)), replace(BO, queues=("support",)))


@dataclass
class Caller:
    """Somebody who calls: how the call goes, what is heard, and the interaction that it is."""

    site: Site
    call: Call
    ear: TonePhone
    interaction: str = ""

    async def hang_up(self) -> None:
        """End the call on the caller's side."""
        uniqueid = self.interaction.removeprefix("pbx1-")
        for line in (await self.site.pbx.cli("core show channels concise")).splitlines():
            if line.endswith(f"!{uniqueid}"):
                await self.site.pbx.cli(f"channel request hangup {line.partition('!')[0]}")


@dataclass
class Shift:
    """The site and its two agents."""

    site: Site
    ann: Seat
    bo: Seat

    @asynccontextmanager
    async def talk(self) -> AsyncIterator[Caller]:
        """A new caller talks with Ann, Bo is free; afterwards nobody talks any more."""
        for seat in (self.ann, self.bo):
            await becomes(seat.page, "callfloor.phone.call === null")
            await seat.page.keyboard.press("Escape")
            await seat.be_available()
        async with TonePhone(CALLER_HZ) as ear:
            callers = Callers(
                pbx_host=self.site.pbx.host, pbx_port=self.site.pbx.sip_port, folder=self.site.folder / "sip"
            )
            call = await callers.begin(LI_NUMBER, "Li", "4001", stay_s=90, media_port=ear.port)
            try:
                await self.ann.rings()
                await self.ann.answer()
                await ear.hears(ANN_HZ)
                await self.ann.hears(CALLER_HZ)
                await self.ann.state("ON_CALL")
                yield Caller(self.site, call, ear, await self.ann.interaction())
            finally:
                await self.site.pbx.cli("channel request hangup all")
                async with asyncio.timeout(20):
                    await call.wait()

    async def told(self, interaction: str) -> list[str]:
        """Once the conversation is over: that it was one, and which agents' phones it rang or spoke with."""
        row = await self.site.row("SELECT * FROM interaction WHERE id = :id AND ended_at IS NOT NULL", id=interaction)
        others = await self.site.rows(
            "SELECT id FROM interaction WHERE started_at > :since AND id <> :id AND merged_into IS NULL",
            since=row["started_at"],
            id=interaction,
        )
        assert others == []
        legs = await self.site.rows(
            "SELECT agent FROM interaction_leg WHERE interaction = :id AND agent <> '' ORDER BY started_at",
            id=interaction,
        )
        return [str(leg["agent"]) for leg in legs]


@asynccontextmanager
async def begin_shift(
    root: Path, chromium: Chromium, *, version: int = 22, people: tuple[Person, ...] = PEOPLE
) -> AsyncIterator[Shift]:
    """Start the site, sit down twice. The daemon's log is shown when something fails on the way."""
    folder = Path(tempfile.mkdtemp(prefix="callfloor-e2e-"))
    async with (
        Site(root, folder, version=version, people=people, ring_timeout_s=RING_S) as site,
        open_seat(chromium, folder, "ann", ANN_HZ) as ann,
        open_seat(chromium, folder, "bo", BO_HZ) as bo,
    ):
        await asyncio.gather(ann.log_in(site), bo.log_in(site))
        try:
            yield Shift(site, ann, bo)
        finally:
            print(site.log[-8000:])
    shutil.rmtree(folder, ignore_errors=True)
