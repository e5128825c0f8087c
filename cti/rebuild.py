"""``callfloor rebuild``: interactions anew from the journal, beside a daemon that runs or without one."""

from __future__ import annotations

import time

from crm_core import centre
from crm_core.database import Database
from cti.journal import START
from cti.plans import plan_of
from cti.recorder import Rebuilt, Recorder
from cti.settings import Settings


async def rebuild_interactions(settings: Settings, *, since_at: float, is_dry: bool) -> Rebuilt:
    """Write (or with ``is_dry`` only compare) what the journal tells since ``since_at``, Unix seconds. Nothing is ever
    removed: what the journal no longer holds stays as it is."""
    database = Database(settings.database.url)
    await database.open(may_migrate=False)
    try:
        async with database.read() as connection:
            plan = plan_of(await centre.load_centre(connection), has_real_phones=not settings.is_simulated)
        recorder = Recorder(
            database,
            owner_of=plan.owner_of,
            where=lambda: START,
            clock=time.time,
            region=settings.site.region,
        )
        return await recorder.rebuild(settings.journal.folder, since_at=since_at, is_dry=is_dry)
    finally:
        await database.close()
