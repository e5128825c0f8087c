"""The softphone against a real Asterisk: what it registers with, hears, and sends is what a PBX really does."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import expect

from cti.asterisk.local_pbx import LocalPbx, PhoneAccount
from tests.desk.stage import Stage
from tests.desk.test_phone import LISTEN
from tests.desk.watching import becomes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Page

    from tests.desk.conftest import OpenDesk

pytestmark = [pytest.mark.browser, pytest.mark.pbx, pytest.mark.asyncio(loop_scope="session")]

DIALPLAN = """
[desk-test]
exten = tone,1,Answer()
 same = n,Milliwatt(m)
exten = digits,1,Answer()
 same = n,Read(DIGITS,,4,,,20)
 same = n,Set(DB(desk-test/digits)=${DIGITS})
 same = n,Wait(20)
"""


PATH_NAME = "/a=ice-ufrag:(\\S+)/.exec(connections[0].localDescription.sdp)[1]"
LOSE_PATH = """() => {
  Object.defineProperty(connections[0], "iceConnectionState", { configurable: true, get: () => "disconnected" });
  connections[0].dispatchEvent(new Event("iceconnectionstatechange"));
}"""
FIND_PATH = """() => {
  delete connections[0].iceConnectionState;
  connections[0].dispatchEvent(new Event("iceconnectionstatechange"));
}"""
KEEP_CONNECTIONS = """
window.connections = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...settings) {
    super(...settings);
    connections.push(this);
  }
};
"""


@pytest_asyncio.fixture(loop_scope="session")
async def pbx(asterisk_root: Path) -> AsyncIterator[LocalPbx]:
    """A real Asterisk on which Anna's browser may register."""
    folder = Path(tempfile.mkdtemp(prefix="callfloor-desk-"))
    phones = (PhoneAccount("anna", "secret", is_browser=True),)
    async with LocalPbx(asterisk_root, folder, version=22, phones=phones, extra_dialplan=DIALPLAN) as pbx:
        yield pbx
    shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(loop_scope="session")
async def pbx_stage(pbx: LocalPbx) -> AsyncIterator[Stage]:
    """A server whose agent has a browser phone at the real PBX."""
    stage = Stage(phone="browser")
    stage.sip_url = pbx.ws_url
    await stage.start()
    yield stage
    await stage.stop()


async def originate(pbx: LocalPbx, extension: str) -> None:
    """Asks the PBX to ring Anna and to send her to an extension of the test's own when she answers."""
    reader, writer = await asyncio.open_connection(pbx.host, pbx.ami_port)
    login = f"Action: Login\r\nUsername: {pbx.ami_username}\r\nSecret: {pbx.ami_secret}\r\nEvents: off\r\n\r\n"
    call = f"Action: Originate\r\nChannel: PJSIP/anna\r\nContext: desk-test\r\nExten: {extension}\r\nPriority: 1\r\n"
    writer.write(f"{login}{call}Async: true\r\nActionID: ring\r\n\r\n".encode())
    await asyncio.wait_for(reader.readuntil(b"ActionID: ring\r\n"), 10)
    writer.close()


async def answered(pbx: LocalPbx, stage: Stage, open_desk: OpenDesk, extension: str, *, before: str = "") -> Page:
    page = await open_desk(stage, before=before)
    await becomes(page, "callfloor.phone.state === 'registered'")
    card = await stage.ring()
    await originate(pbx, extension)
    await becomes(page, "callfloor.phone.call?.phase === 'ringing'")
    await page.keyboard.press("F2")
    await becomes(page, "callfloor.phone.call?.phase === 'up'")
    await stage.show(card, phase="talking", until=None)
    return page


async def test_a_real_pbx_rings_the_page_and_is_heard_through_hold_and_back(
    pbx: LocalPbx, pbx_stage: Stage, open_desk: OpenDesk
) -> None:
    page = await answered(pbx, pbx_stage, open_desk, "tone")
    await becomes(page, "document.getElementById('remote-audio').srcObject !== null")
    await page.evaluate(LISTEN)
    await becomes(page, "loudest_hz() > 950 && loudest_hz() < 1060")
    await becomes(page, "['good', 'fair'].includes(callfloor.phone.quality?.word)")
    await page.keyboard.press("F9")
    await becomes(page, "callfloor.phone.call.isHeld && loudest_hz() === 0")
    await page.keyboard.press("F9")
    await becomes(page, "!callfloor.phone.call.isHeld && loudest_hz() > 950")
    await page.keyboard.press("Shift+F2")
    await becomes(page, "callfloor.phone.call === null")


async def test_a_call_whose_network_changed_finds_another_way_and_is_heard_again(
    pbx: LocalPbx, pbx_stage: Stage, open_desk: OpenDesk
) -> None:
    page = await answered(pbx, pbx_stage, open_desk, "tone", before=KEEP_CONNECTIONS)
    await becomes(page, "connections.length === 1 && connections[0].iceConnectionState === 'connected'")
    first = await page.evaluate(PATH_NAME)
    await page.evaluate(LOSE_PATH)
    await expect(page.locator("#banner")).to_contain_text("The network changed")
    await becomes(page, f"{PATH_NAME} !== '{first}' && connections[0].signalingState === 'stable'")
    await page.evaluate(FIND_PATH)
    await expect(page.locator("#banner")).not_to_contain_text("The network changed")
    await page.evaluate(LISTEN)
    await becomes(page, "loudest_hz() > 950 && loudest_hz() < 1060")
    assert (await page.evaluate("callfloor.phone.call.phase")) == "up"


async def test_a_hang_up_on_the_other_side_ends_the_call_in_the_page(
    pbx: LocalPbx, pbx_stage: Stage, open_desk: OpenDesk
) -> None:
    page = await answered(pbx, pbx_stage, open_desk, "tone")
    await pbx.cli("channel request hangup all")
    await becomes(page, "callfloor.phone.call === null")
    await expect(page.locator("#phone-text")).to_have_text("Phone ready")


async def test_tones_pressed_in_the_page_arrive_at_the_pbx(
    pbx: LocalPbx, pbx_stage: Stage, open_desk: OpenDesk
) -> None:
    page = await answered(pbx, pbx_stage, open_desk, "digits")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Keypad")).to_be_visible()
    await page.keyboard.press("k")
    await page.keyboard.type("42*9")

    async def heard() -> str:
        return await pbx.cli("database get desk-test digits")

    for _look in range(100):
        if "42*9" in await heard():
            break
        await page.wait_for_timeout(100)
    assert "42*9" in await heard()


async def test_a_wrong_password_is_said_and_not_called_ready(pbx: LocalPbx, open_desk: OpenDesk) -> None:
    stage = Stage(phone="browser")
    stage.sip_url = pbx.ws_url
    stage.password = "wrong"
    await stage.start()
    page = await open_desk(stage)
    await expect(page.locator("#banner")).to_contain_text("The phone is not connected")
    assert await page.evaluate("callfloor.phone.state") == "unregistered"
    await stage.stop()
