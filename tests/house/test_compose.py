"""``docker-compose.yml`` can't be started everywhere; what it would start can."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cti.asterisk.local_pbx import free_ports
from cti.settings import load
from tests.ami_wire import AmiWire
from tests.throwaway_postgres import postgres_programs

ROOT = Path(__file__).resolve().parents[2]
SECRET = "0123456789abcdef"


def compose() -> dict[str, Any]:
    text = (ROOT / "docker-compose.yml").read_text()
    text = re.sub(r"\$\{CALLFLOOR_SECRET[^}]*\}", SECRET, text)
    # The rest has a default, or is taken from the shell where it is set there.
    parsed: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))
    for service in parsed["services"].values():
        service["environment"] = {name: value for name, value in service["environment"].items() if value is not None}
    return parsed


def test_every_service_is_built_from_what_is_here_and_no_image_names_a_registry() -> None:
    images = []
    for name, service in compose()["services"].items():
        if "image" in service:
            images.append(service["image"])
            continue
        dockerfile = ROOT / service["build"]["dockerfile"]
        lines = dockerfile.read_text().replace("\\\n", " ").splitlines()
        images += [line.split()[1] for line in lines if line.startswith("FROM ")]
        command = [line for line in lines if line.startswith("CMD ")][-1].removeprefix("CMD ")
        assert yaml.safe_load(command)[0] == service["command"][0], name
        for line in lines:
            if line.startswith("COPY ") and "--from" not in line:
                for source in line.split()[1:-1]:
                    assert (ROOT / source).exists(), (name, source)
    assert images
    for image in images:
        assert re.fullmatch(r"[a-z]+:[a-z0-9.-]+", image), image


def test_every_volume_is_declared_and_every_dependency_exists() -> None:
    file = compose()
    for service in file["services"].values():
        for volume in service.get("volumes", ()):
            assert volume.split(":")[0] in file["volumes"], volume
        for other in service.get("depends_on", {}):
            assert other in file["services"], other


def test_nothing_listens_beyond_loopback() -> None:
    for service in compose()["services"].values():
        assert service["network_mode"] == "host"
        assert "ports" not in service
        assert "0.0.0.0" not in str(service)


def test_the_daemons_variables_are_settings_and_its_command_runs() -> None:
    service = compose()["services"]["daemon"]
    settings = load(ROOT / "config" / "callfloor.toml", service["environment"])
    assert settings.database.url == f"postgresql+asyncpg://callfloor:{SECRET}@127.0.0.1:5471/callfloor"
    assert settings.pbx[0].secret.get_secret_value() == SECRET
    program, *arguments = service["command"]
    command = [str(Path(sys.executable).with_name(program)), *arguments, "--help"]
    assert subprocess.run(command, capture_output=True, cwd=ROOT, check=False).returncode == 0


def test_the_gate_starts_without_secrets_and_shares_its_key_with_the_daemon() -> None:
    gate, daemon = compose()["services"]["gate"], compose()["services"]["daemon"]
    settings = load(ROOT / "config" / "callfloor.toml", gate["environment"], has_pbx_secrets=False)
    assert settings.gate == load(ROOT / "config" / "callfloor.toml", daemon["environment"]).gate
    assert settings.gate.origin == "http://127.0.0.1:8443"
    assert SECRET not in str(gate)
    folders = {volume.split(":")[1] for volume in gate["volumes"]} & {one.split(":")[1] for one in daemon["volumes"]}
    assert str(settings.gate.pass_folder) in folders
    assert "depends_on" not in gate
    program, *arguments = gate["command"]
    command = [str(Path(sys.executable).with_name(program)), *arguments, "--help"]
    assert subprocess.run(command, capture_output=True, cwd=ROOT, check=False).returncode == 0


@pytest.mark.postgres
def test_the_databases_command_is_one_that_postgresql_takes() -> None:
    service = compose()["services"]["database"]
    program, *arguments = service["command"]
    # --describe-config prints what it would run with, and ends.
    command = [str(postgres_programs() / program), "--describe-config", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert service["environment"]["PGPORT"] in arguments
    assert service["healthcheck"]["test"][1] == "pg_isready"


@pytest.mark.pbx
async def test_asterisks_command_starts_an_asterisk_that_knows_its_phones(asterisk_root: Path, tmp_path: Path) -> None:
    service = compose()["services"]["asterisk"]
    ports = free_ports()
    folder = tmp_path / "a"
    environment = {
        **os.environ,
        **service["environment"],
        "CALLFLOOR_ASTERISK_PROGRAM": str(asterisk_root),
        "CALLFLOOR_ASTERISK_FOLDER": str(folder),
        "CALLFLOOR_PHONES_FILE": str(tmp_path / "phones.toml"),
        "CALLFLOOR_RECORDINGS__FOLDER": str(tmp_path / "recordings"),
        "CALLFLOOR_SIP_PORT": str(ports.sip_udp),
        "CALLFLOOR_WS_PORT": str(ports.ws),
        "CALLFLOOR_PBX__0__PORT": str(ports.ami),
    }
    program, *arguments = service["command"]
    assert program == "python3"
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(30):
            while True:
                assert process.returncode is None
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", ports.ami)
                    writer.close()
                    break
                except ConnectionError:
                    await asyncio.sleep(0.1)
        async with AmiWire(ports.ami, "callfloor", SECRET) as ami:
            await ami.event("FullyBooted", within_s=20)
            await ami.action("DeviceStateList")
            await ami.event("DeviceStateListComplete")
            devices = {message["Device"] for message in ami.all("DeviceStateChange")}
        for phone in service["environment"]["CALLFLOOR_BROWSER_PHONES"].split(","):
            assert f"PJSIP/{phone}" in devices
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
