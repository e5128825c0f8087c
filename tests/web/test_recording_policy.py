"""Administrators say how calls are recorded; who they are and what it was before is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from crm_core import audit, centre, interactions
from crm_core.access import FieldRules, Reader
from tests.web.hall import TALKING
from tests.web.site import NOW, PAST

if TYPE_CHECKING:
    from tests.web.site import Site


async def stored(site: Site) -> centre.Centre:
    async with site.database.read() as connection:
        return await centre.load_centre(connection)


async def test_a_queues_policy_is_changed_on_the_page_and_audited(site: Site) -> None:
    boss = await site.browser("boss")
    assert "After an announcement" in await boss.text("/settings/recording")
    form = {"csrf": boss.csrf, "queue": "sales", "recording": "consent", "keeps_objected": "yes"}
    answer = await boss.send("POST", "/settings/recording/queue", data=form)
    assert (answer.status, answer.headers["Location"]) == (303, "/settings/recording#queue-sales")
    sales = next(one for one in (await stored(site)).queues if one.slug == "sales")
    assert (sales.recording, sales.keeps_objected) == ("consent", True)
    async with site.database.read() as connection:
        (record,) = await audit.recent(
            connection, Reader("boss", "administrator"), FieldRules(), limit=1, object="queue", object_id="sales"
        )
    assert (record["username"], record["action"]) == ("boss", "change")
    assert record["detail"] == {"recording": ["announced", "consent"], "keeps_objected": [False, True]}


async def test_a_rule_is_added_shown_and_removed(site: Site) -> None:
    boss = await site.browser("boss")
    rules = (
        {"digits": "+49", "policy": "consent", "citation": "<b>§ 201</b> StGB"},
        {"digits": "", "is_unknown": "yes", "policy": "off"},
    )
    for rule in rules:
        answer = await boss.send("POST", "/settings/recording/rule", data={"csrf": boss.csrf, **rule})
        assert answer.status == 303
    page = await boss.text("/settings/recording")
    assert "+49" in page
    assert "&lt;b&gt;§ 201&lt;/b&gt; StGB" in page
    assert {one.digits: one.policy for one in (await stored(site)).jurisdictions} == {"49": "consent", "unknown": "off"}
    wrong = await boss.send(
        "POST", "/settings/recording/rule", data={"csrf": boss.csrf, "digits": "4x", "policy": "off"}
    )
    assert wrong.status == 422
    await boss.send("POST", "/settings/recording/rule/removal", data={"csrf": boss.csrf, "digits": "49"})
    assert [one.digits for one in (await stored(site)).jurisdictions] == ["unknown"]


async def test_only_administrators_find_and_open_the_page(site: Site) -> None:
    sofia = await site.browser("sofia")
    assert "/settings" not in await sofia.text("/floor")
    assert (await sofia.get("/settings/recording")).status == 403
    boss = await site.browser("boss")
    assert "/settings" in await boss.text("/floor")
    assert "/settings/recording" in await boss.text("/settings/queues")


async def test_a_contact_says_why_it_was_or_was_not_recorded(site: Site) -> None:
    async with site.database.begin() as connection:
        row = (await interactions.kept(connection, [PAST])).interactions[PAST]
        await interactions.write(
            connection,
            interactions=[replace(row, recording_basis="objected")],
            recordings=[
                interactions.RecordingRow(
                    file="1795000000.7.wav",
                    interaction=PAST,
                    started_at=NOW - 315_190,
                    basis="consent",
                    objected_at=NOW - 315_180,
                )
            ],
        )
    sofia = await site.browser("sofia")
    page = await sofia.text(f"/interactions/{PAST}")
    assert "with the caller&#39;s consent" in page
    assert "Not recorded: the caller objected" in page


async def test_the_callers_objection_is_passed_on(site: Site) -> None:
    browser = await site.browser("li.wei")
    answer = await browser.send("POST", f"/api/interactions/{TALKING}/recording/objection")
    assert answer.status == 200
    assert site.floor.asked == [("object_to_recording", "li.wei", TALKING)]
