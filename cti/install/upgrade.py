"""A new release beside the old one, and the way back.

::

    make the release ─ same schema ──→ back up ─→ switch ─→ restart ─→ healthy? ─ yes → done
                     └ new schema → stop → back up → migrate → switch ─→ start ─┘  └ no → the old one, as it was

While the daemon is away the dialplan holds the callers and its fall-back queue rings the agents; calls in talk go on.
With a new schema the daemon stops *before* the backup, so that going back loses nothing that anybody entered.
The gate is restarted only if what it runs has changed: browsers' phones keep their connection otherwise.
"""

from __future__ import annotations

import contextlib
import json
import time
import tomllib
import urllib.request
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cti.install import release
from cti.install.machine import InstallError
from cti.install.steps import program, set_up_pbx, use, written_files
from cti.install.units import DAEMON, GATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from cti.install.machine import Services
    from cti.install.places import Places

HEALTHY_WITHIN_S = 90.0
LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class Upgrade:
    """What an upgrade did. ``backup``: the folder with the database as it was before, empty if none was made;
    ``files``: path → text of the unit files as they were."""

    old: str
    new: str
    schema_before: str
    schema_after: str
    backup: str
    files: dict[str, str]

    @property
    def is_schema_new(self) -> bool:
        """Whether the old release can't work with the database of the new one."""
        return self.schema_before != self.schema_after


@dataclass(frozen=True)
class Health:
    """How good the daemon is. ``is_there``: it answers and reaches its database; ``is_whole``: all its PBXs too."""

    is_there: bool
    is_whole: bool


def health_of(places: Places) -> Health:
    """Ask the daemon of this installation."""
    told = tomllib.loads(places.config.read_text(encoding="utf-8")).get("web", {})
    address = f"http://{told.get('host', '127.0.0.1')}:{told.get('port', 8470)}/health"
    # Straight there: a proxy that the person's shell names is none of the daemon's.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=5) as answer:
            said = json.load(answer)
    except (OSError, ValueError):
        return Health(is_there=False, is_whole=False)
    return Health(is_there=said.get("database") == "up", is_whole=said.get("status") == "ok")


def _schema(places: Places, version: str) -> tuple[str, str]:
    """The schema that the database has, and the one that this release wants."""
    said = json.loads(program(places, "schema", why="Reading the database's schema", version=version))
    return said["stored"], said["known"]


def upgrade(
    places: Places,
    version: str,
    services: Services,
    *,
    make: Callable[[Path], None],
    write_files: Callable[[], None],
    tell: Callable[[str], None],
    within_s: float = HEALTHY_WITHIN_S,
) -> Upgrade:
    """Go to another version. ``make`` makes the release, ``write_files`` brings the unit files up to it.

    Raises ``InstallError``; when that is because the new release is not healthy, the old one is back.
    """
    old = places.current_version()
    if old is None:
        raise InstallError(f"nothing is installed in {places.program}")
    if not places.release(version).is_dir():
        tell(f"Making release {version} beside {old}")
        make(places.release(version))
    stored, known = _schema(places, version)
    was_running, before = services.is_active(DAEMON), health_of(places)
    if stored != known:
        tell("The database's schema changes: stopping the daemon; callers go on to the agents by the fall-back queue")
        services.stop(DAEMON)
    files = {str(path): path.read_text(encoding="utf-8") for path in written_files(places) if path.is_file()}
    done = Upgrade(old=old, new=version, schema_before=stored, schema_after=known, backup="", files=files)
    try:
        tell("Backing up")
        backup = program(places, "backup", "--to", str(places.backups), why="The backup", version=old).split()[-1]
        done = replace(done, backup=backup)
        if done.is_schema_new:
            program(places, "migrate", why="Migrating the database", version=version)
        use(places, version)
        write_files()
        set_up_pbx(places, tell=tell)
        _restart(places, services, done.old, done.new, was_running=was_running)
        if was_running:
            _wait(places, before, within_s)
    except InstallError as problem:
        tell(f"Going back to {old}: {problem}")
        _go_back(places, services, done, tell=tell, was_running=was_running)
        raise InstallError(f"release {version} was not taken, {old} is in use again: {problem}") from problem
    places.upgrades.write_text(json.dumps(asdict(done), indent=2) + "\n", encoding="utf-8")
    for forgotten in release.forget_old(places.releases, (done.old, done.new)):
        tell(f"Removed release {forgotten}")
    return done


def rollback(
    places: Places,
    services: Services,
    *,
    tell: Callable[[str], None],
    within_s: float = HEALTHY_WITHIN_S,
) -> Upgrade:
    """Back to the release before the last upgrade; with another schema the database of that moment comes back too,
    and the present one is kept. Raises ``InstallError``."""
    try:
        done = Upgrade(**json.loads(places.upgrades.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InstallError("there was no upgrade to go back from") from None
    except (ValueError, TypeError) as error:
        raise InstallError(f"{places.upgrades} can't be read: {error}") from None
    if places.current_version() != done.new or not places.release(done.old).is_dir():
        raise InstallError(f"the last upgrade led from {done.old} to {done.new}, which is no longer what is installed")
    was_running, before = services.is_active(DAEMON), health_of(places)
    said = _go_back(places, services, done, tell=tell, was_running=was_running)
    if was_running:
        _wait(places, before, within_s)
    places.upgrades.unlink()
    tell(f"Release {done.old} is in use again")
    if done.is_schema_new:
        tell("The database is that of before the upgrade. Interactions since then come back from the journal by")
        tell("themselves; what people entered since then is kept:")
        tell(said.strip())
    return done


def _go_back(
    places: Places, services: Services, done: Upgrade, *, tell: Callable[[str], None], was_running: bool
) -> str:
    said = ""
    if done.is_schema_new and done.backup:
        services.stop(DAEMON)
        words = ("restore", done.backup, "--database-only", "--replace")
        said = program(places, *words, why="Restoring", version=done.old)
    use(places, done.old)
    for path, text in done.files.items():
        Path(path).write_text(text, encoding="utf-8")
    set_up_pbx(places, tell=tell)
    _restart(places, services, done.new, done.old, was_running=was_running)
    return said


def _restart(places: Places, services: Services, before: str, after: str, *, was_running: bool) -> None:
    services.reload()
    if was_running:
        services.start(DAEMON)
    if services.is_active(GATE) and _hash(places, before) != _hash(places, after):
        services.start(GATE)


def _hash(places: Places, version: str) -> str:
    with contextlib.suppress(FileNotFoundError):
        return (places.release(version) / "gate.hash").read_text(encoding="utf-8")
    return ""


def _wait(places: Places, before: Health, within_s: float) -> None:
    """Until the daemon is as good as it was before."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        now = health_of(places)
        if now.is_there and (now.is_whole or not before.is_whole):
            return
        time.sleep(LOOK_EVERY_S)
    raise InstallError(f"the daemon is not healthy after {within_s:.0f} s: journalctl -u {DAEMON}")
