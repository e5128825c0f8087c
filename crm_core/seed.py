"""A small company to try things with: three queues that relax what they require, eight agents, five hundred customers
and their history.

Numbers of British and American customers come from the ranges kept free for fiction; Chinese ones are made up.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import exists, insert, select

from crm_core import centre, interactions, search_index, users
from crm_core.bulk import number_of, seed_many
from crm_core.centre import (
    Agent,
    Calendar,
    Callback,
    Comfort,
    Disposition,
    Menu,
    Overflow,
    Product,
    Queue,
    Reason,
    Route,
    SiteRules,
    Step,
)
from crm_core.interactions import InteractionRow, LegRow
from crm_core.made_up_names import somebody
from crm_core.names import company_key, name_key
from crm_core.phones import digits, parse_number
from crm_core.schema import (
    email,
    party,
    party_email,
    party_flag,
    party_link,
    party_phone,
    party_product,
    phone,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.access import Row
    from crm_core.database import Database

__all__ = ["DEMO_USERS", "SHARED_NUMBER", "DemoUser", "number_of", "seed_demo", "seed_many"]

SOURCE = "demo"
PEOPLE = 460
ORGANISATIONS = 40
DAY_S = 86_400.0
HISTORY_S = 548 * DAY_S
# A couple share this number.
SHARED_NUMBER = "+442079460999"


@dataclass(frozen=True, slots=True)
class DemoUser:
    """Somebody who can log in to the demonstration."""

    username: str
    name: str
    role: str
    agent: str | None
    language: str


PRODUCTS = (
    Product(
        code="fiber-200",
        name="Fibre 200",
        summary="200 Mbit/s, 24 months, router included.",
        names={"zh-Hans": "光纤 200", "zh-Hant": "光纖 200"},
        summaries={"zh-Hans": "200 兆，合约 24 个月，含路由器。", "zh-Hant": "200 兆，合約 24 個月，含路由器。"},
    ),
    Product(
        code="fiber-1000",
        name="Fibre 1000",
        summary="1 Gbit/s, static address on request.",
        names={"zh-Hans": "光纤 1000", "zh-Hant": "光纖 1000"},
        summaries={"zh-Hans": "千兆，可申请固定地址。", "zh-Hant": "千兆，可申請固定位址。"},
    ),
    Product(
        code="mobile-20",
        name="Mobile 20",
        summary="20 GB, calls included, monthly notice.",
        names={"zh-Hans": "畅享 20", "zh-Hant": "暢享 20"},
        summaries={"zh-Hans": "每月 20 GB，通话不限，按月可退。", "zh-Hant": "每月 20 GB，通話不限，按月可退。"},
    ),
    Product(
        code="office-phone",
        name="Office Phone",
        summary="Hosted telephone system, price per seat.",
        names={"zh-Hans": "云办公电话", "zh-Hant": "雲端辦公電話"},
        summaries={"zh-Hans": "云端电话系统，按座席计费。", "zh-Hant": "雲端電話系統，按座席計費。"},
    ),
    Product(
        code="care-plus",
        name="Care Plus",
        summary="Engineer on site within four hours.",
        names={"zh-Hans": "尊享维护", "zh-Hant": "尊享維護"},
        summaries={"zh-Hans": "工程师四小时内上门。", "zh-Hant": "工程師四小時內到府。"},
    ),
)
CALENDARS = (
    # Somebody may try the demonstration at any hour.
    Calendar(
        slug="service",
        name="Service hours",
        zone="Asia/Shanghai",
        monday="00:00-24:00",
        tuesday="00:00-24:00",
        wednesday="00:00-24:00",
        thursday="00:00-24:00",
        friday="00:00-24:00",
        saturday="00:00-24:00",
        sunday="00:00-24:00",
    ),
    Calendar(
        slug="office",
        name="Office hours",
        zone="Asia/Shanghai",
        monday="09:00-12:00 13:00-18:00",
        tuesday="09:00-12:00 13:00-18:00",
        wednesday="09:00-12:00 13:00-18:00",
        thursday="09:00-12:00 13:00-18:00",
        friday="09:00-12:00 13:00-18:00",
        # National Day, and the Sunday and Saturday that make up for it.
        days={f"2026-10-0{day}": "" for day in range(1, 8)}
        | dict.fromkeys(("2026-09-20", "2026-10-10"), "09:00-17:00"),
    ),
)
QUEUES = (
    Queue(
        slug="sales",
        name="Sales",
        steps=(
            Step(after_s=0, text="english >= 5 or mandarin >= 8"),
            Step(after_s=30, text="english >= 3 or mandarin >= 3"),
        ),
        wrap_up_s=30,
        calendar="service",
        closed_to="voicemail:sales",
        overflows=(Overflow(when="no_agents", limit=120, to="voicemail:sales"),),
        comfort=Comfort(greeting="greeting", message="comfort", every_s=45, says_position=True, callback_after_s=60),
        callback=Callback(calendar="service", trunk="callfloor-trunk", shown_number="4001"),
        product="fiber-1000",
        is_default=True,
    ),
    Queue(
        slug="support",
        name="Support",
        steps=(Step(after_s=0, text="technical >= 6"), Step(after_s=20, text="technical >= 4")),
        selection="best_skilled",
        preferred="last_agent",
        preferred_patience_s=20,
        wrap_up_s=45,
        breather_s=30,
        breather_after_s=600,
        priority=5,
        calendar="service",
        closed_to="voicemail:support",
        overflows=(Overflow(when="waited", limit=600, to="queue:sales"),),
        comfort=Comfort(message="comfort", every_s=60, says_position=True, says_wait=True, callback_after_s=90),
        callback=Callback(calendar="service", trunk="callfloor-trunk", shown_number="4002"),
        product="care-plus",
    ),
    Queue(
        slug="billing",
        name="Billing",
        steps=(
            Step(after_s=0, text="mandarin >= 6"),
            Step(after_s=60, text='mandarin >= 3 or (language == "en" and english >= 3)'),
        ),
        selection="fewest_skills",
        preferred="owner",
        preferred_patience_s=15,
        wrap_up_s=20,
        calendar="service",
        closed_to="message:closed",
        comfort=Comfort(greeting="greeting", message="comfort", every_s=45),
    ),
)
MENUS = (
    Menu(
        slug="account",
        name="Account number",
        prompt="account",
        options={"#": "queue:billing", "0": "queue:sales"},
        otherwise="queue:billing",
        tries=1,
        account_digits=6,
    ),
)
SITE = SiteRules(tiers={"platinum": 3, "gold": 2, "silver": 1}, most_occupied=0.95)
_AGENTS: tuple[tuple[str, str, str, Mapping[str, int], tuple[str, ...]], ...] = (
    ("li.wei", "李伟", "browser", {"mandarin": 10, "english": 7, "technical": 6}, ("sales", "support", "billing")),
    ("sarah.chen", "Sarah Chen", "browser", {"english": 10, "mandarin": 8}, ("sales", "billing")),
    ("tom.baker", "Tom Baker", "desk", {"english": 10, "technical": 9}, ("sales", "support")),
    ("wang.fang", "王芳", "desk", {"mandarin": 10, "english": 4}, ("sales", "billing")),
    ("emma.clark", "Emma Clark", "desk", {"english": 10, "technical": 4}, ("sales", "support")),
    ("zhang.min", "张敏", "desk", {"mandarin": 9, "english": 5, "technical": 8}, ("support", "billing")),
    ("david.ng", "David Ng", "desk", {"english": 9, "mandarin": 6, "technical": 7}, ("sales", "support", "billing")),
    ("chen.jie", "陈洁", "desk", {"mandarin": 10, "technical": 5}, ("support", "billing")),
)
# A supervisor's own phone: no queue's calls come to it, it listens to others'.
_SEAT = ("grace.lin", "Grace Lin", "browser", {"english": 10}, ())
DEMO_USERS = (
    *(
        DemoUser(slug, name, "agent", slug, "en" if name.isascii() else "zh-Hans")
        for slug, name, _kind, _skills, _queues in _AGENTS
    ),
    DemoUser("supervisor", "Grace Lin", "supervisor", "grace.lin", "en"),
    DemoUser("administrator", "Administrator", "administrator", None, "en"),
)
ROUTES = (
    Route(dnis="4001", queue="sales", product="fiber-1000", language="en"),
    Route(dnis="4002", queue="support", product="care-plus"),
    Route(dnis="4003", queue="billing", language="zh"),
    Route(dnis="4004", queue="billing", language="en", menu="account"),
)
REASONS = tuple(
    Reason(code=code, labels={"en": en, "zh-Hans": hans, "zh-Hant": hant}, position=place)
    for place, (code, en, hans, hant) in enumerate(
        (
            ("break", "Break", "休息", "休息"),
            ("lunch", "Lunch", "午餐", "午餐"),
            ("meeting", "Meeting", "会议", "會議"),
            ("training", "Training", "培训", "培訓"),
            ("paperwork", "Paperwork", "处理文件", "處理文件"),
        ),
        start=1,
    )
)
DISPOSITIONS = tuple(
    Disposition(code=code, labels={"en": en, "zh-Hans": hans, "zh-Hant": hant}, queue=queue, key=key, position=place)
    for place, (code, en, hans, hant, queue, key) in enumerate(
        (
            ("resolved", "Resolved", "已解决", "已解決", None, "1"),
            ("call-back", "Call back", "需回电", "需回電", None, "2"),
            ("passed-on", "Passed on", "已转交", "已轉交", None, "3"),
            ("complaint", "Complaint", "投诉", "投訴", None, "4"),
            ("wrong-number", "Wrong number", "打错电话", "打錯電話", None, "5"),
            ("sold", "Sold", "成交", "成交", "sales", "6"),
            ("not-interested", "Not interested", "无意向", "無意向", "sales", "7"),
            ("engineer-booked", "Engineer booked", "已约工程师", "已約工程師", "support", "6"),
            ("refund", "Refund", "退款", "退款", "billing", "6"),
        ),
        start=1,
    )
)

# queue → disposition → notes in English and in Chinese
_NOTES: Mapping[str, Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "sales": {
        "sold": (
            ("Ordered {product}, start on the first of next month.", "Took {product} after comparing two offers."),
            ("已订购{product}，下月一号开通。", "比较两个方案后选了{product}。"),
        ),
        "not-interested": (
            ("Finds {product} too expensive; may ask again in spring.", "Has a contract elsewhere until autumn."),
            ("觉得{product}价格偏高，明年再考虑。", "与其他公司的合同秋天才到期。"),
        ),
        "call-back": (
            ("Wants to speak with the partner first, prefers mornings.", "Asked for the offer in writing."),
            ("要和家人商量，上午方便接电话。", "希望先收到书面报价。"),
        ),
    },
    "support": {
        "resolved": (
            ("Router restarted, line stable again.", "Changed the wireless channel, speed is back."),
            ("重启路由器后恢复正常。", "更换无线信道后网速恢复。"),
        ),
        "engineer-booked": (
            ("Line drops every evening; engineer comes on Thursday.", "Socket broken, visit between 8 and 12."),
            ("每晚断线，已约工程师周四上门。", "插座损坏，上午八点到十二点上门。"),
        ),
        "complaint": (
            ("Third outage this month, wants to hear from a manager.", "Engineer did not turn up."),
            ("本月第三次断网，要求主管回电。", "工程师未按时上门。"),
        ),
    },
    "billing": {
        "resolved": (
            ("Explained the pro-rata amount on the first bill.", "Sent the bill for last month again."),
            ("解释了首月账单的按天计费。", "补发了上月账单。"),
        ),
        "refund": (
            ("Charged twice in March, refund ordered.", "Returned the router, deposit goes back."),
            ("三月重复扣费，已申请退款。", "已退回路由器，押金退还。"),
        ),
        "call-back": (
            ("Wants to change the due date; finance to confirm.", "Asked for a payment plan."),
            ("想更改还款日，待财务确认。", "咨询分期付款。"),
        ),
    },
}
_COMPANIES = [
    "Northgate Bakery",
    "Harbour Logistics",
    "Bluebird Dental",
    "Kestrel Engineering",
    "Oakfield School",
    "Marlow Legal",
    "Silverline Travel",
    "Beacon Insurance",
    "Pinewood Hotels",
    "Arden Pharmacy",
    "Redbrick Studios",
    "Foxglove Flowers",
    "Summit Cycles",
    "Tidewater Foods",
    "Granite Homes",
    "Lantern Books",
    "Quayside Fitness",
    "Meadow Vets",
    "Copper Kettle Cafés",
    "Atlas Print",
]
_COMPANIES_ZH = [
    "上海晨光贸易有限公司",
    "北京远航科技有限公司",
    "深圳市蓝海电子有限公司",
    "杭州西湖茶业有限公司",
    "广州金穗食品有限公司",
    "成都天府软件股份有限公司",
    "南京紫金教育咨询有限公司",
    "武汉江城物流有限公司",
    "苏州锦绣纺织有限公司",
    "西安古城旅行社",
    "厦门鹭岛酒店",
    "青岛海风水产有限公司",
    "重庆山城汽车服务有限公司",
    "天津港湾仓储有限公司",
    "长沙湘江传媒有限公司",
    "宁波东海机械有限公司",
    "大连北方船务有限公司",
    "福州榕树医疗器械有限公司",
    "昆明春城花卉有限公司",
    "济南泉城印务有限公司",
]
_US_AREAS = ("202", "212", "303", "312", "404", "415", "512", "617", "702", "808")


class _Numbers:
    """Numbers that were not given out before."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._given: set[str] = {SHARED_NUMBER}

    def of(self, *, is_chinese: bool) -> str:
        while True:
            if is_chinese:
                prefix = self._rng.choice(("138", "139", "150", "158", "186", "189"))
                number = f"+86{prefix}{self._rng.randrange(10**8):08d}"
            elif self._rng.random() < 0.5:
                number = f"+447700900{self._rng.randrange(1_000):03d}"
            else:
                number = f"+1{self._rng.choice(_US_AREAS)}55501{self._rng.randrange(100):02d}"
            if number not in self._given:
                self._given.add(number)
                return number


