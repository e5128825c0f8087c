"""The doctor on real Asterisks: silent about a good installation, exact about a bad one."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from cti import settings
from cti.cli import app
from cti.doctor.findings import Level, exit_code
from cti.gate.certificates import Names, make_office
from cti.gate.server import Gate
from tests.doctor.clinic import PHONES, QUEUES, ROUTES, SETTINGS, Clinic, StunServer, announcements, pages

if TYPE_CHECKING:
    from cti.asterisk.local_pbx import LocalPbx
    from tests.conftest import StartPbx


async def _clinic(tmp_path: Path, template: Path, start: StartPbx, version: int = 22, **more: object) -> Clinic:
    more.setdefault("prompts", announcements(tmp_path / "prompts"))
    pbx: LocalPbx = await start(phones=PHONES, queues=QUEUES, routes=ROUTES, settings=SETTINGS, version=version, **more)  # type: ignore[arg-type]
    clinic = Clinic(tmp_path, template, pbx)
    await clinic.open()
    clinic.write()
    return clinic


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("version", [22, 16])
async def test_the_pbx_that_we_set_up_ourselves_has_nothing_wrong(
    tmp_path: Path, sqlite_template: Path, local_pbx: StartPbx, version: int
) -> None:
    clinic = await _clinic(tmp_path, sqlite_template, local_pbx, version)
    async with pages(clinic):
        clinic.write()
        found = await clinic.look()
    wrong = [one for one in found if one.level in (Level.ERROR, Level.WARNING)]
    if version == 16:
        # Phones that come past the gate: this one really has that fault.
        assert "takes away all that come from its address" in wrong.pop().seen
    assert wrong == []
    assert exit_code(found) == (1 if version == 16 else 0)
    names = {one.check for one in found if one.level is Level.GOOD}
    assert {
        *("settings", "secrets", "disk", "database", "daemon", "pbx1.login", "pbx1.clock", "pbx1.rights"),
        *(
            "pbx1.events",
            "pbx1.dialplan",
            "pbx1.globals",
            "pbx1.modules",
            "pbx1.prompts",
            "pbx1.fallback",
            "pbx1.phones",
        ),
        *("pbx1.trunks", "pbx1.emergency", "pbx1.leaks", "pbx1.addresses", "pbx1.cel", "pbx1.members", "pbx1.ari"),
    } <= names


async def test_the_browsers_path_is_walked_to_its_end(
    tmp_path: Path, sqlite_template: Path, local_pbx: StartPbx
) -> None:
    clinic = await _clinic(tmp_path, sqlite_template, local_pbx)
    tls, port = tmp_path / "tls", _free_port()
    make_office(tls, Names(("floor.test",)), now=datetime.now(UTC))
    loop = asyncio.get_running_loop()
    stun, _ = await loop.create_datagram_endpoint(StunServer, local_addr=("127.0.0.1", 0))
    clinic.more = f"""
