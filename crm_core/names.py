"""Keys under which names of people and companies are compared."""

from __future__ import annotations

import re

from crm_core.search_index import folded

_BRACKETED = re.compile(r"[(（【\[].*?[)）】\]]")
_LEGAL = re.compile(
    r"(?:股份有限公司|有限责任公司|有限責任公司|有限公司|集团公司|集團公司|公司|集团|集團)$"
    r"|\b(?:incorporated|inc|corporation|corp|company|co|limited|ltd|llc|llp|plc|gmbh|ag|sa|sarl|bv|oy|ab|pty|pte)\b\.?"
)
_PLACE = re.compile(
    r"^(?:中国|北京|上海|天津|重庆|广东|广州|深圳|浙江|杭州|江苏|南京|苏州|四川|成都|湖北|武汉|陕西|西安|山东|福建|厦门|香港|台湾|台北)(?:省|市)?"
)
_APART = re.compile(r"[\W_]+")


def name_key(name: str) -> str:
    """A name without case, accents, blanks and punctuation."""
    return _APART.sub("", folded(name))


def company_key(name: str) -> str:
    """A company's name without places, brackets and legal form; 北京华为技术有限公司 and 华为技术（北京）有限公司
    share one."""
    key = _BRACKETED.sub("", folded(name)).strip()
    key = _LEGAL.sub("", key).strip()
    shorter = _PLACE.sub("", key)
    return _APART.sub("", shorter if len(shorter) >= 2 else key)
