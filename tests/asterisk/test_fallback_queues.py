"""A queue that somebody makes in the pages has a fall-back on the PBX before it is needed."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import pytest

from cti.asterisk.local_pbx import PhoneAccount
from cti.asterisk.switch import AsteriskSwitch, PbxAddress
from cti.commands import Member, MirrorMembers
from cti.events import Event, PbxRead
from cti.ids import PbxId, QueueId

if TYPE_CHECKING:
    from tests.conftest import StartPbx

pytestmark = pytest.mark.pbx

DEADLINE_S = 15.0


@pytest.mark.parametrize("version", [22, 16])
async def test_a_queue_made_in_the_pages_gets_its_fallback_with_its_members(local_pbx: StartPbx, version: int) -> None:
    pbx = await local_pbx(phones=[PhoneAccount("ann", "wonderland", False)], queues=["sales"], version=version)
    facts: list[Event] = []
    address = PbxAddress(
        id=PbxId("pbx1"),
        host=pbx.host,
        port=pbx.ami_port,
        username=pbx.ami_username,
        secret=pbx.ami_secret,
        queues_file=pbx.queues_file,
    )
    switch = AsteriskSwitch(address, facts.append, clock=time.time, jitter=random.Random(1))
    switch.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not any(isinstance(fact, PbxRead) for fact in facts):
                await asyncio.sleep(0.02)
            # Two at once, as a plan brings them, and a member of a queue that was there before.
            for queue in ("night", "returns", "sales"):
                members = (Member("ann", is_paused=queue == "sales"),)
                switch.carry_out(MirrorMembers(pbx=PbxId("pbx1"), queue=QueueId(queue), members=members))
            while (shown := await pbx.cli("queue show")).count("PJSIP/ann") < 3:
                await asyncio.sleep(0.05)
        assert "callfloor-night has 0 calls" in shown
        assert "callfloor-returns has 0 calls" in shown
        # They outlive a restart of the PBX.
        await pbx.stop()
        await pbx.start()
        assert (await pbx.cli("queue show")).count("PJSIP/ann") == 3
    finally:
        await switch.close()