[gate]
origin = "https://floor.test:{port}"
port = {port}
certificate = "{tls / "server.crt"}"
key = "{tls / "server.key"}"
pass_folder = "{tmp_path / "gate"}"
[[webrtc.ice_servers]]
urls = ["stun:127.0.0.1:{stun.get_extra_info("sockname")[1]}"]
"""
    (tmp_path / "gate").mkdir(mode=0o700)
    async with pages(clinic):
        clinic.write()
        assert any("nothing answers" in name for name in await clinic.wrong("gate"))
        gate = Gate(settings.load(clinic.config), clock=time.time)
        await gate.start()
        try:
            found = {one.check: one for one in await clinic.look()}
            assert {found[name].level for name in ("gate", "certificate", "pbx1.phone-path", "media")} == {Level.GOOD}
            stun.close()
            # Another name than the certificate's.
            clinic.more = clinic.more.replace("https://floor.test", "https://other.test")
            clinic.write()
            wrong = await clinic.wrong()
        finally:
            await gate.close()
    assert any("is not for other.test" in name for name in wrong)
    assert any(name.startswith("gate no browser trusts the certificate") for name in wrong)
    assert any(name.startswith("media stun:") and "does not answer" in name for name in wrong)


async def test_an_account_with_too_many_or_too_few_rights_is_told_each_of_them(
    tmp_path: Path, sqlite_template: Path, local_pbx: StartPbx
) -> None:
    clinic = await _clinic(tmp_path, sqlite_template, local_pbx)
    ours = "call,originate,agent,reporting"
    manager = clinic.etc / "manager.conf"
    accounts = {
        "shell": f"write = system,{ours}",
        "console": f"write = command,{ours}",
        "editor": f"write = config,{ours}",
        "writer": f"write = message,{ours}",
        "weak": "write = call,reporting",
        "everything": "write = all",
    }
    rules = (
        "read = system,call,user,agent,reporting\ndeny = 0.0.0.0/0.0.0.0\npermit = 127.0.0.1/32\nwritetimeout = 10000"
    )
    text = "".join(f"\n[{name}]\nsecret = x\n{rules}\neventfilter = !a\n{write}\n" for name, write in accounts.items())
    text += f"\n[open]\nsecret = x\nread = all\nwrite = {ours}\n"
    manager.write_text(manager.read_text() + text)
    await clinic.pbx.cli("manager reload")

    async def wrong(name: str) -> str:
        clinic.write(username=name, secret="x")
        return "\n".join(await clinic.wrong("pbx1"))

    assert "has the write right `system`" in await wrong("shell")
    assert "has the write right `command`" in await wrong("console")
    assert "has the write right `config`" in await wrong("editor")
    assert "write rights message, which nothing here needs" in await wrong("writer")
    weak = await wrong("weak")
    assert "lacks the write right `originate`" in weak
    assert "lacks the write right `agent`" in weak
    assert "`system`" not in weak
    everything = await wrong("everything")
    assert all(f"has the write right `{right}`" in everything for right in ("system", "command", "config"))
    opened = await wrong("open")
    assert "may log in from everywhere" in opened
    assert "100 ms to read" in opened
    assert "VarSet" in opened
    assert "no eventfilter" in opened
    # The files are elsewhere: then a log-in from another address tells.
    clinic.etc = tmp_path / "nowhere"
    assert "from 127.0.0.2 is taken, too" in await wrong("open")
    assert "127.0.0.2" not in await wrong("weak")
    clinic.write(secret="wrong")
    assert "refuses callfloor" in "\n".join(await clinic.wrong("pbx1.login"))


async def test_a_pbx_that_is_set_up_badly_is_told_where(
    tmp_path: Path, sqlite_template: Path, local_pbx: StartPbx
) -> None:
    outside = "[from-inside]\nexten = _X.,1,Dial(PJSIP/${EXTEN}@callfloor-trunk)\n"
    clinic = await _clinic(tmp_path, sqlite_template, local_pbx, extra_dialplan=outside)
    changed = tmp_path / "hold.conf"
    included = (clinic.etc / "extensions.conf").read_text().split('"')
    hold = Path(next(path for path in included if path.endswith("hold.conf")))
    changed.write_text(hold.read_text().replace("callfloor-fallback,s,1", "callfloor-end,s,1"))
    clinic.change("extensions.conf", f'^#include "{hold}"', f'#include "{changed}"')
    clinic.change("extensions.conf", r'^#include ".*agents\.conf"', "")
    clinic.change("extensions.conf", r"^CALLFLOOR_RECORDINGS = .*", "CALLFLOOR_RECORDINGS = /elsewhere")
    clinic.change("extensions.conf", r"^CALLFLOOR_EMERGENCY_TRUNK = .*", "CALLFLOOR_EMERGENCY_TRUNK = gone")
    clinic.change("pjsip.conf", r"^allow_transfer = no", "allow_transfer = yes")
    clinic.change("pjsip.conf", r"^context = callfloor-agents", "context = from-inside")
    clinic.change("pjsip.conf", r"^max_contacts = 1", "max_contacts = 3")
    clinic.change("pjsip.conf", r"^direct_media = no", "direct_media = yes")
    clinic.change("pjsip.conf", r"^rtp_timeout = 5", "rtp_timeout = 0")
    clinic.change("pjsip.conf", r"^webrtc = yes", "webrtc = no")
    clinic.change("cel.conf", r"^enable = yes", "enable = no")
    clinic.change("queues.conf", r"^persistentmembers = yes", "persistentmembers = no")
    clinic.change("queues.conf", r"^\[callfloor-service\]", "[service]")
    clinic.change("http.conf", r"^bindaddr = 127\.0\.0\.1", "bindaddr = 0.0.0.0")
    clinic.change("asterisk.conf", r"^live_dangerously = no", "live_dangerously = yes")
    clinic.change("modules.conf", r"^load = func_uri.so", "load = func_config.so")
    (tmp_path / "prompts/de/busy.wav").unlink()
    pbx = clinic.pbx
    await pbx.cli("module reload res_pjsip.so")
    await pbx.cli("module unload func_uri.so")
    await pbx.cli("module load func_config.so")
    await pbx.cli("queue reload all")
    await pbx.cli("dialplan reload")
    clinic.change("manager.conf", r"^bindaddr = 127\.0\.0\.1", "bindaddr = 0.0.0.0")
    wrong = "\n".join(await clinic.wrong("pbx1"))
    for said in (
        "pbx1.dialplan these contexts are missing: callfloor-agents",
        "another version is loaded: callfloor-hold: extension s priority",
        "recordings to /elsewhere, the daemon looks in",
        "pbx1.emergency CALLFLOOR_EMERGENCY_TRUNK names gone",
        "pbx1.trunk.callfloor-trunk the other side may transfer",
        "pbx1.phone.ann its context from-inside leads to a trunk",
        "pbx1.phone.bo 3 phones may register under one name",
        "pbx1.phone.bo its sound goes past the PBX",
        "pbx1.phone.ann a silent phone is never given up",
        "pbx1.phone.ann it is an agent's browser phone and not set up for browsers",
        "keeps no record of calls",
        "do not outlive a restart of the PBX",
        "pbx1.fallback these fall-back queues are missing: callfloor-service",
        "pbx1.prompts " + str(tmp_path / "prompts") + " lacks 1 announcements: de/busy",
        "HTTP server listens on 0.0.0.0",
        "lives dangerously",
        "pbx1.modules missing on the PBX: func_uri",
        "AST_CONFIG is loaded",
        "the manager interface listens in plain text on 0.0.0.0",
    ):
        assert said in wrong


def test_a_machine_that_keeps_no_secret_and_no_journal_is_told(tmp_path: Path) -> None:
    config = tmp_path / "callfloor.toml"
    config.write_text(f"""
