"""A seat: an agent in a real browser with a microphone that speaks a tone, at the real page."""

from __future__ import annotations

import asyncio
import math
import wave
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from tests.conftest import Chromium
from tests.desk.watching import becomes
from tests.e2e.site import PASSWORD, Site

LISTEN = """() => {
  const audio = document.getElementById("remote-audio");
  void window.ear?.close();
  const context = (window.ear = new AudioContext());
  const analyser = new AnalyserNode(context, { fftSize: 8192 });
  context.createMediaStreamSource(audio.srcObject).connect(analyser);
  const bins = new Float32Array(analyser.frequencyBinCount);
  window.loudest = () => {
    analyser.getFloatFrequencyData(bins);
    let best = 0;
    for (let i = 4; i < bins.length; i++) if (bins[i] > bins[best]) best = i;
    return { hz: (best * context.sampleRate) / analyser.fftSize, level: bins[best] };
  };
  window.level = (hz) => {
    analyser.getFloatFrequencyData(bins);
    return bins[Math.round((hz * analyser.fftSize) / context.sampleRate)];
  };
}"""


def write_tone(path: Path, hz: float, seconds: float = 20.0) -> Path:
    """What the browser's microphone hears, again and again."""
    rate = 48_000
    samples = array("h", (int(12_000 * math.sin(2 * math.pi * hz * n / rate)) for n in range(int(rate * seconds))))
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.tobytes())
    return path


class Seat:
    """One agent at one page. ``hz``: the tone that the microphone hears."""

    def __init__(self, page: Page, username: str, hz: float) -> None:
        self.page = page
        self.username = username
        self.hz = hz
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on(
            "console",
            lambda message: self.faults.append(message.text) if "Content Security" in message.text else None,
        )

    async def log_in(self, site: Site) -> None:
        await self.enter(site, "desk")
        await self.page.locator("#desk:not([aria-busy])").wait_for()

    async def enter(self, site: Site, landing: str) -> None:
        """Log in, and wait for the page that this person's role lands on."""
        await self.page.goto(f"{site.url}/login")
        await self.page.fill("#username", self.username)
        await self.page.fill("#password", PASSWORD)
        await self.page.click("form.stack button[type=submit]")
        await self.page.wait_for_url(f"**/{landing}")

    async def be_available(self) -> None:
        await self.ask_for_work()
        await self.state("AVAILABLE")

    async def ask_for_work(self) -> None:
        """Press Available; where somebody waits, the phone rings at once."""
        await becomes(self.page, "callfloor.phone.state === 'registered' || callfloor.phone.state === 'desk'")
        await self.page.click("#state-available")

    async def rest(self) -> None:
        """Be not ready, for lunch."""
        await self.page.click("#state-not-ready")
        await self.page.locator("#state-reasons > *").first.click()
        await self.state("NOT_READY")

    async def state(self, state: str, timeout_s: float = 15.0) -> None:
        """Wait until the page shows this state."""
        await self.page.locator(f'#state-bar[data-state="{state}"]').wait_for(timeout=timeout_s * 1000)

    def card(self, phase: str = "") -> Any:
        """The card of the call, in this phase."""
        return self.page.locator(f'.card[data-phase="{phase}"]' if phase else ".card")

    async def rings(self) -> None:
        await self.card("ringing").wait_for(timeout=15_000)
        await becomes(self.page, "callfloor.phone.call?.phase === 'ringing'")

    async def answer(self) -> None:
        await self.page.keyboard.press("F2")
        await becomes(self.page, "callfloor.phone.call?.phase === 'up'")

    async def hang_up(self) -> None:
        await self.page.keyboard.press("Shift+F2")

    async def hears(self, hz: float, timeout_s: float = 10.0) -> None:
        """Wait until this tone is the loudest thing in the agent's ear."""
        await self.page.evaluate(LISTEN)
        async with asyncio.timeout(timeout_s) as deadline:
            heard: dict[str, float] = {}
            try:
                while True:
                    heard = await self.page.evaluate("loudest()")
                    if abs(heard["hz"] - hz) < 20 and heard["level"] > -60:
                        return
                    await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                if deadline.expired():
                    raise AssertionError(f"{self.username} hears {heard}, not {hz} Hz") from None
                raise

    async def hears_too(self, hz: float) -> None:
        """Wait until this tone is part of what is in the agent's ear."""
        await self.page.evaluate(LISTEN)
        await becomes(self.page, f"level({hz}) > -50")

    async def interaction(self) -> str:
        """Whose call the one card on the page shows."""
        cards: list[dict[str, str]] = await self.page.evaluate("callfloor.cards")
        (card,) = cards
        return card["interaction"]

    async def write(self, note: str) -> None:
        """Write a note and see it saved."""
        await self.card().locator("textarea").fill(note)
        await self.card().locator('.memo[data-save="saved"]').wait_for()

    async def press(self, key: str) -> None:
        """Press a key that means something outside of text fields."""
        await self.page.keyboard.press("Escape")
        await self.page.keyboard.press(key)

    async def transfer(self, to: str, *, is_attended: bool) -> None:
        """Open the transfer dialogue, name the target, go."""
        await self.press("t")
        await self.page.fill("#transfer-search", to)
        await self.page.locator("#transfer-list [role=option]").first.wait_for()
        await self.page.keyboard.press("Enter" if is_attended else "Shift+Enter")


@asynccontextmanager
async def open_seat(chromium: Chromium, folder: Path, username: str, hz: float) -> AsyncIterator[Seat]:
    """A browser of its own with a microphone of its own."""
    microphone = write_tone(folder / f"{username}-{hz:.0f}.wav", hz)
    async with async_playwright() as playwright:
        browser: Browser = await playwright.chromium.launch(
            executable_path=chromium.executable_path,
            args=[*chromium.args, f"--use-file-for-fake-audio-capture={microphone}"],
        )
        context = await browser.new_context(viewport={"width": 1366, "height": 768}, locale="en-GB")
        seat = Seat(await context.new_page(), username, hz)
        try:
            yield seat
        finally:
            await browser.close()
        assert seat.faults == []
