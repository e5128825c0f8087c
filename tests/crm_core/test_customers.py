from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update as update_rows

from crm_core import centre, customers, interactions
from crm_core.access import FieldRules, Reader
from crm_core.errors import BadInput, Conflict, Missing, Refused
from crm_core.schema import party

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.database import Database

NOW = 1_795_315_200.0
READER = Reader("sarah", "supervisor")
RULES = FieldRules()


async def person(connection: AsyncConnection, name: str, *numbers: str, **given: Any) -> int:
    made = await customers.create_person(connection, READER, RULES, {"name": name, **given}, now=NOW)
    for number in numbers:
        await customers.add_number(connection, READER, RULES, made, number, default_region="CN", now=NOW)
    return made


async def organisation(connection: AsyncConnection, name: str, **given: Any) -> int:
    return await customers.create_organisation(connection, READER, RULES, {"name": name, **given}, now=NOW)


async def found_ids(database: Database, query: str, *, rules: FieldRules = RULES, **page: int) -> list[int]:
    async with database.read() as connection:
        rows = await customers.search(connection, READER, rules, query, **{"limit": 50, "offset": 0, **page})
    return [row["id"] for row in rows]


async def callers(database: Database, *, account: str = "", ani: str = "") -> customers.Found:
    async with database.read() as connection:
        return await customers.find_callers(connection, account=account, ani=ani, default_region="CN")


# ── who calls ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_caller_is_found_however_the_network_writes_the_number(database: Database) -> None:
    async with database.begin() as connection:
        made = await person(connection, "李伟", "138 0013 8000")
    for ani in ("13800138000", "+8613800138000", "0086 138-0013-8000", "013800138000"):
        assert await callers(database, ani=ani) == customers.Found((made,), "number")


async def test_the_account_that_a_caller_typed_comes_before_the_number(database: Database) -> None:
    async with database.begin() as connection:
        by_number = await person(connection, "A", "13800138000")
        by_account = await person(connection, "B", account_number="C-100017")
    for typed in ("100017", "C-100017"):
        assert await callers(database, account=typed, ani="13800138000") == customers.Found((by_account,), "account")
    assert await callers(database, account="999", ani="13800138000") == customers.Found((by_number,), "number")


async def test_nobody_is_found_for_nothing_or_for_nonsense(database: Database) -> None:
    async with database.begin() as connection:
        await person(connection, "A", "13800138000")
    for ani in ("", "anonymous", "8001", "-", "' OR 1=1 --", "+"):
        for account in ("", "-", "' OR 1=1 --", "9" * 500):
            assert await callers(database, account=account, ani=ani) == customers.Found((), "none")


async def test_everybody_with_the_number_is_found_and_the_last_spoken_to_comes_first(database: Database) -> None:
    async with database.begin() as connection:
        made = [await person(connection, f"P{place}", "13800138000") for place in range(3)]
        await interactions.write(
            connection,
            interactions=[
                interactions.InteractionRow(id="a", direction="inbound", started_at=NOW - 50, party_id=made[1]),
                interactions.InteractionRow(id="b", direction="inbound", started_at=NOW - 9, party_id=made[2]),
            ],
        )
    assert (await callers(database, ani="13800138000")).parties == (made[2], made[1], made[0])


async def test_at_most_ten_customers_are_offered_for_one_number(database: Database) -> None:
    async with database.begin() as connection:
        for place in range(14):
            await person(connection, f"P{place}", "13800138000")
    assert len((await callers(database, ani="13800138000")).parties) == 10


async def test_a_merged_customer_is_found_as_the_survivor_once(database: Database) -> None:
    async with database.begin() as connection:
        loser = await person(connection, "A", "13800138000")
        survivor = await person(connection, "A", "13800138000")
        await connection.execute(update_rows(party).where(party.c.id == loser).values(merged_into=survivor))
    assert (await callers(database, ani="13800138000")).parties == (survivor,)
    async with database.read() as connection:
        seen = await customers.customer(connection, READER, RULES, loser)
    assert seen is not None
    assert seen["id"] == survivor


async def test_a_number_that_was_given_up_finds_nobody(database: Database) -> None:
    async with database.begin() as connection:
        made = await person(connection, "A")
        number = await customers.add_number(
            connection, READER, RULES, made, "13800138000", default_region="CN", now=NOW
        )
        await customers.end_number(connection, READER, RULES, made, number, now=NOW)
    assert (await callers(database, ani="13800138000")).how == "none"


# ── what is shown ─────────────────────────────────────────────────────────────────────────────────────────


