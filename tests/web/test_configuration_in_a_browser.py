"""One administrator with a keyboard and a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import async_playwright

from tests.desk.watching import becomes
from tests.web.site import PASSWORD, Site

if TYPE_CHECKING:
    from tests.conftest import Chromium

pytestmark = pytest.mark.browser
STEP = "document.activeElement.getAttribute('name') === '{name}'"
TRIED = "document.activeElement.closest('.field').querySelector('.tried').textContent"


async def test_a_queue_is_configured_and_undone_with_the_keyboard_alone(site: Site, chromium: Chromium) -> None:
    address = await site.open_to_browsers()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium.executable_path, args=list(chromium.args))
        page = await browser.new_page(viewport={"width": 390, "height": 800})
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        await page.goto(f"{address}/login?next=/settings/queues/sales")
        await page.locator("[name=username]").focus()
        await page.keyboard.type("boss")
        await page.keyboard.press("Tab")
        await page.keyboard.type(PASSWORD)
        await page.keyboard.press("Enter")
        await page.locator(".setting-form").wait_for()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390

        # A first step, wrong at first: the page says where and then who qualifies.
        await page.locator("[name='steps.0.after_s']").focus()
        await page.keyboard.type("0")
        await page.keyboard.press("Tab")
        await page.keyboard.type("chinese >= x")
        await becomes(page, f"{TRIED}.includes('One side must be a number or a text.')")
        assert await page.evaluate("document.querySelector('.trial mark').textContent") == "x"
        await page.keyboard.press("Backspace")
        await page.keyboard.type("2")
        await becomes(page, f"{TRIED}.includes('2 of 2 agents meet this, 1 logged in.')")

        # Another step, by the button below the rows.
        await page.keyboard.press("Tab")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await becomes(page, STEP.format(name="steps.1.after_s"))
        await page.keyboard.type("30")
        await page.keyboard.press("Enter")
        await page.locator(".saved").wait_for()
        assert await page.locator("[name='steps.1.after_s']").input_value() == "30"

        # A skill, saved when the field is left.
        await page.goto(f"{address}/settings/skills?add=chinese")
        await page.locator("[aria-label='Anna Berg, chinese']").focus()
        await page.keyboard.type("4")
        await page.keyboard.press("Tab")
        await becomes(page, "document.getElementById('skill-said').textContent.includes('Saved')")
        await page.goto(f"{address}/settings/history")
        assert await page.locator(".history > li").count() == 2
        await page.locator("[aria-label='Undo change 1']").focus()
        await page.keyboard.press("Enter")
        await page.locator("#change-3").wait_for()
        await browser.close()
    assert faults == []
