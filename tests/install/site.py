"""Installations below a folder, made of this checkout without a network: packages are those of the running Python."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sysconfig
from pathlib import Path

from cti.install import pbx, release, steps
from cti.install.machine import Owners
from cti.install.places import Places

ROOT = Path(__file__).resolve().parents[2]


def borrow_packages(venv: Path) -> None:
    """Instead of the index: what this Python has."""
    site = next(venv.glob("lib/python3*/site-packages"))
    (site / "zz-borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")


def source(folder: Path, version: str) -> Path:
    """A checkout of another version; ``crm_core`` and ``cti`` may be changed in it."""
    folder.mkdir()
    for part in release.PARTS:
        if part in ("cti", "crm_core"):
            shutil.copytree(ROOT / part, folder / part)
        else:
            (folder / part).symlink_to(ROOT / part)
    for name in release.FILES:
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, folder / name)
    project = folder / "pyproject.toml"
    current = release.version_of(ROOT)
    project.write_text(project.read_text().replace(f'version = "{current}"', f'version = "{version}"'))
    assert release.version_of(folder) == version
    return folder


def make(checkout: Path, target: Path) -> None:
    """The release of a checkout."""
    version = release.version_of(checkout)
    release.make_release(checkout, target, version, install_packages=borrow_packages, has_pip=False)


def install_steps(places: Places, owners: Owners, *, site: str = "") -> list[steps.Step]:
    """What ``./install`` does."""
    wishes = steps.Wishes(region="DE", site=site)
    return steps.install_steps(places, release.version_of(ROOT), wishes, owners, make=lambda target: make(ROOT, target))


def already_spoken(places: Places) -> None:
    """As if the announcements of this release were there: to speak them all takes twenty seconds."""
    places.prompts.mkdir(parents=True, exist_ok=True)
    (places.prompts / ".spoken.json").write_text(f'{{"release": "{pbx.spoken_release()}"}}')


def free_port() -> int:
    """A port of loopback that nobody held a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ChildServices:
    """The units as child processes. ``started``: every start, in order. ``pretended``: only said to run."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.started: list[str] = []
        self.pretended: set[str] = set()
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def reload(self) -> None:
        """Nothing to read."""

    def start(self, unit: str) -> None:
        """Start or restart a unit as its file says."""
        self.stop(unit)
        self.started.append(unit)
        if unit in self.pretended:
            return
        lines = (self.places.units / unit).read_text().splitlines()
        words = next(line.removeprefix("ExecStart=") for line in lines if line.startswith("ExecStart=")).split()
        told = [line.removeprefix("Environment=") for line in lines if line.startswith("Environment=")]
        environment = {**os.environ, **dict(one.split("=", 1) for one in told)}
        with (self.places.root / f"{unit}.log").open("ab") as log:
            self._running[unit] = subprocess.Popen(
                words, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def stop(self, unit: str) -> None:
        """End it."""
        process = self._running.pop(unit, None)
        if process is not None:
            process.terminate()
            process.wait(timeout=30)

    def is_active(self, unit: str) -> bool:
        """As systemd would say."""
        return unit in self._running or unit in self.pretended
