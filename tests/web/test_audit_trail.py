"""What a reader of the audit finds: who did what to whom, when and from where, in words, and nothing secret."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

import web
from crm_core import audit
from crm_core.access import FieldRules
from crm_core.database import Database, DatabaseAway
from cti.cli import app
from tests.web.hall import WAITING
from tests.web.site import NOW, PASSWORD, SEEDER
from web.dispatch import SERVICES
from web.words import WORDS

if TYPE_CHECKING:
    from crm_core.access import Row
    from tests.web.site import Site

ROOT = Path(__file__).parents[2]


async def records(site: Site) -> list[Row]:
    """Oldest first, without log-ins."""
    await site.app[SERVICES].trail.close()
    async with site.database.read() as connection:
        rows = await audit.recent(connection, SEEDER, FieldRules(), limit=50)
    return [row for row in reversed(rows) if row["action"] != "log_in"]


async def test_what_an_agent_does_with_a_caller_is_told_with_who_when_and_from_where(site: Site) -> None:
    browser = await site.browser("li.wei")
    call = f"/api/interactions/{WAITING}"
    for method, path, body in (
        ("POST", "recording", {"is_paused": True}),
        ("POST", "recording", {"is_paused": False}),
        ("POST", "recording/objection", None),
        ("PUT", "customer", {"party": 2}),
        ("POST", "transfer", {"target": "agent:anna", "is_attended": True}),
        ("POST", "transfer/complete", None),
        ("POST", "transfer/cancel", None),
    ):
        more = {} if body is None else {"json": body}
        assert (await browser.send(method, f"{call}/{path}", **more)).status == 200
    found = await records(site)
    assert [(row["action"], row["detail"]) for row in found] == [
        ("recording_paused", {}),
        ("recording_resumed", {}),
        ("recording_objected", {}),
        ("customer_chosen", {"party": 2}),
        ("transfer", {"target": "agent:anna", "attended": True}),
        ("transfer_completed", {}),
        ("transfer_cancelled", {}),
    ]
    one = {key: found[0][key] for key in ("username", "role", "object", "object_id", "at", "ip")}
    assert one == {
        "username": "li.wei",
        "role": "agent",
        "object": "interaction",
        "object_id": WAITING,
        "at": NOW,
        "ip": "127.0.0.1",
    }
    assert browser.token not in str(found)
    page = await (await site.browser("boss")).text("/audit")
    for text in ("Sent the caller on", "agent:anna", "After a talk", "yes", "Ended the recording: the caller objected"):
        assert text in page


async def test_what_the_floor_refused_is_not_told_as_done(site: Site) -> None:
    browser = await site.browser("li.wei")
    answer = await browser.send("POST", "/api/interactions/pbx1-1.1/recording", json={"is_paused": "maybe"})
    assert answer.status == 422
    assert await records(site) == []


async def test_the_floor_does_not_wait_for_a_database_that_is_away_and_the_audit_is_written_when_it_is_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.audit_trail.AGAIN_S", 0.01)
    browser = await site.browser("li.wei")
    begin = site.database.begin

    def unavailable() -> None:
        raise DatabaseAway(ConnectionRefusedError())

    monkeypatch.setattr(site.database, "begin", unavailable)
    for is_paused in (True, False):
        path = f"/api/interactions/{WAITING}/recording"
        assert (await browser.send("POST", path, json={"is_paused": is_paused})).status == 200
    monkeypatch.setattr(site.database, "begin", begin)
    assert [row["action"] for row in await records(site)] == ["recording_paused", "recording_resumed"]


async def test_a_refused_log_in_is_told_and_a_password_in_the_wrong_field_is_not(site: Site) -> None:
    browser = await site.browser()
    for username, password in (("li.wei", "wrong"), ("gone", PASSWORD), ("My-S3cret-Passphrase", "li.wei")):
        await browser.log_in(username, password)
    found = await records(site)
    assert [(row["action"], row["username"], row["detail"], row["ip"]) for row in found] == [
        ("log_in_refused", "li.wei", {"reason": "wrong_password"}, "127.0.0.1"),
        ("log_in_refused", "gone", {"reason": "locked"}, "127.0.0.1"),
        ("log_in_refused", "", {"reason": "unknown_name"}, "127.0.0.1"),
    ]
    assert "s3cret" not in str(found).lower()


async def test_a_supervisor_reads_neither_the_audit_nor_the_settings(site: Site) -> None:
    browser = await site.browser("sofia")
    for path in ("/audit", "/api/audit", "/settings/recording", "/api/settings/recording"):
        assert (await browser.get(path)).status == 403
    body = {"recording": "off", "keeps_objected": False}
    answer = await browser.send("PUT", "/api/settings/recording/queues/sales", json=body)
    assert answer.status == 403
    assert await records(site) == []


async def test_a_user_made_at_the_console_is_told(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/crm.db"
    words = ["user", "add", "eve", "--role", "administrator", "--config", str(ROOT / "config" / "callfloor.toml")]
    variables = {"CALLFLOOR_DATABASE__URL": url, "CALLFLOOR_PBX__0__SECRET": "x" * 20}
    done = await asyncio.to_thread(CliRunner().invoke, app, words, input=f"{PASSWORD}\n", env=variables)
    assert done.exit_code == 0, done.output
    database = Database(url)
    await database.open()
    async with database.read() as connection:
        (row,) = await audit.recent(connection, SEEDER, FieldRules(), limit=5)
    await database.close()
    assert row["username"].startswith("console:")
    assert (row["action"], row["object"]) == ("create", "user")
    assert row["detail"] == {"username": "eve", "role": "administrator", "agent": ""}


def test_every_action_and_object_of_the_audit_has_a_word() -> None:
    used: set[str] = set()
    for path in [*Path(web.__file__).parent.glob("*.py"), ROOT / "cti" / "cli.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            used |= {
                f"{'object' if word.arg == 'object' else 'action'}.{word.value.value}"
                for word in node.keywords
                if word.arg in {"action", "object"} and isinstance(word.value, ast.Constant)
            }
            if isinstance(node.func, ast.Attribute) and node.func.attr == "note" and len(node.args) == 3:
                choices = node.args[0]
                named = [choices.body, choices.orelse] if isinstance(choices, ast.IfExp) else [choices]
                used |= {f"action.{one.value}" for one in named if isinstance(one, ast.Constant)}
    assert {"action.log_in", "action.transfer", "action.recording_resumed", "object.recording"} <= used
    assert used <= set(WORDS)
