"""This machine: secrets, folders, disk, database, journal, time."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from crm_core import centre, interactions, users
from crm_core.database import Database, known_schema
from cti import journal
from cti.doctor.findings import Finding, error, good, unseen, warning
from cti.phone_pass import KEY_FILE
from cti.recorder import READER
from cti.settings import Settings

LEAST_FREE_BYTES = 1 << 30
LEAST_FREE_SHARE = 0.1
BEHIND_BYTES = 4 << 20
"""The recorder writes behind the journal; further behind than that, it does not come after."""
FROM_THE_FUTURE_S = 60.0


@dataclass(frozen=True)
class Stored:
    """What the database says about the centre, None when it can't be read."""

    centre: centre.Centre | None


def secrets_are_kept(settings: Settings, config: Path | None) -> Iterator[Finding]:
    """Who may read what must not be read."""
    files = [path for path in (config, settings.gate.key, settings.gate.pass_folder / KEY_FILE) if path is not None]
    files += [pbx.phones_file for pbx in settings.pbx if pbx.phones_file is not None]
    url = make_url(settings.database.url)
    if url.get_backend_name() == "sqlite":
        files.append(Path(str(url.database)))
    open_to_all = []
    for path in files:
        mode = path.stat().st_mode if path.exists() else 0
        if mode & 0o006:
            open_to_all.append(path)
        elif path == config and mode & 0o020:
            yield error(
                "secrets",
                f"{path} can be changed by its group",
                "Whoever changes it decides where the daemon looks for everything.",
                f"chmod g-w {path}",
            )
    for path in open_to_all:
        yield error(
            "secrets",
            f"everybody on this machine can read {path}",
            "It holds secrets or customers: whoever reads it can place calls at your expense or take your data.",
            f"chmod o-rwx {path}",
        )
    if not open_to_all:
        yield good("secrets", f"{len(files)} files with secrets or customers are kept from others")


def folders_are_usable(settings: Settings) -> Iterator[Finding]:
    """Whether the daemon may write where it must, and whether there is room."""
    folders = {"journal.folder": settings.journal.folder, "recordings.folder": settings.recordings.folder}
    if settings.gate.origin:
        folders["gate.pass_folder"] = settings.gate.pass_folder
    folders |= {f"queues_file of {pbx.id}": pbx.queues_file.parent for pbx in settings.pbx if pbx.queues_file}
    who = _service_user()
    for key, folder in folders.items():
        if not folder.is_dir():
            yield error("folders", f"{key}: there is no folder {folder}", _why_folder(key), f"mkdir -p {folder}")
        elif not _may_write(folder, who):
            name = who.pw_name if who is not None else "this user"
            yield error(
                "folders",
                f"{key}: {folder} can't be written by {name}",
                _why_folder(key),
                f"chown {name}: {folder} && chmod u+rwx {folder}",
            )
        else:
            yield _room(key, folder)


def _why_folder(key: str) -> str:
    if key == "journal.folder":
        return "Without the journal nothing is decided, and every caller goes to the fall-back queue."
    if key.startswith("queues_file"):
        return "A queue that is made in the pages gets no fall-back on the PBX."
    return "Recordings are found and removed there." if key == "recordings.folder" else "Browser phones can't log in."


def _room(key: str, folder: Path) -> Finding:
    usage = shutil.disk_usage(folder)
    free_gib = usage.free / (1 << 30)
    if usage.free < LEAST_FREE_BYTES:
        return error(
            "disk",
            f"{key}: {free_gib:.1f} GiB are free on the disk of {folder}",
            "When it is full nothing is journaled, and every caller goes to the fall-back queue.",
            "remove old recordings or backups, or give it a larger disk",
        )
    if usage.free < usage.total * LEAST_FREE_SHARE and usage.free < 20 * LEAST_FREE_BYTES:
        return warning(
            "disk",
            f"{key}: {free_gib:.1f} GiB are free on the disk of {folder}, less than a tenth",
            "Recordings need about 1 MB for each minute of talk.",
            "remove old recordings or backups, or give it a larger disk",
        )
    return good("disk", f"{key}: {free_gib:.0f} GiB free for {folder}")


