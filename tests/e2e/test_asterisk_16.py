"""The oldest Asterisk that is served: a call, a transfer and a fall-back, like on the newest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cti.demo.callers import UasPhone
from tests.asterisk.sip_phone import Phone as SipPhone
from tests.conftest import Chromium
from tests.e2e.conftest import StartSite, callers_of
from tests.e2e.shift import ANN_HZ, BO_HZ, CALLER_HZ, begin_shift
from tests.e2e.site import DESK, LI_NUMBER, PHONE_PASSWORD
from tests.rtp import TonePhone

pytestmark = pytest.mark.pbx


@pytest.mark.browser
async def test_on_asterisk_16_a_browser_answers_and_hands_the_caller_over_after_a_talk(
    asterisk_roots: dict[int, Path], chromium: Chromium
) -> None:
    async with begin_shift(asterisk_roots[16], chromium, version=16) as shift, shift.talk() as caller:
        await shift.ann.transfer("Bo", is_attended=True)
        await shift.bo.rings()
        await caller.ear.hears_sound()
        await shift.bo.answer()
        await shift.ann.hears(BO_HZ)
        await shift.bo.hears(ANN_HZ)
        await shift.ann.press("c")
        await caller.ear.hears(BO_HZ, within_s=10)
        await shift.bo.hears(CALLER_HZ)
        await shift.ann.state("WRAP_UP")
        await shift.bo.hang_up()
        await shift.bo.state("WRAP_UP")
        assert (await caller.call.wait()).steps[-1] == "ended_by_other"
        assert await shift.told(caller.interaction) == ["ann", "bo"]
        recording = await shift.site.row(
            "SELECT r.*, i.talk_s FROM recording r JOIN interaction i ON i.id = r.interaction"
            " WHERE r.interaction = :id AND r.state <> 'pending'",
            id=caller.interaction,
        )
        assert recording["state"] == "complete"
        assert recording["audio_s"] == pytest.approx(recording["talk_s"], abs=1.0)


async def test_on_asterisk_16_a_waiting_caller_reaches_a_desk_phone_that_logs_in_while_the_daemon_is_stopped(
    start_site: StartSite,
) -> None:
    async with (
        start_site(version=16, people=(replace(DESK, queues=("sales",)),)) as site,
        TonePhone(CALLER_HZ) as ear,
        TonePhone(BO_HZ) as phone_ear,
        UasPhone(
            pbx_host=site.pbx.host,
            pbx_port=site.pbx.sip_port,
            folder=site.folder / "sip",
            endpoint="dee",
            password=PHONE_PASSWORD,
            talk_s=2,
            media_port=phone_ear.port,
        ) as phone,
    ):
        call = await callers_of(site).begin(LI_NUMBER, "Li", "4001", stay_s=60, media_port=ear.port)
        await ear.hears_sound()
        await site.row("SELECT id FROM interaction WHERE queued_at IS NOT NULL")
        assert phone.steps == ()
        await site.stop_daemon()
        keypad = await SipPhone.open("dee", f"{site.pbx.host}:{site.pbx.sip_port}")
        keypad.password = PHONE_PASSWORD
        await keypad.dial("*51").is_over()
        await ear.hears(BO_HZ, within_s=30)
        keypad.close()
        await phone_ear.hears(CALLER_HZ)
        assert (await call.wait()).steps == ("answered", "ended_by_other")
