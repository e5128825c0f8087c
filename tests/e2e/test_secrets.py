"""Secrets stay out of logs and process lists, at the most talkative log level, in a session with everything in it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import aiohttp

from tests.asterisk.sip_phone import Phone
from tests.desk.watching import becomes
from tests.e2e.conftest import SitDown, StartSite
from tests.e2e.site import ANN, PASSWORD, Site

ANN_HZ = 440.0
WRONG_PASSWORD = "Tr0ub4dor-and-3-more"


async def test_no_secret_is_in_a_log_or_a_process_list(asterisk_roots: dict[int, Path], folder: Path) -> None:
    site = Site(asterisk_roots[22], folder, people=(ANN,))
    site.serve_options = ("--log-level", "debug")
    secrets = {"user password": PASSWORD, "wrong password": WRONG_PASSWORD}
    secrets |= {"AMI secret": site.pbx.ami_secret, "ARI secret": site.pbx.ari_secret}
    jar = aiohttp.CookieJar(unsafe=True)
    async with site, aiohttp.ClientSession(site.url, cookie_jar=jar, headers={"Origin": site.url}) as http:
        for password in (WRONG_PASSWORD, PASSWORD):
            form = {"username": "ann", "password": password}
            async with http.post("/login", data=form, allow_redirects=False) as answer:
                assert answer.status == (303 if password == PASSWORD else 401)
        secrets["session cookie"] = next(cookie.value for cookie in jar if cookie.key == "callfloor_session")
        async with http.get("/api/desk") as answer:
            desk = await answer.json()
        secrets |= {"SIP password": desk["phone"]["password"], "CSRF token": desk["csrf"]}
        assert all(len(secret) >= 20 for secret in secrets.values())

        phone = await Phone.open("ann", f"{site.pbx.host}:{site.pbx.sip_port}")
        await phone.register(password=desk["phone"]["password"])
        phone.close()
        async with http.ws_connect(desk["socket_url"], protocols=["callfloor.desk.1"]) as socket:
            await socket.send_json({"type": "hello", "tab": "a" * 32, "epoch": None, "last_seq": 0, "take_over": False})
            assert (await socket.receive_json())["type"] == "welcome"
        listed = b"".join(path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _is_ours(path))
        async with http.post("/logout", data={"csrf": desk["csrf"]}, allow_redirects=False) as answer:
            assert answer.status == 303
        await site.stop_daemon()

    logs = [folder / "daemon.log", *(path for path in (folder / "pbx" / "log").rglob("*") if path.is_file())]
    texts = {path.name: path.read_bytes() for path in logs}
    assert b"DEBUG" in texts["daemon.log"]
    texts["process list"] = listed
    assert b"cti.cli" in listed
    leaked = [(name, what) for name in texts for what, secret in secrets.items() if secret.encode() in texts[name]]
    assert leaked == []


def _is_ours(path: Path) -> bool:
    return path.exists() and int(path.parent.name) != os.getpid()


async def test_a_page_whose_phone_has_an_old_secret_asks_for_the_new_one_and_a_log_out_ends_both(
    start_site: StartSite, sit_down: SitDown
) -> None:
    async with start_site(people=(ANN,)) as site, sit_down("ann", ANN_HZ) as ann:
        await ann.log_in(site)
        await becomes(ann.page, "callfloor.phone.state === 'registered'")
        async with aiohttp.ClientSession(
            site.url, cookie_jar=aiohttp.CookieJar(unsafe=True), headers={"Origin": site.url}
        ) as elsewhere:
            form = {"username": "ann", "password": PASSWORD}
            async with elsewhere.post("/login", data=form, allow_redirects=False) as answer:
                assert answer.status == 303
            async with elsewhere.get("/api/desk") as answer:
                desk = await answer.json()
            copied = desk["phone"]["password"]
            # The page's phone is let in again after the PBX was away, with what the other log-in made.
            await site.pbx.stop()
            await becomes(ann.page, "callfloor.phone.state !== 'registered'")
            await site.pbx.start()
            await becomes(ann.page, "callfloor.phone.state === 'registered'")
            async with elsewhere.post("/logout", data={"csrf": desk["csrf"]}, allow_redirects=False) as answer:
                assert answer.status == 303
        thief = await Phone.open("ann", f"{site.pbx.host}:{site.pbx.sip_port}")
        async with asyncio.timeout(15):
            while await is_let_in(thief, copied):
                await asyncio.sleep(0.1)
        thief.close()


async def is_let_in(phone: Phone, password: str) -> bool:
    try:
        await phone.register(password=password)
    except AssertionError:
        return False
    return True
