from __future__ import annotations

from typing import TYPE_CHECKING

from crm_core import audit
from crm_core.access import FieldRules
from tests.web.site import PAST, PAST_WITHOUT_RECORDING, SEEDER

if TYPE_CHECKING:
    from tests.web.site import Site

PLAY = f"/recordings/{PAST}"


async def plays(site: Site) -> list[tuple[str, str]]:
    async with site.database.read() as connection:
        rows = await audit.recent(connection, SEEDER, FieldRules(), limit=50)
    return [(row["username"], row["object_id"]) for row in rows if row["action"] == "play"]


async def test_a_recording_is_played_with_seeking_and_audited_once(site: Site) -> None:
    browser = await site.browser("li.wei")
    whole = (site.recordings / "1795000000.7.wav").read_bytes()
    first = await browser.get(PLAY, headers={"Range": "bytes=0-"})
    assert first.status == 206
    assert first.headers["Content-Type"] == "audio/wav"
    assert first.headers["Accept-Ranges"] == "bytes"
    assert await first.read() == whole
    sought = await browser.get(PLAY, headers={"Range": "bytes=1000-1999"})
    assert sought.status == 206
    assert sought.headers["Content-Range"] == f"bytes 1000-1999/{len(whole)}"
    assert await sought.read() == whole[1000:2000]
    assert (await browser.get(PLAY, headers={"Range": f"bytes={len(whole)}-"})).status == 416
    assert await plays(site) == [("li.wei", PAST)]
    site.clock.now += 60
    assert await (await browser.get(PLAY)).read() == whole
    assert await plays(site) == [("li.wei", PAST)] * 2


async def test_skipping_the_first_byte_does_not_hide_a_play(site: Site) -> None:
    browser = await site.browser("li.wei")
    await browser.get(PLAY, headers={"Range": "bytes=1-"})
    assert await plays(site) == [("li.wei", PAST)]


async def test_nothing_outside_the_folder_is_served_whatever_the_database_says(site: Site) -> None:
    browser = await site.browser("li.wei")
    for part in (1, 2, 3, 4, 99):
        answer = await browser.get(f"{PLAY}?part={part}")
        assert answer.status == 404, part
        assert "wav" not in await answer.text()
    assert (await browser.get(f"/recordings/{PAST_WITHOUT_RECORDING}")).status == 404
    assert (await browser.get("/recordings/..%2f..%2fetc%2fpasswd")).status == 404
    assert await plays(site) == []
