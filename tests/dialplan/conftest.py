"""One Asterisk per test module; the callers, phones and manager session of each test are its own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from cti.asterisk.local_pbx import PhoneAccount
from cti.demo.callers import Callers
from tests.ami_wire import AmiWire
from tests.dialplan.floor import DNIS, PASSWORD, Floor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import StartPbx


@pytest.fixture(params=[22])
async def floor(request: pytest.FixtureRequest, local_pbx: StartPbx, tmp_path: Path) -> AsyncIterator[Floor]:
    """A PBX with four desk phones, none registered yet. Fall-back queues: sales (ann, bob), support (cid)."""
    pbx = await local_pbx(
        version=request.param,
        phones=[PhoneAccount(name, PASSWORD, is_browser=False) for name in ("ann", "bob", "cid", "dan")],
        queues={"support": ["cid"], "sales": ["ann", "bob"]},
        routes={f"+{DNIS}": "sales"},
        fallback_s=20,
        extra_dialplan="[test-tone]\nexten => s,1,Answer()\n same => n,Milliwatt()\n",
    )
    async with contextlib.AsyncExitStack() as stack:
        ami = await stack.enter_async_context(AmiWire(pbx.ami_port, pbx.ami_username, pbx.ami_secret))
        callers = Callers(pbx_host="127.0.0.1", pbx_port=pbx.sip_port, folder=tmp_path / "callers")
        stack.push_async_callback(callers.stop)
        yield Floor(pbx, ami, callers, tmp_path, stack)
