"""Nobody asks faster than a person can, and what is read of customers is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_core import audit
from crm_core.access import FieldRules
from tests.web.site import NOW, PASSWORD, SEEDER
from web.dispatch import SERVICES
from web.paces import ASKING, READING, READS_PER_RECORD, Pace, Paces

if TYPE_CHECKING:
    from crm_core.access import Row
    from tests.web.site import Site

BRISK = Pace("brisk", 2.0, 3.0)


async def told(site: Site, action: str) -> list[Row]:
    await site.app[SERVICES].trail.close()
    async with site.database.read() as connection:
        rows = await audit.recent(connection, SEEDER, FieldRules(), limit=50)
    return [row for row in rows if row["action"] == action]


def test_a_rest_gives_back_what_was_spent_and_no_more() -> None:
    paces = Paces()
    assert [paces.take("ann", BRISK, now=0.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert paces.take("bo", BRISK, now=0.0) == 0
    assert paces.take("ann", BRISK, now=0.5) == 0
    assert paces.take("ann", BRISK, now=0.5) > 0
    assert [paces.take("ann", BRISK, now=100.0) > 0 for _ in range(4)] == [False, False, False, True]
    # A clock that was set back neither gives nor takes.
    assert paces.take("ann", BRISK, now=50.0) > 0


async def test_who_copies_the_customers_is_slowed_down_counted_and_found_in_the_audit(site: Site) -> None:
    browser = await site.browser("li.wei")
    # The log-in read one page.
    for number in range(int(READING.at_once) - 1):
        assert (await browser.get(f"/api/customers?q=wang{number}")).status == 200
    answer = await browser.get("/api/customers/1")
    assert (answer.status, (await answer.json())["code"]) == (429, "too_fast")
    assert int(answer.headers["Retry-After"]) >= 1
    page = await browser.get("/customers?q=wang")
    assert page.status == 429
    assert "That was too fast." in await page.text()
    # Another log-in is the same person; another person is not, and work goes on.
    again, other = await site.browser(), await site.browser("sofia")
    form = {"username": "li.wei", "password": PASSWORD}
    assert (await again.send("POST", "/login", data=form)).status == 303
    assert (await again.get("/api/customers/1")).status == 429
    assert (await other.get("/api/customers/1")).status == 200
    assert (await browser.get("/api/desk")).status == 200
    counted = await told(site, "read_many")
    assert [row["detail"]["reads"] for row in counted] == [READS_PER_RECORD] * 2
    (slowed,) = await told(site, "slowed_down")
    assert (slowed["username"], slowed["detail"], slowed["at"]) == ("li.wei", {"pace": "reading"}, NOW)
    site.clock.now += 2
    assert (await browser.get("/api/customers/1")).status == 200


async def test_a_script_that_floods_is_answered_429_and_the_others_are_served(site: Site) -> None:
    browser, other = await site.browser("li.wei"), await site.browser("sofia")
    statuses = [(await browser.get("/api/desk/targets")).status for _ in range(int(ASKING.at_once) + 5)]
    assert statuses[-1] == 429
    assert statuses.count(429) >= 5
    assert (await other.get("/api/floor")).status == 200
