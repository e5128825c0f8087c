"""What is needed to start: ``config/callfloor.toml`` and ``CALLFLOOR_…`` variables. Everything else is in the database.

A variable names its key with double underscores: ``CALLFLOOR_DATABASE__URL``, ``CALLFLOOR_WEB__PORT``; it goes before
the file. Unknown keys are refused, so that a typing error can't pass for a setting.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from cti.errors import SettingsError

PREFIX = "CALLFLOOR_"
NOT_SETTINGS = frozenset({"CALLFLOOR_WITHOUT", "CALLFLOOR_CACHE", "CALLFLOOR_CONFIG", "CALLFLOOR_CHROMIUM"})
"""Variables with our prefix that the set-up and the tests read, not the program."""

LISTS = frozenset({"pbx", "ice_servers"})
"""Keys that hold several entries; a variable numbers them from 0."""

Port = Annotated[int, Field(ge=0, le=65535)]
PbxSlug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9]{0,19}$")]


class Section(BaseModel):
    """A part of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DatabaseSettings(Section):
    """``url``: SQLAlchemy's, ``sqlite+aiosqlite:///var/callfloor.db`` or ``postgresql+asyncpg://…``."""

    url: str = "sqlite+aiosqlite:///var/callfloor.db"


class JournalSettings(Section):
    """``folder``: on a local disk, always. ``keep_days``: how long parts stay that the database holds already.
    ``keep_free_mb``: with less free on that disk, they go earlier, oldest first."""

    folder: Path = Path("var/journal")
    keep_days: Annotated[float, Field(ge=1)] = 30
    keep_free_mb: Annotated[int, Field(ge=0)] = 500


class WebSettings(Section):
    """Where the pages are served. ``origins``: the site as browsers see it, if not ``gate.origin`` or
    ``http://host:port``. ``trusted_proxies``: addresses whose ``X-Forwarded-For`` is believed; behind the gate, this
    machine's own are."""

    host: str = "127.0.0.1"
    port: Port = 8470
    origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()


class DeskSocketSettings(Section):
    """Where the desks' sockets are served. ``url``: as browsers see it, if not ``ws://host:port/desk/socket``."""

    host: str = "127.0.0.1"
    port: Port = 8471
    url: str = ""


class GateSettings(Section):
    """The one port to the outside (``callfloor gate``).

    ``origin``: the site as browsers see it, ``https://floor.example[:port]``; empty: there is no gate, and the pages
    are for this machine only. ``certificate``, ``key``: PEM files; without them the gate speaks plain HTTP, for a proxy
    on this machine that holds the certificate. ``redirect_port``: where plain HTTP is led to ``origin``, and where
    ``acme_folder``, the web root of an ACME client, is served. ``pass_folder``: the key and the list of ended log-ins
    that daemon and gate share. ``trusted_proxies``: addresses in front of the gate whose ``X-Forwarded-For`` is
    believed.
    """

    origin: Annotated[str, Field(pattern=r"^(https?://[a-z0-9.-]+(:[0-9]{1,5})?)?$")] = ""
    host: str = "127.0.0.1"
    port: Port = 8443
    certificate: Path | None = None
    key: Path | None = None
    redirect_port: Port | None = None
    acme_folder: Path | None = None
    pass_folder: Path = Path("var/gate")
    pass_life_s: Annotated[float, Field(ge=300, le=86_400)] = 4 * 3600.0
    trusted_proxies: tuple[str, ...] = ()
    connections_per_address: Annotated[int, Field(ge=1)] = 1000
    connections: Annotated[int, Field(ge=1)] = 10_000

    @property
    def socket_origin(self) -> str:
        """``origin`` as the address of a WebSocket."""
        return self.origin.replace("http", "ws", 1)


class IceServerSettings(Section):
    """A STUN or TURN server for agents elsewhere. ``shared_secret``: the TURN server's own
    (coturn: ``static-auth-secret``); each log-in then gets a name and credential that end after
    ``credential_life_s``."""

    urls: Annotated[tuple[Annotated[str, Field(pattern=r"^(stun|turn)s?:\S+$")], ...], Field(min_length=1)]
    username: str = ""
    credential: SecretStr = SecretStr("")
    shared_secret: SecretStr = SecretStr("")
    credential_life_s: Annotated[float, Field(ge=600, le=7 * 86_400)] = 12 * 3600.0


class WebRtcSettings(Section):
    """How browser phones find a way for their media."""

    ice_servers: tuple[IceServerSettings, ...] = ()


class RecordingsSettings(Section):
    """``folder``: where the PBX writes recordings, as this machine sees it."""

    folder: Path = Path("var/recordings")


class PromptsSettings(Section):
    """``folder``: the announcements that the PBX plays (its ``CALLFLOOR_PROMPTS``), if this machine sees them: then
    they are shown, heard and replaced in the pages."""

    folder: Path | None = None


class PbxSettings(Section):
    """One PBX. ``phones_file``: TOML of ``endpoint = "password"`` for the browser phones' registrations.
    ``records_folder``: Asterisk's log folder (``cel-custom/callfloor.csv`` and ``queue_log`` are read), if this machine
    sees it; else ``agent_token`` is the secret of the ``callfloor pbx-agent`` that uploads them. ``tls``: the manager
    interface speaks TLS, with a certificate for ``host`` from an authority in ``tls_ca_file`` (the system's without
    it); ``plain_text_allowed``: it may do without, on a wire of its own to another machine. ``ari_url``,
    ``ari_username``, ``ari_secret``: Asterisk's REST interface, which makes the browser phones' passwords at each
    log-in; without it those of ``phones_file`` are used. ``queues_file``: a file that
    the PBX includes in its ``queues.conf``, if it is on this machine: queues made in the pages get their fall-back
    there."""

    id: PbxSlug = "pbx1"
    host: str = "127.0.0.1"
    port: Port = 5038
    username: str = "callfloor"
    secret: SecretStr
    tls: bool = False
    tls_ca_file: Path | None = None
    plain_text_allowed: bool = False
    ari_url: Annotated[str, Field(pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9/_-]*)?)?$")] = ""
    ari_username: str = "callfloor"
    ari_secret: SecretStr = SecretStr("")
    sip_ws_url: str = ""
    sip_domain: str = "127.0.0.1"
    phones_file: Path | None = None
    records_folder: Path | None = None
    queues_file: Path | None = None
    agent_token: Annotated[SecretStr, Field(min_length=20)] | None = None


