"""The stages on which the switch's stories are told."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from cti.asterisk.local_pbx import PhoneAccount
from tests.ami_wire import AmiWire
from tests.sim.stage import AGENTS, DNIS, PASSWORD, AsteriskStage, SimStage, Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import StartPbx


@pytest.fixture
def free_port_udp() -> int:
    """Where the outside party is called."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def simulated() -> SimStage:
    """An empty floor on the simulated PBX."""
    return SimStage()


@pytest.fixture
async def asterisk(local_pbx: StartPbx, free_port_udp: int) -> AsyncIterator[AsteriskStage]:
    """An empty floor on a real Asterisk 22."""
    pbx = await local_pbx(
        phones=[PhoneAccount(agent, PASSWORD, is_browser=False) for agent in AGENTS],
        queues={"sales": ["ann"]},
        routes={DNIS: "sales"},
        rtp_timeout_s=0,
        fallback_s=20,
        trunk_contact=f"sip:127.0.0.1:{free_port_udp}",
    )
    async with AmiWire(pbx.ami_port, pbx.ami_username, pbx.ami_secret) as ami:
        await ami.set("", CF_TOLD="1")  # every caller was told that calls are recorded
    stage = AsteriskStage(pbx, free_port_udp)
    try:
        await stage.start()
        yield stage
    finally:
        await stage.close()


@pytest.fixture(params=["simulated", pytest.param("asterisk", marks=pytest.mark.pbx)])
def stage(request: pytest.FixtureRequest) -> Stage:
    """An empty floor with a daemon that beats, once on each adapter."""
    found: Stage = request.getfixturevalue(request.param)
    return found
