"""Callers for the simulated PBX, so that a site without Asterisk still shows a living floor."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from cti.asterisk.sim_pbx import Caller, LiveSimPbx, PhoneBehaviour, SimPbx
from cti.events import Event
from cti.ids import PbxId
from cti.routing.plan import Plan

BETWEEN_CALLS_S = (3.0, 12.0)
TALK_S = (25.0, 90.0)
PATIENCE_S = (30.0, 120.0)
KNOWN_SHARE = 0.9
UNKNOWN_PREFIX = "+4420794"


class SimulatedSite:
    """A simulated PBX with the plan's phones, which answer by themselves, and people who call its numbers."""

    def __init__(
        self,
        plan: Plan,
        numbers: Sequence[str],
        inbox: Callable[[Event], None],
        *,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        pbx = next((agent.phone.pbx for agent in plan.agents.values()), PbxId("pbx1"))
        behaviour = PhoneBehaviour(answers_after_s=(2.0, 6.0))
        phones = {agent.phone.endpoint: behaviour for agent in plan.agents.values()}
        self.pbx = pbx
        self.switch = LiveSimPbx(SimPbx(pbx, rng=rng, phones=phones), inbox, clock=clock)
        self._numbers = list(numbers)
        self._dnis = [route.dnis for route in plan.routes]
        self._rng = rng
        self._calling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """The link comes up and people begin to call."""
        await self.switch.start()
        if self._dnis:
            self._calling = asyncio.get_running_loop().create_task(self._call_again_and_again())

    async def close(self) -> None:
        """Nobody calls any more."""
        if self._calling is not None:
            self._calling.cancel()
            await asyncio.gather(self._calling, return_exceptions=True)
        await self.switch.close()

    async def _call_again_and_again(self) -> None:
        while True:
            caller = self._somebody()
            self.switch.do(lambda sim, now, caller=caller: sim.call_in(caller, now=now))  # type: ignore[misc]
            await asyncio.sleep(self._rng.uniform(*BETWEEN_CALLS_S))

    def _somebody(self) -> Caller:
        is_known = bool(self._numbers) and self._rng.random() < KNOWN_SHARE
        return Caller(
            number=self._rng.choice(self._numbers) if is_known else f"{UNKNOWN_PREFIX}{self._rng.randrange(10**5):05}",
            dnis=self._rng.choice(self._dnis),
            patience_s=self._rng.uniform(*PATIENCE_S),
            talk_s=self._rng.uniform(*TALK_S),
        )
