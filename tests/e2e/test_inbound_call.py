"""The main job on real parts: a SIP caller, Asterisk, the daemon, the agent's page in Chromium, sound both ways."""

from __future__ import annotations

import re

import aiohttp
import pytest
from playwright.async_api import expect

from cti.demo.callers import UasPhone
from tests.e2e.conftest import SitDown, StartSite, callers_of
from tests.e2e.site import LI_NUMBER, PHONE_PASSWORD, SHARED_NUMBER, UNKNOWN_NUMBER
from tests.rtp import TonePhone

pytestmark = [pytest.mark.pbx, pytest.mark.browser]

CALLER_HZ, ANN_HZ, BO_HZ = 440.0, 1000.0, 1400.0


async def test_the_customer_is_on_the_ringing_agents_page_and_no_other_and_both_hear_each_other(
    start_site: StartSite, sit_down: SitDown
) -> None:
    async with (
        start_site() as site,
        sit_down("ann", ANN_HZ) as ann,
        sit_down("bo", BO_HZ) as bo,
        TonePhone(CALLER_HZ) as ear,
    ):
        await ann.log_in(site)
        await bo.log_in(site)
        await ann.be_available()
        await bo.be_available()
        call = await callers_of(site).begin(LI_NUMBER, 'Li "Wei" <b>', "4001", stay_s=60, media_port=ear.port)
        await ann.rings()
        await expect(ann.card("ringing")).to_contain_text("Li Wei 李伟")
        await expect(ann.card("ringing")).to_contain_text("Fiber 200")
        assert await bo.card().count() == 0
        await ann.answer()
        await ann.state("ON_CALL")
        await ear.hears(ANN_HZ)
        await ann.hears(CALLER_HZ)
        await ann.hang_up()
        await ann.state("WRAP_UP")
        await ann.page.keyboard.press("Escape")
        await ann.page.keyboard.press("1")
        result = await call.wait()
        assert result.steps[-1] == "ended_by_other"
        row = await site.row("SELECT * FROM interaction WHERE ended_at IS NOT NULL AND disposition <> ''")
        assert (row["agent"], row["queue"], row["outcome"], row["disposition"]) == ("ann", "sales", "answered", "sale")
        assert row["party_id"] is not None
        recording = await site.row("SELECT * FROM recording WHERE state <> 'pending'")
        assert recording["state"] == "complete"
        assert recording["audio_s"] == pytest.approx(row["talk_s"], abs=1.0)
        assert await bo.card().count() == 0


async def test_an_agent_who_does_not_answer_is_not_ready_with_the_reason_and_the_next_one_rings(
    start_site: StartSite, sit_down: SitDown
) -> None:
    async with (
        start_site(ring_timeout_s=5) as site,
        sit_down("ann", ANN_HZ) as ann,
        sit_down("bo", BO_HZ) as bo,
        TonePhone(CALLER_HZ) as ear,
    ):
        await ann.log_in(site)
        await bo.log_in(site)
        await ann.be_available()
        await bo.be_available()
        call = await callers_of(site).begin(LI_NUMBER, "Li", "4001", stay_s=60, media_port=ear.port)
        await ann.rings()
        await bo.rings()
        await ann.state("NOT_READY")
        await expect(ann.card()).to_have_count(0)
        await expect(ann.page.locator("#state-reason")).not_to_be_empty()
        await bo.answer()
        await ear.hears(BO_HZ)
        await bo.hang_up()
        await call.wait()
        await site.row("SELECT id FROM interaction WHERE ended_at IS NOT NULL")
        legs = await site.rows("SELECT agent, outcome FROM interaction_leg WHERE agent <> '' ORDER BY started_at")
        assert [(leg["agent"], leg["outcome"]) for leg in legs] == [("ann", "no_answer"), ("bo", "answered")]
        assert len(await site.rows("SELECT id FROM interaction")) == 1


