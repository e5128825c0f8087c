"""The softphone in a real browser, called by another real browser: registration, ring, audio, hold, mute, tones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.desk.watching import becomes

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.desk.conftest import OpenDesk
    from tests.desk.sip_relay import SipRelay
    from tests.desk.stage import Stage

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

CALLER = """async ([sip]) => {
  const JsSIP = (await import("/static/vendor/jssip.js")).default;
  const context = new AudioContext();
  const tone = new OscillatorNode(context, { frequency: 1000 });
  const mouth = context.createMediaStreamDestination();
  tone.connect(mouth);
  tone.start();
  const ua = new JsSIP.UA({ sockets: [new JsSIP.WebSocketInterface(sip)], uri: "sip:caller@callfloor.test" });
  const connected = new Promise((done) => ua.on("registered", done));
  ua.start();
  await connected;
  window.far = { ended: false, held: false };
  window.dial = (user) => {
    window.session = ua.call(`sip:${user}@callfloor.test`, { mediaStream: mouth.stream });
    session.connection.addEventListener("track", ({ streams }) => {
      window.ear = new Audio();
      ear.srcObject = streams[0];
      ear.play();
    });
    session.on("failed", ({ cause }) => { far.ended = cause; });
    session.on("ended", ({ cause }) => { far.ended = cause; });
    session.on("hold", () => { far.held = true; });
    session.on("unhold", () => { far.held = false; });
  };
  window.heard = async () => {
    for (const entry of (await session.connection.getStats()).values()) {
      if (entry.type === "inbound-rtp") return { packets: entry.packetsReceived, energy: entry.totalAudioEnergy };
    }
    return { packets: 0, energy: 0 };
  };
}"""


LISTEN = """() => {
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 2048 });
  context.createMediaStreamSource(document.getElementById("remote-audio").srcObject).connect(analyser);
  const bins = new Float32Array(analyser.frequencyBinCount);
  window.loudest_hz = () => {
    analyser.getFloatFrequencyData(bins);
    const loudest = bins.indexOf(Math.max(...bins));
    return bins[loudest] > -60 ? (loudest * context.sampleRate) / analyser.fftSize : 0;
  };
}"""


async def caller(page: Page, stage: Stage) -> Page:
    far = await page.context.new_page()
    await far.goto(f"{stage.url}/blank")
    await far.evaluate(CALLER, [stage.sip_url])
    return far


async def talking(stage: Stage, open_desk: OpenDesk) -> tuple[Page, Page]:
    page = await open_desk(stage)
    await becomes(page, "callfloor.phone.state === 'registered'")
    far = await caller(page, stage)
    card = await stage.ring()
    await far.evaluate("dial('anna')")
    await becomes(page, "callfloor.phone.call?.phase === 'ringing'")
    await page.keyboard.press("F2")
    await becomes(page, "callfloor.phone.call?.phase === 'up'")
    await stage.show(card, phase="talking", until=None, recording="on")
    return page, far


async def test_the_phone_registers_and_says_so(phone_stage: Stage, relay: SipRelay, open_desk: OpenDesk) -> None:
    page = await open_desk(phone_stage)
    await expect(page.locator("#phone-text")).to_have_text("Phone ready")
    assert "anna" in relay.registered
    owner = phone_stage.owner
    assert owner is not None
    await phone_stage.until(lambda: any(b["phone"] == "registered" and b["microphone"] == "ok" for b in owner.beats))


async def test_a_call_is_answered_with_one_key_and_both_sides_hear_each_other(
    phone_stage: Stage, open_desk: OpenDesk
) -> None:
    page, far = await talking(phone_stage, open_desk)
    await becomes(far, "heard().then(h => h.packets > 20 && h.energy > 0)")
    await becomes(page, "['good', 'fair'].includes(callfloor.phone.quality?.word)")
    await expect(page.locator("#line-quality")).to_be_visible()
    await page.evaluate(LISTEN)
    await becomes(page, "loudest_hz() > 900 && loudest_hz() < 1100")
    await expect(page.locator(".note-field")).to_be_focused()
    await page.keyboard.press("Shift+F2")
    await becomes(far, "far.ended")
    await becomes(page, "callfloor.phone.call === null")


async def test_hold_mute_and_tones_reach_the_other_side(phone_stage: Stage, open_desk: OpenDesk) -> None:
    page, far = await talking(phone_stage, open_desk)
    await page.keyboard.press("F9")
    await becomes(far, "far.held")
    await expect(page.locator(".call-phase")).to_have_text("On hold")
    await page.keyboard.press("F9")
    await becomes(far, "!far.held")
    await page.keyboard.press("F8")
    await expect(page.get_by_role("button", name="Unmute")).to_be_visible()
    assert await page.evaluate("callfloor.phone.call.isMuted")
    await page.keyboard.press("F8")
    await becomes(page, "!callfloor.phone.call.isMuted")
    await page.keyboard.press("Escape")
    await page.keyboard.press("k")
    await page.keyboard.type("42#")
    await expect(page.locator(".keypad-sent")).to_have_text("42#")


async def test_a_caller_who_gives_up_stops_the_ring(phone_stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(phone_stage)
    await becomes(page, "callfloor.phone.state === 'registered'")
    far = await caller(page, phone_stage)
    card = await phone_stage.ring()
    await far.evaluate("dial('anna')")
    await becomes(page, "callfloor.phone.call?.phase === 'ringing' && callfloor.isRinging")
    await far.evaluate("session.terminate()")
    await phone_stage.close_pop(card["interaction"], "caller_gone")
    await becomes(page, "callfloor.phone.call === null && !callfloor.isRinging")


async def test_an_answer_before_the_phone_rings_is_given_when_it_does(phone_stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(phone_stage)
    await becomes(page, "callfloor.phone.state === 'registered'")
    far = await caller(page, phone_stage)
    await phone_stage.ring()
    await page.get_by_role("button", name="Answer").click()
    await far.evaluate("dial('anna')")
    await becomes(page, "callfloor.phone.call?.phase === 'up'")


async def test_a_call_that_nobody_announced_is_shown_plainly_and_can_be_declined(
    phone_stage: Stage, open_desk: OpenDesk
) -> None:
    page = await open_desk(phone_stage)
    await becomes(page, "callfloor.phone.state === 'registered'")
    far = await caller(page, phone_stage)
    await far.evaluate("dial('anna')")
    await expect(page.get_by_role("heading", name="caller")).to_be_visible()
    await expect(page.get_by_text("This call came without a card")).to_be_visible()
    await page.get_by_role("button", name="Decline").click()
    await becomes(far, "far.ended === 'Busy'")
    await expect(page.locator(".card")).to_have_count(0)


async def test_a_call_can_be_taken_while_the_server_is_away(phone_stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(phone_stage)
    await becomes(page, "callfloor.phone.state === 'registered'")
    far = await caller(page, phone_stage)
    await phone_stage.drop_socket(stays_away=True)
    await far.evaluate("dial('anna')")
    await page.get_by_role("button", name="Answer").click()
    await becomes(page, "callfloor.phone.call?.phase === 'up'")


async def test_a_second_call_finds_the_line_busy(phone_stage: Stage, open_desk: OpenDesk) -> None:
    page, far = await talking(phone_stage, open_desk)
    await far.evaluate("window.first = session; dial('anna')")
    await becomes(far, "far.ended === 'Busy'")
    assert await page.evaluate("callfloor.phone.call.phase") == "up"


async def test_the_tab_that_loses_the_desk_unregisters_its_phone(
    phone_stage: Stage, relay: SipRelay, open_desk: OpenDesk
) -> None:
    page = await open_desk(phone_stage)
    await becomes(page, "callfloor.phone.state === 'registered'")
    second = await page.context.new_page()
    await second.goto(f"{phone_stage.url}/desk")
    await second.get_by_role("button", name="Use this tab").click()
    await becomes(second, "callfloor.phone.state === 'registered'")
    await becomes(page, "callfloor.phone.state === 'off'")


async def test_a_microphone_that_goes_is_said_at_once_and_recovers(phone_stage: Stage, open_desk: OpenDesk) -> None:
    page = await open_desk(phone_stage)
    owner = phone_stage.owner
    assert owner is not None
    await becomes(page, "callfloor.microphone.state === 'ok'")
    await page.evaluate(
        """() => {
          window.ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("gone", "NotFoundError"));
        }"""
    )
    await page.locator("#open-devices").click()
    await page.locator("#devices-microphone").select_option(index=1)
    await phone_stage.until(lambda: owner.beats[-1]["microphone"] == "lost")
    await expect(page.locator("#banner")).to_contain_text("No microphone")
    await page.evaluate(
        """() => {
          navigator.mediaDevices.getUserMedia = window.ask;
          navigator.mediaDevices.dispatchEvent(new Event("devicechange"));
        }"""
    )
    await phone_stage.until(lambda: owner.beats[-1]["microphone"] == "ok")
    await expect(page.locator("#banner")).to_be_hidden()


async def test_leaving_the_page_during_a_call_is_asked_about(phone_stage: Stage, open_desk: OpenDesk) -> None:
    page, _far = await talking(phone_stage, open_desk)
    asked: list[str] = []

    async def stay(dialog: object) -> None:
        asked.append(dialog.type)  # type: ignore[attr-defined]
        await dialog.dismiss()  # type: ignore[attr-defined]

    page.on("dialog", stay)
    await page.close(run_before_unload=True)
    await becomes(page, "callfloor.phone.call?.phase === 'up'")
    assert asked == ["beforeunload"]
