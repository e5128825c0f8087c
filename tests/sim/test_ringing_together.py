"""Several phones ring at once for one caller, on the simulated PBX and on a real Asterisk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.stage import UNREACHABLE

if TYPE_CHECKING:
    from tests.sim.stage import Stage


async def test_whoever_answers_first_has_the_caller_and_it_rings_nowhere_else(stage: Stage) -> None:
    caller = await stage.take_call()
    stage.ring(caller, "ann", "bob", UNREACHABLE)
    await stage.says("rang ann", "rang bob")
    await stage.answer("bob")
    await stage.says("ring-ended bob answered", "ring-ended ann cancelled", "joined bob talk")
    await stage.hang_up("bob")
    await stage.ends()
    assert stage.said[-2:] == ["left bob", "ended answered"]


async def test_one_refuses_and_it_goes_on_ringing_at_the_other(stage: Stage) -> None:
    caller = await stage.take_call()
    stage.ring(caller, "ann", "bob")
    await stage.says("rang ann", "rang bob")
    await stage.reject("ann")
    await stage.says("ring-ended ann busy")
    await stage.answer("bob")
    await stage.says("joined bob talk")
    await stage.caller_hangs_up()
    await stage.ends()


async def test_nobody_of_several_answers_and_the_caller_is_offered_again(stage: Stage) -> None:
    caller = await stage.take_call()
    stage.ring(caller, "ann", "bob", ring_timeout_s=2)
    await stage.says("ring-ended ann no_answer", "ring-ended bob no_answer")
    assert (await stage.offered(caller)).waited_s >= 2


async def test_a_caller_who_gives_up_while_several_ring(stage: Stage) -> None:
    caller = await stage.take_call()
    stage.ring(caller, "ann", "bob")
    await stage.says("rang ann", "rang bob")
    await stage.caller_hangs_up()
    await stage.ends()
    assert sorted(stage.said[-3:]) == ["ended abandoned", "ring-ended ann cancelled", "ring-ended bob cancelled"]
