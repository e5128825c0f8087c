"""A PBX without a shared disk: its agent brings records and recordings whole, whatever breaks off in between."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from crm_core import interactions
from crm_core.database import Database
from cti import pbx_agent
from cti.asterisk.cel import at_of_cel, at_of_queue_log
from cti.errors import SettingsError
from cti.pbx_agent import AgentSettings, DaemonAway, PbxAgent
from cti.record_files import CEL, listing
from tests.core.test_recorder import rows_of
from tests.recovery.records import Bench, cel, queue_log
from tests.web.hall import Hall
from tests.web.site import phone_account
from web.app import WebSettings, make_app

TOKEN = "a token of twenty-five letters"
NOW = 1_795_329_600.0


class Stage:
    """The daemon's side in ``there``, the PBX in ``here``. ``losing``: how many of the next answers get lost after
    what they answer was done, ``refusing``: the daemon is away."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.database = database
        self.here, self.there = folder / "here", folder / "there"
        self.logs, self.taped = self.here / "log", self.here / "recordings"
        for one in (self.logs / "cel-custom", self.taped, self.there / "recordings"):
            one.mkdir(parents=True)
        (self.here / "token").write_text(f"{TOKEN}\n")
        self.losing, self.is_refusing = 0, False
        settings = WebSettings(
            site_origins=frozenset({"https://calls.example"}),
            cookie_secure=False,
            desk_socket_url="wss://calls.example/desk/socket",
            sip_ws_urls={},
            phone_account=phone_account,
            recordings_folder=self.there / "recordings",
            clock=lambda: NOW,
            pbx_agent_tokens={"pbx1": TOKEN, "pbx2": "another token, of the other"},
            records_folder=self.there / "records",
        )
        app = make_app(database=database, floor=Hall(), settings=settings)
        app.middlewares.append(self._cutting)
        self.server = TestServer(app)

    @web.middleware
    async def _cutting(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if self.is_refusing:
            raise web.HTTPServiceUnavailable
        answer = await handler(request)
        if self.losing and request.transport is not None:
            self.losing -= 1
            request.transport.abort()
        return answer

    @property
    def url(self) -> str:
        return str(self.server.make_url("")).rstrip("/")

    def agent(self, **more: object) -> PbxAgent:
        """A new start of the agent."""
        settings = AgentSettings.model_validate(
            {
                "url": self.url,
                "token_file": self.here / "token",
                "records_folder": self.logs,
                "recordings_folder": self.taped,
                "state_file": self.here / "state.json",
                **more,
            }
        )
        return PbxAgent(settings, jitter=random.Random(1), quiet_s=-1)

    async def bring(self, agent: PbxAgent) -> None:
        """Rounds until one goes through."""
        async with agent.session() as session:
            for _ in range(50):
                try:
                    await agent.bring(session)
                except (DaemonAway, aiohttp.ClientError, OSError):
                    continue
                return
            pytest.fail("nothing goes through")

    def spooled(self, name: str) -> bytes:
        """What arrived of a record file."""
        folder = self.there / "records" / "pbx1"
        files = listing(folder, name, at_of_cel if name == CEL else at_of_queue_log)
        return b"".join(file.path.read_bytes() for file in files)


@pytest_asyncio.fixture
async def stage(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Stage]:
    shutil.copy(sqlite_template, tmp_path / "crm.db")
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'crm.db'}")
    await database.open(may_migrate=False)
    stage = Stage(tmp_path, database)
    await stage.server.start_server()
    yield stage
    await stage.server.close()
    await database.close()


async def test_records_arrive_byte_for_byte_over_lost_answers_rotation_and_a_lost_state(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pbx_agent, "PART_BYTES", 700)
    lines = cel(22)
    records = stage.logs / "cel-custom" / "callfloor.csv"
    (stage.logs / "queue_log").write_bytes(b"".join(queue_log(22)))
    agent = stage.agent()
    records.write_bytes(b"".join(lines[:20]) + lines[20][:15])
    stage.losing = 7
    await stage.bring(agent)
    with records.open("ab") as file:
        file.write(lines[20][15:] + b"".join(lines[21:30]))
    stage.is_refusing = True
    async with agent.session() as session:
        with pytest.raises(DaemonAway):
            await agent.bring(session)
    stage.is_refusing = False
    # Rotated while the daemon was away; then the agent starts anew and knows nothing.
    records.rename(records.with_suffix(".csv.1"))
    records.write_bytes(b"".join(lines[30:]))
    (stage.here / "state.json").unlink()
    again = stage.agent()
    stage.losing = 3
    await stage.bring(again)
    assert stage.spooled("queue_log") == b"".join(queue_log(22))
    assert stage.spooled("callfloor.csv") == b"".join(lines)
    async with Bench(stage.there / "records" / "pbx1", is_shared=False) as bench:
        bench.records.begin(NOW - 200)
        assert sorted(await bench.follow()) == ["", "+8613800138000", "4930901555", "4930901777", "4930901999"]


