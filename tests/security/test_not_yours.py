"""The live floor over the live core: agents touch their own call and nobody else's, and send callers nowhere but to
agents and queues."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cti import events as e
from cti.errors import BadInput, Refused
from cti.ids import AgentId, InteractionId
from cti.live_floor import LiveFloor
from tests.core.hall import Hall
from tests.core.plans import ANN, LI, small_plan

Act = Callable[[LiveFloor, AgentId, InteractionId], None]

ACTS: dict[str, Act] = {
    "note": lambda floor, agent, call: floor.save_note(agent, call, "mine now"),
    "disposition": lambda floor, agent, call: floor.set_disposition(agent, call, "sold"),
    "customer": lambda floor, agent, call: floor.choose_customer(agent, call, 1),
    "hang-up": lambda floor, agent, call: floor.hang_up(agent, call),
    "pause": lambda floor, agent, call: floor.pause_recording(agent, call, is_paused=True),
    "objection": lambda floor, agent, call: floor.object_to_recording(agent, call),
    "transfer": lambda floor, agent, call: floor.transfer(agent, call, "queue:support", is_attended=False),
    "complete": lambda floor, agent, call: floor.complete_transfer(agent, call),
    "conference": lambda floor, agent, call: floor.confer(agent, call),
    "cancel": lambda floor, agent, call: floor.cancel_transfer(agent, call),
}

NOWHERE = (
    *("skill:", "skill: ", "skill:english >=", "skill:__import__('os')", "skill:" + "(" * 50, "voicemail:sales"),
    *("004912345", "agent:004912345", "agent:*51", "queue:callfloor-mirror", "queue:ann", "agent:sales", "agent:"),
    *("agent:ann&PJSIP/callfloor-trunk", "agent:ann@callfloor-trunk", "agent:ann,s,1", "queue:../sales"),
    *("agent:PJSIP/ann", "queue:sales ", "agent:Ann", "queue:sales\r\nAction: Originate", "agent:${EXTEN}"),
)


def talking() -> tuple[LiveFloor, list[e.Event], InteractionId]:
    """Li talks with a caller; Ann is free. The floor, what it posted, and the call."""
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    *_, call = hall.talk(LI)
    posted: list[e.Event] = []
    return LiveFloor(hall.core, post=posted.append, clock=lambda: hall.now), posted, call


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_an_agent_changes_nothing_of_a_colleagues_call(act: Act) -> None:
    floor, posted, call = talking()
    with pytest.raises(Refused):
        act(floor, ANN, call)
    with pytest.raises(Refused):
        act(floor, LI, InteractionId("pbx1-999.9"))
    assert posted == []


@pytest.mark.parametrize("target", NOWHERE)
@pytest.mark.parametrize("is_attended", [True, False])
def test_a_caller_is_sent_to_agents_and_queues_of_ours_and_nowhere_else(target: str, is_attended: bool) -> None:
    floor, posted, call = talking()
    with pytest.raises(BadInput):
        floor.transfer(LI, call, target, is_attended=is_attended)
    assert posted == []
