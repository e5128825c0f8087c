"""What a caller is called arrives everywhere as text: on the agent's card, the floor, the customer's page, in the API,
in the database. It is in no log, and in no file's name."""

from __future__ import annotations

import re

import aiohttp

from tests.asterisk.sip_phone import Phone
from tests.desk.watching import becomes
from tests.dialplan.test_hostile import PIECES
from tests.e2e.conftest import SitDown, StartSite
from tests.e2e.seat import Seat
from tests.e2e.site import ANN, PASSWORD

MARKUP = "<img src=x onerror=window.hurt=1><script>window.hurt=1</script>{{7*7}}"
NUMBER = "4915155501"


async def test_a_callers_name_is_text_wherever_people_and_programs_read_it(
    start_site: StartSite, sit_down: SitDown
) -> None:
    async with start_site(people=(ANN,)) as site, sit_down("ann", 440.0) as ann:
        await ann.log_in(site)
        pbx = f"{site.pbx.host}:{site.pbx.sip_port}"
        caller = await Phone.open(NUMBER, pbx, MARKUP)
        call = caller.dial("4001")
        await ann.ask_for_work()
        await ann.rings()
        await ann.answer()
        assert MARKUP[:40] in await ann.card().inner_text()
        interaction = await ann.interaction()
        await ann.write(MARKUP)
        # The rest of the corpus waits while she talks.
        others = [await Phone.open(f"49160{number}", pbx, piece) for number, piece in enumerate(PIECES)]
        for other in others:
            other.dial("4001")
        async with aiohttp.ClientSession(
            site.url, cookie_jar=aiohttp.CookieJar(unsafe=True), headers={"Origin": site.url}
        ) as http:
            form = {"username": "sue", "password": PASSWORD}
            async with http.post("/login", data=form, allow_redirects=False) as answer:
                assert answer.status == 303
            await site.row("SELECT id FROM interaction WHERE ani_name LIKE '%DROP TABLE%'")
            await _choose(ann, interaction, 1)
            await site.row("SELECT id FROM interaction WHERE id = :id AND party_id = 1", id=interaction)
            row = await site.row("SELECT ani_name FROM interaction WHERE id = :id", id=interaction)
            assert row["ani_name"] == MARKUP
            for path in ("/floor", f"/interactions/{interaction}", "/customers/1", f"/interactions/{interaction}/why"):
                async with http.get(path) as page:
                    text = await page.text()
                    assert page.status == 200, path
                    assert not re.search(r"<img src=x|<script>(window|alert)|\b49\b.{0,3}\}\}", text), path
                    assert "/interactions/" not in path or path.endswith("/why") or "&lt;img src=x" in text, path
            for path in ("/api/floor", f"/api/interactions/{interaction}", "/api/customers/1/timeline"):
                async with http.get(path) as data:
                    assert data.content_type == "application/json"
                    assert data.headers["X-Content-Type-Options"] == "nosniff"
                    await data.json()
        await ann.page.goto(f"{site.url}/customers/1")
        await becomes(ann.page, "document.readyState === 'complete'")
        assert await ann.page.evaluate("window.hurt === undefined && document.querySelector('img[src=x]') === null")
        await call.hang_up()
        for phone in (caller, *others):
            phone.close()
    for trace in ("onerror", "DROP TABLE", "etc/passwd", NUMBER, "491600"):
        assert trace not in site.log
    names = [path.name for path in site.recordings.rglob("*.wav")]
    assert names
    assert all(re.fullmatch(r"[0-9]+\.[0-9]+(-[0-9]+)?\.wav", name) for name in names), names


async def _choose(ann: Seat, interaction: str, party: int) -> None:
    """What the page's own script sends when the agent says whose call it is."""
    script = """async ([id, party]) => {
      const csrf = document.querySelector("meta[name=csrf-token]").content;
      const headers = { "Content-Type": "application/json", "X-CSRF-Token": csrf };
      const body = JSON.stringify({ party });
      return (await fetch(`/api/interactions/${id}/customer`, { method: "PUT", headers, body })).status;
    }"""
    assert await ann.page.evaluate(script, [interaction, party]) == 200
