"""Where an installation keeps what: one table, under ``/`` or under a folder of one's own.

::

    /opt/callfloor/releases/<version>/   program/, venv/, bin/callfloor, gate.hash
    /opt/callfloor/current               → the release in use
    /etc/callfloor/callfloor.toml        root:callfloor 0640
    /var/lib/callfloor/                  database, journal/, recordings/ (the PBX writes there), backups/
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

USER = "callfloor"
MEDIA_GROUP = "callfloor-media"
"""Who writes and reads recordings: Asterisk and Callfloor, and neither reads anything else of the other."""
PBX_USER = "asterisk"


@dataclass(frozen=True)
class Places:
    """The paths of one installation. ``root`` ``/`` is this machine; any other folder holds a whole one of its own."""

    root: Path = Path("/")

    @property
    def is_machine(self) -> bool:
        """Whether this is the machine itself: users, ownership and services are real only there."""
        return self.root == Path("/")

    @property
    def program(self) -> Path:
        """All releases and what is kept about them."""
        return self.root / "opt/callfloor"

    @property
    def releases(self) -> Path:
        """One folder for each installed version."""
        return self.program / "releases"

    @property
    def current(self) -> Path:
        """Symbolic link to the release in use."""
        return self.program / "current"

    @property
    def upgrades(self) -> Path:
        """What the last upgrade did, for ``rollback``."""
        return self.program / "last-upgrade.json"

    @property
    def command(self) -> Path:
        """The command as people type it."""
        return self.root / "usr/local/bin/callfloor"

    @property
    def config(self) -> Path:
        """The start-up file."""
        return self.root / "etc/callfloor/callfloor.toml"

    @property
    def pbx_config(self) -> Path:
        """What kind of PBX this machine has, and how it is set up."""
        return self.root / "etc/callfloor/pbx.toml"

    @property
    def pbx_etc(self) -> Path:
        """What is written for the PBX: all its configuration, or files to include."""
        return self.root / "etc/callfloor/asterisk"

    @property
    def pbx_data(self) -> Path:
        """What a PBX of our own keeps."""
        return self.data / "asterisk"

    @property
    def pbx_log(self) -> Path:
        """Where the PBX writes its records of calls."""
        return self.root / "var/log/asterisk"

    @property
    def unpacked_asterisk(self) -> Path:
        """An Asterisk of our own where the system has no package of it."""
        return self.program / "asterisk/22"

    @property
    def fallback_queues(self) -> Path:
        """What the daemon has the PBX include."""
        return self.data / "pbx/queues.conf"

    @property
    def messages(self) -> Path:
        """What callers say while the daemon is away."""
        return self.data / "messages"

    @property
    def prompts(self) -> Path:
        """What callers are told."""
        return self.data / "prompts"

    @property
    def agent_config(self) -> Path:
        """The settings of the agent on a PBX that shares no disk with the daemon."""
        return self.root / "etc/callfloor/pbx-agent.toml"

    @property
    def agent_token(self) -> Path:
        """The secret with which that agent is known to the daemon."""
        return self.agent_config.with_suffix(".token")

    @property
    def data(self) -> Path:
        """Everything that must outlive a release."""
        return self.root / "var/lib/callfloor"

    @property
    def journal(self) -> Path:
        """The journal's folder."""
        return self.data / "journal"

    @property
    def gate(self) -> Path:
        """What daemon and gate share: the key of the browsers' passes."""
        return self.data / "gate"

    @property
    def recordings(self) -> Path:
        """Where the PBX writes recordings."""
        return self.data / "recordings"

    @property
    def backups(self) -> Path:
        """Where backups go unless told otherwise."""
        return self.data / "backups"

    @property
    def units(self) -> Path:
        """systemd's folder for local units."""
        return self.root / "etc/systemd/system"

    @property
    def logrotate(self) -> Path:
        """The rotation of what the PBX writes for Callfloor."""
        return self.root / "etc/logrotate.d/callfloor"

    def release(self, version: str) -> Path:
        """The folder of one version."""
        return self.releases / version

    def current_version(self) -> str | None:
        """The version in use, None before the first installation."""
        return self.current.resolve().name if self.current.is_symlink() else None
