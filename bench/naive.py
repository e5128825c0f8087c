"""The naive stack beside which ``bench.load`` measures: the straight way through stock packages.

Stock panoramisk with a handler for each event type that a floor needs; when a phone rings, a new ORM session loads the
customer (the same card as ours shows); the card is sent with ``await`` over aiohttp's WebSocket as aiohttp sets it up.
It decides nothing, checks no rights and writes nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web
from panoramisk.manager import Manager
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, relationship, selectinload

from bench.ami import READ_BY_HANDLERS
from crm_core import schema

Message = dict[str, str]


class Base(DeclarativeBase):
    """The tables of the CRM as ORM classes."""

    metadata = schema.party.metadata


class Flag(Base):
    __table__ = schema.party_flag


class Product(Base):
    __table__ = schema.product


class OwnedProduct(Base):
    __table__ = schema.party_product
    product = relationship(Product)


class Interaction(Base):
    __table__ = schema.interaction


class Phone(Base):
    __table__ = schema.phone


class PartyPhone(Base):
    __table__ = schema.party_phone
    phone = relationship(Phone)


class Party(Base):
    __table__ = schema.party
    flags = relationship(Flag)
    products = relationship(OwnedProduct)
    phones = relationship(PartyPhone)


class Stack:
    """Events in, cards out."""

    def __init__(self, database: str) -> None:
        self._open = async_sessionmaker(create_async_engine(f"sqlite+aiosqlite:///{database}"))
        self.desks: dict[str, web.WebSocketResponse] = {}
        self._callers: dict[str, str] = {}
        self._rings: dict[str, str] = {}
        self.states: dict[str, str] = {}

    def listen(self, manager: Manager) -> None:
        """One handler for each event type."""
        own = {
            "Newchannel": self._new_channel,
            "DialBegin": self._dial_begin,
            "DialEnd": self._dial_end,
            "DeviceStateChange": self._device,
        }
        for name, headers in READ_BY_HANDLERS.items():
            manager.register_event(name, own.get(name) or _reading(headers))

    def _new_channel(self, _: Manager, message: Message) -> None:
        self._callers[message["Uniqueid"]] = message["CallerIDNum"]

    def _device(self, _: Manager, message: Message) -> None:
        self.states[message["Device"]] = message["State"]

    async def _dial_begin(self, _: Manager, message: Message) -> None:
        leg = message["Uniqueid"]
        desk = message["DestChannel"].removeprefix("PJSIP/").rpartition("-")[0]
        self._rings[leg] = desk
        number = self._callers.get(leg, "")
        async with self._open() as session:
            customer = await _customer(session, number)
        await self._send(
            desk,
            {
                "type": "pop",
                "interaction": f"pbx1-{leg}",
                "phase": "ringing",
                "caller": {"number": number},
                "match": "one" if customer else "none",
                "customers": [customer] if customer else [],
                "products": customer["products"] if customer else [],
            },
        )

    async def _dial_end(self, _: Manager, message: Message) -> None:
        leg = message["Uniqueid"]
        if message["DialStatus"] != "ANSWER" and (desk := self._rings.pop(leg, None)) is not None:
            await self._send(desk, {"type": "pop_closed", "interaction": f"pbx1-{leg}"})

    async def _send(self, desk: str, message: dict[str, Any]) -> None:
        if (socket := self.desks.get(desk)) is not None:
            await socket.send_str(json.dumps(message, separators=(",", ":")))

    async def serve_desk(self, request: web.Request) -> web.WebSocketResponse:
        """One desk's socket."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.desks[request.match_info["desk"]] = socket
        async for frame in socket:
            if frame.type is WSMsgType.TEXT:
                json.loads(frame.data)
        return socket


def _reading(headers: tuple[str, ...]) -> Any:
    def handle(_: Manager, message: Message) -> None:
        for name in headers:
            message.get(name)

    return handle


async def _customer(session: AsyncSession, number: str) -> dict[str, Any] | None:
    query = (
        select(Party)
        .join(Party.phones)
        .join(PartyPhone.phone)
        .where(schema.phone.c.e164 == number)
        .options(selectinload(Party.flags), selectinload(Party.products).selectinload(OwnedProduct.product))
    )
    party = (await session.scalars(query)).first()
    if party is None:
        return None
    columns = schema.interaction.c
    last = select(Interaction).where(columns.party_id == party.id).order_by(columns.started_at.desc()).limit(5)  # type: ignore[attr-defined]
    interactions = (await session.scalars(last)).all()
    found: Any = party
    return {
        "id": found.id,
        "name": found.name,
        "tier": found.tier,
        "owner": found.owner,
        "account": found.account_number,
        "flags": [flag.flag for flag in found.flags],
        "products": [
            {"relation": one.relation, "code": one.product.code, "name": one.product.name} for one in found.products
        ],
        "interactions": [_brief(one) for one in interactions],
    }


def _brief(one: Any) -> dict[str, Any]:
    return {
        "id": one.id,
        "at": one.started_at,
        "queue": one.queue,
        "agent": one.agent,
        "disposition": one.disposition,
        "note": one.note,
        "talk_s": one.talk_s,
    }


async def main(config: dict[str, Any]) -> None:
    """Run until killed."""
    stack = Stack(config["database"])
    manager = Manager(
        loop=asyncio.get_running_loop(),
        host="127.0.0.1",
        port=config["ami_port"],
        username="callfloor",
        secret="played",
    )
    stack.listen(manager)
    await manager.connect()
    app = web.Application()
    app.router.add_get("/desk/{desk}", stack.serve_desk)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", config["web_port"]).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
