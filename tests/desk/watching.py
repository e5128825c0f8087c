"""Waiting for something that a page's script can see."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.async_api import Page

PATIENCE_S = 15.0
LOOK_AGAIN_S = 0.05


async def becomes(page: Page, expression: str) -> None:
    """Waits until a JavaScript expression is true. Playwright's own waiting needs ``eval``, which our pages forbid."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await page.evaluate(f"async () => Boolean(await ({expression}))"):
                await asyncio.sleep(LOOK_AGAIN_S)
    except TimeoutError:
        seen = await page.evaluate("() => JSON.stringify(window.callfloor ?? window.far ?? null)")
        raise AssertionError(f"never true: {expression}; the page says {seen}") from None