class SiteSettings(Section):
    """``region``: two-letter country whose numbers are written without a country code."""

    region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] = "CN"


class Settings(Section):
    """The whole start-up configuration."""

    database: DatabaseSettings = DatabaseSettings()
    journal: JournalSettings = JournalSettings()
    web: WebSettings = WebSettings()
    desk_socket: DeskSocketSettings = DeskSocketSettings()
    gate: GateSettings = GateSettings()
    webrtc: WebRtcSettings = WebRtcSettings()
    recordings: RecordingsSettings = RecordingsSettings()
    prompts: PromptsSettings = PromptsSettings()
    site: SiteSettings = SiteSettings()
    pbx: tuple[PbxSettings, ...] = ()
    is_simulated: bool = False
    """Run against the built-in simulated PBX instead of ``pbx``; the pages say so."""


def load(path: Path | None, environment: Mapping[str, str] = os.environ, *, has_pbx_secrets: bool = True) -> Settings:
    """Settings from a file (optional) and the environment. Raises ``SettingsError`` naming the key.

    ``has_pbx_secrets`` False: for a process that talks to no PBX's manager and need not be given its secret.
    """
    raw: dict[str, Any] = {}
    if path is not None:
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SettingsError(str(path), "there is no such file") from None
        except PermissionError:
            raise SettingsError(str(path), "may not be read by you: it holds secrets. Say sudo") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(str(path), f"is not valid TOML: {error}") from None
    for name, value in environment.items():
        if name.startswith(PREFIX) and name not in NOT_SETTINGS and not name.startswith("CALLFLOOR_ASTERISK_"):
            _put(raw, name.removeprefix(PREFIX).lower().split("__"), value, name)
    if not has_pbx_secrets:
        for pbx in raw.get("pbx", ()):
            if isinstance(pbx, dict):
                pbx["secret"] = ""
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        problem = "is not a known key" if first["type"] == "extra_forbidden" else first["msg"]
        raise SettingsError(key, problem) from None
    _check_wires(settings)
    return settings


def is_loopback(host: str) -> bool:
    """Does nobody but this machine reach this address?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_wires(settings: Settings) -> None:
    """Off this machine everything is encrypted. Raises ``SettingsError``."""
    gate, origins = settings.gate, (*settings.web.origins, settings.gate.origin)
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            key = "gate.origin" if origin == gate.origin else "web.origins"
            raise SettingsError(key, f"{origin}: off this machine pages are served over https only")
    has_tls_in_front = any(origins) and all(origin.startswith("https://") for origin in origins if origin)
    for key, host in (("web.host", settings.web.host), ("desk_socket.host", settings.desk_socket.host)):
        if not is_loopback(host) and not has_tls_in_front:
            raise SettingsError(key, f"{host} is reached from outside, over plain HTTP: set gate.origin, run the gate")
    if settings.desk_socket.url:
        _check_socket("desk_socket.url", settings.desk_socket.url)
    for number, pbx in enumerate(settings.pbx):
        if pbx.sip_ws_url:
            _check_socket(f"pbx.{number}.sip_ws_url", pbx.sip_ws_url)
        _check_links(f"pbx.{number}", pbx)
    if (gate.certificate is None) != (gate.key is None):
        raise SettingsError("gate.certificate" if gate.certificate is None else "gate.key", "both or none of them")
    if gate.certificate is None and not is_loopback(gate.host):
        raise SettingsError("gate.certificate", f"is needed where the gate listens on {gate.host}")
    if gate.acme_folder is not None and gate.redirect_port is None:
        raise SettingsError("gate.redirect_port", "is needed to serve gate.acme_folder")


def _check_links(key: str, pbx: PbxSettings) -> None:
    if not (pbx.tls or pbx.plain_text_allowed or is_loopback(pbx.host)):
        raise SettingsError(f"{key}.tls", f"is needed for {pbx.host}: its secret would cross the network as plain text")
    if pbx.tls_ca_file is not None and not pbx.tls:
        raise SettingsError(f"{key}.tls_ca_file", "says nothing without tls = true")
    if pbx.ari_url.startswith("http:") and not is_loopback(urlsplit(pbx.ari_url).hostname or ""):
        raise SettingsError(f"{key}.ari_url", "wants https:// for an address off this machine")


def _check_socket(key: str, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise SettingsError(key, "wants the address of a WebSocket, ws://… or wss://…")
    if parts.scheme == "ws" and not is_loopback(parts.hostname):
        raise SettingsError(key, "wants wss:// for an address off this machine")


def _put(raw: dict[str, Any], keys: list[str], value: str, name: str) -> None:
    place: Any = raw
    for key in keys[:-1]:
        if isinstance(place, list):
            if not key.isdigit() or int(key) > len(place):
                raise SettingsError(name, "wants a number of an entry, counted from 0")
            if int(key) == len(place):
                place.append({})
            place = place[int(key)]
        else:
            place = place.setdefault(key, [] if key in LISTS else {})
    if not isinstance(place, dict):
        raise SettingsError(name, "does not name a setting")
    place[keys[-1]] = value
