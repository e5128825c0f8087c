"""After each (re)connect: everything that lives on the PBX, as one fact."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from cti.asterisk.translator import legs_of_channels, read_of
from cti.errors import ActionFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from panoramisk.message import Message

    from cti.asterisk.ami_client import AmiClient
    from cti.events import PbxRead
    from cti.ids import LegId, PbxId

log = logging.getLogger(__name__)


async def read_version(client: AmiClient) -> str:
    """Asterisk's own version. Raises ``LinkError``."""
    answer = await client.act("CoreSettings")
    return str(answer.get("AsteriskVersion", ""))


async def read_pbx(client: AmiClient, pbx: PbxId, clock: Callable[[], float]) -> tuple[PbxRead, list[dict[str, str]]]:
    """Read channels, bridges, devices and queues, asked for at once; with the reading, the queues' items as they came.
    Raises ``LinkError`` if one list does not come whole.

    Events that the PBX sends meanwhile may be older than the lists: translate them after this reading, not before.
    """
    channels, bridges, devices, queues = await asyncio.gather(
        client.read_list("CoreShowChannels"),
        client.read_list("BridgeList"),
        client.read_list("DeviceStateList"),
        _read_queues(client),
    )
    items = plain(queues)
    return read_of(pbx, clock(), plain(channels), plain(bridges), plain(devices), items), items


async def read_legs(client: AmiClient, pbx: PbxId) -> set[LegId]:
    """The legs that live now. Raises ``LinkError``."""
    return {seen.leg for seen in legs_of_channels(pbx, 0.0, plain(await client.read_list("CoreShowChannels")))}


async def _read_queues(client: AmiClient) -> list[Message]:
    try:
        return await client.read_list("QueueStatus")
    except ActionFailed as problem:
        log.warning("! no queues can be read, callers have no fall-back there: %s", problem)
        return []


def plain(items: Iterable[Message]) -> list[dict[str, str]]:
    """The items of a list with their headers that occur once."""
    return [{name: value for name, value in item.items() if isinstance(value, str)} for item in items]
