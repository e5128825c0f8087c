"""What a fresh checkout is set up from."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_python_package_is_pinned_with_hashes_and_without_an_address() -> None:
    text = (ROOT / "constraints.txt").read_text()
    entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^\s*#.*\n?", "", text).strip())
    assert len(entries) > 30
    for entry in entries:
        assert re.match(r"^[a-z0-9_.-]+==[0-9][^ ]* \\\n(\s+--hash=sha256:[0-9a-f]{64}( \\)?\n?)+$", entry), entry[:80]


def test_every_declared_python_package_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = set(re.findall(r"(?m)^([a-z0-9_.-]+)==", (ROOT / "constraints.txt").read_text()))
    declared = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    for requirement in declared:
        name = re.split(r"[\[<>=!~ ]", requirement, maxsplit=1)[0].lower().replace("_", "-")
        assert name in pinned, f"{name}: run `make pins`"


def test_the_lock_file_of_npm_carries_no_address() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    assert lock["packages"][""]["dependencies"] == json.loads((ROOT / "package.json").read_text())["dependencies"]
    for name, package in lock["packages"].items():
        assert "resolved" not in package, name
        assert name == "" or package["integrity"].startswith("sha512-")


def test_a_part_that_does_not_exist_cannot_be_left_out() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/house/test_setup.py"],
        env={**os.environ, "CALLFLOOR_WITHOUT": "asterik"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode != 0
    assert "asterik" in done.stdout + done.stderr


def test_what_is_left_out_is_counted_in_the_last_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/house/test_rtp.py", "-p", "no:cacheprovider"],
        env={**os.environ, "CALLFLOOR_WITHOUT": "asterisk"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.strip().splitlines()[-1] == "skipped by CALLFLOOR_WITHOUT: 2 without asterisk"
