"""After each (re)connect: everything that lives on the PBX, as one fact."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cti.asterisk.translator import read_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from panoramisk.message import Message

    from cti.asterisk.ami_client import AmiClient
    from cti.events import PbxRead
    from cti.ids import PbxId


async def read_version(client: AmiClient) -> str:
    """Asterisk's own version. Raises ``LinkError``."""
    answer = await client.act("CoreSettings")
    return str(answer.get("AsteriskVersion", ""))


async def read_pbx(client: AmiClient, pbx: PbxId, clock: Callable[[], float]) -> PbxRead:
    """Read channels, bridges and devices, asked for at once. Raises ``LinkError`` if one list does not come whole.

    Events that the PBX sends meanwhile may be older than the lists: translate them after this reading, not before.
    """
    channels, bridges, devices = await asyncio.gather(
        client.read_list("CoreShowChannels"), client.read_list("BridgeList"), client.read_list("DeviceStateList")
    )
    return read_of(pbx, clock(), _plain(channels), _plain(bridges), _plain(devices))


def _plain(items: Iterable[Message]) -> list[dict[str, str]]:
    return [{name: value for name, value in item.items() if isinstance(value, str)} for item in items]
