"""Configure an Asterisk from the environment and become it. The command of the service ``asterisk``; also runs by hand.

``CALLFLOOR_PBX__0__SECRET`` and ``CALLFLOOR_PBX__0__ARI_SECRET`` are required: the daemon makes a browser phone's
password at each log-in. Those of desk phones are made at the first start, in the file that ``CALLFLOOR_PHONES_FILE``
names.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cti.asterisk.local_pbx import (  # noqa: E402
    AsteriskProgram,
    PhoneAccount,
    Ports,
    configuration,
    desk_phones,
    write_configuration,
)
from cti.asterisk.prompts import make_prompts  # noqa: E402

SETTINGS = (
    *("CALLFLOOR_EMERGENCY", "CALLFLOOR_EMERGENCY_TRUNK", "CALLFLOOR_EMERGENCY_CALLERID"),
    *("CALLFLOOR_END", "CALLFLOOR_END_NUMBER", "CALLFLOOR_END_TRUNK", "CALLFLOOR_UNREACHABLE_S"),
)
"""Global variables of the dialplan (``dialplans/CONTRACT.md``) that the environment may set."""


def names(variable: str) -> list[str]:
    return [name for name in os.environ.get(variable, "").split(",") if name]


def main() -> None:
    folder = Path(os.environ.get("CALLFLOOR_ASTERISK_FOLDER", "/var/lib/callfloor/asterisk")).resolve()
    recordings = Path(os.environ.get("CALLFLOOR_RECORDINGS__FOLDER", "/var/lib/callfloor/recordings")).resolve()
    program = AsteriskProgram.find(Path(os.environ.get("CALLFLOOR_ASTERISK_PROGRAM", "/")))
    passwords = Path(os.environ.get("CALLFLOOR_PHONES_FILE", str(folder / "phones.toml")))
    accounts = [PhoneAccount(name, "", is_browser=True) for name in names("CALLFLOOR_BROWSER_PHONES")]
    accounts += desk_phones(passwords, names("CALLFLOOR_DESK_PHONES"))
    routes = dict(entry.split("=", 1) for entry in names("CALLFLOOR_ROUTES"))
    for place in (
        folder / "lib/keys",
        folder / "spool",
        folder / "log/cel-custom",
        folder / "run",
        folder / "messages",
        recordings,
    ):
        place.mkdir(parents=True, exist_ok=True)
    prompts = folder / "prompts"
    if not prompts.is_dir() and shutil.which("espeak-ng") is not None:
        make_prompts(prompts)
    etc = folder / "etc"
    files = configuration(
        etc,
        folder=folder,
        run_folder=folder / "run",
        program=program,
        ports=Ports(
            sip_udp=int(os.environ.get("CALLFLOOR_SIP_PORT", "5060")),
            ws=int(os.environ.get("CALLFLOOR_WS_PORT", "8088")),
            ami=int(os.environ.get("CALLFLOOR_PBX__0__PORT", "5038")),
        ),
        phones=accounts,
        recordings=recordings,
        prompts=prompts if prompts.is_dir() else None,
        queues=dict.fromkeys(routes.values()),
        routes=routes,
        messages=folder / "messages",
        queues_file=Path(os.environ.get("CALLFLOOR_PBX__0__QUEUES_FILE", str(folder / "queues.conf"))),
        sip_bind=os.environ.get("CALLFLOOR_SIP_BIND", "127.0.0.1"),
        public_address=os.environ.get("CALLFLOOR_PUBLIC_ADDRESS", ""),
        settings={name: os.environ[name] for name in SETTINGS if name in os.environ},
        ami_username="callfloor",
        ami_secret=os.environ["CALLFLOOR_PBX__0__SECRET"],
        ari_secret=os.environ["CALLFLOOR_PBX__0__ARI_SECRET"],
        trunk_networks=names("CALLFLOOR_TRUNKS") or ("127.0.0.1/32",),
    )
    write_configuration(etc, files)
    os.execv(program.command[0], [*program.command, "-C", str(etc / "asterisk.conf"), "-f"])  # noqa: S606


if __name__ == "__main__":
    main()