async def test_a_recording_is_resumed_checked_and_settled_though_it_was_missed_already(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pbx_agent, "PART_BYTES", 1000)
    sound = os.urandom(5500)
    (stage.taped / "1.1.wav").write_bytes(sound)
    async with stage.database.begin() as connection:
        row = interactions.RecordingRow(file="1.1.wav", interaction="pbx1-1.1", started_at=1.0, ended_at=2.0)
        await interactions.write(connection, recordings=[row])
        await connection.exec_driver_sql("UPDATE recording SET state = 'missing'")
    part = stage.there / "recordings" / ".part" / "pbx1.1.1.wav"
    # Damaged on the way, from a time before: it is sent again.
    part.parent.mkdir()
    part.write_bytes(b"x" * 2000)
    stage.losing = 3
    agent = stage.agent()
    await stage.bring(agent)
    there = stage.there / "recordings" / "1.1.wav"
    assert there.read_bytes() == sound
    assert not part.exists()
    assert (stage.taped / "1.1.wav").exists()
    ((state,),) = [(one["state"],) for one in await rows_of(stage.database, "recording")]
    assert state == "pending"
    # One that grew after all is brought anew; and where it is wanted, what is safe goes here.
    (stage.taped / "1.1.wav").write_bytes(sound + b"more")
    await stage.bring(stage.agent(removes_uploaded=True))
    assert there.read_bytes() == sound + b"more"
    assert list(stage.taped.iterdir()) == []
    # What was deleted because the caller objected does not come back.
    async with stage.database.begin() as connection:
        await connection.exec_driver_sql("UPDATE recording SET state = 'objected'")
    there.unlink()
    (stage.taped / "1.1.wav").write_bytes(sound)
    (stage.here / "state.json").unlink()
    await stage.bring(stage.agent())
    assert not there.exists()


async def test_a_recording_that_is_still_written_stays(stage: Stage) -> None:
    with (stage.taped / "1.1.wav").open("wb") as file:
        file.write(b"x" * 100)
        file.flush()
        await stage.bring(stage.agent())
        assert list((stage.there / "recordings").glob("*.wav")) == []
    await stage.bring(stage.agent())
    assert (stage.there / "recordings" / "1.1.wav").exists()


async def test_only_the_token_of_this_very_pbx_opens_and_only_names_of_ours_are_taken(stage: Stage) -> None:
    name = "queue_log." + "0" * 16
    async with aiohttp.ClientSession() as session:

        async def status(path: str, token: str, data: bytes = b"x\n", kind: str = "Bearer") -> int:
            headers = {"Authorization": f"{kind} {token}"} if token else {}
            async with session.post(f"{stage.url}/api/pbx/{path}", data=data, headers=headers) as answer:
                assert TOKEN not in await answer.text()
                return answer.status

        assert await status(f"pbx1/records/{name}?offset=0", "") == 401
        assert await status(f"pbx1/records/{name}?offset=0", "another token, of the other") == 401
        assert await status(f"pbx1/records/{name}?offset=0", TOKEN, kind="Basic") == 401
        assert await status(f"pbx2/records/{name}?offset=0", TOKEN) == 401
        assert await status(f"pbx9/records/{name}?offset=0", TOKEN) == 401
        for bad in ("..%2f..%2fx", "callfloor.csv", "queue_log.00", "x.0000000000000000"):
            assert await status(f"pbx1/records/{bad}?offset=0", TOKEN) == 404
        for bad in ("..%2fx.wav", ".part.wav", "x.exe", "%2e%2e.wav"):
            assert await status(f"pbx1/recordings/{bad}?offset=0", TOKEN) == 404
        assert await status(f"pbx1/records/{name}?offset=-1", TOKEN) == 422
        assert await status(f"pbx1/records/{name}?offset=5", TOKEN) == 409
        assert await status(f"pbx1/records/{name}?offset=0", TOKEN, data=b"x" * (4 * 1024 * 1024 + 1)) == 413
        assert not (stage.there / "records" / "pbx1" / name).exists()
        assert await status(f"pbx1/records/{name}?offset=0", TOKEN) == 200
        assert await status(f"pbx1/records/{name}?offset=0", TOKEN) == 409
    assert (stage.there / "records" / "pbx1" / name).read_bytes() == b"x\n"


async def test_a_disk_that_fills_up_is_seen_in_the_health(stage: Stage) -> None:
    await stage.bring(stage.agent(low_free_mb=2**39))
    async with aiohttp.ClientSession() as session, session.get(f"{stage.url}/health") as answer:
        (disk,) = (await answer.json())["pbx_disks"]
    assert (disk["pbx"], disk["is_low"], disk["at"]) == ("pbx1", True, NOW)
    assert disk["free_mb"] > 0


def test_the_agents_settings_name_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    for text, key in (
        ('url = "http://calls.example"\ntoken_file = "x"', "url"),
        ('url = "https://calls.example"\ntoken = "secret"\ntoken_file = "x"', "token"),
        ('url = "https://calls.example"', "token_file"),
    ):
        path.write_text(text)
        with pytest.raises(SettingsError, match=key) as raised:
            pbx_agent.load(path)
        assert "secret" not in str(raised.value)
