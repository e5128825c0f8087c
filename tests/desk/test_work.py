"""What the agent does: state, note, outcome, transfer, all by keyboard, and nothing of it is lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

if TYPE_CHECKING:
    from tests.desk.conftest import OpenDesk
    from tests.desk.stage import Stage

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_state_and_reason_are_chosen_with_two_keys(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    await expect(page.locator("#state-available")).to_be_enabled()
    await page.keyboard.press("a")
    assert (await stage.wait_for("POST", "/api/desk/state")).body == {"state": "AVAILABLE", "reason": ""}
    await stage.set_agent("AVAILABLE")
    await expect(page.locator("#state-available")).to_have_attribute("aria-pressed", "true")
    await page.keyboard.press("n")
    await page.keyboard.press("2")
    assert (await stage.wait_for("POST", "/api/desk/state")).body == {"state": "NOT_READY", "reason": "lunch"}
    await stage.set_agent("NOT_READY", reason="lunch", since=time.time() - 65)
    await expect(page.locator("#state-bar")).to_contain_text("Lunch")
    await expect(page.locator("#state-since")).to_contain_text("1:0")


async def test_what_comes_after_the_call_is_chosen_during_it(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    await stage.set_agent("ON_CALL", next_state="NOT_READY")
    await expect(page.locator("#state-next")).to_have_text("Then: Not ready")
    await expect(page.locator("#state-not-ready")).to_have_attribute("aria-pressed", "true")


async def test_a_note_saves_itself_and_survives_a_server_that_is_away(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    card = await stage.ring()
    path = f"/api/interactions/{card['interaction']}/note"
    stage.refusals["PUT", path] = (503, "unavailable")
    await page.locator(".note-field").fill("Call him back")
    await expect(page.locator(".note-status")).to_contain_text("Kept here")
    await page.reload()
    await stage.until(lambda: len(stage.desks) == 2)
    await expect(page.locator(".note-field")).to_have_value("Call him back")
    stage.asked.clear()
    del stage.refusals["PUT", path]
    assert (await stage.wait_for("PUT", path)).body == {"text": "Call him back"}
    await expect(page.locator(".note-status")).to_have_text("Saved")
    assert not await page.evaluate("callfloor.unsaved")


async def test_a_note_is_sent_though_its_card_is_gone(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    card = await stage.ring()
    path = f"/api/interactions/{card['interaction']}/note"
    stage.refusals["PUT", path] = (503, "unavailable")
    await page.locator(".note-field").fill("Last words")
    await stage.wait_for("PUT", path)
    await stage.close_pop(card["interaction"], "done")
    await expect(page.locator(".card")).to_have_count(0)
    del stage.refusals["PUT", path]
    assert (await stage.wait_for("PUT", path)).body == {"text": "Last words"}


async def test_a_card_that_is_sent_again_leaves_the_half_typed_note_and_its_cursor_alone(
    stage: Stage, open_desk: OpenDesk
) -> None:
    page = await open_desk(stage)
    card = await stage.ring()
    await page.locator(".note-field").focus()
    await page.keyboard.type("one ")
    await stage.show(card, phase="talking", until=None, recording="on", note="")
    await expect(page.get_by_role("button", name="Hang up")).to_be_visible()
    await page.keyboard.type("two")
    await expect(page.locator(".note-field")).to_have_value("one two")


async def test_an_outcome_takes_one_key_and_done_another(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    card = await stage.ring()
    await stage.set_agent("WRAP_UP", until=time.time() + 30)
    await stage.show(card, phase="wrap_up", until=time.time() + 30)
    await expect(page.locator("#state-wrap-up progress")).to_be_visible()
    await page.keyboard.press("4")
    asked = await stage.wait_for("PUT", f"/api/interactions/{card['interaction']}/disposition")
    assert asked.body == {"code": "quote"}
    await expect(page.get_by_role("button", name="Quote sent")).to_have_attribute("aria-pressed", "true")
    await expect(page.get_by_role("button", name="Repair booked")).to_have_count(0)
    await page.locator(".note-field").fill("Sent.")
    await page.keyboard.press("Control+Enter")
    await stage.wait_for("POST", "/api/desk/wrap-up/finish")
    assert (await stage.wait_for("PUT", f"/api/interactions/{card['interaction']}/note")).body == {"text": "Sent."}


async def test_done_without_an_outcome_asks_once(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    card = await stage.ring()
    await stage.show(card, phase="wrap_up", until=time.time() + 30)
    await expect(page.locator(".done")).to_be_visible()
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("#notices")).to_contain_text("No outcome chosen yet")
    assert stage.asked == []
    await page.keyboard.press("Control+Enter")
    await stage.wait_for("POST", "/api/desk/wrap-up/finish")


async def test_a_refused_request_is_said_in_words(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    stage.refusals["POST", "/api/desk/state"] = (409, "phone_unreachable")
    await expect(page.locator("#state-available")).to_be_enabled()
    await page.keyboard.press("a")
    await expect(page.locator("#notices")).to_contain_text("Your phone is not reachable.")


async def test_a_caller_is_transferred_by_typing_a_name(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    card = await stage.ring()
    card = await stage.show(card, phase="talking", until=None)
    await expect(page.get_by_role("button", name="Transfer")).to_be_visible()
    await page.keyboard.press("t")
    dialog = page.get_by_role("dialog", name="Transfer the caller")
    await expect(dialog.get_by_role("option").first).to_contain_text("Wang Fang")
    await expect(dialog.get_by_text("Anna Bell")).to_have_count(0)
    await page.keyboard.type("wang")
    await expect(dialog.get_by_role("option")).to_have_count(1)
    await page.keyboard.press("Enter")
    base = f"/api/interactions/{card['interaction']}/transfer"
    assert (await stage.wait_for("POST", base)).body == {"target": "agent:wang.fang", "is_attended": True}
    transfer = {"target": "agent:wang.fang", "kind": "attended", "phase": "talking"}
    await stage.show(card, phase="consulting", transfer=transfer)
    await expect(page.get_by_text("You are talking with Wang Fang")).to_be_visible()
    await page.keyboard.press("c")
    await stage.wait_for("POST", f"{base}/complete")
    await page.keyboard.press("b")
    await stage.wait_for("POST", f"{base}/cancel")


async def test_a_caller_is_sent_to_a_queue_without_a_word(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    card = await stage.ring()
    await stage.show(card, phase="talking", until=None)
    await page.get_by_role("button", name="Transfer").click()
    await page.get_by_role("option", name="Sales").click()
    await page.get_by_role("button", name="Send now").click()
    asked = await stage.wait_for("POST", f"/api/interactions/{card['interaction']}/transfer")
    assert asked.body == {"target": "queue:sales", "is_attended": False}


async def test_the_recording_is_paused_for_card_numbers_and_shown_so(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    card = await stage.ring()
    await stage.show(card, phase="talking", until=None, recording="on")
    await expect(page.locator(".recording")).to_have_text("Recording")
    await page.keyboard.press("p")
    path = f"/api/interactions/{card['interaction']}/recording"
    assert (await stage.wait_for("POST", path)).body == {"is_paused": True}
    await stage.show(card, phase="talking", until=None, recording="paused")
    await expect(page.locator(".recording")).to_have_text("Recording paused")
    await page.keyboard.press("p")
    assert (await stage.wait_for("POST", path)).body == {"is_paused": False}


async def test_letters_typed_into_the_note_command_nothing(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    card = await stage.ring()
    await stage.show(card, phase="talking", until=None, recording="on")
    await page.locator(".note-field").focus()
    await page.keyboard.type("anpt123?")
    await expect(page.locator(".note-field")).to_have_value("anpt123?")
    await stage.wait_for("PUT", f"/api/interactions/{card['interaction']}/note")
    assert stage.asked == []
    await expect(page.locator("dialog[open]")).to_have_count(0)


async def test_single_letters_can_be_switched_off(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    await page.keyboard.press("?")
    await page.get_by_label("Single letters are commands").uncheck()
    await page.keyboard.press("Escape")
    await page.keyboard.press("a")
    await page.keyboard.press("?")
    await expect(page.locator("dialog[open]")).to_have_count(0)
    assert stage.asked == []


async def test_a_call_on_a_desk_phone_is_ended_through_the_server(stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(stage)
    card = await stage.ring()
    await stage.show(card, phase="talking", until=None)
    await expect(page.get_by_role("button", name="Hang up")).to_be_visible()
    await page.keyboard.press("Shift+F2")
    await stage.wait_for("POST", f"/api/interactions/{card['interaction']}/hang-up")
    assert await page.evaluate("callfloor.microphone") is None
    assert stage.owner is not None
    assert stage.owner.beats[0]["phone"] == "desk"