async def seed_demo(
    database: Database, *, now: float, rng: random.Random, passwords: Mapping[str, str], pbx: str = "pbx1"
) -> bool:
    """Fill a database with the small company; False, and nothing changed, if it is there already.

    ``passwords``: user name → password for those of ``DEMO_USERS`` who shall be able to log in."""
    async with database.read() as connection:
        if await connection.scalar(select(exists().where(party.c.ext_source == SOURCE))):
            return False
    wanted = [user for user in DEMO_USERS if user.username in passwords]
    hashes = await asyncio.gather(
        *(asyncio.to_thread(users.hash_password, passwords[user.username]) for user in wanted)
    )
    async with database.begin() as connection:
        await _put_centre(connection, pbx)
        for user, password_hash in zip(wanted, hashes, strict=True):
            await users.create_user(
                connection,
                username=user.username,
                name=user.name,
                password_hash=password_hash,
                role=user.role,
                agent=user.agent,
                language=user.language,
                now=now,
            )
        customers = await _put_customers(connection, now, rng)
        await _put_history(connection, customers, now, rng, pbx)
    return True


async def _put_centre(connection: AsyncConnection, pbx: str) -> None:
    for product in PRODUCTS:
        await centre.put_product(connection, product)
    for calendar in CALENDARS:
        await centre.put_calendar(connection, calendar)
    for queue in QUEUES:
        await centre.put_queue(connection, queue)
    for menu in MENUS:
        await centre.put_menu(connection, menu)
    await centre.put_site_rules(connection, SITE)
    for place, (slug, name, kind, skills, queues) in enumerate((*_AGENTS, _SEAT), start=1):
        await centre.put_agent(
            connection,
            Agent(
                slug=slug,
                name=name,
                pbx=pbx,
                endpoint=f"agent{place}",
                phone_kind=kind,
                team="north" if place <= 4 else "south",
                skills=skills,
                queues=queues,
            ),
        )
    for route in ROUTES:
        await centre.put_route(connection, route)
    for reason in REASONS:
        await centre.put_reason(connection, reason)
    for disposition in DISPOSITIONS:
        await centre.put_disposition(connection, disposition)