async def furnished(connection: AsyncConnection) -> tuple[int, int]:
    """A person with everything, and the organisation."""
    await centre.put_product(connection, centre.Product(code="fiber", name="Fiber", names={"zh-Hans": "光纤"}))
    await centre.put_product(connection, centre.Product(code="tv", name="TV", summary="Channels"))
    await centre.put_queue(connection, centre.Queue(slug="sales", name="Sales"))
    await centre.put_agent(
        connection,
        centre.Agent(slug="li.wei", name="Li Wei", pbx="pbx1", endpoint="agent1", phone_kind="browser"),
    )
    company = await organisation(connection, "北京华为技术有限公司")
    made = await person(
        connection,
        "张三丰",
        "13800138000",
        account_number="C-100017",
        tier="gold",
        language="zh",
        owner="li.wei",
        flags=["vip", "complaint_open"],
        custom={"shoe-size": 43},
    )
    await customers.add_number(
        connection, READER, RULES, made, "021-63810000转12", default_region="CN", now=NOW, is_primary=True
    )
    await customers.add_email(connection, READER, RULES, made, "San.Feng@Example.com", now=NOW, is_primary=True)
    await customers.link(connection, READER, RULES, person=made, organisation=company, role="buyer", is_primary=True)
    await customers.set_product(connection, READER, RULES, made, "fiber", "owns", since=NOW)
    await interactions.write(
        connection,
        interactions=[
            interactions.InteractionRow(
                id=f"pbx1-{place}",
                direction="inbound",
                started_at=NOW - 1_000 * place,
                party_id=made,
                queue="sales",
                agent="li.wei",
                ani_e164="+8613800138000",
                ani_raw="13800138000",
                note=f"note {place} " + "x" * 300,
                disposition="sold",
                talk_s=60.4,
            )
            for place in range(8)
        ],
        recordings=[interactions.RecordingRow(file="a.wav", interaction="pbx1-0", started_at=NOW)],
    )
    return made, company


async def test_the_card_shows_the_customer_and_the_last_five_contacts(database: Database) -> None:
    async with database.begin() as connection:
        made, _ = await furnished(connection)
    async with database.read() as connection:
        (card,) = await customers.cards(connection, READER, [made], RULES)
    history = card.pop("interactions")
    assert card == {
        "id": made,
        "name": "张三丰",
        "kind": "person",
        "company": "北京华为技术有限公司",
        "tier": "gold",
        "status": "active",
        "language": "zh",
        "flags": ["complaint_open", "vip"],
        "owner": "Li Wei",
        "account_number": "C-100017",
        "numbers": ["+862163810000", "+8613800138000"],
        "email": "san.feng@example.com",
        "since": "2026-11-22",
    }
    assert [one["id"] for one in history] == [f"pbx1-{place}" for place in range(5)]
    assert history[0] == {
        "id": "pbx1-0",
        "at": NOW,
        "direction": "inbound",
        "queue": "Sales",
        "agent": "Li Wei",
        "disposition": "sold",
        "note": ("note 0 " + "x" * 300)[:200],
        "talk_s": 60,
        "has_recording": True,
    }
    assert history[1]["has_recording"] is False


async def test_cards_come_in_the_order_asked_for_and_skip_who_is_not_there(database: Database) -> None:
    async with database.begin() as connection:
        one, two = await person(connection, "A"), await person(connection, "B")
    async with database.read() as connection:
        seen = await customers.cards(connection, READER, [two, 99_999, one, two], RULES)
        assert [card["id"] for card in seen] == [two, one]
        assert await customers.cards(connection, READER, [], RULES) == []


async def test_the_product_panel_shows_what_they_ask_about_first_and_then_what_they_own(database: Database) -> None:
    async with database.begin() as connection:
        made, _ = await furnished(connection)
    async with database.read() as connection:
        panel = await customers.product_panel(connection, READER, RULES, [made], ["tv", "", "no-such"])
        assert panel == [
            {"code": "tv", "name": "TV", "relation": "asks_about", "summary": "Channels"},
            {"code": "fiber", "name": "Fiber", "relation": "owns", "summary": ""},
        ]
        in_chinese = await customers.product_panel(connection, READER, RULES, [made], ["fiber"], language="zh-Hans")
        assert [(one["name"], one["relation"]) for one in in_chinese] == [("光纤", "owns")]


async def test_everything_about_one_customer_is_on_one_page(database: Database) -> None:
    async with database.begin() as connection:
        made, company = await furnished(connection)
    async with database.read() as connection:
        seen = await customers.customer(connection, READER, RULES, made)
        owner = await customers.customer(connection, READER, RULES, company)
        assert await customers.customer(connection, READER, RULES, 99_999) is None
    assert seen is not None
    assert owner is not None
    assert (seen["name"], seen["owner"], seen["owner_name"], seen["version"]) == ("张三丰", "li.wei", "Li Wei", 1)
    assert [(one["e164"], one["extension"]) for one in seen["numbers"]] == [
        ("+862163810000", "12"),
        ("+8613800138000", ""),
    ]
    assert [one["address"] for one in seen["emails"]] == ["san.feng@example.com"]
    assert [(one["id"], one["role"]) for one in seen["organisations"]] == [(company, "buyer")]
    assert [one["id"] for one in owner["people"]] == [made]
    assert seen["custom"] == {"shoe-size": 43}
    assert [one["code"] for one in seen["products"]] == ["fiber"]


