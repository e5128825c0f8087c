"""What is needed to start: ``config/callfloor.toml`` and ``CALLFLOOR_…`` variables. Everything else is in the database.

A variable names its key with double underscores: ``CALLFLOOR_DATABASE__URL``, ``CALLFLOOR_WEB__PORT``; it goes before
the file. Unknown keys are refused, so that a typing error can't pass for a setting.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from cti.errors import SettingsError

PREFIX = "CALLFLOOR_"
NOT_SETTINGS = frozenset({"CALLFLOOR_WITHOUT", "CALLFLOOR_CACHE", "CALLFLOOR_CONFIG", "CALLFLOOR_CHROMIUM"})
"""Variables with our prefix that the set-up and the tests read, not the program."""

Port = Annotated[int, Field(ge=0, le=65535)]
PbxSlug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9]{0,19}$")]


class Section(BaseModel):
    """A part of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DatabaseSettings(Section):
    """``url``: SQLAlchemy's, ``sqlite+aiosqlite:///var/callfloor.db`` or ``postgresql+asyncpg://…``."""

    url: str = "sqlite+aiosqlite:///var/callfloor.db"


class JournalSettings(Section):
    """``folder``: on a local disk, always."""

    folder: Path = Path("var/journal")


class WebSettings(Section):
    """Where the pages are served. ``origins``: the site as browsers see it, if not ``http://host:port``."""

    host: str = "127.0.0.1"
    port: Port = 8470
    origins: tuple[str, ...] = ()


class DeskSocketSettings(Section):
    """Where the desks' sockets are served. ``url``: as browsers see it, if not ``ws://host:port/desk/socket``."""

    host: str = "127.0.0.1"
    port: Port = 8471
    url: str = ""


class RecordingsSettings(Section):
    """``folder``: where the PBX writes recordings, as this machine sees it."""

    folder: Path = Path("var/recordings")


class PbxSettings(Section):
    """One PBX. ``phones_file``: TOML of ``endpoint = "password"`` for the browser phones' registrations."""

    id: PbxSlug = "pbx1"
    host: str = "127.0.0.1"
    port: Port = 5038
    username: str = "callfloor"
    secret: SecretStr
    sip_ws_url: str = ""
    sip_domain: str = "127.0.0.1"
    phones_file: Path | None = None


class SiteSettings(Section):
    """``region``: two-letter country whose numbers are written without a country code."""

    region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] = "CN"


class Settings(Section):
    """The whole start-up configuration."""

    database: DatabaseSettings = DatabaseSettings()
    journal: JournalSettings = JournalSettings()
    web: WebSettings = WebSettings()
    desk_socket: DeskSocketSettings = DeskSocketSettings()
    recordings: RecordingsSettings = RecordingsSettings()
    site: SiteSettings = SiteSettings()
    pbx: tuple[PbxSettings, ...] = ()
    is_simulated: bool = False
    """Run against the built-in simulated PBX instead of ``pbx``; the pages say so."""


def load(path: Path | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from a file (optional) and the environment. Raises ``SettingsError`` naming the key."""
    raw: dict[str, Any] = {}
    if path is not None:
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SettingsError(str(path), "there is no such file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(str(path), f"is not valid TOML: {error}") from None
    for name, value in environment.items():
        if name.startswith(PREFIX) and name not in NOT_SETTINGS and not name.startswith("CALLFLOOR_ASTERISK_"):
            _put(raw, name.removeprefix(PREFIX).lower().split("__"), value, name)
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        problem = "is not a known key" if first["type"] == "extra_forbidden" else first["msg"]
        raise SettingsError(key, problem) from None


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
            place = place.setdefault(key, [] if key == "pbx" else {})
    if not isinstance(place, dict):
        raise SettingsError(name, "does not name a setting")
    place[keys[-1]] = value
