"""What stands beside the cards: messages, listeners, a hold that lasts, a server that stands still."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from tests.desk.test_phone import CALLER
from tests.desk.watching import becomes

if TYPE_CHECKING:
    from tests.desk.conftest import OpenDesk
    from tests.desk.sip_relay import SipRelay
    from tests.desk.stage import Stage

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

NOTHING: dict[str, Any] = {"listeners": [], "spying": None, "messages": []}


def message(number: int, text: str) -> dict[str, Any]:
    return {"id": f"{number}-1", "from": "Ruth", "text": text, "at": time.time()}


async def test_a_supervisors_message_stays_until_it_is_read_with_one_key(stage: Stage, open_desk: OpenDesk) -> None:
    stage.beside = {**NOTHING, "messages": [message(1, "Three wait.\n<b>Hurry.</b>")]}
    page = await open_desk(stage)
    shown = page.locator("#beside-messages li")
    await expect(shown).to_contain_text("<b>Hurry.</b>")
    await stage.send("beside", **{**NOTHING, "messages": [message(1, "Three wait."), message(2, "Four.")]})
    await expect(shown).to_have_count(2)
    await expect(page.locator("#live-urgent")).to_have_text("Ruth writes: Four.")
    await page.keyboard.press("r")
    await stage.wait_for("POST", "/api/desk/messages/1-1/read")
    await expect(shown).to_have_text(["RuthFour.ReadR"])


async def test_the_agent_is_told_who_hears_the_talk_and_how(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    told = page.locator("#beside-listeners")
    await expect(told).to_be_hidden()
    for mode, said in (("listen", "Ruth listens to this talk."), ("whisper", "the caller does not hear it")):
        listener = {"name": "Ruth", "mode": mode, "interaction": "pbx1-1.1"}
        await stage.send("beside", **{**NOTHING, "listeners": [listener]})
        await expect(told).to_contain_text(said)
    await stage.send("beside", **NOTHING)
    await expect(told).to_be_hidden()


async def test_a_phone_that_rings_for_listening_is_answered_by_itself_and_without_a_card(
    phone_stage: Stage, relay: SipRelay, open_desk: OpenDesk
) -> None:
    page = await open_desk(phone_stage)
    await becomes(page, "callfloor.phone.state === 'registered'")
    far = await page.context.new_page()
    await far.goto(f"{phone_stage.url}/blank")
    await far.evaluate(CALLER, [relay.url])
    spying = {"interaction": "pbx1-1.1", "agent": "li.wei", "name": "Li Wei", "mode": "listen", "is_on": False}
    await phone_stage.send("beside", **{**NOTHING, "spying": {**spying, "at": time.time()}})
    await expect(page.locator("#beside-spying")).to_contain_text(
        "Your phone rings so that you hear the talk of Li Wei."
    )
    await far.evaluate("dial('anna')")
    await becomes(page, "callfloor.phone.call?.phase === 'up'")
    await phone_stage.send("beside", **{**NOTHING, "spying": {**spying, "is_on": True, "at": time.time()}})
    await page.get_by_role("button", name="Whisper").click()
    asked = await phone_stage.wait_for("POST", "/api/floor/calls/pbx1-1.1/listening")
    assert asked.body == {"agent": "li.wei", "mode": "whisper"}
    await expect(page.locator(".card")).to_have_count(0)


async def test_a_caller_on_hold_is_not_forgotten(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    card = await stage.ring()
    await stage.show(card, phase="held", until=None, since=time.time() - 60)
    await stage.send("notice", code="hold_recalled", text="60")
    await expect(page.locator("#notices")).to_contain_text("Li Wei has been on hold for 1:00.")
    await expect(page.locator(".card[data-held-long]")).to_be_visible()
    await stage.show(card, phase="talking", until=None, since=time.time())
    await expect(page.locator(".card[data-held-long]")).to_have_count(0)


async def test_a_server_that_stands_still_is_noticed_while_the_line_seems_open(
    stage: Stage, open_desk: OpenDesk
) -> None:
    page = await open_desk(stage)
    banner = page.locator("#banner")
    await expect(banner).to_be_hidden()
    stage.is_answering = False
    await expect(banner).to_contain_text("The server does not answer just now.", timeout=15_000)
    assert await page.evaluate("callfloor.socket.isUp")
    assert await banner.get_attribute("data-kind") == "waiting"
    stage.is_answering = True
    await stage.send("state", **stage.agent)
    await expect(banner).to_be_hidden()


async def test_three_speak_together_with_one_key_and_the_agent_may_leave(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    card = await stage.ring(why="best_skilled")
    await expect(page.locator(".who-why")).to_have_text("You are the most proficient of those who were free.")
    transfer = {"target": "agent:wang.fang", "kind": "attended", "phase": "talking"}
    await stage.show(card, phase="consulting", until=None, transfer=transfer)
    await expect(page.get_by_role("button", name="All three")).to_be_visible()
    await page.keyboard.press("j")
    await stage.wait_for("POST", f"/api/interactions/{card['interaction']}/transfer/conference")
    await stage.show(card, phase="talking", until=None, conference="agent:wang.fang")
    await expect(page.locator(".call-hint")).to_contain_text("You speak with the caller and Wang Fang.")


async def test_a_caller_is_sent_to_whoever_has_a_skill_or_to_a_number_outside(
    stage: Stage, open_desk: OpenDesk
) -> None:
    page = await open_desk(stage)
    card = await stage.ring()
    await stage.show(card, phase="talking", until=None)
    path = f"/api/interactions/{card['interaction']}/transfer"
    for typed, key, target, is_attended in (
        ("english >= 5", "Enter", "skill:english >= 5", True),
        ("chin", "Shift+Enter", "skill:chinese", False),
        ("+86 138-0013", "Enter", "number:+861380013", True),
    ):
        await page.locator(".who-name").click()
        await page.keyboard.press("t")
        await page.locator("#transfer-search").fill(typed)
        await expect(page.locator("#transfer-list [role=option]")).to_have_count(1)
        await page.keyboard.press(key)
        assert (await stage.wait_for("POST", path)).body == {"target": target, "is_attended": is_attended}
