"""An installation to be looked at: a real Asterisk, a start-up file, a database with a queue and two agents."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from crm_core import centre, users
from crm_core.database import Database
from cti.asterisk import prompts
from cti.asterisk.local_pbx import LocalPbx, PhoneAccount
from cti.doctor.examine import examine
from cti.doctor.findings import Finding, Level

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PHONES = (PhoneAccount("ann", "secret1", is_browser=True), PhoneAccount("bo", "secret2", is_browser=False))
QUEUES = {"service": ["ann", "bo"]}
SETTINGS = {"CALLFLOOR_EMERGENCY_TRUNK": "callfloor-trunk", "CALLFLOOR_EMERGENCY_CALLERID": "4930111"}
ROUTES = {"4930111": "service"}


def announcements(folder: Path) -> Path:
    """Files of the right names: the doctor does not listen to them."""
    for one in prompts.prompts():
        (folder / one.language).mkdir(parents=True, exist_ok=True)
        (folder / one.language / f"{one.name}.wav").touch()
    for name in prompts.RECORDING:
        (folder / f"{name}.wav").touch()
    return folder


class Clinic:
    """``look()`` gives the findings; ``pbx_section`` and ``more`` are parts of the start-up file."""

    def __init__(self, folder: Path, template: Path, pbx: LocalPbx) -> None:
        self.folder = folder
        self.pbx = pbx
        self.etc = pbx.folder / "etc"
        self.config = folder / "callfloor.toml"
        self.web_port = 1
        self.more = ""
        shutil.copy(template, folder / "crm.db")
        (folder / "crm.db").chmod(0o600)
        (folder / "journal").mkdir()

    async def open(self) -> None:
        """The configured centre, and an administrator."""
        database = Database(f"sqlite+aiosqlite:///{self.folder / 'crm.db'}")
        async with database.begin() as connection:
            await centre.put_queue(connection, centre.Queue(slug="service", name="Service", is_default=True))
            for name, kind in (("ann", "browser"), ("bo", "desk")):
                agent = centre.Agent(
                    slug=name, name=name, pbx="pbx1", endpoint=name, phone_kind=kind, queues=("service",)
                )
                await centre.put_agent(connection, agent)
            await users.create_user(
                connection, username="root", name="Root", password_hash="-", role="administrator", now=time.time()
            )
        await database.close()

    def write(self, *, username: str = "", secret: str = "", mode: int = 0o600) -> None:
        """The start-up file."""
        pbx = self.pbx
        self.config.write_text(f"""
[database]
url = "sqlite+aiosqlite:///{self.folder / "crm.db"}"
[journal]
folder = "{self.folder / "journal"}"
[recordings]
folder = "{pbx.recordings}"
[web]
port = {self.web_port}
[[pbx]]
port = {pbx.ami_port}
username = "{username or pbx.ami_username}"
secret = "{secret or pbx.ami_secret}"
records_folder = "{pbx.folder / "log"}"
sip_ws_url = "{pbx.ws_url}"
ari_url = "http://127.0.0.1:{pbx.ari_port}/ari"
ari_secret = "{pbx.ari_secret}"
{self.more}
""")
        self.config.chmod(mode)

    async def look(self) -> list[Finding]:
        """What the doctor says now."""
        return await examine(self.config, now=time.time(), asterisk_etc=self.etc)

    async def wrong(self, start: str = "") -> dict[str, Finding]:
        """The errors and warnings by name, of those checks whose name begins so."""
        return {
            f"{one.check} {one.seen}": one
            for one in await self.look()
            if one.level in (Level.ERROR, Level.WARNING) and one.check.startswith(start)
        }

    def change(self, name: str, pattern: str, new: str) -> None:
        """Edit one of Asterisk's files."""
        path = self.etc / name
        text, count = re.subn(pattern, new, path.read_text(), flags=re.MULTILINE)
        assert count, (name, pattern)
        path.write_text(text)


@asynccontextmanager
async def pages(clinic: Clinic) -> AsyncIterator[None]:
    """The daemon as far as the doctor asks it."""

    async def health(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "database": "up", "pbx_up": 1, "pbx_total": 1})

    app = web.Application()
    app.router.add_get("/health", health)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    clinic.web_port = runner.addresses[0][1]
    try:
        yield
    finally:
        await runner.cleanup()


class StunServer(asyncio.DatagramProtocol):
    """Answers Binding requests."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(b"\x01\x01\x00\x00" + data[4:20], addr)
