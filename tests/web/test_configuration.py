"""Administrators configure the centre in the pages and by the API: what is wrong is said beside its field, what is
right holds at once, and every change can be taken back."""

from __future__ import annotations

import io
import itertools
import math
import struct
import wave
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from crm_core import centre
from crm_core.errors import BadInput
from web.wav import at_8_khz

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.site import Browser, Site

OFFICE = {"slug": "office", "name": "Office", "zone": "Asia/Shanghai", "monday": "08:00-12:00"}


async def stored(site: Site) -> centre.Centre:
    async with site.database.read() as connection:
        return await centre.load_centre(connection)


async def queue_of(site: Site, slug: str = "sales") -> centre.Queue:
    return next(one for one in (await stored(site)).queues if one.slug == slug)


def fields_of(page: str) -> dict[str, str]:
    """What the form of a queue's page would send, as a browser reads it."""

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.found: dict[str, str] = {}
            self.select = ""
            self.is_inside = False

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            given = {name: value or "" for name, value in attrs}
            if tag == "form":
                self.is_inside = given.get("class") == "setting-form"
            if not self.is_inside:
                return
            if tag == "input" and "name" in given and (given.get("type") != "checkbox" or "checked" in given):
                self.found[given["name"]] = given.get("value", "")
            if tag == "select":
                self.select = given["name"]
                self.found[self.select] = ""
            if tag == "option" and "selected" in given and self.select:
                self.found[self.select] = given["value"]

    reader = Reader()
    reader.feed(page)
    return reader.found


async def save(browser: Browser, kind: str, **fields: str) -> Any:
    return await browser.send("POST", f"/settings/setting/{kind}", data={"csrf": browser.csrf, **fields})


async def test_a_page_saved_as_it_stands_changes_nothing(site: Site) -> None:
    boss = await site.browser("boss")
    for path in ("/settings/queues/sales", "/settings/agents/li.wei"):
        before = await stored(site)
        fields = fields_of(await boss.text(path))
        answer = await save(boss, path.split("/")[2].removesuffix("s"), **fields)
        assert answer.status == 303, await answer.text()
        assert await stored(site) == before


async def test_a_queue_is_changed_field_by_field_and_holds_at_once(site: Site) -> None:
    boss = await site.browser("boss")
    assert (await save(boss, "calendar", is_new="yes", **OFFICE)).status == 303
    fields = fields_of(await boss.text("/settings/queues/sales")) | {
        "steps.0.after_s": "0",
        "steps.0.text": "chinese >= 5",
        "steps.7.after_s": "30",
        "steps.7.text": "",
        "overflows.3.when": "waited",
        "overflows.3.limit": "300",
        "overflows.3.to": "voicemail:support",
        "service_level_target": "85",
        "calendar": "office",
        "comfort.says_wait": "yes",
        "callback.is_on": "yes",
        "callback.prefixes": "86, 44",
    }
    answer = await save(boss, "queue", **fields)
    assert (answer.status, answer.headers["Location"]) == (303, "/settings/queues/sales?saved=yes")
    sales = await queue_of(site)
    assert [(one.after_s, one.text) for one in sales.steps] == [(0, "chinese >= 5"), (30, "")]
    assert sales.overflows == (centre.Overflow(when="waited", limit=300, to="voicemail:support"),)
    assert (sales.service_level_target, sales.calendar, sales.comfort.says_wait) == (0.85, "office", True)
    assert sales.callback == centre.Callback(prefixes=("86", "44"))
    assert site.configured == 2


WRONG = (
    ({"steps.4.after_s": "0", "steps.4.text": "chinese >="}, "steps.4.text", "A number or a text is needed here."),
    ({"steps.2.after_s": "9", "steps.2.text": "a"}, "steps.2.after_s", "The first step begins at 0 seconds."),
    ({"overflows.5.when": "length", "overflows.5.limit": "9"}, "overflows.5.to", "This is needed."),
    ({"closed_to": "queue:none"}, "closed_to", "There is no such queue."),
    ({"wrap_up_s": "SOON"}, "wrap_up_s", "A number is needed."),
    ({"name": ""}, "name", "This is needed."),
    ({"callback.is_on": "yes", "callback.prefixes": "86 x"}, "callback.prefixes", "This can&#39;t be written so."),
)


@pytest.mark.parametrize(("change", "field", "said"), WRONG)
async def test_what_is_wrong_is_said_beside_its_field_and_what_was_typed_stays(
    site: Site, change: dict[str, str], field: str, said: str
) -> None:
    boss = await site.browser("boss")
    fields = fields_of(await boss.text("/settings/queues/sales")) | change
    answer = await save(boss, "queue", **fields)
    page = await answer.text()
    assert answer.status == 422
    assert f'id="wrong-sales-{field}">{said}' in page
    assert all(fields_of(page)[name] == value for name, value in change.items())
    assert site.configured == 0


