"""One Asterisk per test module and version; the callers, phones and manager session of each test are its own."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cti.asterisk.local_pbx import LocalPbx, PhoneAccount
from cti.demo.callers import Callers
from tests.ami_wire import AmiWire
from tests.dialplan.floor import DNIS, PASSWORD, Floor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator

PHONES = ("ann", "bob", "cid", "dan", "100", "1001")
MEMBERS = {"sales": ("ann", "bob"), "support": ("cid",)}
SETTINGS = {
    "CALLFLOOR_UNREACHABLE_S": "2",
    "CALLFLOOR_EMERGENCY_TRUNK": "no-such-trunk&callfloor-trunk",
    "CALLFLOOR_EMERGENCY_CALLERID": "+4930111",
    "CALLFLOOR_END_TRUNK": "callfloor-trunk",
    "CALLFLOOR_END_NUMBER": "+493099",
}


class Machines:
    """Asterisks that outlive the loops of single tests: a loop of its own, in a thread, keeps their processes.

    ``carrier_port`` is where their trunk is called: nobody's unless a test listens there.
    """

    def __init__(self, roots: dict[int, Path]) -> None:
        self._roots = roots
        self._folder = Path(tempfile.mkdtemp(prefix="callfloor-pbx-"))
        self._running: dict[int, LocalPbx] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.carrier_port: int = probe.getsockname()[1]

    def wait(self, step: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(step, self._loop).result()

    def get(self, version: int) -> LocalPbx:
        if version not in self._running:
            pbx = LocalPbx(
                self._roots[version],
                self._folder / str(version),
                version=version,
                phones=[PhoneAccount(name, PASSWORD, is_browser=False) for name in PHONES],
                queues=("support", "sales"),
                routes={f"+{DNIS}": "sales"},
                settings=SETTINGS,
                trunk_contact=f"sip:127.0.0.1:{self.carrier_port}",
                fallback_s=20,
                extra_dialplan="[test-tone]\nexten => s,1,Answer()\n same => n,Milliwatt()\n",
            )
            self.wait(pbx.start())
            self._running[version] = pbx
        return self._running[version]

    def close(self) -> None:
        for pbx in self._running.values():
            self.wait(pbx.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self._folder, ignore_errors=True)


@pytest.fixture(scope="module")
def machines(asterisk_roots: dict[int, Path]) -> Iterator[Machines]:
    """The Asterisks of this module's tests, started when a test first wants one."""
    machines = Machines(asterisk_roots)
    yield machines
    machines.close()


@pytest.fixture(params=[22])
async def floor(request: pytest.FixtureRequest, machines: Machines, tmp_path: Path) -> AsyncIterator[Floor]:
    """A PBX with six desk phones, none registered yet. Fall-back queues: sales (ann, bob), support (cid)."""
    pbx = machines.get(request.param)
    async with contextlib.AsyncExitStack() as stack:
        ami = await stack.enter_async_context(AmiWire(pbx.ami_port, pbx.ami_username, pbx.ami_secret))
        floor = Floor(
            pbx,
            ami,
            Callers(pbx_host="127.0.0.1", pbx_port=pbx.sip_port, folder=tmp_path / "callers"),
            tmp_path,
            stack,
            machines.carrier_port,
        )
        for queue, endpoints in MEMBERS.items():
            for endpoint in endpoints:
                await floor.add_member(queue, endpoint)
        stack.push_async_callback(floor.clear)
        stack.push_async_callback(floor.callers.stop)
        yield floor
