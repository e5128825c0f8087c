"""The PBX of an installation: one of our own runs as it was written, and nobody else's is changed unasked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import shutil
import subprocess
import sys
import tomllib
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cti import settings
from cti.asterisk import prompts
from cti.demo.automatic_agents import AutomaticAgent, Habits
from cti.demo.callers import Callers, UasPhone
from cti.install import pbx as pbxs
from cti.install import release, steps, upgrade
from cti.install.machine import Owners
from cti.install.places import Places
from cti.install.units import DAEMON, PBX
from tests.doctor.clinic import announcements
from tests.e2e.site import DESK, PASSWORD, seed
from tests.install.site import ROOT, ChildServices, already_spoken, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE_S = 60.0


def _link_release(target: Path) -> None:
    """A release that is this checkout, with the packages of the running Python."""
    (target / "bin").mkdir(parents=True)
    (target / "program").symlink_to(ROOT)
    (target / "venv").symlink_to(sys.prefix)
    command = target / "bin/callfloor"
    command.write_text(release.COMMAND)
    command.chmod(0o755)


def _install(places: Places, wishes: steps.Wishes) -> None:
    todo = steps.install_steps(places, "1.0", wishes, Owners(places), make=_link_release)
    steps.carry_out(todo, tell=lambda _: None, is_rehearsal=False)
    already_spoken(places)


def _change(path: Path, *pairs: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)


@pytest.fixture
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    # Short, because the path of Asterisk's control socket is limited.
    root = tmp_path_factory.mktemp("pbx")
    yield Places(root)
    shutil.rmtree(root, ignore_errors=True)


@pytest.mark.pbx
@pytest.mark.parametrize("version", [22, pytest.param(16, marks=pytest.mark.long)])
async def test_a_pbx_of_our_own_runs_as_it_was_written_and_a_caller_reaches_a_phone(
    places: Places, asterisk_roots: dict[int, Path], version: int
) -> None:
    _install(places, steps.Wishes(region="DE", pbx="own", asterisk=asterisk_roots[version]))
    sip, web = free_port(), free_port()
    _change(
        places.config,
        ("port = 8470", f"port = {web}"),
        ("port = 8471", f"port = {free_port()}"),
        ("port = 5038", f"port = {free_port()}"),
        (":8088/", f":{free_port()}/"),
    )
    _change(
        places.pbx_config,
        ("sip_port = 5060", f"sip_port = {sip}"),
        ("desk_phones = []", f'desk_phones = ["{DESK.slug}"]'),
        ('# CALLFLOOR_EMERGENCY_CALLERID = "a number', 'CALLFLOOR_EMERGENCY_CALLERID = "4930111"  # "'),
    )
    announcements(places.prompts)
    said: list[str] = []
    await asyncio.to_thread(pbxs.apply, places, tell=said.append)
    assert "Asterisk does not run here now" in said[-1]
    await asyncio.to_thread(_first_administrator, places)
    # Queues and agents come from the pages: none of them was known when the PBX was set up.
    await seed(f"sqlite+aiosqlite:///{places.data / 'callfloor.db'}", [DESK], wrap_up_s=1, ring_timeout_s=20)
    password = tomllib.loads((places.pbx_etc / "phones.toml").read_text())[DESK.slug]
    services = ChildServices(places)
    try:
        services.start(PBX)
        services.start(DAEMON)
        await _becomes(lambda: upgrade.health_of(places).is_whole)
        await _a_call_is_answered(places, sip, web, password)
        words = (places.current / "bin/callfloor", "doctor")
        doctor = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
        report = (await doctor.communicate())[0].decode()
        assert doctor.returncode == 0, report
        assert "2 fall-back queues are there" in report
        # It belongs to the release: whoever goes to another one has it read again.
        said.clear()
        await asyncio.to_thread(steps.set_up_pbx, places, tell=said.append)
        assert "told Asterisk: dialplan reload" in said[0]
    finally:
        services.stop(DAEMON)
        services.stop(PBX)


def _first_administrator(places: Places) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as lines:
        lines.write("a long password\n")
    steps.first_administrator(places, "root", reading)
    os.close(reading)


async def _becomes(condition: object) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await asyncio.to_thread(condition):  # type: ignore[arg-type]
            await asyncio.sleep(0.1)


async def _a_call_is_answered(places: Places, sip: int, web: int, password: str) -> None:
    folder = places.root / "sip"
    phone = UasPhone(
        pbx_host="127.0.0.1",
        pbx_port=sip,
        folder=folder,
        endpoint=DESK.slug,
        password=password,
        answer_after_s=0.2,
        talk_s=1.0,
    )
    habits = Habits(ready_after_s=(0.1, 0.2), break_chance=0.0)
    site = f"http://127.0.0.1:{web}"
    agent = AutomaticAgent(site=site, username=DESK.slug, password=PASSWORD, rng=random.Random(1), habits=habits)
    callers = Callers(pbx_host="127.0.0.1", pbx_port=sip, folder=folder)
    async with phone:
        work = asyncio.create_task(agent.run())
        try:
            call = await callers.begin("+4930901820", "Anna", "4001", stay_s=40.0)
            async with asyncio.timeout(DEADLINE_S):
                rung = await phone.wait_for_result()
            assert rung.steps[:2] == ("ringing", "answered")
            assert "answered" in (await call.wait()).steps
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
            await callers.stop()


def test_what_somebody_wrote_into_our_files_is_kept_and_shown(places: Places, asterisk_root: Path) -> None:
    _install(places, steps.Wishes(region="DE", pbx="own", asterisk=asterisk_root))
    pbxs.apply(places, tell=lambda _: None)
    manager, pjsip = places.pbx_etc / "manager.conf", places.pbx_etc / "pjsip.conf"
    secret = re.findall(r"secret = (\S+)", manager.read_text())[0]
    _change(manager, ("authlimit = 50", "authlimit = 5"), (f"secret = {secret}", "secret = mine-is-better"))
    said: list[str] = []
    pbxs.apply(places, tell=said.append, is_rehearsal=True)
    assert "authlimit = 5\n" in manager.read_text()
    pbxs.apply(places, tell=said.append)
    text = "\n".join(said)
    assert "-authlimit = 5\n" in text
    assert "mine-is-better" not in text
    assert secret not in text
    kept = next(places.pbx_etc.glob("manager.conf.before-*"))
    assert "mine-is-better" in kept.read_text()
    assert secret in manager.read_text()
    # What changes because the release changes it is not a person's.
    _change(places.pbx_config, ("sip_port = 5060", "sip_port = 5070"))
    said.clear()
    pbxs.apply(places, tell=said.append)
    assert ":5070" in pjsip.read_text()
    assert not list(places.pbx_etc.glob("pjsip.conf.before-*"))
    assert not (places.root / "etc/asterisk").exists()


def test_an_existing_pbx_is_told_what_to_include_and_keeps_a_copy_of_what_is_changed(places: Places) -> None:
    _install(places, steps.Wishes(region="DE"))
    etc = places.root / "etc/asterisk"
    etc.mkdir()
    (etc / "manager.conf").write_text("[general]\nenabled = yes\n[boss]\nsecret = old-secret")
    said: list[str] = []
    pbxs.apply(places, tell=said.append)
    assert (etc / "manager.conf").read_text().endswith("old-secret")
    assert any(f'#include "{places.pbx_etc}/manager.conf"' in line for line in said)
    for _ in range(2):
        pbxs.apply(places, tell=said.append, may_include=True)
    for name in ("manager.conf", "extensions.conf", "queues.conf"):
        assert (etc / name).read_text().count(f'#include "{places.pbx_etc / name}"') == 1
    assert len(list(etc.glob("manager.conf.before-*"))) == 1
    assert "old-secret" not in "\n".join(said)
    extensions = (places.pbx_etc / "extensions.conf").read_text()
    assert f"CALLFLOOR_PROMPTS = {places.prompts}" in extensions
    assert (places.pbx_etc / "manager.conf").stat().st_mode & 0o777 == 0o640


def test_a_pbx_on_another_machine_is_reached_over_tls_and_nothing_is_written_for_it_here(places: Places) -> None:
    _install(places, steps.Wishes(region="DE", pbx="elsewhere"))
    told = settings.load(places.config, {}).pbx[0]
    assert (told.tls, told.queues_file, told.records_folder) == (True, None, None)
    said: list[str] = []
    pbxs.apply(places, tell=said.append)
    assert "asterisk -rx 'dialplan reload'" in said[-1]
    assert not places.pbx_etc.exists()


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="there is no espeak-ng here")
def test_a_human_voice_is_never_spoken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "VOICES", {"en": "en-gb"})
    monkeypatch.setattr(prompts, "NUMBERS", range(0))
    monkeypatch.setattr(prompts, "SENTENCES", {name: {"en": "Good day."} for name in prompts.RECORDING})
    folder = tmp_path / "prompts"
    folder.mkdir()
    pbxs.speak(folder, tell=lambda _: None)
    spoken, human = folder / "en/recording-announced.wav", folder / "en/recording-consent.wav"
    with wave.open(str(spoken)) as file:
        assert file.getframerate() == prompts.RATE
    human.write_bytes(b"a human voice")
    # As after an upgrade whose sentences are others.
    (folder / ".spoken.json").write_text((folder / ".spoken.json").read_text().replace('"release": "', '"release": "x'))
    monkeypatch.setattr(prompts, "SENTENCES", {name: {"en": "Good night, all."} for name in prompts.RECORDING})
    before = spoken.read_bytes()
    pbxs.speak(folder, tell=lambda _: None)
    assert human.read_bytes() == b"a human voice"
    assert spoken.read_bytes() != before


def test_falls_that_follow_each_other_get_longer_pauses(tmp_path: Path) -> None:
    script, slept = tmp_path / "pause", tmp_path / "slept"
    script.write_text(release.PAUSE)
    script.chmod(0o755)
    fake = tmp_path / "bin/sleep"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$1" >>{slept}\n')
    fake.chmod(0o755)
    run = tmp_path / "run"
    run.mkdir()

    def pause(result: str, *words: str) -> None:
        environment = {"PATH": f"{fake.parent}:{os.environ['PATH']}", "RUNTIME_DIRECTORY": str(run)}
        subprocess.run([script, *words], env=environment | {"SERVICE_RESULT": result}, check=True)

    for result in ("exit-code", "signal", "exit-code", "core-dump", "exit-code", "exit-code", "success"):
        pause("", "begin")
        pause(result)
    assert slept.read_text().split() == ["2", "4", "8", "15", "15"]
    # After a minute of work the next fall is a first one.
    (run / "began").write_text("1000000000\n")
    pause("signal")
    assert slept.read_text().split() == ["2", "4", "8", "15", "15"]
