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

SPY = "callfloor-spy-"
TAKE = "callfloor-take-"
OF = "-of-"

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


def spy_leg(pbx: PbxId, listener: AgentId, at: float) -> LegId:
    """The leg on which ``listener`` will hear a call, asked for at ``at``: an id that we choose, so that such a leg is
    told from every other, by everybody and for ever."""
    return LegId(f"{pbx}/{SPY}{round(at * 1000)}-{listener}")


def is_spy(leg: LegId) -> bool:
    """Whether a leg was made to hear somebody else's call."""
    return f"/{SPY}" in leg


def take_leg(of: LegId, at: float) -> LegId:
    """The leg of whoever takes over the call of ``of``, asked for at ``at``; the id says where it belongs."""
    return LegId(f"{pbx_of(of)}/{TAKE}{round(at * 1000)}{OF}{uniqueid_of(of)}")


def ordered_for(leg: LegId) -> LegId | None:
    """The leg of the call for which we had this one made (``take_leg``); None for every other."""
    _, is_ours, rest = leg.partition(f"/{TAKE}")
    return LegId(f"{pbx_of(leg)}/{rest.partition(OF)[2]}") if is_ours else None


def interaction_id(first_leg: LegId) -> InteractionId:
    """The id of the conversation that began with ``first_leg``."""
    return InteractionId(first_leg.replace("/", "-", 1))


def handle_of(interaction: InteractionId) -> str:
    """A short name of an interaction in letters and digits, for a phone whose owner may not see numbers. It names, it
    does not identify: two of the same day may share one."""
    code = zlib.crc32(interaction.encode())
    return "c" + "".join(chr(ord("a") + (code >> shift) % 16) for shift in range(28, -4, -4))
