"""The sections of ``queues.conf`` for the time without us, ``callfloor-<queue>``, and a file that holds them.

A queue that is made in the pages needs one. The PBX includes the file (``#tryinclude`` in ``queues.conf``), the daemon
adds what is missing and sends ``QueueReload``, which wants no right at all. Sections only ever come: callers may stand
in one whose queue was removed a moment ago, and an empty one costs nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS: Final = """\
strategy = leastrecent
musicclass = default
timeout = 20
retry = 1
wrapuptime = 5
ringinuse = no
joinempty = unavailable,invalid,unknown
leavewhenempty = unavailable,invalid,unknown
setinterfacevar = yes
membergosub = callfloor-member
"""
HEAD: Final = "; Written by Callfloor: one fall-back queue for each queue that is made in the pages.\n"
_SECTION: Final = re.compile(r"^\[(callfloor-[a-z0-9._-]+)\]$", re.MULTILINE)


def section(name: str) -> str:
    """One queue as ``queues.conf`` has it."""
    return f"[{name}]\n{SETTINGS}"


def add(file: Path, name: str) -> None:
    """Have ``file`` hold the queue ``name``, beside those that are in it. Raises ``OSError``."""
    try:
        names = set(_SECTION.findall(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        names = set()
    names.add(name)
    beside = file.with_name(f".{file.name}.new")
    beside.touch(mode=0o640)
    beside.write_text("\n".join((HEAD, *map(section, sorted(names)))), encoding="utf-8")
    # Asterisk may read at any moment: it finds the old file or the new one.
    beside.replace(file)
