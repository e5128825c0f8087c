"""What an installation does to a machine beside writing files: users, ownership, services.

Under a folder of one's own nothing of that is done; who should own what is noted instead, for a packager to read.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cti.install.places import MEDIA_GROUP, PBX_USER, USER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cti.install.places import Places


class InstallError(Exception):
    """A step failed; the text says what to do."""


class Services(Protocol):
    """The running units of an installation."""

    def reload(self) -> None:
        """Read the unit files again; those of this installation start with the machine from now on."""

    def start(self, unit: str) -> None:
        """Start or restart a unit."""

    def stop(self, unit: str) -> None:
        """Stop a unit; nothing happens when it does not run."""

    def is_active(self, unit: str) -> bool:
        """Whether it runs."""


class Systemd:
    """The services of this machine."""

    def reload(self) -> None:
        """See ``Services``."""
        run(["systemctl", "daemon-reload"], why="Reading the units")

    def start(self, unit: str) -> None:
        """See ``Services``."""
        run(["systemctl", "enable", "--quiet", unit], why=f"Enabling {unit}")
        run(["systemctl", "restart", unit], why=f"Starting {unit}")

    def stop(self, unit: str) -> None:
        """See ``Services``."""
        run(["systemctl", "stop", unit], why=f"Stopping {unit}")

    def is_active(self, unit: str) -> bool:
        """See ``Services``."""
        words = ["systemctl", "is-active", "--quiet", unit]
        done = subprocess.run(words, check=False)  # noqa: S603
        return done.returncode == 0


class NoServices:
    """Under a folder of one's own, and where there is no systemd: nothing is started."""

    def reload(self) -> None:
        """Nothing."""

    def start(self, unit: str) -> None:
        """Nothing."""

    def stop(self, unit: str) -> None:
        """Nothing."""

    def is_active(self, unit: str) -> bool:
        """Never."""
        return False


def services_of(places: Places) -> Services:
    """The machine's systemd if it runs and the installation is the machine's."""
    has_systemd = places.is_machine and shutil.which("systemctl") is not None and Path("/run/systemd/system").is_dir()
    return Systemd() if has_systemd else NoServices()


@dataclass
class Owners:
    """Gives files their owner and mode. ``noted``: who would own what, where it could not be done."""

    places: Places
    noted: list[str] = field(default_factory=list)

    def give(self, path: Path, owner: str, group: str, mode: int) -> None:
        """Owner, group and mode of one file or folder."""
        path.chmod(mode)
        if self.places.is_machine:
            shutil.chown(path, owner, group)
        else:
            self.noted.append(f"{owner}:{group} {mode:04o} /{path.relative_to(self.places.root)}")

    def are_right(self, path: Path, owner: str, group: str, mode: int) -> bool:
        """Whether it is already so."""
        if not path.exists() or (path.stat().st_mode & 0o7777) != mode:
            return False
        if not self.places.is_machine:
            return True
        return has_user(owner) and path.owner() == owner and path.group() == group


def has_user(name: str) -> bool:
    """Whether the machine knows this user."""
    return _is_known(pwd.getpwnam, name)


def has_group(name: str) -> bool:
    """Whether the machine knows this group."""
    return _is_known(grp.getgrnam, name)


def _is_known(look_up: Callable[[str], object], name: str) -> bool:
    try:
        look_up(name)
    except KeyError:
        return False
    return True


def users_are_there(*, has_own_pbx: bool = False) -> bool:
    """Whether the program's user and the group of the recordings exist, with everybody in it who is there."""
    if not (has_user(USER) and has_group(MEDIA_GROUP)) or (has_own_pbx and not has_user(PBX_USER)):
        return False
    wanted = {USER, PBX_USER} if has_user(PBX_USER) else {USER}
    return wanted <= set(grp.getgrnam(MEDIA_GROUP).gr_mem)


def add_users(home: Path, *, has_own_pbx: bool = False) -> None:
    """The program's own user without a shell, and the group in which it shares recordings with Asterisk; Asterisk's
    user where no package brings it."""
    if not has_group(MEDIA_GROUP):
        run(["groupadd", "--system", MEDIA_GROUP], why="Adding the group of the recordings")
    for user in (USER, PBX_USER) if has_own_pbx else (USER,):
        if not has_user(user):
            words = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", str(home)]
            run([*words, "--shell", "/usr/sbin/nologin", user], why=f"Adding the user {user}")
    for user in (USER, PBX_USER):
        if has_user(user):
            run(["usermod", "--append", "--groups", MEDIA_GROUP, user], why=f"Adding {user} to {MEDIA_GROUP}")


def run(words: Sequence[str], *, why: str, as_user: str | None = None, reads: int | None = None) -> str:
    """Run a program and return what it wrote. ``reads``: it talks to a person instead, and reads from this descriptor.

    Raises ``InstallError`` with the end of its output.
    """
    who: dict[str, Any] = {}
    if as_user is not None:
        account = pwd.getpwnam(as_user)
        groups = os.getgrouplist(as_user, account.pw_gid)
        who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}
    is_talking = reads is not None
    done = subprocess.run(  # noqa: S603
        list(words),
        check=False,
        stdin=reads if is_talking else subprocess.DEVNULL,
        stdout=None if is_talking else subprocess.PIPE,
        stderr=None if is_talking else subprocess.STDOUT,
        cwd="/",
        **who,
    )
    output = (done.stdout or b"").decode(errors="replace")
    if done.returncode != 0:
        raise InstallError(f"{why} failed ({words[0]}):\n" + "\n".join(output.splitlines()[-25:]))
    return output
