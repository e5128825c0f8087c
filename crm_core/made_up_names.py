"""Names of people who do not exist, for demonstrations and measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

FIRST = [
    "James",
    "Olivia",
    "Noah",
    "Amelia",
    "George",
    "Isla",
    "Arthur",
    "Ava",
    "Leo",
    "Mia",
    "Harry",
    "Grace",
    "Oscar",
    "Lily",
    "Henry",
    "Sophia",
    "Jack",
    "Freya",
    "Charlie",
    "Emily",
    "Thomas",
    "Ella",
    "Jacob",
    "Rosie",
    "William",
    "Hannah",
    "Lucas",
    "Priya",
    "Omar",
    "Fatima",
    "Diego",
    "Elena",
]
LAST = [
    "Smith",
    "Jones",
    "Taylor",
    "Brown",
    "Williams",
    "Wilson",
    "Johnson",
    "Davies",
    "Patel",
    "Wright",
    "Walker",
    "Thompson",
    "White",
    "Hughes",
    "Edwards",
    "Green",
    "Hall",
    "Wood",
    "Harris",
    "Clarke",
    "Jackson",
    "Turner",
    "Hill",
    "Cooper",
    "Ward",
    "Murphy",
    "Kelly",
    "García",
    "Nowak",
    "Schmidt",
]
SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐"
GIVEN = [
    "伟",
    "芳",
    "秀英",
    "敏",
    "静",
    "丽",
    "强",
    "磊",
    "军",
    "洋",
    "勇",
    "艳",
    "杰",
    "娟",
    "涛",
    "明",
    "超",
    "秀兰",
    "霞",
    "平",
    "刚",
    "桂英",
    "建国",
    "晓东",
    "雨欣",
    "子涵",
    "梓萱",
    "浩然",
    "思远",
    "嘉怡",
    "文博",
]


def somebody(rng: random.Random, *, is_chinese: bool) -> str:
    """A person's name."""
    if is_chinese:
        return rng.choice(SURNAMES) + rng.choice(GIVEN)
    return f"{rng.choice(FIRST)} {rng.choice(LAST)}"
