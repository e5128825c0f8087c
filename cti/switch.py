"""The seam to a PBX.

Two adapters stand behind it: ``cti.asterisk.switch`` (real, over AMI) and ``cti.asterisk.sim_pbx`` (simulated).
Facts go to the inbox that the adapter was given; commands come in here and never raise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from cti.commands import Command
    from cti.events import Event

    Inbox = Callable[[Event], None]


class Switch(Protocol):
    """One PBX."""

    def carry_out(self, command: Command) -> None:
        """Begin to carry out a command. Failure comes back as ``CommandFailed`` through the inbox."""
        ...
