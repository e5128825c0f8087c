"""Keeps on one PBX what its dialplan needs while the daemon is away: members of the fall-back queues, settings.

Both are orders of the kind "make it so": only the latest counts, and what is so already is not sent. A whole shift
that logs in at once makes thousands of actions; they go out a few at a time, so that nothing urgent stands behind them.

AMI may not write the PBX's own database (``DB()`` and ``DBPut`` want rights that would also give a shell): settings
go through a Local channel into ``callfloor-mirror`` of our dialplan.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from cti.asterisk import fallback_queues
from cti.asterisk.state_read import plain
from cti.asterisk.translator import FALLBACK_QUEUE_PREFIX
from cti.commands import MirrorMembers, MirrorSetting
from cti.errors import ActionFailed, ActionTimeout, BadInput, LinkDown, LinkError
from cti.ids import SLUG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from cti.asterisk.ami_client import AmiClient

    Mirrored = MirrorMembers | MirrorSetting

log = logging.getLogger(__name__)

PHONE_PREFIX: Final = "PJSIP/"
STORE_CONTEXT: Final = "callfloor-mirror"
"""Of our dialplan: keeps ``CF_VALUE`` as ``DB(callfloor/<CF_KEY>)``."""

MAX_AT_ONCE: Final = 4
"""Queues and settings worked on at the same time; each has one action under way."""

_KEY = re.compile(r"[a-z][a-z-]{0,39}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,79})?")
_VALUE = re.compile(r"[A-Za-z0-9+._:-]{0,900}")
_ENDPOINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclass(frozen=True, slots=True)
class _Known:
    """A member as the PBX has it. One from ``queues.conf`` (static) can be paused, never removed."""

    is_paused: bool
    is_static: bool = False


class FallbackMirror:
    """``want`` never blocks; ``failed`` is called with the command and a stable code for what could not be done.
    ``queues_file``: what the PBX includes in its ``queues.conf``; a queue that it does not have is added there."""

    def __init__(
        self, name: str, client: AmiClient, failed: Callable[[Mirrored, str], None], queues_file: Path | None = None
    ) -> None:
        self._name = name
        self._client = client
        self._failed = failed
        self._queues_file = queues_file
        self._writing = asyncio.Lock()
        self._waiting: dict[str, Mirrored] = {}
        """In the order in which it was asked; of one queue or setting only the latest."""
        self._working: dict[str, asyncio.Task[None]] = {}
        self._members: dict[str, dict[str, _Known]] | None = None
        """Queue of ours → interface → member; None while there is no link."""
        self._told: set[str] = set()
        """What was refused over this link: told once."""

    def want(self, command: Mirrored) -> None:
        """Make it so. Raises ``BadInput``."""
        key = _checked(command)
        if self._members is None:
            self._failed(command, "link_down")
            return
        self._waiting[key] = command
        self._work()

    def adopt(self, items: Iterable[Mapping[str, str]]) -> None:
        """The PBX was read; ``items`` are those of ``QueueStatus``."""
        if self._members is None:
            self._told.clear()
        # Of a queue that is worked on, more is known than the reading can: it was made while members came and went.
        known = self._members or {}
        busy = {queue: known[queue] for queue in known if f"members {queue}" in self._working}
        self._members = members_of(items) | busy

    def lost(self) -> None:
        """The link is gone, and with it whatever was not done: after the next reading it is asked anew."""
        self._members = None
        self._waiting.clear()
        for task in self._working.values():
            task.cancel()
        self._working.clear()

    async def close(self) -> None:
        """End what is under way."""
        running = list(self._working.values())
        self.lost()
        if running:
            await asyncio.wait(running)

    # ── what the PBX says ─────────────────────────────────────────────────────────────────────────────────

    def member_seen(self, queue: str, interface: str, is_paused: bool, is_static: bool) -> None:
        """A member was added or paused, by us or by somebody else."""
        if self._members is not None and queue in self._members and interface.startswith(PHONE_PREFIX):
            self._members[queue][interface] = _Known(is_paused, is_static)

    def member_gone(self, queue: str, interface: str) -> None:
        """A member was removed, by us or by somebody else."""
        if self._members is not None:
            self._members.get(queue, {}).pop(interface, None)

    # ── making it so ──────────────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        for key in [key for key in self._waiting if key not in self._working]:
            if len(self._working) >= MAX_AT_ONCE:
                return
            task = asyncio.get_running_loop().create_task(self._make_so(key, self._waiting.pop(key)), name="ami-mirror")
            self._working[key] = task
            task.add_done_callback(partial(self._worked, key))

    def _worked(self, key: str, task: asyncio.Task[None]) -> None:
        if self._working.get(key) is task:
            del self._working[key]
            self._work()

    async def _make_so(self, key: str, command: Mirrored) -> None:
        try:
            match command:
                case MirrorMembers():
                    await self._mirror_members(command)
                case MirrorSetting():
                    await self._mirror_setting(command)
        except LinkDown:
            self._failed(command, "link_down")
        except ActionTimeout:
            self._failed(command, "timeout")
        except LinkError as problem:
            if key not in self._told:
                self._told.add(key)
                log.warning("! %s: %s refused: %s", self._name, key, problem)
                self._failed(command, "refused")

    async def _mirror_members(self, command: MirrorMembers) -> None:
        queue = FALLBACK_QUEUE_PREFIX + command.queue
        if self._members is None:
            return
        if queue not in self._members and not await self._look(queue) and not await self._make_queue(queue):
            raise ActionFailed("there is no such queue, callers will find no fall-back: ask `callfloor doctor`")
        try:
            await self._send_differences(command, queue)
        except ActionFailed:
            # Somebody else moved members meanwhile: look, then once more.
            if await self._look(queue):
                await self._send_differences(command, queue)

    async def _make_queue(self, queue: str) -> bool:
        """Have the PBX know a queue that was made in the pages; whether it does."""
        if self._queues_file is None:
            return False
        try:
            async with self._writing:
                await asyncio.to_thread(fallback_queues.add, self._queues_file, queue)
        except OSError as problem:
            raise ActionFailed(f"{self._queues_file} can't be written: {problem.strerror}") from problem
        await self._client.act("QueueReload", Parameters="yes")
        return await self._look(queue)

    async def _look(self, queue: str) -> bool:
        """Read one queue anew; whether the PBX has it."""
        found = members_of(plain(await self._client.read_list("QueueStatus", Queue=queue)))
        if self._members is None or queue not in found:
            return False
        self._members[queue] = found[queue]
        return True

    async def _send_differences(self, command: MirrorMembers, queue: str) -> None:
        if self._members is None:
            return
        known = self._members[queue]
        wanted = {PHONE_PREFIX + member.endpoint: member.is_paused for member in command.members}
        for interface, is_paused in wanted.items():
            there = known.get(interface)
            if there is None:
                await self._client.act(
                    "QueueAdd",
                    Queue=queue,
                    Interface=interface,
                    MemberName=interface.removeprefix(PHONE_PREFIX),
                    Paused=_yes(is_paused),
                )
                known[interface] = _Known(is_paused)
            elif there.is_paused != is_paused:
                await self._pause(queue, interface, is_paused, known)
        for interface, there in list(known.items()):
            if interface in wanted:
                continue
            if not there.is_static:
                await self._client.act("QueueRemove", Queue=queue, Interface=interface)
                known.pop(interface, None)
            elif not there.is_paused:
                await self._pause(queue, interface, True, known)

    async def _pause(self, queue: str, interface: str, is_paused: bool, known: dict[str, _Known]) -> None:
        await self._client.act("QueuePause", Queue=queue, Interface=interface, Paused=_yes(is_paused))
        there = known.get(interface)
        known[interface] = _Known(is_paused, there is not None and there.is_static)

    async def _mirror_setting(self, command: MirrorSetting) -> None:
        key, value = command.key, command.value
        if await self._stored(key) == value:
            return
        try:
            # Answered when it is written; refused if the dialplan does not know the key.
            await self._client.act(
                "Originate",
                Channel=f"Local/s@{STORE_CONTEXT}/n",
                Application="Wait",
                Data="0",
                Timeout="3000",
                Variable=[f"CF_KEY={key}", f"CF_VALUE={value}"],
            )
        except ActionFailed as problem:
            raise ActionFailed(f"{key}: {problem}") from problem

    async def _stored(self, key: str) -> str:
        """The value that the PBX keeps, empty if there is none."""
        try:
            items = plain(await self._client.read_list("DBGet", Family="callfloor", Key=key))
        except ActionFailed:
            return ""
        return next((value for item in items if (value := item.get("Val")) is not None), "")


def members_of(items: Iterable[Mapping[str, str]]) -> dict[str, dict[str, _Known]]:
    """Queues of ours → interface → member, from the items of ``QueueStatus``."""
    queues: dict[str, dict[str, _Known]] = {}
    for item in items:
        queue, kind = item.get("Queue", ""), item.get("Event")
        if not queue.startswith(FALLBACK_QUEUE_PREFIX):
            continue
        if kind == "QueueParams":
            queues.setdefault(queue, {})
        elif kind == "QueueMember" and (interface := item.get("Location", "")).startswith(PHONE_PREFIX):
            is_static = item.get("Membership") == "static"
            queues.setdefault(queue, {})[interface] = _Known(item.get("Paused") == "1", is_static)
    return queues


def _yes(is_so: bool) -> str:
    return "true" if is_so else "false"


def _checked(command: Mirrored) -> str:
    """What the command is about, as one name. Raises ``BadInput`` for names and values that are not ours."""
    match command:
        case MirrorMembers():
            if SLUG.match(command.queue) is None:
                raise BadInput("queue", "malformed")
            for member in command.members:
                if _ENDPOINT.fullmatch(member.endpoint) is None:
                    raise BadInput("endpoint", "malformed")
            return f"members {FALLBACK_QUEUE_PREFIX}{command.queue}"
        case MirrorSetting():
            if _KEY.fullmatch(command.key) is None:
                raise BadInput("key", "malformed")
            if _VALUE.fullmatch(command.value) is None:
                raise BadInput("value", "malformed")
            return f"setting {command.key}"