async def test_a_caller_who_gives_up_while_ringing_takes_the_card_along_and_leaves_the_agent_available(
    start_site: StartSite, sit_down: SitDown
) -> None:
    async with start_site() as site, sit_down("ann", ANN_HZ) as ann:
        await ann.log_in(site)
        await ann.be_available()
        call = await callers_of(site).begin(LI_NUMBER, "Li", "4001", stay_s=4)
        await ann.rings()
        assert (await call.wait()).steps[-1] == "gave_up"
        await ann.state("AVAILABLE")
        await expect(ann.card()).to_have_count(0)
        row = await site.row("SELECT * FROM interaction WHERE ended_at IS NOT NULL")
        assert row["outcome"] in ("abandoned", "short_abandoned")
        assert row["answered_at"] is None


@pytest.mark.parametrize(
    ("number", "name", "expected"),
    [pytest.param(UNKNOWN_NUMBER, "Nobody", UNKNOWN_NUMBER, marks=pytest.mark.long), ("", "", "withheld")],
    ids=["unknown", "withheld"],
)
async def test_a_caller_nobody_knows_is_shown_as_such(
    start_site: StartSite, sit_down: SitDown, number: str, name: str, expected: str
) -> None:
    async with start_site() as site, sit_down("ann", ANN_HZ) as ann:
        await ann.log_in(site)
        await ann.be_available()
        await callers_of(site).begin(number, name, "4001", stay_s=15)
        await ann.rings()
        card = ann.card("ringing")
        await expect(card).to_have_attribute("data-match", "none")
        await expect(card).to_contain_text(re.compile(re.escape(expected) if number else "withheld", re.IGNORECASE))


async def test_two_customers_on_one_number_are_both_offered_and_the_choice_is_kept(
    start_site: StartSite, sit_down: SitDown
) -> None:
    async with start_site() as site, sit_down("ann", ANN_HZ) as ann:
        await ann.log_in(site)
        await ann.be_available()
        await callers_of(site).begin(SHARED_NUMBER, "Braun", "4001", stay_s=15)
        await ann.rings()
        card = ann.card("ringing")
        await expect(card).to_have_attribute("data-match", "many")
        await expect(card).to_contain_text("Anna Braun")
        await expect(card).to_contain_text("Otto Braun")
        await ann.page.keyboard.press("2")
        row = await site.row("SELECT p.name FROM interaction i JOIN party p ON p.id = i.party_id")
        assert row["name"] in ("Anna Braun", "Otto Braun")


async def test_a_page_opened_as_localhost_is_led_to_the_name_that_the_session_belongs_to(
    start_site: StartSite,
) -> None:
    async with start_site() as site, aiohttp.ClientSession() as browser:
        opened = await browser.get(f"http://localhost:{site.web_port}/login?next=/desk", allow_redirects=False)
        assert opened.headers["Location"] == f"{site.url}/login?next=/desk"


async def test_a_desk_phone_rings_beside_the_page_and_the_page_needs_no_microphone(
    start_site: StartSite, sit_down: SitDown
) -> None:
    async with (
        start_site() as site,
        sit_down("dee", ANN_HZ) as dee,
        TonePhone(CALLER_HZ) as ear,
        TonePhone(BO_HZ) as phone_ear,
        UasPhone(
            pbx_host=site.pbx.host,
            pbx_port=site.pbx.sip_port,
            folder=site.folder / "sip",
            endpoint="dee",
            password=PHONE_PASSWORD,
            answer_after_s=2,
            talk_s=30,
            media_port=phone_ear.port,
        ),
    ):
        await dee.log_in(site)
        await dee.be_available()
        call = await callers_of(site).begin(LI_NUMBER, "Li", "4001", stay_s=60, media_port=ear.port)
        await dee.card("ringing").wait_for()
        await dee.state("ON_CALL")
        await dee.card("talking").wait_for()
        await ear.hears(BO_HZ)
        await phone_ear.hears(CALLER_HZ)
        await dee.hang_up()
        await dee.state("WRAP_UP")
        assert (await call.wait()).steps[-1] == "ended_by_other"
