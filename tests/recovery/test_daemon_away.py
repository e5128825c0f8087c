"""Calls that came, talked and ended on a real Asterisk while the daemon was dead are in the database, once, though the
daemon sees no file of the PBX: its records and recordings are brought by the agent."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from cti.demo.callers import Call, UasPhone
from tests.e2e.conftest import StartSite, callers_of
from tests.e2e.site import DESK, LI_NUMBER, PHONE_PASSWORD, ROOT, UNKNOWN_NUMBER, Site
from tests.rtp import TonePhone

pytestmark = pytest.mark.pbx

TOKEN = "a token that only the agent knows"
IMPATIENT = [f"+4930902{n}" for n in range(9)]


@contextlib.asynccontextmanager
async def pbx_agent(site: Site) -> AsyncIterator[None]:
    """The agent of a site's PBX, a process of its own that is there all the time."""
    (site.folder / "agent.token").write_text(TOKEN)
    config = site.folder / "agent.toml"
    config.write_text(
        f"""
url = "{site.url}"
token_file = "{site.folder / "agent.token"}"
records_folder = "{site.pbx.folder / "log"}"
recordings_folder = "{site.pbx.recordings}"
state_file = "{site.folder / "agent.json"}"
"""
    )
    with (site.folder / "agent.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cti.cli", "pbx-agent", "--config", str(config)),
            cwd=ROOT,
            stdout=log,
            stderr=log,
            stdin=asyncio.subprocess.DEVNULL,
        )
    try:
        yield
        assert TOKEN not in Path(f"/proc/{process.pid}/cmdline").read_text()
    finally:
        process.terminate()
        await process.wait()


async def test_ten_calls_of_a_time_without_the_daemon_are_told_once_each_with_who_answered(
    start_site: StartSite,
) -> None:
    people = (
        replace(DESK, slug="dee", queues=("sales",)),
        replace(DESK, slug="eve", name="Eve", queues=("support",)),
    )
    async with contextlib.AsyncExitStack() as stack:
        site = await stack.enter_async_context(start_site(people=people, agent_token=TOKEN))
        await stack.enter_async_context(pbx_agent(site))
        callers = callers_of(site)
        stack.push_async_callback(callers.stop)
        for slug, talk_s, queue in (("dee", 2.0, "sales"), ("eve", 90.0, "support")):
            ear = await stack.enter_async_context(TonePhone(1000))
            phone = UasPhone(
                pbx_host=site.pbx.host,
                pbx_port=site.pbx.sip_port,
                folder=site.folder / slug,
                endpoint=slug,
                password=PHONE_PASSWORD,
                answer_after_s=0.2,
                talk_s=talk_s,
                media_port=ear.port,
            )
            await stack.enter_async_context(phone)
            await site.pbx.cli(f"queue add member PJSIP/{slug} to callfloor-{queue}")

        async def call(number: str, *, dnis: str = "4001", stay_s: float = 90.0) -> Call:
            voice = await stack.enter_async_context(TonePhone(440))
            return await callers.begin(number, "Ada", dnis, stay_s=stay_s, media_port=voice.port)

        # One waits with the daemon when it dies. Ten come while it is dead: nine give up, one talks until it is back.
        waiting = await call(LI_NUMBER)
        await site.row("SELECT * FROM interaction WHERE queue = 'sales'")
        await site.stop_daemon(signal.SIGKILL)
        _, *impatient = await asyncio.gather(
            call(UNKNOWN_NUMBER, dnis="4002"), *(call(number, stay_s=2.5) for number in IMPATIENT)
        )
        for one in (waiting, *impatient):
            await one.wait()
        await site.until_channels_show("PJSIP/eve")
        await site.start_daemon()
        await site.row("SELECT * FROM interaction WHERE ani_raw = :ani AND ended_at IS NULL", ani=UNKNOWN_NUMBER)
        await site.pbx.cli("channel request hangup all")

        told = await site.row(
            "SELECT COUNT(*) AS n FROM interaction WHERE queue <> '' AND ended_at IS NOT NULL HAVING n > 10"
        )
        rows = {row["ani_raw"]: row for row in await site.rows("SELECT * FROM interaction")}
        assert told["n"] == len(rows) == len(await site.rows("SELECT id FROM interaction")) == 11
        for number, agent, dnis in ((LI_NUMBER, "dee", "4001"), (UNKNOWN_NUMBER, "eve", "4002")):
            row = rows[number]
            assert (row["outcome"], row["agent"], row["dnis"]) == ("answered", agent, dnis)
            assert row["started_at"] <= row["queued_at"] < row["answered_at"] < row["ended_at"]
            assert row["wait_s"] == pytest.approx(row["answered_at"] - row["queued_at"])
            assert row["wait_s"] > 2
            assert row["talk_s"] == pytest.approx(row["ended_at"] - row["answered_at"], abs=1.5)
        assert rows[LI_NUMBER]["talk_s"] == pytest.approx(2.0, abs=1.0)
        assert rows[LI_NUMBER]["party_id"] is not None
        # By how soon the hold loop gave up on the daemon, of which the machine's load decides.
        assert {rows[number]["outcome"] for number in IMPATIENT} <= {"short_abandoned", "abandoned", "fell_back"}
        legs = await site.rows("SELECT * FROM interaction_leg WHERE role = 'agent'")
        assert sorted((leg["agent"], leg["outcome"]) for leg in legs) == [("dee", "answered"), ("eve", "answered")]
        assert all(leg["answered_at"] is not None and leg["ended_at"] is not None for leg in legs)
        tape = await site.row(
            "SELECT * FROM recording WHERE interaction = :id AND state NOT IN ('pending', 'missing')",
            id=rows[LI_NUMBER]["id"],
        )
        assert tape["state"] == "complete"
        assert tape["audio_s"] == pytest.approx(2.0, abs=1.0)
        assert (site.recordings / tape["file"]).is_file()