async def test_fields_that_no_form_of_ours_sends_are_refused_and_never_a_fault_of_ours(site: Site) -> None:
    boss = await site.browser("boss")
    odd = {
        "name": "x",
        "slug": "x",
        "is_new": "yes",
        "steps": "a",
        "steps.0": "b",
        "steps.x.y.z.q": "c",
        "overflows.²": "d",
    }
    odd |= {"comfort": "e", "callback": "f", "callback.is_on": "g", "options": "h", "options.1.2": "i", "days.0": "j"}
    odd |= {"days.1.key.x": "k", "tiers.0.value": "l", "skills.0.key": "", "service_level_target": "nan", "": "m"}
    for kind in ("queue", "agent", "calendar", "menu", "number", "site"):
        answer = await save(boss, kind, **odd)
        assert answer.status == 422, kind
    assert (await save(boss, "reason", **odd)).status == 404


async def test_who_changes_what_somebody_else_changed_meanwhile_is_told_first(site: Site) -> None:
    boss = await site.browser("boss")
    fields = fields_of(await boss.text("/settings/queues/sales"))
    assert (await save(boss, "queue", **fields, priority_="")).status == 422
    assert (await save(boss, "queue", **{**fields, "priority": "3"})).status == 303
    late = await save(boss, "queue", **{**fields, "wrap_up_s": "99"})
    page = await late.text()
    assert late.status == 422
    assert "Somebody changed this while you had it open" in page
    assert (await save(boss, "queue", **fields_of(page))).status == 303
    assert (await queue_of(site)).wrap_up_s == 99


async def test_an_expression_is_tried_against_todays_agents(site: Site) -> None:
    boss = await site.browser("boss")
    tried = await boss.text("/settings/try?text=chinese+>=+2&queue=sales")
    assert "2 of 2 agents meet this, 1 logged in." in tried
    assert "陈洁" in tried
    depends = await boss.text("/settings/try?text=chinese+and+tier+==+'gold'")
    assert "0 of 3 agents meet this" in depends
    assert "It also depends on the call: tier." in depends
    assert "2 of 3 agents meet this" in await boss.text("/settings/try?text=chinese+and+tier+==+'gold'&given=tier=gold")
    wrong = await boss.text("/settings/try?text=chinese+>=+<b>")
    assert "<mark>&lt;</mark>" in wrong
    assert '<span class="caret" aria-hidden="true">chinese &gt;= </span>^' in wrong


async def test_skills_are_set_one_by_one(site: Site) -> None:
    boss = await site.browser("boss")

    async def put(level: str, skill: str = "french") -> int:
        data = {"csrf": boss.csrf, "agent": "anna", "skill": skill, "level": level}
        return (await boss.send("POST", "/settings/skills", data=data)).status

    assert [await put("7"), await put("8"), await put("11"), await put("5", "tier")] == [200, 200, 422, 422]
    assert {one.slug: one.skills for one in (await stored(site)).agents}["anna"] == {"french": 8}
    assert 'aria-label="Anna Berg, french"' in await boss.text("/settings/skills")
    assert await put("") == 200
    assert {one.slug: one.skills for one in (await stored(site)).agents}["anna"] == {}


async def test_a_change_is_shown_and_taken_back_and_what_cannot_be_says_why(site: Site) -> None:
    boss = await site.browser("boss")
    fields = fields_of(await boss.text("/settings/queues/sales"))
    await save(boss, "queue", **{**fields, "wrap_up_s": "77", "name": "<b>Shop</b>"})
    page = await boss.text("/settings/history")
    assert "<del>30</del> <ins>77</ins>" in page
    assert "&lt;b&gt;Shop&lt;/b&gt;" in page
    undo = {"csrf": boss.csrf, "change": "1"}
    assert (await boss.send("POST", "/settings/history/undo", data=undo)).status == 303
    assert (await queue_of(site)).wrap_up_s == 30
    again = await boss.send("POST", "/settings/history/undo", data=undo)
    assert again.status == 409
    assert "This was undone already." in await again.text()
    answer = await boss.json("/api/settings/history")
    assert [(one["id"], one["undoes"], one["undone_by"]) for one in answer["changes"]] == [(2, 1, None), (1, None, 2)]


async def test_what_is_still_needed_is_not_removed(site: Site) -> None:
    boss = await site.browser("boss")
    assert (await save(boss, "calendar", is_new="yes", **OFFICE)).status == 303
    assert (await save(boss, "calendar", is_new="yes", **OFFICE)).status == 422
    whole = {"name": "Sales", "calendar": "office"}
    assert (await boss.send("PUT", "/api/settings/queue/sales", json={"setting": whole})).status == 200
    gone = {"csrf": boss.csrf, "key": "office"}
    held = await boss.send("POST", "/settings/setting/calendar/removal", data=gone)
    assert held.status == 409
    assert "Queue sales, Opening hours: There are no such opening hours." in await held.text()
    assert (await boss.send("DELETE", "/api/settings/calendar/office")).status == 422
    assert (await boss.send("PUT", "/api/settings/queue/sales", json={"setting": {"name": "Sales"}})).status == 200
    assert (await boss.send("POST", "/settings/setting/calendar/removal", data=gone)).status == 303


