"""The supervisor's floor in a real browser, by keyboard alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import async_playwright, expect

from cti.errors import Refused
from cti.events import AgentState
from tests.web.hall import ANNA, CHEN, LI_WEI, TALKING, WAITING, agent_view
from tests.web.site import PASSWORD

if TYPE_CHECKING:
    from tests.conftest import Chromium
    from tests.web.site import Site

pytestmark = pytest.mark.browser
PATIENCE_S = 15.0


async def test_a_supervisor_steers_by_keyboard_alone_and_the_choice_outlives_a_new_picture(
    site: Site, chromium: Chromium
) -> None:
    origin = await site.open_to_browsers()
    site.floor.put(agent_view(LI_WEI, AgentState.AVAILABLE))

    async def asked() -> tuple[Any, ...]:
        async with asyncio.timeout(PATIENCE_S):
            while not site.floor.asked:
                await asyncio.sleep(0.02)
        return site.floor.asked.pop(0)

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium.executable_path, args=list(chromium.args))
        context = await browser.new_context(locale="en-GB", viewport={"width": 1366, "height": 768})
        page = await context.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: "Content Security" in message.text and faults.append(message.text))
        await page.goto(f"{origin}/login?next=/floor")
        await page.fill("#username", "ruth")
        await page.fill("#password", PASSWORD)
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/floor")
        name = page.locator("#steer-name")
        await page.locator("#steer:not([aria-busy])").wait_for(state="attached")
        await expect(page.locator("#steer")).to_be_hidden()

        # The first row is the one who waits: given to somebody by typing a name.
        await page.keyboard.press("ArrowDown")
        await expect(name).to_have_text("+8613800138000")
        await page.keyboard.press("g")
        await page.keyboard.type("li w")
        await page.keyboard.press("Enter")
        assert await asked() == ("pick", WAITING, LI_WEI, "ruth")

        # An agent who talks: listened to at once, taken over only when asked twice, through a picture drawn anew.
        await page.locator(f"[data-pick='agent:{CHEN}'] .pick").focus()
        await page.keyboard.press("Enter")
        await page.keyboard.press("l")
        assert await asked() == ("spy", ANNA, TALKING, CHEN, "listen", "ruth")
        await page.keyboard.press("t")
        await expect(page.get_by_role("button", name="Take the caller over now?")).to_be_visible()
        site.floor.put(agent_view(CHEN, AgentState.ON_CALL, interaction=TALKING, reason="seen", since=1.0))
        async with page.expect_response("**/floor/live"):
            pass
        await expect(page.locator("tr.picked")).to_have_attribute("data-pick", f"agent:{CHEN}")
        await page.keyboard.press("t")
        assert await asked() == ("take_over", ANNA, TALKING, CHEN, "ruth")

        # A reason, a message, and a refusal in words.
        await page.keyboard.press("n")
        await page.keyboard.type("lun")
        await page.keyboard.press("Enter")
        assert await asked() == ("set_state", CHEN, "NOT_READY", "lunch", "ruth")
        await page.keyboard.press("m")
        await page.keyboard.type("Three wait.")
        await page.keyboard.press("Control+Enter")
        assert await asked() == ("send_message", (CHEN,), "Three wait.", "ruth", "Ruth")
        site.floor.refusal = Refused("own_phone_in_use")
        await page.keyboard.press("w")
        await expect(page.locator("#notices")).to_contain_text("Your own phone is in use.")

        # Why, in front, and away again.
        await page.locator(f"[data-pick='call:{WAITING}'] .pick").click()
        await page.keyboard.press("y")
        await expect(page.locator("#why")).to_contain_text("Nobody could take the call")
        await page.keyboard.press("Escape")
        await expect(page.locator("#why")).to_be_empty()
        await page.keyboard.press("Escape")
        await expect(page.locator("#steer")).to_be_hidden()
        assert faults == []
        await browser.close()
