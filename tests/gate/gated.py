"""A whole site behind its gate, reached as ``https://floor.test`` with the certificate of an office of its own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import shutil
import signal
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from cti.gate.certificates import Names, make_office
from tests.conftest import Chromium
from tests.e2e.seat import open_seat
from tests.e2e.shift import ANN_HZ, BO_HZ, PEOPLE, RING_S, Shift
from tests.e2e.site import ROOT, Site, free_port

HOST = "floor.test"


def browser_at_home(chromium: Chromium, certificate: Path) -> Chromium:
    """A browser that finds ``floor.test`` on this machine and trusts this one key, not any certificate."""
    public = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    pin = base64.b64encode(hashlib.sha256(spki).digest()).decode()
    rules = f"--host-resolver-rules=MAP {HOST} 127.0.0.1"
    return replace(chromium, args=(*chromium.args, rules, f"--ignore-certificate-errors-spki-list={pin}"))


class GatedSite(Site):
    """A site whose pages, desk sockets and phones all come through one HTTPS port. ``kill_gate`` and ``start_gate``
    between."""

    def __init__(self, root: Path, folder: Path, **more: object) -> None:
        super().__init__(root, folder, **more)  # type: ignore[arg-type]
        self.direct_url = self.url
        self.gate_port = free_port()
        self.url = f"https://{HOST}:{self.gate_port}"
        self.tls = folder / "tls"
        self._gate: asyncio.subprocess.Process | None = None
        make_office(self.tls, Names((HOST,), ("127.0.0.1",)), now=datetime.now(UTC))

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self.start_gate()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_gate()
        await super().__aexit__()

    def _write_config(self) -> None:
        super()._write_config()
        with self.config.open("a", encoding="utf-8") as file:
            file.write(f"""
[gate]
origin = "{self.url}"
port = {self.gate_port}
certificate = "{self.tls / "server.crt"}"
key = "{self.tls / "server.key"}"
pass_folder = "{self.folder / "gate"}"
""")

    @property
    def gate_log(self) -> str:
        return (self.folder / "gate.log").read_text(encoding="utf-8")

    async def start_gate(self) -> None:
        with (self.folder / "gate.log").open("ab") as log:
            self._gate = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "cti.gate", "--config", str(self.config)),
                cwd=ROOT,
                stdout=log,
                stderr=log,
                stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        trusted = ssl.create_default_context(cafile=self.tls / "ca.crt")
        async with asyncio.timeout(30), aiohttp.ClientSession() as http:
            while True:
                try:
                    async with http.get(f"https://127.0.0.1:{self.gate_port}/gate/health", ssl=trusted) as answer:
                        assert answer.status == 200
                        return
                except aiohttp.ClientConnectionError:
                    if self._gate.returncode is not None:
                        raise RuntimeError(f"the gate ended: {self.gate_log}") from None
                    await asyncio.sleep(0.05)

    async def stop_gate(self, how: int = signal.SIGTERM) -> None:
        if self._gate is not None and self._gate.returncode is None:
            self._gate.send_signal(how)
            await self._gate.wait()
        self._gate = None

    async def _is_healthy(self) -> bool:
        try:
            async with aiohttp.ClientSession() as http, http.get(f"{self.direct_url}/health") as answer:
                return bool((await answer.json())["status"] == "ok")
        except (aiohttp.ClientError, OSError, ValueError, KeyError):
            return False


@asynccontextmanager
async def begin_gated_shift(root: Path, chromium: Chromium, *, version: int = 22) -> AsyncIterator[Shift]:
    """A gated site, Ann and Bo at their pages; the logs are shown when something fails on the way."""
    folder = Path(tempfile.mkdtemp(prefix="callfloor-gate-"))
    async with GatedSite(root, folder, version=version, people=PEOPLE, ring_timeout_s=RING_S) as site:
        browser = browser_at_home(chromium, site.tls / "server.crt")
        async with open_seat(browser, folder, "ann", ANN_HZ) as ann, open_seat(browser, folder, "bo", BO_HZ) as bo:
            try:
                await asyncio.gather(ann.log_in(site), bo.log_in(site))
                yield Shift(site, ann, bo)
            finally:
                print(site.log[-6000:], site.gate_log[-3000:])
    shutil.rmtree(folder, ignore_errors=True)