async def test_the_timeline_goes_back_page_by_page_and_an_organisation_shows_its_peoples(database: Database) -> None:
    async with database.begin() as connection:
        made, company = await furnished(connection)
    for whose in (made, company):
        pages: list[list[str]] = []
        before: float | None = None
        while True:
            async with database.read() as connection:
                page = await customers.timeline(connection, READER, RULES, whose, limit=3, before=before)
            if not page:
                break
            pages.append([one["id"] for one in page])
            before = page[-1]["at"]
        assert pages == [
            ["pbx1-0", "pbx1-1", "pbx1-2"],
            ["pbx1-3", "pbx1-4", "pbx1-5"],
            ["pbx1-6", "pbx1-7"],
        ]


# ── search ────────────────────────────────────────────────────────────────────────────────────────────────


FINDS = (
    "张三丰",
    "三丰",
    "丰",
    "华为",
    "为技",
    "san.feng@example.com",
    "feng",
    "FEN",
    "C-100017",
    "1000",
    "100017",
    "13800138000",
    "0138 0013",
    "8000",
    "+86 138",
)
FINDS_NOT = (
    "張三丰",
    "丰三",
    "138001380001",
    "80",
    "",
    "%",
    '" OR name : "',
    "' | 'x':*",
    "NEAR(",
    "\x00",
)


async def test_a_customer_is_found_by_any_piece_of_what_is_known(database: Database) -> None:
    async with database.begin() as connection:
        made, _ = await furnished(connection)
        await person(connection, "Somebody Else", "13911112222")
    assert [query for query in FINDS if made not in await found_ids(database, query)] == []
    assert [query for query in FINDS_NOT if made in await found_ids(database, query)] == []


async def test_case_accents_word_order_and_rare_characters_do_not_matter(database: Database) -> None:
    async with database.begin() as connection:
        made = await person(connection, "José García 𠮷 吉野家")
    for query in ("Jose", "JOSÉ garcía", "garcia jose", "Garc", "𠮷", "吉野"):
        assert await found_ids(database, query) == [made], query


async def test_the_exact_name_comes_first_and_pages_do_not_overlap(database: Database) -> None:
    async with database.begin() as connection:
        longer = [await person(connection, f"Anna Berg {place}") for place in range(5)]
        exact = await person(connection, "Anna Berg")
    assert await found_ids(database, "anna berg") == [exact, *longer]
    assert await found_ids(database, "anna berg", limit=2, offset=0) == [exact, longer[0]]
    assert await found_ids(database, "anna berg", limit=2, offset=2) == longer[1:3]


async def test_search_follows_a_changed_name_and_a_changed_company(database: Database) -> None:
    async with database.begin() as connection:
        made, company = await furnished(connection)
        await customers.update(connection, READER, RULES, made, {"name": "李四"}, version=1, now=NOW)
        await customers.update(connection, READER, RULES, company, {"name": "Globex"}, version=1, now=NOW)
    assert await found_ids(database, "张三丰") == []
    assert await found_ids(database, "李四") == [made]
    assert set(await found_ids(database, "globex")) == {made, company}
    assert await found_ids(database, "华为") == []
    async with database.begin() as connection:
        await customers.unlink(connection, READER, RULES, person=made, organisation=company, until=NOW)
    assert await found_ids(database, "globex") == [company]


# ── changes ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_second_change_of_what_somebody_else_changed_is_refused(database: Database) -> None:
    async with database.begin() as connection:
        made = await person(connection, "A")
    async with database.begin() as connection:
        changed = await customers.update(
            connection, READER, RULES, made, {"tier": "gold", "flags": ["vip"]}, version=1, now=NOW
        )
    assert changed == customers.Changed(2, {"tier": ("", "gold"), "flags": ([], ["vip"])})
    with pytest.raises(Conflict) as conflict:
        async with database.begin() as connection:
            await customers.update(connection, READER, RULES, made, {"tier": ""}, version=1, now=NOW)
    assert conflict.value.version == 2


async def test_of_two_changes_at_once_one_wins_and_the_other_is_told(database: Database) -> None:
    async with database.begin() as connection:
        made = await person(connection, "A")

    async def change(tier: str) -> str:
        try:
            async with database.begin() as connection:
                await customers.update(connection, READER, RULES, made, {"tier": tier}, version=1, now=NOW)
        except Conflict:
            return "conflict"
        return tier

    ended = await asyncio.gather(change("gold"), change("silver"))
    assert sorted(ended)[0] == "conflict"
    async with database.read() as connection:
        (card,) = await customers.cards(connection, READER, [made], RULES)
    assert card["tier"] in ended


