"""What a supervisor does on the floor: asked of the floor, written to the audit, refused in words."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cti.attending
import cti.inbound
import cti.routing
from crm_core import centre, waiting
from cti.errors import Refused
from cti.events import AgentState
from cti.floor import CallbackView, Happening, ListenerView
from cti.ids import InteractionId
from cti.routing.plan import Preferred, Selection
from cti.routing.select import CODE_OF_SELECTION, CODE_OF_STATE
from tests.web.hall import ANNA, CHEN, LI_WEI, NOW, SALES, TALKING, WAITING, agent_view
from tests.web.site import PAST
from tests.web.test_audit_trail import records
from web.sentences import CHOSEN, COUNTED, PASSED, PASSED_MANY, required_told
from web.words import WORDS

if TYPE_CHECKING:
    from tests.web.site import Browser, Site


async def post(browser: Browser, path: str, body: object) -> tuple[int, dict[str, object]]:
    answer = await browser.send("POST", path, json=body)
    return answer.status, await answer.json()


async def audited(site: Site) -> list[tuple[str, str, str, object]]:
    return [(row["username"], row["action"], row["object_id"], row["detail"]) for row in await records(site)]


async def test_listening_names_one_call_of_one_agent_and_the_own_phone(site: Site) -> None:
    browser = await site.browser("ruth")
    path = f"/api/floor/calls/{TALKING}/listening"
    for mode in ("listen", "whisper"):
        assert (await post(browser, path, {"agent": CHEN, "mode": mode}))[0] == 200
    await browser.send("POST", f"{path}/end")
    assert (await post(browser, f"/api/floor/calls/{TALKING}/take-over", {"agent": CHEN}))[0] == 200
    assert site.floor.asked == [
        ("spy", ANNA, TALKING, CHEN, "listen", "ruth"),
        ("spy", ANNA, TALKING, CHEN, "whisper", "ruth"),
        ("end_spying", ANNA, TALKING, "ruth"),
        ("take_over", ANNA, TALKING, CHEN, "ruth"),
    ]
    assert await audited(site) == [
        ("ruth", "listened", TALKING, {"agent": CHEN}),
        ("ruth", "whispered", TALKING, {"agent": CHEN}),
        ("ruth", "listening_ended", TALKING, {}),
        ("ruth", "taken_over", TALKING, {"agent": CHEN}),
    ]


async def test_a_supervisor_without_a_phone_is_told_what_is_missing(site: Site) -> None:
    browser = await site.browser("sofia")
    status, said = await post(browser, f"/api/floor/calls/{TALKING}/listening", {"agent": CHEN, "mode": "listen"})
    assert (status, said["code"]) == (409, "no_phone_of_your_own")
    assert "phone of your own" in str(said["message"])
    page = await browser.text("/floor")
    assert 'id="steer"' in page
    assert "data-has-phone" not in page
    assert "data-has-phone" in await (await site.browser("ruth")).text("/floor")


async def test_a_state_is_forced_only_on_somebody_who_is_there(site: Site) -> None:
    browser = await site.browser("ruth")
    site.floor.put(agent_view(CHEN, AgentState.AVAILABLE))
    assert (await post(browser, f"/api/floor/agents/{CHEN}/state", {"state": "NOT_READY", "reason": "lunch"}))[0] == 200
    assert (await post(browser, f"/api/floor/agents/{CHEN}/state", {"state": "LOGGED_OUT"}))[0] == 200
    status, said = await post(browser, f"/api/floor/agents/{LI_WEI}/state", {"state": "AVAILABLE"})
    assert (status, said["code"]) == (409, "target_logged_out")
    assert (await post(browser, "/api/floor/agents/nobody/state", {"state": "AVAILABLE"}))[0] == 422
    assert site.floor.asked == [("set_state", CHEN, "NOT_READY", "lunch", "ruth"), ("log_out", CHEN, "ruth")]
    assert ("ruth", "state_set", CHEN, {"state": ["AVAILABLE", "NOT_READY"], "reason": "lunch"}) in await audited(site)


async def test_a_message_goes_to_one_a_team_or_everybody_who_is_there(site: Site) -> None:
    browser = await site.browser("ruth")
    site.floor.put(agent_view(CHEN, AgentState.AVAILABLE, team="day"))
    for to in ({"agent": LI_WEI}, {"team": "day"}, {}):
        assert (await post(browser, "/api/floor/messages", {"text": "Three wait.", **to}))[0] == 200
    assert site.floor.asked == [
        ("send_message", agents, "Three wait.", "ruth", "Ruth") for agents in ((LI_WEI,), (CHEN,), (ANNA, CHEN))
    ]


async def test_a_waiting_caller_is_given_to_somebody_unless_the_floor_refuses(site: Site) -> None:
    browser = await site.browser("ruth")
    assert (await post(browser, f"/api/floor/calls/{WAITING}/pick", {"agent": CHEN}))[0] == 200
    assert site.floor.asked == [("pick", WAITING, CHEN, "ruth")]
    site.floor.refusal = Refused("not_waiting")
    status, said = await post(browser, f"/api/floor/calls/{WAITING}/pick", {"agent": CHEN})
    assert (status, said["message"]) == (409, "This caller does not wait any more.")
    assert [one[1] for one in await audited(site)].count("picked") == 1


async def test_an_agent_steers_nothing_and_does_not_see_how(site: Site) -> None:
    browser = await site.browser("li.wei")
    assert (await post(browser, f"/api/floor/calls/{WAITING}/pick", {"agent": LI_WEI}))[0] == 403
    assert site.floor.asked == []


async def test_the_floor_shows_who_listens_what_is_needed_and_how_work_is_spread(site: Site) -> None:
    site.floor.put(agent_view(ANNA, AgentState.AVAILABLE, calls_taken=2, occupancy=0.4))
    site.floor.put(agent_view(CHEN, AgentState.NOT_READY, reason="lunch", set_by="ruth", calls_taken=6, occupancy=0.8))
    site.floor.heard_by = [ListenerView(TALKING, CHEN, ANNA, "listen", NOW)]
    site.floor.kept = [
        CallbackView("c1", InteractionId("pbx1-1.9"), SALES, "+8613900000001", NOW - 90, NOW + 60, is_dialled=False)
    ]
    browser = await site.browser("ruth")
    page = re.sub(r"\s+", " ", html.unescape(await browser.text("/floor")))
    for shown in (
        "1 in Sales 销售",
        "1:15 to 2:20 more",
        "chinese at least 3",
        "in 0:30: chinese",
        "Anna Berg listens",
        "set by Ruth",
        "2 to 6, on average 4.0",
        "40 % to 80 %, on average 60 %",
        "+8613900000001",
        "Ends in 1:00",
        "Nobody is free: 12 logged out, 1 not ready, 1 not proficient enough, 1 passed over (a reason of tomorrow).",
    ):
        assert shown in page, shown
    picture = await browser.json("/api/floor")
    waiting = next(call for call in picture["calls"] if call["id"] == WAITING)
    assert (waiting["position"], waiting["required"], waiting["required_next"]) == (1, "chinese >= 3", "chinese")
    assert picture["callbacks"][0]["queue"] == SALES


async def test_a_number_kept_for_a_call_back_is_read_only_by_who_may(site: Site) -> None:
    site.floor.kept = [
        CallbackView("c1", InteractionId("pbx1-1.9"), SALES, "+8613900000001", NOW - 90, NOW + 60, is_dialled=False)
    ]
    async with site.database.begin() as connection:
        for field in ("ani_raw", "ani_name"):
            await centre.put_field_rule(
                connection, centre.FieldRule(role="supervisor", object="interaction", field=field, access="none")
            )
    site.clock.now += 5
    for path in ("/floor", "/floor/live", "/api/floor"):
        assert "13900000001" not in await (await site.browser("ruth")).text(path)


async def test_a_waiting_callers_way_is_told_in_a_sentence_and_in_full(site: Site) -> None:
    site.floor.stories[WAITING] = [
        Happening(NOW - 20, "queued", queue=SALES, detail="2"),
        Happening(NOW - 10, "announced", to="comfort", detail="position=2 minutes=5"),
        Happening(NOW - 5, "overflow", queue=SALES, to="queue:support", detail="waited"),
        Happening(NOW - 1, "something_new", detail="x"),
    ]
    browser = await site.browser("ruth")
    told = await browser.json(f"/api/interactions/{WAITING}/reasons")
    assert told["sentence"].startswith("Nobody is free: 12 logged out")
    assert [one["sentence"] for one in told["story"]] == [
        "Waits in Sales 销售, place 2.",
        "Was told: that it takes a little longer (place 2, up to 5 min).",
        "Left Sales 销售 for the queue Support: waited too long.",
        "Something else happened (something new).",
    ]
    page = await browser.text(f"/interactions/{WAITING}/why")
    assert "Left Sales 销售 for the queue Support: waited too long." in page
    assert "Left Sales 销售" in await browser.text(f"/interactions/{WAITING}")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "anybody"),
        (
            "english >= 5 and (technical > 3 or not trainee)",
            "english at least 5 and (technical more than 3 or not trainee)",
        ),
        ('tier == "gold <b>"', 'tier is "gold <b>"'),
    ],
)
def test_what_is_required_is_said_in_words(expression: str, words: str) -> None:
    assert required_told(str, expression) == words


def codes_of_routing() -> set[str]:
    """Every reason that routing may give, read from its source."""
    found = {*CODE_OF_STATE.values(), *CODE_OF_SELECTION.values()}
    for path in Path(cti.routing.__path__[0]).glob("*.py"):
        source = path.read_text()
        found |= set(re.findall(r"""(?:Passed\([^()"]*(?:\([^()]*\))?[^()"]*|Shortfall\(|counts\[)"(\w+)\"""", source))
        found |= set(re.findall(r'(?:if|else) "(skill_\w+|call_\w+|phone_\w+|desk_\w+)"', source))
    return found


def test_every_reason_that_the_core_gives_for_a_state_has_a_word() -> None:
    source = "".join(Path(cti.__path__[0], f"{name}.py").read_text() for name in ("inbound", "attending"))
    moves = re.findall(r"Move\.\w+, now, reason=(\"?)(\w+)", source)
    codes = {
        code if quote else str(getattr(cti.inbound, code, getattr(cti.attending, code, ""))) for quote, code in moves
    }
    assert {"consult", "listening", "callback", "phone_unreachable"} <= codes
    assert codes - {""} - {one.removeprefix("reason.") for one in WORDS} == set()


def test_every_reason_and_rule_of_routing_has_words() -> None:
    codes = codes_of_routing()
    assert {"logged_out", "less_idle", "skill_missing", "skill_unwanted", "none_of", "unqualified", "resting"} <= codes
    assert codes - set(PASSED) == {"unqualified"}
    assert codes - set(COUNTED) == set()
    assert codes - set(PASSED_MANY) == set()
    rules = {one.value for one in Selection} | {
        f"preferred_{one.value}" for one in Preferred if one is not Preferred.NONE
    }
    assert (rules | {"named_agent", "picked", "returning"}) - set(CHOSEN) == set()


async def test_the_queues_that_a_stored_contact_stood_in_are_told(site: Site) -> None:
    async with site.database.begin() as connection:
        await waiting.write(
            connection,
            offers=[
                waiting.OfferRow(
                    interaction=PAST,
                    began_at=NOW - 400,
                    queue="sales",
                    ended_at=NOW - 300,
                    outcome="overflowed",
                    went_to="queue:support",
                ),
                waiting.OfferRow(interaction=PAST, began_at=NOW - 300, queue="support", outcome="answered"),
            ],
        )
    browser = await site.browser("ruth")
    told = await browser.json(f"/api/interactions/{PAST}/reasons")
    assert [one["sentence"] for one in told["story"]] == [
        "Waits in Sales 销售.",
        "Left Sales 销售 for the queue Support.",
        "Waits in Support.",
    ]
    assert "Left Sales 销售 for the queue Support." in await browser.text(f"/interactions/{PAST}")
