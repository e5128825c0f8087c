"""``callfloor config export|import`` over a stored centre, and a running daemon that takes what was imported."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from crm_core import centre, configuring
from crm_core.database import Database
from cti import cli
from cti.plan_watch import PlanWatch
from cti.plans import plan_of
from cti.routing.plan import Step
from tests.crm_core.test_centre import put_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from click.testing import Result

    from crm_core.centre import Centre


class Console:
    """Somebody at the console of a site with a filled database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite+aiosqlite:///{folder / 'crm.db'}"
        self.config = folder / "callfloor.toml"
        self.config.write_text(f'is_simulated = true\n[database]\nurl = "{self.url}"\n')
        self.files = folder / "centre"

    def says(self, *words: str) -> Result:
        return CliRunner().invoke(cli.app, ["config", *words, "--config", str(self.config)])

    def texts(self) -> dict[str, str]:
        return {path.name: path.read_text("utf-8") for path in sorted(self.files.glob("*.toml"))}

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.files / name).read_text("utf-8")
        assert old in text
        (self.files / name).write_text(text.replace(old, new), "utf-8")

    def run(self, work: Callable[[Database], Awaitable[None]]) -> None:
        async def alone() -> None:
            database = Database(self.url)
            await database.open()
            await work(database)
            await database.close()

        asyncio.run(alone())


@pytest.fixture
def console(tmp_path: Path) -> Console:
    made = Console(tmp_path)

    async def fill(database: Database) -> None:
        async with database.begin() as connection:
            await put_all(connection)

    made.run(fill)
    return made


def test_a_centre_goes_out_comes_back_changed_and_a_running_daemon_takes_it(console: Console) -> None:
    assert console.says("export", str(console.files)).exit_code == 0
    before = console.texts()
    assert console.says("import", str(console.files)).stdout == "Nothing differs.\n"
    console.edit("queues.toml", "english >= 3", "english >= 5")
    console.edit("agents.toml", "english = 7", "english = 8, french = 2")
    told = '~ queue sales\n    steps.0.text: "english >= 3" → "english >= 5"\n'
    told += "~ agent li.wei\n    skills.english: 7 → 8\n    skills.french: 2\n"

    async def watched(database: Database) -> None:
        taken: list[Centre] = []

        async def take() -> None:
            async with database.read() as connection:
                taken.append(await centre.load_centre(connection))

        watch = PlanWatch(database, take=take, seen=0)
        dry = await asyncio.to_thread(console.says, "import", str(console.files), "--dry-run")
        assert dry.stdout == told + "2 settings would differ\n"
        await watch.look()
        assert taken == []
        done = await asyncio.to_thread(console.says, "import", str(console.files))
        assert done.stdout == told + "2 settings differ now\n"
        await watch.look()
        await watch.look()
        (stored,) = taken
        assert plan_of(stored).queues["sales"].steps[0] == Step(0, "english >= 5")  # type: ignore[index]
        async with database.read() as connection:
            changes = await configuring.history(connection, limit=9)
        assert [(one.kind, one.key) for one in changes] == [("agent", "li.wei"), ("queue", "sales")]
        assert changes[0].username.startswith("console:")

    console.run(watched)
    assert console.texts() != before
    assert console.says("export", str(console.files)).exit_code == 0
    again = console.texts()
    assert console.says("import", str(console.files)).stdout == "Nothing differs.\n"
    assert console.says("export", str(console.files)).exit_code == 0
    assert console.texts() == again
    whole = console.folder / "all.toml"
    assert console.says("export", str(whole)).exit_code == 0
    assert whole.read_text("utf-8") == "\n".join(again[f"{kind.plural}.toml"] for kind in configuring.KINDS.values())


def test_one_fault_and_nothing_is_imported(console: Console) -> None:
    console.says("export", str(console.files))
    console.edit("agents.toml", "english = 7", "english = 8")
    console.edit("queues.toml", "english >= 3", "english >=")
    console.edit("menus.toml", 'otherwise = "queue:sales"', 'otherwise = "queue:gone"')
    done = console.says("import", str(console.files))
    assert str(done.exception).splitlines() == [
        "menus.toml: menus.main.otherwise: unknown_queue",
        "queues.toml: queues.sales.steps.0.text: expected_value at character 11",
    ]

    async def unchanged(database: Database) -> None:
        async with database.read() as connection:
            (agent,) = (await centre.load_centre(connection)).agents
            assert agent.skills["english"] == 7
            assert await configuring.newest(connection) == 0

    console.run(unchanged)