async def test_the_api_names_every_field_that_is_wrong(site: Site) -> None:
    boss = await site.browser("boss")
    setting = {"name": "", "steps": [{"after_s": 0, "text": "x >"}], "overflows": [{"when": "waited"}], "zzz": 1}
    answer = await boss.send("PUT", "/api/settings/queue/sales", json={"setting": setting})
    assert answer.status == 422
    fields = {(one["field"], one["problem"]) for one in (await answer.json())["fields"]}
    missing = {("overflows.0.limit", "required"), ("overflows.0.to", "required")}
    assert fields == {("name", "required"), ("body", "unknown_field")} | missing
    setting = {"name": "Sales", "steps": [{"after_s": 0, "text": "x >"}]}
    answer = await boss.send("PUT", "/api/settings/queue/sales", json={"setting": setting})
    assert (await answer.json())["fields"] == [{"field": "queue sales steps.0.text", "problem": "expected_value"}]


def tone(rate: int, *, channels: int = 1, width: int = 2, seconds: float = 0.5) -> bytes:
    top = 1 << (8 * width - 2)
    frames = bytearray()
    for place in range(int(rate * seconds)):
        level = int(top * math.sin(2 * math.pi * 440 * place / rate))
        one = (level + 128).to_bytes(1, "little") if width == 1 else level.to_bytes(width, "little", signed=True)
        frames += one * channels
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(bytes(frames))
    return made.getvalue()


def extensible(plain: bytes) -> bytes:
    """The same sound with the header that editors write."""
    size = struct.pack("<I", 40)
    extra = struct.pack("<HHI", 22, 16, 4) + b"\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    whole = struct.pack("<I", len(plain) + 24 - 8)
    return plain[:4] + whole + plain[8:16] + size + b"\xfe\xff" + plain[22:36] + extra + plain[36:]


@pytest.mark.parametrize(
    "given",
    [
        tone(8000),
        tone(44100, channels=2),
        tone(48000, width=3),
        tone(22050, width=1),
        tone(6000),
        extensible(tone(16000)),
    ],
)
def test_a_wav_of_any_kind_sounds_the_same_at_8_khz(given: bytes) -> None:
    with wave.open(io.BytesIO(at_8_khz(given))) as made:
        assert made.getparams()[:3] == (1, 2, 8000)
        samples = struct.unpack(f"<{made.getnframes()}h", made.readframes(made.getnframes()))
    assert abs(len(samples) - 4000) <= 2
    crossings = sum(1 for a, b in itertools.pairwise(samples) if a < 0 <= b)
    assert 217 <= crossings <= 222
    assert 12_000 < max(samples) < 17_000


NO_WAV = (
    (b"", "not_a_wav"),
    (b"RIFF" + bytes(90), "not_a_wav"),
    (tone(8000)[:30], "not_a_wav"),
    (tone(8000, seconds=0.01), "too_short"),
)


@pytest.mark.parametrize(("given", "problem"), NO_WAV)
def test_what_is_no_wav_is_refused(given: bytes, problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        at_8_khz(given)


async def test_an_announcement_is_shown_missing_uploaded_heard_and_removed(site: Site, tmp_path: Path) -> None:
    (site.prompts / "en").mkdir(parents=True)
    (site.prompts / "zh").mkdir()
    (site.prompts / "en" / "greeting.wav").write_bytes(tone(8000))
    boss = await site.browser("boss")
    assert 'aria-label="greeting, zh, missing"' in await boss.text("/settings/prompts")
    path = "/settings/prompts/zh/greeting"

    async def put(body: bytes) -> Any:
        return await boss.send("PUT", path, data=body, headers={"Content-Type": "audio/wav", "X-CSRF-Token": boss.csrf})

    wrong = await put(b"nothing to hear")
    assert (wrong.status, await wrong.text()) == (422, "This is not a WAV file with PCM samples.")
    assert (await put(tone(44100, channels=2))).status == 303
    heard = await boss.get(path)
    assert heard.content_type == "audio/wav"
    assert (await heard.read())[24:28] == struct.pack("<I", 8000)
    assert ", missing" not in await boss.text("/settings/prompts")
    assert (await boss.send("POST", f"{path}/removal", data={"csrf": boss.csrf})).status == 303
    assert (await boss.get(path)).status == 404
    path = "/settings/prompts/zh/..%2fx"
    assert (await put(tone(8000))).status == 404
    assert sorted(one.name for one in tmp_path.rglob("*.wav") if "prompts" in str(one)) == ["greeting.wav"]
