"""What a PBX tells about itself only in its configuration files, where they lie on this machine."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator
from pathlib import Path

from cti.asterisk import prompts
from cti.doctor import asterisk_files as files
from cti.doctor.findings import Finding, error, good, unseen, warning
from cti.existing_pbx import CEL_EVENTS
from cti.settings import PbxSettings, is_loopback


def read_files(pbx: PbxSettings, etc: Path | None) -> Iterator[Finding]:
    """``etc``: the folder of the files, None if they are not here."""
    if etc is None or not is_loopback(pbx.host):
        yield unseen(
            f"{pbx.id}.files",
            "the PBX's files are not on this machine",
            "manager.conf: deny/permit and writetimeout = 10000 in the account; asterisk.conf: live_dangerously = no",
            "cel.conf: enable = yes; queues.conf: persistentmembers = yes",
        )
        return
    for name, look in (
        ("manager.conf", _manager_file),
        ("asterisk.conf", _asterisk_file),
        ("cel.conf", _cel_file),
        ("queues.conf", _queues_file),
        ("http.conf", _http_file),
    ):
        try:
            sections = files.read_sections(etc / name)
        except OSError as problem:
            yield unseen(f"{pbx.id}.{name}", f"{etc / name} can't be read: {problem.strerror}", "ask again as root")
            continue
        yield from look(pbx, sections)


def records(pbx: PbxSettings) -> Iterator[Finding]:
    """Whether the PBX's own records of calls reach us."""
    check = f"{pbx.id}.records"
    if pbx.records_folder is None:
        if pbx.agent_token is None:
            yield warning(
                check,
                "neither records_folder nor agent_token is set",
                "What happened while the daemon was away can't be completed afterwards.",
                f'start-up file, [[pbx]] {pbx.id}: records_folder = "/var/log/asterisk"',
                "or, where the PBX is another machine: agent_token = …, and `callfloor pbx-agent` there",
            )
        return
    wanted = (pbx.records_folder / "cel-custom" / "callfloor.csv", pbx.records_folder / "queue_log")
    missing = [path for path in wanted if not path.is_file()]
    if missing:
        yield unseen(
            check,
            f"not there yet: {', '.join(str(path) for path in missing)}",
            "right before the first call; otherwise cel.conf, cel_custom.conf and logger.conf (queue_log = yes)",
        )
    closed = [path for path in wanted if path.is_file() and not os.access(path, os.R_OK)]
    if closed:
        yield error(
            check,
            f"{', '.join(str(path) for path in closed)} can't be read by this user",
            "What happened while the daemon was away can't be completed afterwards.",
            "usermod --append --groups asterisk callfloor; systemctl restart callfloor",
        )
    if not missing and not closed:
        yield good(check, "the PBX's own records of calls can be read")


def prompt_files(folder: Path) -> tuple[list[str], Path | None]:
    """The announcements that are missing, and the first file or folder that Asterisk may not read."""
    there = {path.relative_to(folder).with_suffix("") for path in folder.glob("*/*.*")} if folder.is_dir() else set()
    wanted = sorted(f"{one.language}/{one.name}" for one in prompts.prompts())
    missing = [name for name in wanted if Path(name) not in there]
    missing += [name for name in prompts.RECORDING if next(folder.glob(f"{name}.*"), None) is None]
    who = _asterisk_user()
    if missing or who is None:
        return missing, None
    groups = set(os.getgrouplist(who.pw_name, who.pw_gid))
    looked_at = [*reversed(folder.parents), folder, *sorted(folder.rglob("*"))]
    return [], next((path for path in looked_at if not _may_read(path, who.pw_uid, groups)), None)


def _asterisk_user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam("asterisk")
    except KeyError:
        return None


def _may_read(path: Path, user: int, groups: set[int]) -> bool:
    if path.name.startswith("."):
        return True
    facts = path.stat()
    shift = 6 if facts.st_uid == user else 3 if facts.st_gid in groups else 0
    # Through a folder one passes; a file is read.
    wanted = 0o1 if path.is_dir() else 0o4
    return facts.st_mode >> shift & wanted == wanted


def _named(sections: Iterable[files.Section], name: str) -> files.Section:
    merged = files.Section(name)
    for section in sections:
        if section.name == name:
            merged.settings += section.settings
    return merged


def _is_on(value: str) -> bool:
    return value.lower() in ("yes", "true", "y", "t", "1", "on")


