"""Off this machine everything is encrypted, and what stands in the way is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cti import settings
from cti.daemon import Daemon
from cti.errors import SettingsError
from web.hardening import headers_of

ROOT = Path(__file__).parents[2]
ORIGIN = {"CALLFLOOR_GATE__ORIGIN": "https://floor.example"}


def with_(**variables: str) -> dict[str, str]:
    return {f"CALLFLOOR_{name}": value for name, value in variables.items()}


@pytest.mark.parametrize(
    ("variables", "key"),
    [
        (with_(WEB__HOST="0.0.0.0"), r"web\.host: 0\.0\.0\.0 is reached from outside"),
        (with_(WEB__HOST="10.0.0.5"), r"web\.host"),
        (with_(WEB__HOST="callfloor.lan"), r"web\.host"),
        (with_(DESK_SOCKET__HOST="::"), r"desk_socket\.host"),
        (with_(DESK_SOCKET__URL="ws://floor.example/desk/socket"), r"desk_socket\.url: wants wss"),
        (with_(GATE__ORIGIN="http://floor.example"), r"gate\.origin: .* https only"),
        (with_(GATE__ORIGIN="https://floor.example/"), r"gate\.origin"),
        (with_(GATE__HOST="0.0.0.0", GATE__ORIGIN="https://floor.example"), r"gate\.certificate: is needed"),
        (with_(GATE__CERTIFICATE="a.crt"), r"gate\.key: both"),
        (with_(GATE__ACME_FOLDER="/var/www"), r"gate\.redirect_port"),
        (with_(GATE__PASS_LIFE_S="10"), r"gate\.pass_life_s"),
        (with_(PBX__0__SECRET="x", PBX__0__SIP_WS_URL="ws://10.0.0.9:8088/ws"), r"pbx\.0\.sip_ws_url: wants wss"),
        (with_(PBX__0__SECRET="x", PBX__0__SIP_WS_URL="http://127.0.0.1/ws"), r"pbx\.0\.sip_ws_url"),
        (with_(WEBRTC__ICE_SERVERS__0__CREDENTIAL="x"), r"webrtc\.ice_servers\.0\.urls"),
    ],
)
def test_what_would_leave_this_machine_in_the_clear_is_refused_by_name(variables: dict[str, str], key: str) -> None:
    with pytest.raises(SettingsError, match=key):
        settings.load(None, variables)


def test_behind_https_the_pages_may_listen_elsewhere() -> None:
    loaded = settings.load(None, {**ORIGIN, **with_(WEB__HOST="10.0.0.5")})
    assert loaded.web.host == "10.0.0.5"
    assert loaded.gate.socket_origin == "wss://floor.example"


def test_the_gate_starts_without_the_secret_of_any_pbx() -> None:
    loaded = settings.load(ROOT / "config" / "callfloor.toml", {}, has_pbx_secrets=False)
    assert loaded.pbx[0].sip_ws_url
    with pytest.raises(SettingsError, match=r"pbx\.0\.secret"):
        settings.load(ROOT / "config" / "callfloor.toml", {})


def test_behind_the_gate_everything_that_a_page_opens_is_on_the_one_https_origin(tmp_path: Path) -> None:
    variables = with_(
        GATE__PASS_FOLDER=str(tmp_path / "gate"),
        PBX__0__SECRET="x",
        PBX__0__SIP_WS_URL="ws://127.0.0.1:8088/ws",
        WEBRTC__ICE_SERVERS__0__SHARED_SECRET="sesame",
    )
    config = tmp_path / "callfloor.toml"
    config.write_text(
        '[web]\ntrusted_proxies = ["10.0.0.7"]\n[[webrtc.ice_servers]]\nurls = ["turns:turn.example:443"]\n'
        '[[pbx]]\nid = "pbx1"\n'
    )
    web = Daemon(settings.load(config, ORIGIN | variables))._web_settings()
    assert web.site_origins == {"https://floor.example"}
    assert web.cookie_secure
    assert web.desk_socket_url == "wss://floor.example/desk/socket"
    assert web.sip_ws_urls == {"pbx1": "wss://floor.example/sip/pbx1"}
    assert web.trusted_proxies == {"10.0.0.7", "127.0.0.1", "::1"}
    assert "connect-src 'self' wss://floor.example;" in headers_of(web)["Content-Security-Policy"]
    assert web.ice_servers[0].shared_secret == "sesame"
    assert "sesame" not in repr(web)


def test_the_command_becomes_a_gate_that_names_what_is_missing(tmp_path: Path) -> None:
    empty = tmp_path / "callfloor.toml"
    empty.write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "cti.cli", "gate", "--config", str(empty)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("callfloor gate: gate.origin: is needed")