def _service_user() -> pwd.struct_passwd | None:
    """Whom to ask about when root asks: the daemon's user, if this machine has one."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("callfloor")
    except KeyError:
        return None


def _may_write(folder: Path, who: pwd.struct_passwd | None) -> bool:
    if who is None:
        return os.access(folder, os.W_OK | os.X_OK)
    facts = folder.stat()
    if facts.st_uid == who.pw_uid:
        return facts.st_mode & 0o300 == 0o300
    if facts.st_gid in os.getgrouplist(who.pw_name, who.pw_gid):
        return facts.st_mode & 0o030 == 0o030
    return facts.st_mode & 0o003 == 0o003


async def database_is_right(settings: Settings) -> tuple[list[Finding], Stored]:
    """Whether it answers, has this version's schema, and follows the journal."""
    database = Database(settings.database.url)
    shown = make_url(settings.database.url).render_as_string(hide_password=True)
    try:
        stored = await database.stored_schema()
        if stored != known_schema():
            seen = "is empty" if stored is None else f"has schema {stored}; this release works with {known_schema()}"
            why = "The daemon changes it at its start; if the daemon runs, it is another release's."
            return [error("database", f"{shown} {seen}", why, "callfloor migrate")], Stored(None)
        async with database.read() as connection:
            configured = await centre.load_centre(connection)
            people = await users.all_users(connection)
            position = await interactions.position(connection, READER)
    except (SQLAlchemyError, OSError) as problem:
        reason = str(problem).splitlines()[0][:200]
        return [
            error(
                "database",
                f"{shown} can't be used: {reason}",
                "Calls go on and are journaled, but no page shows a customer until it is back.",
                "database.url in the start-up file; is the server running?",
            )
        ], Stored(None)
    finally:
        await database.close()
    findings = [good("database", f"{shown} answers, schema {stored}")]
    if not any(one.role == "administrator" and one.is_active for one in people):
        findings.append(
            warning(
                "users", "nobody is an administrator", "Nobody can configure the site.", "callfloor user first NAME"
            )
        )
    findings.append(_recorder(settings.journal.folder, position))
    return findings, Stored(configured)


async def queues_of(settings: Settings) -> tuple[str, ...]:
    """The slugs of the queues that are in use; none while the database can't be read."""
    _findings, stored = await database_is_right(settings)
    return tuple(queue.slug for queue in stored.centre.queues if queue.is_active) if stored.centre is not None else ()


def _recorder(folder: Path, position: tuple[str, int] | None) -> Finding:
    segments = journal.segments_of(folder)
    done, offset = (int(position[0]), position[1]) if position is not None else (0, 0)
    sizes = {number: (folder / f"{number:08d}.journal").stat().st_size for number in segments if number >= done}
    behind = sum(sizes.values()) - (offset if done in sizes else 0)
    if behind > BEHIND_BYTES:
        return warning(
            "recorder",
            f"{behind / (1 << 20):.0f} MiB of the journal are not in the database yet",
            "Interactions of that time are missing in timelines and reports until they are.",
            "is the daemon running? its messages: journalctl -u callfloor",
        )
    return good("recorder", "the database follows the journal")


def journal_is_healthy(folder: Path, *, now: float) -> Iterator[Finding]:
    """Whether the newest segments read well, and whether the clock went backwards."""
    segments = journal.segments_of(folder) if folder.is_dir() else []
    if not segments:
        yield unseen("journal", f"there is nothing in {folder} yet")
        return
    newest = segments[-2:]
    lines = sum((folder / f"{number:08d}.journal").read_bytes().count(b"\n") for number in newest)
    facts = [fact for _, fact in journal.read(folder, journal.Position(newest[0], 0))]
    if len(facts) < lines:
        yield warning(
            "journal",
            f"{lines - len(facts)} of {lines} lines of the newest segments can't be read",
            "A torn line after a power cut is nothing; many are a failing disk or another release's journal.",
            "check the disk: smartctl -a, dmesg",
        )
    else:
        yield good("journal", f"{len(segments)} segments, the newest read well")
    last = max((fact.at for fact in facts), default=now)
    if last > now + FROM_THE_FUTURE_S:
        yield error(
            "clock",
            f"the journal's last entry is {last - now:.0f} s in the future",
            "This machine's clock went backwards: times of calls and limits of log-ins are wrong.",
            "timedatectl set-ntp true",
        )


def clock_is_kept() -> Iterator[Finding]:
    """Whether somebody sets this machine's clock."""
    program = shutil.which("timedatectl")
    if program is None:
        return
    words = [program, "show", "--property=NTPSynchronized", "--value"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
    said = done.stdout.strip()
    if said == "no":
        yield warning(
            "clock",
            "nothing keeps this machine's clock right",
            "Certificates, log-ins and the times of calls depend on it.",
            "timedatectl set-ntp true",
        )
    elif said == "yes":
        yield good("clock", "is kept by NTP")


def machine(settings: Settings, config: Path | None, *, now: float) -> Sequence[Finding]:
    """All of it but the database."""
    return [
        *secrets_are_kept(settings, config),
        *folders_are_usable(settings),
        *journal_is_healthy(settings.journal.folder, now=now),
        *clock_is_kept(),
    ]
