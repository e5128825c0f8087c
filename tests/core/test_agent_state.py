"""The life of an agent: every state has its way out, and what was asked for during a call comes after it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cti.agent_state import TABLE, Agent, IllegalMove, Move
from cti.events import AgentState
from cti.ids import AgentId, InteractionId

LI = AgentId("li")
CALL = InteractionId("pbx1-1")


def agent_in(*moves: Move) -> Agent:
    agent = Agent(LI)
    for number, move in enumerate(moves):
        agent.move(move, now=float(number), interaction=CALL)
    return agent


def test_from_every_state_an_agent_can_come_to_rest() -> None:
    for state, moves in TABLE.items():
        assert moves, state
        reached = {state}
        for _ in TABLE:
            targets = {target for one in reached for target in TABLE[one].values() if target}
            reached |= targets | (
                {AgentState.AVAILABLE} if None in {t for s in reached for t in TABLE[s].values()} else set()
            )
        assert AgentState.NOT_READY in reached, state


def test_a_ring_that_came_to_nothing_keeps_the_place_in_the_line_of_the_idle() -> None:
    agent = agent_in(Move.LOG_IN, Move.BE_AVAILABLE)
    idle_since = agent.idle_since
    agent.move(Move.RESERVE, now=50.0, interaction=CALL)
    agent.move(Move.RELEASE, now=60.0)
    assert agent.state is AgentState.AVAILABLE
    assert agent.idle_since == idle_since


def test_a_break_asked_for_during_a_call_begins_after_wrap_up() -> None:
    agent = agent_in(Move.LOG_IN, Move.BE_AVAILABLE, Move.RESERVE, Move.JOIN)
    agent.ask_next(AgentState.NOT_READY, "lunch")
    agent.move(Move.LEAVE, now=9.0, interaction=CALL, until=19.0)
    assert agent.state is AgentState.WRAP_UP
    agent.move(Move.FINISH, now=12.0)
    assert (agent.state, agent.reason, agent.next_state) == (AgentState.NOT_READY, "lunch", None)


def test_after_a_direct_call_the_agent_is_where_it_was() -> None:
    agent = agent_in(Move.LOG_IN)
    agent.move(Move.BE_NOT_READY, now=1.0, reason="training")
    agent.move(Move.JOIN, now=2.0, interaction=CALL)
    agent.move(Move.LEAVE_FREE, now=3.0)
    assert (agent.state, agent.reason) == (AgentState.NOT_READY, "training")


def test_an_agent_who_logs_out_while_ringing_unanswered_is_logged_out() -> None:
    agent = agent_in(Move.LOG_IN, Move.BE_AVAILABLE, Move.RESERVE)
    agent.ask_next(AgentState.LOGGED_OUT, "")
    agent.move(Move.FAIL, now=9.0, reason="ring_no_answer")
    assert agent.state is AgentState.LOGGED_OUT


def test_a_move_that_the_table_does_not_have_is_refused() -> None:
    with pytest.raises(IllegalMove):
        agent_in(Move.FINISH)


@given(st.lists(st.sampled_from(list(Move)), max_size=40))
def test_whatever_happens_only_a_busy_agent_has_an_interaction(moves: list[Move]) -> None:
    agent = Agent(LI)
    for number, move in enumerate(moves):
        if agent.may(move):
            agent.move(move, now=float(number), interaction=CALL, until=float(number))
        busy = agent.state in (AgentState.RESERVED, AgentState.ON_CALL, AgentState.WRAP_UP)
        assert (agent.interaction is not None) == busy or not busy
        assert agent.interaction is None or busy
