from __future__ import annotations

import pytest

from crm_core.names import company_key, name_key


@pytest.mark.parametrize(
    "names",
    [
        ("北京华为技术有限公司", "华为技术（北京）有限公司", "华为技术有限责任公司"),
        ("Acme Ltd.", "ACME", "Acme Inc", "acme gmbh"),
        ("Café Noir Limited", "Cafe Noir"),
    ],
)
def test_one_company_under_several_names_has_one_key(names: tuple[str, ...]) -> None:
    assert len({company_key(name) for name in names}) == 1


def test_a_company_whose_name_is_a_place_keeps_a_key() -> None:
    assert company_key("北京有限公司")
    assert company_key("华为技术有限公司") != company_key("小米科技有限公司")


def test_names_are_compared_without_case_accents_and_blanks() -> None:
    assert name_key("José  García") == name_key("jose garcia")
    assert name_key("李 雷") == name_key("李雷")
