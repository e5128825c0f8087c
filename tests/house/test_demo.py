"""Which telephone system the demonstration runs on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cti.demo.show import must_simulate


@pytest.fixture(autouse=True)
def nothing_unpacked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CALLFLOOR_ASTERISK_ROOT_22", raising=False)
    monkeypatch.setenv("CALLFLOOR_CACHE", str(tmp_path / "empty"))


def test_without_asterisk_and_without_apt_it_is_simulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert must_simulate()


def test_on_a_machine_with_apt_it_never_falls_to_the_simulation_by_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert not must_simulate()
