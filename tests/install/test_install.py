"""Installing, upgrading and going back, below a folder and without a network."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import shutil
import sqlite3
import subprocess
import time
import tomllib
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from cti import pbx_agent, settings
from cti.install import release, steps, upgrade
from cti.install.machine import InstallError, Owners
from cti.install.places import Places
from cti.install.units import DAEMON, GATE
from tests.install.site import ROOT, ChildServices, already_spoken, free_port, install_steps, make, source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = release.version_of(ROOT)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """One installation for all tests here; what they change, they change back."""
    places = Places(tmp_path_factory.mktemp("machine"))
    steps.carry_out(install_steps(places, Owners(places)), tell=lambda _: None, is_rehearsal=False)
    already_spoken(places)
    text = places.config.read_text()
    text = text.replace("port = 8470", f"port = {free_port()}").replace("port = 8471", f"port = {free_port()}")
    places.config.write_text(text.replace("port = 5038", "port = 1"))
    return places


def _callfloor(places: Places, *words: str, says: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([places.command, *words], input=says, capture_output=True, text=True, check=False)


def _users(places: Places) -> str:
    with contextlib.closing(sqlite3.connect(places.data / "callfloor.db")) as database:
        return str([row[0] for row in database.execute("SELECT username FROM app_user ORDER BY username")])


def test_a_plan_is_shown_and_nothing_is_done(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "install", "--dry-run", "--root", tmp_path / "machine"], capture_output=True, text=True, check=True
    )
    assert "callfloor-gate.service" in done.stdout
    assert "administrator" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_argument_with_a_password_in_it_is_refused(tmp_path: Path) -> None:
    words = ["--root", tmp_path, "--dry-run", "--database-url", "postgresql+asyncpg://callfloor:hunter2@127.0.0.1/x"]
    done = subprocess.run([ROOT / "install", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "everybody can read an argument" in done.stderr


def test_an_installation_is_whole_and_a_second_one_finds_nothing_to_do(installed: Places) -> None:
    loaded = settings.load(installed.config, {})
    assert loaded.site.region == "DE"
    assert len(loaded.pbx[0].secret.get_secret_value()) >= 32
    assert loaded.journal.folder == installed.journal
    assert (installed.config.stat().st_mode & 0o777) == 0o640
    assert (installed.recordings.stat().st_mode & 0o7777) == 0o2770
    assert installed.current_version() == VERSION

    # Lines for the PBX name the release in use, not this one version.
    printed = _callfloor(installed, "doctor", "--print-manager-conf").stdout
    assert f'#include "{installed.current}/program/dialplans/hold.conf"' in printed
    assert loaded.pbx[0].secret.get_secret_value() in printed

    owners, said = Owners(installed), list[str]()
    before = installed.config.read_text()
    steps.carry_out(install_steps(installed, owners), tell=said.append, is_rehearsal=False)
    assert [line for line in said if not line.startswith("  is so")] == []
    assert installed.config.read_text() == before


def test_who_would_own_what_is_noted_where_it_is_not_done(tmp_path: Path) -> None:
    places = Places(tmp_path)
    owners = Owners(places)
    todo = [step for step in install_steps(places, owners) if "folder" in step.says or "start-up" in step.says]
    steps.carry_out(todo, tell=lambda _: None, is_rehearsal=False)
    assert "root:callfloor 0640 /etc/callfloor/callfloor.toml" in owners.noted
    assert "callfloor:callfloor-media 2770 /var/lib/callfloor/recordings" in owners.noted


def test_a_site_for_browsers_elsewhere_gets_a_gate(tmp_path: Path) -> None:
    places = Places(tmp_path)
    todo = install_steps(places, Owners(places), site="https://floor.test")
    steps.carry_out([step for step in todo if "start-up" in step.says], tell=lambda _: None, is_rehearsal=False)
    gate = settings.load(places.config, {}).gate
    assert (gate.origin, gate.port, gate.pass_folder) == ("https://floor.test", 443, places.data / "gate")


def test_a_pbx_of_its_own_gets_the_agent_and_nothing_of_the_daemon(tmp_path: Path) -> None:
    places = Places(tmp_path)
    todo = steps.agent_steps(places, VERSION, "https://floor.test", Owners(places), make=lambda _: None)
    steps.carry_out([one for one in todo if "settings" in one.says], tell=lambda _: None, is_rehearsal=False)
    agent = pbx_agent.load(places.agent_config)
    assert (agent.base, agent.recordings_folder) == ("https://floor.test/api/pbx/pbx1", places.recordings)
    assert (agent.token_file.stat().st_mode & 0o777) == 0o640
    assert not any("callfloor.toml" in one.says for one in todo)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_the_units_are_what_systemd_understands(installed: Places) -> None:
    units = sorted(installed.units.glob("*.service"))
    assert len(units) == 3
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    # Other units of the machine are not ours.
    assert [line for line in done.stderr.splitlines() if "callfloor" in line] == []


@pytest.fixture(scope="module")
def administered(installed: Places) -> Places:
    """The same with an administrator, made as ``./install`` makes it."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as lines:
        lines.write("a long password\n")
    steps.first_administrator(installed, "root", reading)
    os.close(reading)
    return installed


