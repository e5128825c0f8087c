"""Automatic agents against a site that speaks the same HTTP and socket: what they do, and when they stop."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from cti.demo.automatic_agents import AutomaticAgent, Habits, LoginFailed
from cti.events import AgentState, AgentStateChanged
from cti.ids import InteractionId
from cti.routing.plan import PhoneKind
from cti.screenpop.pop import Pops
from tests.screenpop.pages import ANNA, CALL, Site, page, plan, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUICK = Habits(
    ready_after_s=(0.0, 0.0),
    wrap_up_s=(0.0, 0.0),
    break_chance=0.0,
    note_chance=1.0,
    notes=("wants a call back",),
)


class Office:
    """A site with a log-in form and the desk's API in front of a real hub; what is asked for is granted at once."""

    def __init__(self) -> None:
        self.site = Site(pops=Pops(plan(PhoneKind.DESK)))
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.logins = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Office]:
        app = web.Application()
        app.router.add_post("/login", self.log_in)
        app.router.add_get("/api/desk", self.desk)
        app.router.add_route("*", "/api/{rest:.*}", self.ask)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            async with self.site.open(origins=[self.address]) as self.hub:
                yield self
        finally:
            await runner.cleanup()

    @asynccontextmanager
    async def employ(self, *, password: str = "right") -> AsyncIterator[AutomaticAgent]:
        """An automatic agent at work."""
        agent = AutomaticAgent(
            site=self.address, username="anna", password=password, rng=random.Random(1), habits=QUICK
        )
        work = asyncio.create_task(agent.run())
        try:
            yield agent
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def log_in(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form["password"] != "right":
            return web.Response(status=401)
        self.logins += 1
        answer = web.Response(status=303, headers={"Location": "/"})
        answer.set_cookie("callfloor_session", "anna-token", httponly=True)
        return answer

    async def desk(self, request: web.Request) -> web.Response:
        assert request.cookies["callfloor_session"] == "anna-token"
        self.be(AgentState.NOT_READY, "logged_in")
        return web.json_response(
            {
                "csrf": "token",
                "socket_url": f"ws://127.0.0.1:{self.hub.port}/desk/socket",
                "dispositions": [{"code": "sale", "queue": None}, {"code": "fault", "queue": "support"}],
            }
        )

    async def ask(self, request: web.Request) -> web.Response:
        assert (request.headers["X-CSRF-Token"], request.headers["Origin"]) == ("token", self.address)
        body = await request.json() if request.can_read_body else {}
        self.asked.append((request.path, body))
        if request.path == "/api/desk/state":
            self.be(AgentState(body["state"]), body["reason"])
        elif request.path == "/api/desk/wrap-up/finish":
            self.be(AgentState.AVAILABLE)
        return web.json_response({"now": 0.0})

    def be(self, state: AgentState, reason: str = "", interaction: InteractionId | None = None) -> None:
        self.hub.listen(
            AgentStateChanged(
                at=1.0,
                agent=ANNA,
                state=state,
                reason=reason,
                by="agent",
                interaction=interaction,
                until=None,
                next_state=None,
            )
        )


async def test_an_automatic_agent_becomes_available_and_its_desk_can_ring() -> None:
    async with Office().open() as office, office.employ() as agent:
        await until(lambda: agent.state is AgentState.AVAILABLE)
        await until(lambda: "fresh" in office.site.desk_facts(ANNA))
        assert ("/api/desk/state", {"state": "AVAILABLE", "reason": ""}) in office.asked


async def test_an_automatic_agent_wraps_up_with_note_and_disposition_and_is_available_again() -> None:
    async with Office().open() as office, office.employ() as agent:
        await until(lambda: agent.state is AgentState.AVAILABLE)
        office.asked.clear()
        office.be(AgentState.WRAP_UP, interaction=CALL)
        await until(lambda: agent.finished == 1)
        assert office.asked == [
            (f"/api/interactions/{CALL}/note", {"text": "wants a call back"}),
            (f"/api/interactions/{CALL}/disposition", {"code": "sale"}),
            ("/api/desk/wrap-up/finish", {}),
        ]
        await until(lambda: agent.state is AgentState.AVAILABLE)


async def test_an_automatic_agent_that_missed_a_call_becomes_available_again() -> None:
    async with Office().open() as office, office.employ() as agent:
        await until(lambda: agent.state is AgentState.AVAILABLE)
        office.asked.clear()
        office.be(AgentState.NOT_READY, "ring_no_answer")
        await until(lambda: office.asked == [("/api/desk/state", {"state": "AVAILABLE", "reason": ""})])
        await until(lambda: agent.state is AgentState.AVAILABLE)


async def test_an_automatic_agent_leaves_its_desk_to_a_person_who_takes_it_over() -> None:
    async with Office().open() as office:
        agent = AutomaticAgent(
            site=office.address, username="anna", password="right", rng=random.Random(1), habits=QUICK
        )
        work = asyncio.create_task(agent.run())
        await until(lambda: agent.state is AgentState.AVAILABLE)
        async with page(office.hub, origin=office.address) as person:
            assert (await person.hello("person", take_over=True))["type"] == "welcome"
            await asyncio.wait_for(work, 10)


async def test_an_automatic_agent_comes_back_after_it_was_logged_out() -> None:
    async with Office().open() as office, office.employ() as agent:
        await until(lambda: agent.state is AgentState.AVAILABLE)
        office.hub.revoke("anna")
        await until(lambda: office.logins == 2)


async def test_a_wrong_password_is_said_and_not_tried_again() -> None:
    async with Office().open() as office:
        agent = AutomaticAgent(
            site=office.address, username="anna", password="wrong", rng=random.Random(1), habits=QUICK
        )
        with pytest.raises(LoginFailed):
            await agent.run()