@dataclass(frozen=True, slots=True)
class _Customer:
    id: int
    is_chinese: bool
    number: str
    account: str
    created_at: float
    owned: tuple[str, ...]


async def _stored_ids(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> list[int]:
    result = await connection.execute(insert(table).returning(table.c.id, sort_by_parameter_order=True), list(rows))
    return [row[0] for row in result]


async def _put_customers(connection: AsyncConnection, now: float, rng: random.Random) -> list[_Customer]:
    numbers = _Numbers(rng)
    names: list[tuple[str, str, bool]] = [
        *(("organisation", name, False) for name in _COMPANIES),
        *(("organisation", name, True) for name in _COMPANIES_ZH),
        # Whoever answers the shared number.
        ("person", "Hannah Murphy", False),
        ("person", "Jack Murphy", False),
    ]
    while len(names) < ORGANISATIONS + PEOPLE:
        is_chinese = rng.random() < 0.55
        names.append(("person", somebody(rng, is_chinese=is_chinese), is_chinese))
    agents = [slug for slug, *_ in _AGENTS]
    parties: list[Row] = []
    for place, (kind, name, is_chinese) in enumerate(names):
        created_at = now - rng.uniform(200 * DAY_S, 5 * 365 * DAY_S)
        has_birthday = kind == "person" and rng.random() < 0.6
        parties.append(
            {
                "kind": kind,
                "name": name,
                "name_key": name_key(name),
                "company_key": company_key(name) if kind == "organisation" else "",
                "account_number": f"C-{100_001 + place}",
                "account_digits": str(100_001 + place),
                "type": "business" if kind == "organisation" else "private",
                "status": rng.choices(("active", "dormant", "lost"), (85, 12, 3))[0],
                "tier": rng.choices(("gold", "silver", "bronze", ""), (8, 20, 30, 42))[0],
                "language": rng.choices(("zh", "zh-Hant"), (9, 1))[0] if is_chinese else "en",
                "owner": rng.choice(agents),
                "birthday_month": rng.randint(1, 12) if has_birthday else None,
                "birthday_day": rng.randint(1, 28) if has_birthday else None,
                "birthday_year": rng.randint(1950, 2004) if has_birthday else None,
                "ext_source": SOURCE,
                "ext_id": str(place),
                "created_at": created_at,
                "updated_at": created_at,
            }
        )
    ids = await _stored_ids(connection, party, parties)
    given = [
        SHARED_NUMBER if name.endswith(" Murphy") and place in {ORGANISATIONS, ORGANISATIONS + 1} else ""
        for place, (_kind, name, _is_chinese) in enumerate(names)
    ]
    given = [one or numbers.of(is_chinese=names[place][2]) for place, one in enumerate(given)]
    await _put_numbers(connection, ids, given, [is_chinese for _, _, is_chinese in names], numbers, now, rng)
    await _put_emails(connection, ids, names, rng)
    flags = [
        {"party_id": one, "flag": flag, "since": now - rng.uniform(1, 200) * DAY_S}
        for one in ids
        for flag, chance in (("vip", 0.07), ("complaint_open", 0.04), ("slow_payer", 0.03), ("no_marketing", 0.08))
        if rng.random() < chance
    ]
    await connection.execute(insert(party_flag), flags)
    people = [one for one, (kind, _, _) in zip(ids, names, strict=True) if kind == "person"]
    contacts = rng.sample(people, 130)
    await connection.execute(
        insert(party_link),
        [
            {
                "person_id": person,
                "organisation_id": ids[place % ORGANISATIONS],
                "role": rng.choice(("buyer", "owner", "technician", "accounts")),
                "is_primary": True,
                "since": now - rng.uniform(100, 900) * DAY_S,
            }
            for place, person in enumerate(contacts)
        ],
    )
    owned = [
        tuple(rng.sample([product.code for product in PRODUCTS], rng.choices((0, 1, 2, 3), (15, 50, 27, 8))[0]))
        for _ in ids
    ]
    await connection.execute(
        insert(party_product),
        [
            {
                "party_id": one,
                "product_code": code,
                "relation": "owns",
                "since": parties[place]["created_at"] + rng.uniform(0, 150) * DAY_S,
            }
            for place, one in enumerate(ids)
            for code in owned[place]
        ],
    )
    await search_index.index_parties(connection, ids)
    return [
        _Customer(
            one,
            names[place][2],
            given[place],
            parties[place]["account_number"],
            parties[place]["created_at"],
            owned[place],
        )
        for place, one in enumerate(ids)
    ]


async def _put_numbers(
    connection: AsyncConnection,
    ids: Sequence[int],
    given: Sequence[str],
    is_chinese: Sequence[bool],
    numbers: _Numbers,
    now: float,
    rng: random.Random,
) -> None:
    of_party: list[tuple[int, str, bool]] = []
    for one, number, chinese in zip(ids, given, is_chinese, strict=True):
        of_party.append((one, number, True))
        if rng.random() < 0.25:
            of_party.append((one, numbers.of(is_chinese=chinese), False))
    unique = sorted({number for _, number, _ in of_party})
    known = dict((await connection.execute(select(phone.c.e164, phone.c.id).where(phone.c.e164.in_(unique)))).all())
    rows = []
    for number in unique:
        if number not in known:
            parsed = parse_number(number, "US")
            rows.append({"e164": number, "region": parsed.region, "line_type": parsed.line_type})
    made = await _stored_ids(connection, phone, rows)
    known.update({row["e164"]: phone_id for row, phone_id in zip(rows, made, strict=True)})
    await search_index.index_phones(
        connection, [(phone_id, digits(row["e164"])) for row, phone_id in zip(rows, made, strict=True)]
    )
    await connection.execute(
        insert(party_phone),
        [
            {
                "party_id": one,
                "phone_id": known[number],
                "label": "mobile" if is_primary else "home",
                "is_primary": is_primary,
                "since": now - 200 * DAY_S,
            }
            for one, number, is_primary in of_party
        ],
    )


async def _put_emails(
    connection: AsyncConnection, ids: Sequence[int], names: Sequence[tuple[str, str, bool]], rng: random.Random
) -> None:
    addresses = [
        (one, f"{'contact' if kind == 'organisation' else 'customer'}{place}@{'mail' if chinese else 'post'}.example")
        for place, (one, (kind, _name, chinese)) in enumerate(zip(ids, names, strict=True))
        if rng.random() < 0.8
    ]
    known = dict(
        (
            await connection.execute(
                select(email.c.address, email.c.id).where(email.c.address.in_([address for _, address in addresses]))
            )
        ).all()
    )
    new = [{"address": address} for _, address in addresses if address not in known]
    made = await _stored_ids(connection, email, new)
    known.update({row["address"]: email_id for row, email_id in zip(new, made, strict=True)})
    await connection.execute(
        insert(party_email),
        [{"party_id": one, "email_id": known[address], "is_primary": True} for one, address in addresses],
    )


async def _put_history(
    connection: AsyncConnection, customers: Sequence[_Customer], now: float, rng: random.Random, pbx: str
) -> None:
    calls: list[InteractionRow] = []
    legs: list[LegRow] = []
    product_names = {one.code: (one.name, one.names["zh-Hans"]) for one in PRODUCTS}
    dnis = {route.queue: route.dnis for route in ROUTES}
    for customer in customers:
        for _ in range(rng.randint(2, 12)):
            call, its_legs = _call(customer, now, rng, pbx, len(calls), product_names, dnis)
            calls.append(call)
            legs.extend(its_legs)
    await interactions.write(connection, interactions=calls, legs=legs)


def _call(
    customer: _Customer,
    now: float,
    rng: random.Random,
    pbx: str,
    place: int,
    product_names: Mapping[str, tuple[str, str]],
    dnis: Mapping[str, str],
) -> tuple[InteractionRow, list[LegRow]]:
    day = now - rng.uniform(DAY_S, min(HISTORY_S, now - customer.created_at))
    started_at = day - day % DAY_S + rng.uniform(8, 18) * 3_600
    queue = rng.choices(("sales", "support", "billing"), (35, 40, 25))[0]
    uniqueid = f"{started_at:.0f}.{place}"
    is_answered = rng.random() < 0.86
    wait_s = round(rng.expovariate(1 / 14), 1) + 1.0
    queued_at = started_at + 1.5
    leg = LegRow(
        id=f"{pbx}/{uniqueid}",
        interaction=f"{pbx}-{uniqueid}",
        role="customer",
        number=customer.number,
        started_at=started_at,
        ringing_at=started_at,
        answered_at=started_at + 1.0,
        ended_at=queued_at + wait_s,
        outcome="answered",
        cause="normal",
    )
    shared = {
        "id": f"{pbx}-{uniqueid}",
        "direction": "inbound",
        "started_at": started_at,
        "queued_at": queued_at,
        "party_id": customer.id,
        "candidates": (customer.id,),
        "match_how": "number",
        "queue": queue,
        "dnis": dnis[queue],
        "ani_e164": customer.number,
        "ani_raw": customer.number,
        "language": "zh" if customer.is_chinese else "en",
        "wait_s": wait_s,
    }
    if not is_answered:
        outcome = "short_abandoned" if wait_s < 5 else "abandoned"
        return InteractionRow(**shared, ended_at=queued_at + wait_s, outcome=outcome), [leg]  # type: ignore[arg-type]
    agent_slug, endpoint = rng.choice(
        [(slug, f"agent{number}") for number, (slug, *_, queues) in enumerate(_AGENTS, start=1) if queue in queues]
    )
    disposition = rng.choice(tuple(_NOTES[queue]))
    code = rng.choice(customer.owned or tuple(product_names))
    note = rng.choice(_NOTES[queue][disposition][customer.is_chinese]).format(
        product=product_names[code][customer.is_chinese]
    )
    talk_s = round(rng.lognormvariate(5.0, 0.6), 1)
    answered_at = queued_at + wait_s
    ended_at = answered_at + talk_s
    call = InteractionRow(
        **shared,  # type: ignore[arg-type]
        agent=agent_slug,
        answered_at=answered_at,
        ended_at=ended_at,
        talk_s=talk_s,
        wrap_up_s=round(rng.uniform(5, 40), 1),
        outcome="answered",
        disposition=disposition,
        note=note,
        chosen_by=agent_slug,
    )
    ringing_at = answered_at - min(wait_s, rng.uniform(1, 8))
    customer_leg = LegRow(
        id=leg.id,
        interaction=leg.interaction,
        role="customer",
        number=leg.number,
        started_at=started_at,
        ringing_at=started_at,
        answered_at=started_at + 1.0,
        ended_at=ended_at,
        outcome="answered",
        cause="normal",
    )
    agent_leg = LegRow(
        id=f"{leg.id}a",
        interaction=leg.interaction,
        role="agent",
        agent=agent_slug,
        endpoint=endpoint,
        started_at=ringing_at,
        ringing_at=ringing_at,
        answered_at=answered_at,
        ended_at=ended_at,
        outcome="answered",
        cause="normal",
    )
    return call, [customer_leg, agent_leg]
