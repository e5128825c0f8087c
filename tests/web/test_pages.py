"""What people see on the pages beside the desk, and what they must not see."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING

import pytest

from crm_core import centre
from cti.events import AgentState
from cti.floor import RepairView
from cti.ids import InteractionId
from tests.web.hall import ANNA, LI_WEI, NOW, TALKING, WAITING, agent_view
from tests.web.site import EVIL, PAST, PAST_WITHOUT_RECORDING

if TYPE_CHECKING:
    from tests.web.site import Site

NUMBER = "13800138000"
PAST_CALL = InteractionId(PAST)
ALL_PAGES = (
    "/floor",
    "/floor/live",
    "/customers?q=Meier",
    "/customers/1",
    "/customers/2",
    f"/interactions/{PAST}",
    f"/interactions/{WAITING}/why",
    "/nowhere",
)


async def test_the_floor_shows_agents_queues_and_calls(site: Site) -> None:
    page = await (await site.browser("sofia")).text("/floor")
    for shown in ("Sales 销售", "Li Wei", "陈洁", "Waiting", "0:28", "Lunch", "Phone not reachable", "Number withheld"):
        assert shown in page
    assert "&lt;b&gt;" not in page
    assert 'hx-get="/floor/live"' in page


async def test_an_empty_floor_says_so(site: Site) -> None:
    site.floor.empty()
    page = await (await site.browser("sofia")).text("/floor")
    assert "No calls now." in page


async def test_the_live_part_follows_the_floor(site: Site) -> None:
    browser = await site.browser("sofia")
    site.floor.put(agent_view(ANNA, AgentState.WRAP_UP, next_state=AgentState.NOT_READY))
    site.floor.pbx_status = {"pbx1": "login_refused"}
    part = await browser.text("/floor/live", headers={"HX-Request": "true"})
    assert "Wrap-up" in part
    assert "pbx1 is not connected" in part
    assert "<html" not in part


async def test_the_floor_shows_what_was_corrected_by_itself(site: Site) -> None:
    browser = await site.browser("sofia")
    assert "Corrected by itself" not in await browser.text("/floor")
    site.floor.put_right = [
        RepairView(NOW, "no_route", None, None, EVIL),
        RepairView(NOW - 5, "stuck_agent", ANNA, PAST_CALL, "ON_CALL"),
        RepairView(NOW - 9, "a_thing_of_tomorrow", None, None, ""),
    ]
    page = await browser.text("/floor")
    listed = page[page.index("Corrected by itself") :]
    assert EVIL not in page
    for shown in ("Was shown as busy without a call.", "Anna Berg", f"/interactions/{PAST}", "a thing of tomorrow"):
        assert shown in listed


async def test_why_a_caller_waits_is_told_in_sentences(site: Site) -> None:
    browser = await site.browser("sofia")
    page = html.unescape(await browser.text(f"/interactions/{WAITING}/why"))
    for sentence in (
        "Nobody could take the call in Sales 销售: the caller waits.",
        "Li Wei is not ready (Lunch).",
        "陈洁 is not proficient enough (chinese 2, asked: at least 3).",
        "Anna Berg was passed over (a reason of tomorrow).",
        "12 more are logged out.",
    ):
        assert sentence in page
    told = await browser.json(f"/api/interactions/{WAITING}/reasons")
    assert told["decisions"][0]["sentence"].startswith("Nobody could take the call")
    assert [one["reason"] for one in told["decisions"][0]["passed"]][:2] == ["not_ready", "skill_too_low"]


async def test_a_stored_contact_tells_its_story(site: Site) -> None:
    browser = await site.browser("li.wei")
    page = await browser.text(f"/interactions/{PAST}")
    for shown in (
        "王小明",
        "Sold",
        "1:30",
        "by phone number",
        "Li Wei was rung",
        "陈洁 is logged out.",
        "Ended normally",
    ):
        assert shown in page
    assert f'src="/recordings/{PAST}"' in page
    stored = await browser.json(f"/api/interactions/{PAST}")
    assert stored["party_id"] == 1
    assert [leg["role"] for leg in stored["legs"]] == ["customer", "agent"]
    assert ".wav" not in json.dumps(stored)


async def test_a_live_contact_is_shown_before_it_is_written(site: Site) -> None:
    browser = await site.browser("li.wei")
    live = await browser.json(f"/api/interactions/{TALKING}")
    assert live["phase"] == "talking"
    assert (await browser.get("/interactions/pbx1-0.0")).status == 404


async def test_customers_are_found_and_their_contacts_shown(site: Site) -> None:
    browser = await site.browser("li.wei")
    page = await browser.text("/customers?q=王小明")
    assert 'href="/customers/1"' in page
    assert "VIP" in page
    card = await browser.text("/customers/1")
    for shown in ("C-000017", "wang@example.org", "Fibre 200", "Gold", "Sold", "Gave up waiting", "简体中文"):
        assert shown in card
    assert card.count("<audio") == 1
    assert f"/interactions/{PAST_WITHOUT_RECORDING}" in card
    assert "Nobody found." in await browser.text("/customers?q=Zzyzx")
    assert "Enter at least two characters" in await browser.text("/customers")
    assert (await browser.get("/customers/999999")).status == 404


async def test_a_search_says_when_there_is_more(site: Site) -> None:
    browser = await site.browser("li.wei")
    assert "The first 20 found" in await browser.text("/customers?q=Meier")
    found = await browser.json("/api/customers?q=Meier&limit=5")
    assert len(found["customers"]) == 5
    assert found["is_more"] is True


async def test_all_contacts_are_reached_page_by_page_and_none_twice(site: Site) -> None:
    browser = await site.browser("li.wei")
    seen: list[str] = []
    before = ""
    while True:
        part = await browser.json(f"/api/customers/2/timeline?limit=20{before}")
        seen += [one["id"] for one in part["contacts"]]
        if part["before"] is None:
            break
        before = f"&before={part['before']}"
    assert len(seen) == len(set(seen)) == 45
    page = await browser.text("/customers/2")
    earlier = re.search(r'href="(/customers/2\?before=[^"]+)"', page)
    assert earlier is not None
    assert "<html" not in await browser.text(earlier[1], headers={"HX-Request": "true", "HX-Request-Type": "partial"})


async def test_htmx_gets_the_middle_of_a_page_and_a_browser_the_whole(site: Site) -> None:
    browser = await site.browser("li.wei")
    part = await browser.get("/customers", headers={"HX-Request": "true", "HX-Request-Type": "partial"})
    text = await part.text()
    assert "<html" not in text
    assert 'id="results"' in text
    assert "HX-Request" in part.headers["Vary"]
    assert "<html" in await browser.text("/customers", headers={"HX-Request": "true", "HX-Request-Type": "full"})
    stranger = await site.browser()
    gone = await stranger.get("/customers", headers={"HX-Request": "true"})
    assert (gone.status, gone.headers["HX-Redirect"]) == (401, "/login")


async def test_what_a_caller_or_a_list_wrote_is_text_on_every_page(site: Site) -> None:
    browser = await site.browser("sofia")
    for path in (
        "/customers?q=script",
        "/customers/1",
        "/customers/2",
        f"/interactions/{PAST}",
        f"/customers?q={EVIL}",
    ):
        page = await browser.text(path)
        assert "<script>alert" not in page, path
        assert html.escape(EVIL) in page, path


async def test_an_agent_who_may_not_see_numbers_finds_none_anywhere(site: Site) -> None:
    browser = await site.browser("chen.jie")
    for path in (
        "/customers/1",
        "/customers?q=王小明",
        f"/customers?q={NUMBER}",
        f"/interactions/{PAST}",
        f"/interactions/{WAITING}",
        f"/interactions/{WAITING}/why",
        "/api/customers/1",
        "/api/customers/1/timeline",
        "/api/customers?q=王小明",
        f"/api/interactions/{PAST}",
        f"/api/interactions/{WAITING}",
        f"/api/interactions/{WAITING}/reasons",
        "/api/desk/targets",
    ):
        text = await browser.text(path)
        # The search itself shows what the person typed.
        assert NUMBER not in text.replace(f'value="{NUMBER}"', "").replace(f"q={NUMBER}", ""), path
    assert (await browser.json(f"/api/customers?q={NUMBER}"))["customers"] == []


async def test_a_field_that_a_role_may_not_read_is_absent_not_empty(site: Site) -> None:
    manager = await site.browser("mia")
    customer = await manager.json("/api/customers/1")
    assert customer["name"] == "王小明"
    assert "wang@example.org" not in json.dumps(customer)
    brief = (await manager.json("/api/customers?q=王小明"))["customers"][0]
    assert "email" not in brief
    assert "wang@example.org" not in await manager.text("/customers/1")


async def test_a_changed_field_rule_counts_within_seconds(site: Site) -> None:
    browser = await site.browser("li.wei")
    assert "王小明" in await browser.text("/customers/1")
    async with site.database.begin() as connection:
        await centre.put_field_rule(
            connection, centre.FieldRule(role="agent", object="party", field="name", access="none")
        )
    site.clock.now += 5
    assert "王小明" not in await browser.text("/customers/1")


@pytest.mark.parametrize(
    ("accept", "lang", "word"),
    [("zh-CN", "zh-Hans", "客户"), ("zh-TW", "zh-Hant", "客戶"), ("en", "en", "Customers"), ("fr", "en", "Customers")],
)
async def test_pages_speak_the_browsers_language_until_somebody_chooses(
    site: Site, accept: str, lang: str, word: str
) -> None:
    browser = await site.browser("li.wei")
    page = await browser.text("/customers", headers={"Accept-Language": accept})
    assert f'<html lang="{lang}">' in page
    assert word in page


async def test_a_chosen_language_stays_for_the_browser_and_for_the_person(site: Site) -> None:
    browser = await site.browser("li.wei")
    form = {"tag": "zh-Hant", "next": "/customers?q=Meier", "csrf": browser.csrf}
    answer = await browser.send("POST", "/language", data=form)
    assert (answer.status, answer.headers["Location"]) == (303, "/customers?q=Meier")
    assert '<html lang="zh-Hant">' in await browser.text("/customers")
    elsewhere = await site.browser("li.wei")
    assert '<html lang="zh-Hant">' in await elsewhere.text("/customers")
    stranger = await site.browser()
    answer = await stranger.send("POST", "/language", data={"tag": "zh-Hans", "next": "//evil.example"})
    assert answer.headers["Location"] == "/"
    assert '<html lang="zh-Hans">' in await stranger.text("/login")


async def test_no_page_holds_script_or_style_that_the_policy_would_stop(site: Site) -> None:
    browser = await site.browser("sofia")
    desk = await (await site.browser("li.wei")).text("/desk")
    pages = [await (await browser.get(path)).text() for path in ALL_PAGES]
    for page in (*pages, desk, await (await site.browser()).text("/login")):
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page)
        for attributes in re.findall(r"<script([^>]*)>", page):
            assert "src=" in attributes or 'type="application/json"' in attributes


async def test_every_answer_carries_the_hardening_headers(site: Site) -> None:
    browser = await site.browser("sofia")
    for path in (
        *ALL_PAGES,
        "/login",
        "/health",
        "/openapi.json",
        "/api/floor",
        "/static/css/base.css",
        "/static/nope",
    ):
        answer = await browser.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "connect-src 'self' wss://calls.example" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        kept = "no-cache" if path == "/static/css/base.css" else "no-store"
        assert answer.headers["Cache-Control"] == kept, path


async def test_errors_show_nothing_of_the_inside(site: Site) -> None:
    browser = await site.browser("li.wei")
    missing = await browser.get("/nowhere/../../etc/passwd")
    assert missing.status == 404
    assert "There is no such thing" in await missing.text()
    wrong = await browser.send("DELETE", "/api/desk")
    assert wrong.status == 405
    assert "GET" in wrong.headers["Allow"]
    assert (await wrong.json())["code"] == "wrong_method"

    def broken() -> dict[str, str]:
        raise RuntimeError("the secret of the inside, 13800138000")

    site.floor.agents = broken  # type: ignore[assignment, method-assign]
    for path in ("/api/desk/targets", "/floor"):
        supervisor = browser if path.startswith("/api") else await site.browser("sofia")
        failed = await supervisor.get(path)
        text = await failed.text()
        assert failed.status == 500
        assert "secret" not in text
        assert "Traceback" not in text
        assert "RuntimeError" not in text


async def test_the_desk_is_given_its_phone_and_words(site: Site) -> None:
    browser = await site.browser("li.wei")
    page = await browser.text("/desk", headers={"Accept-Language": "zh-CN"})
    assert ("log_in", LI_WEI) in site.floor.asked
    words = re.search(r'id="messages">(.*?)</script>', page, re.DOTALL)
    assert words is not None
    assert json.loads(words[1])["Available"] == "可接听"
    desk = await browser.json("/api/desk")
    password = desk["phone"].pop("password")
    assert password.startswith("secret of ")
    assert (await browser.json("/api/desk"))["phone"]["password"] == password
    assert (await (await site.browser("li.wei")).json("/api/desk"))["phone"]["password"] != password
    assert desk["phone"] == {
        "kind": "browser",
        "ws_url": "wss://calls.example/sip",
        "uri": "sip:li.wei@calls.example",
        "username": "li.wei",
        "display_name": "Li Wei",
        "ice_servers": [{"urls": ["stun:calls.example"], "username": "", "credential": ""}],
    }
    assert desk["reasons"] == [{"code": "lunch", "label": "Lunch"}]
    assert desk["dispositions"] == [{"code": "sold", "label": "Sold", "key": "s", "queue": None}]
    assert desk["socket_url"] == "wss://calls.example/desk/socket"
    assert desk["csrf"] == browser.csrf
    targets = await browser.json("/api/desk/targets")
    assert [one["id"] for one in targets["agents"]] == ["anna", "chen.jie"]
    assert [one["id"] for one in targets["queues"]] == ["sales", "support"]


async def test_what_the_desk_asks_reaches_the_floor_in_the_agents_own_name(site: Site) -> None:
    browser = await site.browser("li.wei")
    base = f"/api/interactions/{WAITING}"
    await browser.send("POST", "/api/desk/state", json={"state": "NOT_READY", "reason": "lunch"})
    await browser.send("PUT", f"{base}/note", json={"text": "你好 🎧"})
    await browser.send("PUT", f"{base}/disposition", json={"code": "sold"})
    await browser.send("PUT", f"{base}/customer", json={"party": None})
    await browser.send("POST", f"{base}/recording", json={"is_paused": True})
    await browser.send("POST", f"{base}/transfer", json={"target": "queue:support", "is_attended": False})
    await browser.send("POST", f"{base}/transfer/complete")
    await browser.send("POST", f"{base}/transfer/cancel")
    await browser.send("POST", f"{base}/hang-up")
    await browser.send("POST", "/api/desk/wrap-up/finish")
    assert site.floor.asked == [
        ("set_state", "li.wei", "NOT_READY", "lunch", "li.wei"),
        ("save_note", "li.wei", WAITING, "你好 🎧"),
        ("set_disposition", "li.wei", WAITING, "sold"),
        ("choose_customer", "li.wei", WAITING, None),
        ("pause_recording", "li.wei", WAITING, True),
        ("transfer", "li.wei", WAITING, "queue:support", False),
        ("complete_transfer", "li.wei", WAITING),
        ("cancel_transfer", "li.wei", WAITING),
        ("hang_up", "li.wei", WAITING),
        ("finish_wrap_up", "li.wei"),
    ]


async def test_a_person_without_a_seat_has_no_desk(site: Site) -> None:
    browser = await site.browser("sofia")
    answer = await browser.get("/desk")
    assert answer.status == 409
    assert "You have no agent" in await answer.text()
    assert site.floor.asked == []


async def test_an_administrator_reads_who_did_what_and_narrows_it_down(site: Site) -> None:
    await (await site.browser("li.wei")).text(f"/interactions/{PAST}")
    browser = await site.browser("boss")
    page = await browser.text("/audit")
    assert "Logged in" in page
    assert 'href="/audit?user=li.wei"' in page
    of_one = await browser.json("/api/audit?user=li.wei")
    assert {record["username"] for record in of_one["records"]} == {"li.wei"}
    first = await browser.json("/api/audit?limit=1")
    second = await browser.json(f"/api/audit?limit=1&before={first['before']}")
    assert first["records"][0]["id"] > second["records"][0]["id"]
    assert "Nothing is recorded here." in await browser.text("/audit?user=nobody")