def test_the_first_administrator_has_a_password_that_somebody_chose(administered: Places) -> None:
    assert _users(administered) == "['root']"
    again = _callfloor(administered, "user", "first", "other", says="another password\n")
    assert "already" in again.stdout
    assert _users(administered) == "['root']"
    empty = {**os.environ, "CALLFLOOR_DATABASE__URL": f"sqlite+aiosqlite:///{administered.data / 'other.db'}"}
    words = [administered.command, "user", "first", "root"]
    short = subprocess.run(words, input="short\n", env=empty, capture_output=True, text=True, check=False)
    assert short.returncode == 2
    assert "too_short" in short.stderr


@pytest.fixture(scope="module")
def running(administered: Places) -> Iterator[ChildServices]:
    """Its daemon runs."""
    services = ChildServices(administered)
    services.start(DAEMON)
    _becomes_healthy(administered)
    yield services
    services.stop(DAEMON)


def _becomes_healthy(places: Places) -> None:
    until = time.monotonic() + 60
    while not upgrade.health_of(places).is_there:
        assert time.monotonic() < until, "the daemon does not answer"
        time.sleep(0.1)


def _append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def _upgrade(places: Places, services: ChildServices, checkout: Path, within_s: float = 90.0) -> upgrade.Upgrade:
    return upgrade.upgrade(
        places,
        release.version_of(checkout),
        services,
        make=lambda target: make(checkout, target),
        write_files=lambda: _append(places.units / DAEMON, "# of the newer release\n"),
        tell=lambda _: None,
        within_s=within_s,
    )


def test_an_upgrade_keeps_everything_and_goes_back_with_the_database_of_before(
    running: ChildServices, tmp_path: Path
) -> None:
    installed = running.places
    newer = source(tmp_path / "newer", "97.0")
    head = sorted((newer / "crm_core/migrations/versions").glob("v*.py"))[-1].stem[1:5]
    (newer / "crm_core/migrations/versions/v9999_one_more.py").write_text(f'''"""One more table."""
from alembic import op
revision, down_revision, branch_labels, depends_on = "9999", "{head}", None, None
def upgrade(): op.execute("CREATE TABLE one_more (id integer)")
''')
    running.pretended.add(GATE)
    unit = (installed.units / DAEMON).read_text()
    done = _upgrade(installed, running, newer)
    assert (done.old, done.new, done.schema_before, done.schema_after) == (VERSION, "97.0", head, "9999")
    assert upgrade.health_of(installed).is_there
    assert installed.current_version() == "97.0"
    assert _users(installed) == "['root']"

    # What the gate runs is the same: no browser's phone lost its connection.
    assert GATE not in running.started

    words = ("user", "add", "late", "--role", "supervisor")
    assert _callfloor(installed, *words, says="a long password\n").returncode == 0
    upgrade.rollback(installed, running, tell=lambda _: None)
    assert upgrade.health_of(installed).is_there
    assert installed.current_version() == VERSION
    assert _users(installed) == "['root']"
    assert (installed.units / DAEMON).read_text() == unit
    assert len(list(installed.data.glob("callfloor.db.before-restore-*"))) == 1
    with pytest.raises(InstallError, match="no upgrade"):
        upgrade.rollback(installed, running, tell=lambda _: None)


def test_a_release_that_does_not_come_up_is_taken_back_by_itself(running: ChildServices, tmp_path: Path) -> None:
    installed = running.places
    broken = source(tmp_path / "broken", "98.0")
    daemon = broken / "cti" / "daemon.py"
    begin = "async def start(self) -> None:"
    daemon.write_text(daemon.read_text().replace(begin, f"{begin}\n        raise OSError", 1))
    _append(broken / "cti" / "gate" / "server.py", "\n# changed\n")
    running.pretended.add(GATE)
    running.started.clear()
    with pytest.raises(InstallError, match=f"98.0 was not taken, {re.escape(VERSION)} is in use again"):
        _upgrade(installed, running, broken, within_s=1.0)
    _becomes_healthy(installed)
    assert installed.current_version() == VERSION
    assert _users(installed) == "['root']"
    assert running.started == [DAEMON, GATE, DAEMON, GATE]


def test_every_package_that_the_program_needs_is_installed() -> None:
    """``make pins`` writes the list."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    found: set[tuple[str, str]] = set()

    def walk(wanted: Requirement) -> None:
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        for extra in {"", *wanted.extras}:
            if (name, extra) in found:
                continue
            found.add((name, extra))
            for text in importlib.metadata.requires(name) or ():
                one = Requirement(text)
                if one.marker is None or one.marker.evaluate({"extra": extra}):
                    walk(one)

    for text in declared:
        walk(Requirement(text))
    listed = (ROOT / "setup" / "runtime_packages.txt").read_text().split()
    assert sorted({name for name, _ in found}) == listed
    assert release.pinned((ROOT / "constraints.txt").read_text(), listed).count("==") == len(listed)