async def test_custom_fields_that_were_not_sent_stay(database: Database) -> None:
    async with database.begin() as connection:
        made = await person(connection, "A", custom={"a": "1", "b": "2"})
        await customers.update(connection, READER, RULES, made, {"custom": {"a": None, "c": True}}, version=1, now=NOW)
        seen = await customers.customer(connection, READER, RULES, made)
    assert seen is not None
    assert seen["custom"] == {"b": "2", "c": True}


BAD = (
    ({"name": ""}, "name", "required"),
    ({"name": "x" * 201}, "name", "too_long"),
    ({"name": "a\nb"}, "name", "control_characters"),
    ({"name": "a\x00"}, "name", "control_characters"),
    ({"name": 5}, "name", "not_a_text"),
    ({"tier": "Gold!"}, "tier", "malformed"),
    ({"language": "zh_CN"}, "language", "malformed"),
    ({"account_number": "C 1"}, "account_number", "malformed"),
    ({"account_number": "C-1"}, "account_number", "taken"),
    ({"birthday_month": 13, "birthday_day": 1}, "birthday_month", "out_of_range"),
    ({"birthday_month": 2}, "birthday_day", "incomplete"),
    ({"birthday_month": 2, "birthday_day": 29, "birthday_year": 2025}, "birthday_day", "no_such_day"),
    ({"custom": {"a": [1]}}, "custom.a", "not_a_value"),
    ({"custom": {"A b": 1}}, "custom.A b", "malformed"),
    ({"version": 7}, "version", "unknown_field"),
    ({"merged_into": 7}, "merged_into", "unknown_field"),
)


async def test_bad_input_is_refused_by_field(database: Database) -> None:
    async with database.begin() as connection:
        await person(connection, "Other", account_number="C-1")
        made = await person(connection, "A")
        for given, field, problem in BAD:
            with pytest.raises(BadInput) as on_create:
                await customers.create_person(connection, READER, RULES, {"name": "A", **given}, now=NOW)
            with pytest.raises(BadInput) as on_update:
                await customers.update(connection, READER, RULES, made, given, version=1, now=NOW)
            for refused in (on_create, on_update):
                assert (refused.value.field, refused.value.problem) == (field, problem)


async def test_a_birthday_needs_no_year(database: Database) -> None:
    async with database.begin() as connection:
        made = await person(connection, "A", birthday_month=2, birthday_day=29)
        seen = await customers.customer(connection, READER, RULES, made)
    assert seen is not None
    assert (seen["birthday_month"], seen["birthday_day"], seen["birthday_year"]) == (2, 29, None)


async def test_only_a_full_number_can_be_a_customers(database: Database) -> None:
    async with database.begin() as connection:
        made = await person(connection, "A")
        for raw, kind in (("anonymous", "withheld"), ("8001", "internal"), ("95588", "short"), ("abc", "invalid")):
            with pytest.raises(BadInput) as refused:
                await customers.add_number(connection, READER, RULES, made, raw, default_region="CN", now=NOW)
            assert (refused.value.field, refused.value.problem) == ("number", f"is_{kind}")


async def test_one_number_of_two_customers_is_stored_once_and_adding_it_again_changes_nothing(
    database: Database,
) -> None:
    async with database.begin() as connection:
        one, two = await person(connection, "A"), await person(connection, "B")
        ids = {
            await customers.add_number(connection, READER, RULES, whose, raw, default_region="CN", now=NOW)
            for whose, raw in ((one, "13800138000"), (two, "+86 138 0013 8000"), (one, "0086 13800138000"))
        }
    assert len(ids) == 1
    assert sorted(await found_ids(database, "13800138000")) == [one, two]


async def test_links_join_a_person_with_an_organisation_only(database: Database) -> None:
    async with database.begin() as connection:
        one, two = await person(connection, "A"), await person(connection, "B")
        with pytest.raises(Missing):
            await customers.link(connection, READER, RULES, person=one, organisation=two)


async def test_a_field_that_may_only_be_read_cannot_be_changed(database: Database) -> None:
    rules = FieldRules([("supervisor", "party", "tier", "read"), ("supervisor", "party", "custom.iban", "none")])
    async with database.begin() as connection:
        made = await person(connection, "A")
        for given in ({"tier": "gold"}, {"custom": {"iban": "DE"}}):
            with pytest.raises(Refused):
                await customers.update(connection, READER, rules, made, given, version=1, now=NOW)
        await customers.update(connection, READER, rules, made, {"custom": {"x": 1}}, version=1, now=NOW)