[database]
url = "sqlite+aiosqlite:///{tmp_path}/crm.db"
[journal]
folder = "{tmp_path}/journal"
[recordings]
folder = "{tmp_path}/recordings"
[[pbx]]
host = "0.0.0.0"
plain_text_allowed = true
port = 1
secret = "hunter2-hunter2"
""")
    config.chmod(0o644)
    run = CliRunner()
    done = run.invoke(app, ["doctor", "--json", "--config", str(config)])
    said = json.loads(done.stdout)
    seen = "\n".join(f"{one['check']} {one['seen']} {one['change']}" for one in said["findings"])
    assert done.exit_code == said["exit_code"] == 2
    assert f"everybody on this machine can read {config}" in seen
    assert f"there is no folder {tmp_path}/journal" in seen
    assert "is empty ['callfloor migrate']" in seen
    assert "the link to 0.0.0.0 is plain text" in seen
    assert "no manager interface at 0.0.0.0:1" in seen
    assert "hunter2" not in done.output
    config.write_text("[web]\nprot = 1\n")
    text = run.invoke(app, ["doctor", "--config", str(config)])
    assert text.exit_code == 2
    assert "ERROR settings: web.prot: is not a known key" in text.output


async def test_the_printed_account_is_the_one_that_the_doctor_wants(
    tmp_path: Path, sqlite_template: Path, local_pbx: StartPbx
) -> None:
    clinic = await _clinic(tmp_path, sqlite_template, local_pbx)
    words = ["doctor", "--print-manager-conf", "--config", str(clinic.config)]
    printed = await asyncio.to_thread(CliRunner().invoke, app, words)
    account = printed.output.partition("[callfloor]")[2].partition("; ---")[0]
    manager = clinic.etc / "manager.conf"
    general, _, ours = manager.read_text().partition("[callfloor]")
    # What we write for a PBX of our own and what we ask of another are the same.
    for line in account.splitlines():
        if line.startswith(("read", "write", "eventfilter")):
            assert line in ours
    manager.write_text(f"{general}\n[callfloor]{account}")
    await clinic.pbx.cli("manager reload")
    assert await clinic.wrong("pbx1") == {}
