"""Names of things. Every id of the switch carries its PBX, so that a second PBX is configuration.

* ``LegId``: ``"<pbx>/<Uniqueid>"``, one channel on one PBX.
* ``InteractionId``: ``"<pbx>-<Uniqueid of the first leg>"``; made from the PBX's own id, so that the same
  conversation gets the same id after a restart, in a replay and when it is rebuilt from records.
* ``AgentId`` and ``QueueId`` are slugs of ours (``^[a-z0-9][a-z0-9._-]{0,39}$``); they are safe in file names,
  dialplan variables and addresses.
"""

from __future__ import annotations

import re
import zlib
from typing import NewType

PbxId = NewType("PbxId", str)
LegId = NewType("LegId", str)
BridgeId = NewType("BridgeId", str)
InteractionId = NewType("InteractionId", str)
AgentId = NewType("AgentId", str)
QueueId = NewType("QueueId", str)

SLUG = re.compile(r"^[a-z0-9][a-z0-9._-]{0,39}$")


def leg_id(pbx: PbxId, uniqueid: str) -> LegId:
    """The id of the channel ``uniqueid`` on ``pbx``."""
    return LegId(f"{pbx}/{uniqueid}")


def pbx_of(leg: LegId | BridgeId) -> PbxId:
    """The PBX that a leg or bridge lives on."""
    return PbxId(leg.partition("/")[0])


def uniqueid_of(leg: LegId) -> str:
    """Asterisk's own ``Uniqueid`` of a leg."""
    return leg.partition("/")[2]


def interaction_id(first_leg: LegId) -> InteractionId:
    """The id of the conversation that began with ``first_leg``."""
    return InteractionId(first_leg.replace("/", "-", 1))


def handle_of(interaction: InteractionId) -> str:
    """A short name of an interaction in letters and digits, for a phone whose owner may not see numbers. It names, it
    does not identify: two of the same day may share one."""
    code = zlib.crc32(interaction.encode())
    return "c" + "".join(chr(ord("a") + (code >> shift) % 16) for shift in range(28, -4, -4))
