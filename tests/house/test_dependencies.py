"""What Callfloor runs on: free of licences that would bind its users, each package pinned by its content."""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def run_time_packages() -> dict[str, importlib.metadata.Distribution]:
    """Callfloor and all that it imports when it runs, by name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    wanted = ["callfloor"]
    while wanted:
        name = wanted.pop()
        if canonical(name) in found:
            continue
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another Python or system
        found[canonical(name)] = package
        for requirement in package.requires or []:
            if "extra ==" not in requirement:
                wanted.append(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])
    return found


def licence_of(package: importlib.metadata.Distribution) -> str:
    about = package.metadata.json
    words = [
        str(about.get("license_expression", "")),
        *(one for one in about.get("classifier", []) if "License" in one),
    ]
    return " ".join(words).strip() or str(about.get("license", ""))


@pytest.mark.parametrize("name", sorted(run_time_packages()))
def test_no_package_that_runs_with_callfloor_has_a_licence_of_the_gpl_family(name: str) -> None:
    licence = licence_of(run_time_packages()[name])
    assert licence
    assert not re.search(r"\b(A|L)?GPL|General Public", licence)


def test_every_python_package_is_pinned_to_a_version_and_to_its_content() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    pins = [line for line in lines if line and not line.startswith(("#", " "))]
    pinned = {canonical(pin.split("==")[0].split("[")[0].strip()) for pin in pins}
    assert all("==" in pin and "--hash=sha256:" in pin for pin in pins)
    assert set(run_time_packages()) - {"callfloor"} <= pinned


def test_every_front_end_package_is_pinned_to_its_content_and_names_no_address() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert all(package.get("integrity", "").startswith("sha512-") for package in packages.values())
    assert all("resolved" not in package for package in packages.values())
