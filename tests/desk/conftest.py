"""A real Chromium, one for all tests of the agent's page, and a stage for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from tests.desk.sip_relay import SipRelay
from tests.desk.stage import Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Chromium


class OpenDesk(Protocol):
    """Opens the agent's page of a stage and waits until it has its snapshot."""

    async def __call__(self, stage: Stage, **context: Any) -> Page: ...


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: Chromium) -> AsyncIterator[Browser]:
    """Chromium with a microphone that needs no permission."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium.executable_path, args=list(chromium.args))
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def stage() -> AsyncIterator[Stage]:
    """A server whose agent has a desk phone."""
    stage = Stage()
    await stage.start()
    yield stage
    await stage.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def relay() -> AsyncIterator[SipRelay]:
    """Where browser phones register and call each other."""
    relay = SipRelay()
    await relay.start()
    yield relay
    await relay.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def phone_stage(relay: SipRelay) -> AsyncIterator[Stage]:
    """A server whose agent has a browser phone at the relay."""
    stage = Stage(phone="browser")
    stage.sip_url = relay.url
    await stage.start()
    yield stage
    await stage.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def open_desk(browser: Browser) -> AsyncIterator[OpenDesk]:
    """The page, in a browser profile of its own; any script error or refused script fails the test."""
    contexts = []
    faults: list[str] = []

    async def open_page(stage: Stage, *, before: str = "", **options: Any) -> Page:
        context = await browser.new_context(viewport={"width": 1366, "height": 768}, **options)
        contexts.append(context)
        page = await context.new_page()
        await page.add_init_script(before)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: "Content Security" in message.text and faults.append(message.text))
        await page.goto(f"{stage.url}/desk")
        await page.locator("#desk:not([aria-busy])").wait_for()
        await stage.until(lambda: stage.owner is not None)
        return page

    yield open_page
    for context in contexts:
        await context.close()
    assert faults == []
