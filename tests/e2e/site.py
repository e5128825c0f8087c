"""A whole site for end-to-end tests: real Asterisk, the real daemon as its own process, a small company, real SIP."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
from sqlalchemy import text

from crm_core import centre, customers, users
from crm_core.access import FieldRules, Reader
from crm_core.database import Database
from cti.asterisk.local_pbx import LocalPbx, PhoneAccount
from tests.rtp import write_prompt

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse battery staple"
PHONE_PASSWORD = "s3cretphone"

LI_NUMBER = "+8613800138000"
SHARED_NUMBER = "+4930901820"
UNKNOWN_NUMBER = "+4930901999"


@dataclass(frozen=True)
class Person:
    """An agent of the test's company."""

    slug: str
    name: str
    is_browser: bool = True
    skills: dict[str, int] = field(default_factory=lambda: {"english": 8})
    queues: tuple[str, ...] = ("sales", "support")
    role: str = "agent"


ANN, BO, DESK = Person("ann", "Ann Smith"), Person("bo", "Bo 李"), Person("dee", "Dee Desk", is_browser=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def seed(
    url: str,
    people: Sequence[Person],
    *,
    wrap_up_s: int,
    ring_timeout_s: int,
    queues: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Two queues, the people, three customers (two share a number), one supervisor."""
    database = Database(url)
    await database.open()
    now = time.time()
    hashed = users.hash_password(PASSWORD)
    system = Reader(user="seed", role="administrator", agent=None)
    async with database.begin() as connection:
        rules = await FieldRules.load(connection)
        await centre.put_product(connection, centre.Product(code="fiber", name="Fiber 200", summary="200 Mbit/s"))
        for slug, name in (("sales", "Sales"), ("support", "Support")):
            await centre.put_queue(
                connection,
                centre.Queue(
                    slug=slug,
                    name=name,
                    **{
                        "steps": (centre.Step(after_s=0, text="english >= 3"),),
                        "ring_timeout_s": ring_timeout_s,
                        "wrap_up_s": wrap_up_s,
                        "is_default": slug == "sales",
                        "product": "fiber" if slug == "sales" else "",
                        **(queues or {}).get(slug, {}),
                    },
                ),
            )
        for person in people:
            await centre.put_agent(
                connection,
                centre.Agent(
                    slug=person.slug,
                    name=person.name,
                    pbx="pbx1",
                    endpoint=person.slug,
                    phone_kind="browser" if person.is_browser else "desk",
                    skills=person.skills,
                    queues=person.queues,
                ),
            )
            await users.create_user(
                connection,
                username=person.slug,
                name=person.name,
                password_hash=hashed,
                role=person.role,
                agent=person.slug,
                now=now,
            )
        await users.create_user(
            connection, username="sue", name="Sue Supervisor", password_hash=hashed, role="supervisor", now=now
        )
        for dnis, queue in (("4001", "sales"), ("4002", "support")):
            await centre.put_route(connection, centre.Route(dnis=dnis, queue=queue))
        await centre.put_reason(connection, centre.Reason(code="lunch", labels={"en": "Lunch", "zh-Hans": "午餐"}))
        for number, (code, label) in enumerate((("sale", "Sale"), ("no-interest", "No interest"))):
            await centre.put_disposition(
                connection,
                centre.Disposition(
                    code=code, labels={"en": label, "zh-Hans": label}, key=str(number + 1), position=number
                ),
            )
        li = await customers.create_person(
            connection, system, rules, {"name": "Li Wei 李伟", "account_number": "C-1001", "tier": "gold"}, now=now
        )
        await customers.add_number(connection, system, rules, li, LI_NUMBER, default_region="CN", now=now)
        for name in ("Anna Braun", "Otto Braun"):
            one = await customers.create_person(connection, system, rules, {"name": name}, now=now)
            await customers.add_number(connection, system, rules, one, SHARED_NUMBER, default_region="DE", now=now)
    await database.close()


class Site:
    """Start with ``async with``; ``url`` is the pages' address."""

    def __init__(
        self,
        root: Path,
        folder: Path,
        *,
        version: int = 22,
        people: Sequence[Person] = (ANN, BO, DESK),
        wrap_up_s: int = 60,
        ring_timeout_s: int = 20,
        queues: Mapping[str, Mapping[str, Any]] | None = None,
        database_url: str = "",
        agent_token: str = "",
    ) -> None:
        self.folder = folder
        self.people = people
        self._wrap_up_s, self._ring_timeout_s, self._queues = wrap_up_s, ring_timeout_s, queues
        self.database_url = database_url or f"sqlite+aiosqlite:///{folder}/crm.db"
        self.web_port, self.desk_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.web_port}"
        self.pbx = LocalPbx(
            root,
            folder / "pbx",
            version=version,
            phones=[PhoneAccount(one.slug, "" if one.is_browser else PHONE_PASSWORD, one.is_browser) for one in people],
            queues=("sales", "support"),
            routes={"4001": "sales", "4002": "support"},
            prompts=folder / "prompts",
        )
        self.agent_token = agent_token
        self.recordings = folder / "recordings" if agent_token else self.pbx.recordings
        """Where the daemon sees recordings: with an agent, not where the PBX writes them."""
        self.records_settings = (
            f'agent_token = "{agent_token}"' if agent_token else f'records_folder = "{self.pbx.folder / "log"}"'
        )
        self.serve_options: tuple[str, ...] = ()
        self._daemon: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await seed(
            self.database_url,
            self.people,
            wrap_up_s=self._wrap_up_s,
            ring_timeout_s=self._ring_timeout_s,
            queues=self._queues,
        )
        # Short ones: calls are announced as recorded, and most tests are not about that.
        (self.folder / "prompts").mkdir(exist_ok=True)
        for name in ("recording-announced", "recording-consent"):
            write_prompt(self.folder / "prompts" / f"{name}.wav", 600, 0.2, 0.2)
        await self.pbx.start()
        self._write_config()
        await self.start_daemon()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_daemon()
        await self.pbx.stop()

    @property
    def config(self) -> Path:
        return self.folder / "callfloor.toml"

    @property
    def log(self) -> str:
        return (self.folder / "daemon.log").read_text(encoding="utf-8")

    def _write_config(self) -> None:
        self.config.write_text(
            f"""
[database]
url = "{self.database_url}"
[journal]
folder = "{self.folder / "journal"}"
[recordings]
folder = "{self.recordings}"
[web]
port = {self.web_port}
[desk_socket]
port = {self.desk_port}
[[pbx]]
id = "pbx1"
host = "{self.pbx.host}"
port = {self.pbx.ami_port}
username = "{self.pbx.ami_username}"
secret = "{self.pbx.ami_secret}"
sip_ws_url = "{self.pbx.ws_url}"
ari_url = "{self.pbx.ari_url}"
ari_username = "{self.pbx.ari_username}"
ari_secret = "{self.pbx.ari_secret}"
{self.records_settings}
""",
            encoding="utf-8",
        )

    async def start_daemon(self) -> None:
        with (self.folder / "daemon.log").open("ab") as log:
            self._daemon = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "cti.cli",
                "serve",
                "--config",
                str(self.config),
                *self.serve_options,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        async with asyncio.timeout(90):
            while not await self._is_healthy():
                if self._daemon.returncode is not None:
                    raise RuntimeError(f"the daemon ended: {self.log}")
                await asyncio.sleep(0.05)

    async def _is_healthy(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/health") as answer:
                return bool((await answer.json())["status"] == "ok")
        except (aiohttp.ClientError, OSError, ValueError, KeyError):
            return False

    async def stop_daemon(self, how: int = signal.SIGTERM) -> None:
        if self._daemon is not None and self._daemon.returncode is None:
            self._daemon.send_signal(how)
            await self._daemon.wait()
        self._daemon = None

    def signal_daemon(self, how: int) -> None:
        """SIGSTOP, SIGCONT."""
        assert self._daemon is not None
        self._daemon.send_signal(how)

    async def until_channels_show(self, text: str) -> None:
        """Wait until the PBX's list of channels contains ``text``."""
        async with asyncio.timeout(30):
            while text not in await self.pbx.cli("core show channels verbose"):
                await asyncio.sleep(0.1)

    async def rows(self, query: str, **values: object) -> list[dict[str, Any]]:
        """What the database says."""
        database = Database(self.database_url)
        await database.open(may_migrate=False)
        try:
            async with database.read() as connection:
                return [dict(row) for row in (await connection.execute(text(query), values)).mappings()]
        finally:
            await database.close()

    async def row(self, query: str, **values: object) -> dict[str, Any]:
        """The one row, once it is there."""
        async with asyncio.timeout(20):
            while not (found := await self.rows(query, **values)):
                await asyncio.sleep(0.1)
        return found[0]
