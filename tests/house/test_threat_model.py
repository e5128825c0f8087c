"""The threat model promises no defence without a test that is there and runs."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)))


@cache
def tree_of(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def marks(node: ast.AST) -> list[str]:
    return [ast.unparse(one) for one in getattr(node, "decorator_list", [])]


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_test_that_the_page_names_is_there_and_is_never_skipped(file: str, test: str) -> None:
    tree = tree_of(file)
    found = [
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == test
    ]
    assert len(found) == 1
    whole_file = [ast.unparse(node) for node in tree.body if "pytestmark" in ast.unparse(node)[:10]]
    calls = [ast.unparse(node.func) for node in ast.walk(found[0]) if isinstance(node, ast.Call)]
    assert not [one for one in (*marks(found[0]), *whole_file, *calls) if re.search(r"\b(skip|skipif|xfail)\b", one)]


def test_every_threat_has_a_defence_and_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| threat")]
    assert rows
    for row in rows:
        threat, defence, shown = (cell.strip() for cell in row.strip("|").split("|"))
        assert threat
        assert defence
        assert re.search(r"`tests/[\w/]+\.py::test_\w+`", shown), threat