def _manager_file(pbx: PbxSettings, sections: list[files.Section]) -> Iterator[Finding]:
    account, general = _named(sections, pbx.username), _named(sections, "general")
    if not account.settings:
        yield warning(
            f"{pbx.id}.manager.conf",
            f"has no [{pbx.username}]",
            "It is not the file that this PBX reads.",
            "--asterisk-etc",
        )
        return
    rules = [value for name, value in account.settings if name in ("deny", "permit", "acl")]
    if not rules:
        yield _no_address_rule(pbx)
    else:
        yield good(f"{pbx.id}.addresses", "the account is for listed addresses only")
    writetimeout = account.get("writetimeout", "100")
    if not writetimeout.isdigit() or int(writetimeout) < 1000:
        yield warning(
            f"{pbx.id}.writetimeout",
            f"Asterisk gives the daemon {writetimeout} ms to read",
            "At a busy moment Asterisk would cut the link and all state has to be read anew.",
            f"manager.conf, [{pbx.username}]: writetimeout = 10000",
        )
    if not account.all("eventfilter") and not account.all("eventfilter(action(exclude))"):
        yield warning(
            f"{pbx.id}.eventfilter",
            "the account has no eventfilter",
            "Half of what is sent would be thrown away by the daemon.",
            "eventfilter = …   (callfloor doctor --print-manager-conf)",
        )
    listens = general.get("bindaddr", "0.0.0.0")  # noqa: S104  what Asterisk itself takes when nothing is said
    if not is_loopback(listens) and is_loopback(pbx.host):
        yield error(
            f"{pbx.id}.wire",
            f"the manager interface listens in plain text on {listens}",
            "Everybody who reaches this machine may try secrets, and reads them on the way.",
            "manager.conf, [general]: bindaddr = 127.0.0.1",
        )
    if _is_on(general.get("webenabled", "no")):
        yield warning(
            f"{pbx.id}.web",
            "the manager answers over HTTP too",
            "One more door.",
            "manager.conf, [general]: webenabled = no",
        )


def _no_address_rule(pbx: PbxSettings) -> Finding:
    return error(
        f"{pbx.id}.addresses",
        f"the account {pbx.username} may log in from everywhere",
        "A secret that leaks, in a backup or a log, opens the PBX to the whole network.",
        f"manager.conf, [{pbx.username}]: deny = 0.0.0.0/0.0.0.0",
        f"manager.conf, [{pbx.username}]: permit = the address of this machine/255.255.255.255",
    )


def _asterisk_file(pbx: PbxSettings, sections: list[files.Section]) -> Iterator[Finding]:
    if _is_on(_named(sections, "options").get("live_dangerously", "no")):
        yield error(
            f"{pbx.id}.live_dangerously",
            "the PBX lives dangerously",
            "Through a variable read by the manager any file of the PBX can be read or programs run.",
            "asterisk.conf, [options]: live_dangerously = no",
        )


def _cel_file(pbx: PbxSettings, sections: list[files.Section]) -> Iterator[Finding]:
    general = _named(sections, "general")
    if not _is_on(general.get("enable", "no")):
        yield error(
            f"{pbx.id}.cel",
            "the PBX keeps no record of calls (CEL)",
            "Calls that come or end while the daemon is away would be lost to the reports.",
            "cel.conf, [general]: enable = yes, apps = dial,queue",
            "cel.conf, [general]: events = " + CEL_EVENTS,
        )
        return
    listed = {one.strip().upper() for one in general.get("events").split(",")}
    missing = [one for one in CEL_EVENTS.split(",") if one not in listed and "ALL" not in listed]
    if missing:
        yield error(
            f"{pbx.id}.cel",
            f"the PBX's record of calls lacks {', '.join(missing)}",
            "Calls of the time when the daemon was away can't be told whole.",
            "cel.conf, [general]: events = " + CEL_EVENTS,
        )
    else:
        yield good(f"{pbx.id}.cel", "the PBX keeps its own record of calls")


def _queues_file(pbx: PbxSettings, sections: list[files.Section]) -> Iterator[Finding]:
    if not _is_on(_named(sections, "general").get("persistentmembers", "no")):
        yield error(
            f"{pbx.id}.members",
            "the members of the fall-back queues do not outlive a restart of the PBX",
            "When PBX and daemon go down together, callers reach nobody.",
            "queues.conf, [general]: persistentmembers = yes",
        )
    else:
        yield good(f"{pbx.id}.members", "the members of the fall-back queues outlive a restart")


def _http_file(pbx: PbxSettings, sections: list[files.Section]) -> Iterator[Finding]:
    general = _named(sections, "general")
    listens = general.get("bindaddr", "0.0.0.0")  # noqa: S104  what Asterisk itself takes when nothing is said
    if _is_on(general.get("enabled", "no")) and not is_loopback(listens) and is_loopback(pbx.host):
        yield error(
            f"{pbx.id}.http",
            f"the PBX's HTTP server listens on {listens}",
            "Browsers come through the gate; everybody else could try passwords, and reach ARI.",
            "http.conf, [general]: bindaddr = 127.0.0.1",
        )
