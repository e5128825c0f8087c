"""Passwords of browser phones on real Asterisk 22 and 16: made for a session, worth nothing after it."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import pytest

from cti.asterisk.ari import Ari, AriAddress
from cti.asterisk.local_pbx import PhoneAccount
from cti.asterisk.phone_accounts import PhoneAccounts
from cti.asterisk.switch import AsteriskSwitch, PbxAddress
from cti.events import Event, PbxRead
from cti.ids import PbxId
from cti.routing.plan import Phone as PlannedPhone
from cti.routing.plan import PhoneKind
from tests.asterisk.sip_phone import Phone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from cti.asterisk.local_pbx import LocalPbx
    from tests.conftest import StartPbx

pytestmark = pytest.mark.pbx

DEADLINE_S = 15.0
PBX = PbxId("pbx1")
ALICE = PlannedPhone(PBX, "alice", PhoneKind.BROWSER)


class Accounts:
    """Phone accounts over a running PBX, as the daemon composes them."""

    def __init__(self, pbx: LocalPbx) -> None:
        self.facts: list[Event] = []
        address = PbxAddress(
            PBX, pbx.host, pbx.ami_port, pbx.ami_username, pbx.ami_secret, first_retry_s=0.05, last_retry_s=0.2
        )
        self.switch = AsteriskSwitch(address, self.facts.append, clock=time.time, jitter=random.Random(1))
        ari = AriAddress(pbx.ari_url, pbx.ari_username, pbx.ari_secret)
        self.ari = Ari(ari, contacts_of=self.switch.contacts_of)
        self.accounts = PhoneAccounts({PBX: self.ari}, {}, living_sessions=self._living)

    async def _living(self) -> frozenset[str]:
        return frozenset()

    async def open(self, *unused: PlannedPhone) -> PhoneAccounts:
        self.switch.start()
        await until(lambda: any(isinstance(fact, PbxRead) for fact in self.facts))
        self.accounts.start(unused)
        return self.accounts

    async def until_nobody_is_registered(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while await self.switch.contacts_of("alice"):
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        await self.accounts.close()
        await self.switch.close()
        await self.ari.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.01)


async def refusal(phone: Phone, password: str) -> str:
    """How the PBX refuses this password; fails if it does not."""
    with pytest.raises(AssertionError) as refused:
        await phone.register(password=password)
    return str(refused.value)


@pytest.fixture
def version() -> int:
    return 22


@pytest.fixture
async def pbx(version: int, local_pbx: StartPbx) -> LocalPbx:
    phones = [PhoneAccount("alice", "", is_browser=True), PhoneAccount("bob", "builder", is_browser=False)]
    return await local_pbx(version=version, phones=phones, queues={"support": []}, routes={"4930555": "support"})


@pytest.fixture
async def site(pbx: LocalPbx) -> AsyncIterator[Accounts]:
    made = Accounts(pbx)
    yield made
    await made.close()


@pytest.mark.parametrize("version", [22, 16])
async def test_a_copied_secret_is_worth_nothing_after_the_log_out(pbx: LocalPbx, site: Accounts) -> None:
    sip = f"{pbx.host}:{pbx.sip_port}"
    page, thief, bob = [await Phone.open(name, sip) for name in ("alice", "alice", "bob")]
    try:
        accounts = await site.open()
        await bob.register(password="builder")
        secret = await accounts.password(ALICE, "monday")
        assert secret is not None
        await page.register(password=secret)
        assert await accounts.password(ALICE, "monday") == secret  # the page is loaded again
        page.dial("bob")
        (await bob.rung()).refuse()
        await thief.register(password=secret)

        accounts.session_ended("monday")
        await site.until_nobody_is_registered()
        assert "401" in await refusal(thief, secret)
        stolen = thief.dial("bob")
        await stolen.until("ended")
        assert stolen.status == 401
        await pbx.stop()
        await pbx.start()
        assert "401" in await refusal(thief, secret)
    finally:
        for phone in (page, thief, bob):
            phone.close()


@pytest.mark.parametrize("version", [22, 16])
async def test_an_agent_made_in_the_pages_has_a_phone_without_a_line_in_pjsip_conf(
    pbx: LocalPbx, site: Accounts
) -> None:
    sip = f"{pbx.host}:{pbx.sip_port}"
    carol, bob = [await Phone.open(name, sip) for name in ("carol", "bob")]
    try:
        accounts = await site.open()
        await bob.register(password="builder")
        secret = str(await accounts.password(PlannedPhone(PBX, "carol", PhoneKind.BROWSER), "monday"))
        await carol.register(password=secret)
        bob.dial("carol")
        (await carol.rung()).refuse()
        await pbx.stop()
        await pbx.start()
        await bob.register(password="builder")
        await carol.register(password=secret)
        bob.dial("carol")
        (await carol.rung()).refuse()
        accounts.session_ended("monday")
        async with asyncio.timeout(DEADLINE_S):
            while await site.switch.contacts_of("carol"):
                await asyncio.sleep(0.01)
    finally:
        for phone in (carol, bob):
            phone.close()


async def test_another_log_in_makes_another_secret_and_restarts_change_nothing(pbx: LocalPbx, site: Accounts) -> None:
    phone = await Phone.open("alice", f"{pbx.host}:{pbx.sip_port}")
    try:
        accounts = await site.open()
        first, second = [str(await accounts.password(ALICE, session)) for session in ("home", "office")]
        assert first != second
        assert await accounts.password(ALICE, "home") == second  # that page was refused, and asked again
        await phone.register(password=second)
        assert "401" in await refusal(phone, first)
        await pbx.stop()
        await pbx.start()
        await phone.register(password=second)
        accounts.session_ended("home")
        third = str(await accounts.password(ALICE, "office"))
        assert third not in (first, second)
        await phone.register(password=third)

        later = Accounts(pbx)  # the daemon starts again, and nobody is logged in any more
        await later.open(ALICE)
        await later.until_nobody_is_registered()
        assert "401" in await refusal(phone, third)
        await later.close()
    finally:
        phone.close()


async def test_a_page_gets_its_secret_although_the_pbx_is_away_and_is_let_in_later(
    pbx: LocalPbx, site: Accounts
) -> None:
    phone = await Phone.open("alice", f"{pbx.host}:{pbx.sip_port}")
    try:
        accounts = await site.open()
        await pbx.stop()
        secret = str(await accounts.password(ALICE, "monday"))
        await pbx.start()
        assert await accounts.password(ALICE, "monday") == secret
        await phone.register(password=secret)
    finally:
        phone.close()
