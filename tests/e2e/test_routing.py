"""Routing on real parts: what is required relaxes in time, and several phones ring at once."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import expect

from crm_core.centre import Step
from tests.e2e.conftest import SitDown, StartSite, callers_of
from tests.e2e.site import ANN, LI_NUMBER, UNKNOWN_NUMBER, Person
from tests.rtp import TonePhone

pytestmark = [pytest.mark.pbx, pytest.mark.browser]

CALLER_HZ, ANN_HZ, BO_HZ = 440.0, 1000.0, 1400.0
BO = Person("bo", "Bo 李", skills={"english": 4})
SUPPORT = {"steps": (Step(after_s=0, text="english >= 7"), Step(after_s=4, text="english >= 3"))}
SALES = {"parallel": 0}


async def test_a_caller_gets_the_expert_or_after_a_while_whoever_will_do_or_rings_at_both(
    start_site: StartSite, sit_down: SitDown
) -> None:
    async with (
        start_site(people=(ANN, BO), queues={"sales": SALES, "support": SUPPORT}, wrap_up_s=0) as site,
        sit_down("ann", ANN_HZ) as ann,
        sit_down("bo", BO_HZ) as bo,
        TonePhone(CALLER_HZ) as first_ear,
        TonePhone(CALLER_HZ) as second_ear,
    ):
        for seat in (ann, bo):
            await seat.log_in(site)
            await seat.be_available()
        first = await callers_of(site).begin(LI_NUMBER, "Li", "4002", stay_s=60, media_port=first_ear.port)
        await ann.rings()
        assert await bo.card().count() == 0
        await ann.answer()
        await first_ear.hears(ANN_HZ)
        second = await callers_of(site).begin(UNKNOWN_NUMBER, "X", "4002", stay_s=60, media_port=second_ear.port)
        await bo.rings()
        await bo.answer()
        await second_ear.hears(BO_HZ)
        await bo.hang_up()
        await ann.hang_up()
        await first.wait()
        await second.wait()
        # In sales all who are free ring at once, the longest idle first of them in the record.
        for seat in (ann, bo):
            await seat.state("AVAILABLE")
        third = await callers_of(site).begin(LI_NUMBER, "Li", "4001", stay_s=60, media_port=first_ear.port)
        await ann.rings()
        await bo.rings()
        await bo.answer()
        await first_ear.hears(BO_HZ)
        await expect(ann.card()).to_have_count(0)
        await ann.state("AVAILABLE")
        await bo.hang_up()
        await third.wait()
        decisions = await site.rows("SELECT * FROM interaction_decision ORDER BY at")
        assert [one["agent"] for one in decisions] == ["ann", "", "bo", "bo"]
        assert [one[1] for one in json.loads(decisions[1]["passed"])] == ["on_call", "skill_too_low"]
        assert (decisions[2]["step"], decisions[2]["required"]) == (1, "english >= 3")
        assert decisions[2]["waited_s"] >= 4.0
        assert json.loads(decisions[3]["others"]) == ["ann"]
