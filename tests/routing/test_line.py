"""The waiting line: who is first, who gets whom, what relaxes in time, and that nobody starves."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cti.agent_state import Agent, Move
from cti.events import AgentState
from cti.ids import AgentId, InteractionId, PbxId, QueueId
from cti.routing.line import Line, Match, Waiter
from cti.routing.plan import AgentPlan, Phone, PhoneKind, Plan, Preferred, QueuePlan, Selection, Step
from cti.routing.select import MOST_PASSED

SALES, SUPPORT = QueueId("sales"), QueueId("support")


def agent_plan(name: str, *queues: QueueId, **skills: int) -> AgentPlan:
    return AgentPlan(AgentId(name), name, Phone(PbxId("pbx1"), name, PhoneKind.DESK), skills, queues or (SALES,))


def queue(name: QueueId = SALES, *steps: tuple[int, str], **changes: Any) -> QueuePlan:
    return QueuePlan(name, name, tuple(Step(*step) for step in steps), **changes)


@dataclass
class Hall:
    """A line, and agents who do as the test says."""

    queues: tuple[QueuePlan, ...]
    crew: tuple[AgentPlan, ...]
    tiers: dict[str, int] = field(default_factory=dict)
    most_occupied: float = 1.0
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.agents = {one.id: Agent(one.id, is_desk_fresh=True, is_phone_reachable=True) for one in self.crew}
        self.line = Line(self.plan(), self.agents)
        self.served: list[tuple[str, str]] = []

    def plan(self) -> Plan:
        return Plan(
            {one.id: one for one in self.queues},
            {one.id: one for one in self.crew},
            (),
            None,
            tiers=self.tiers,
            most_occupied=self.most_occupied,
        )

    def calls(self, name: str, queue: QueueId = SALES, *, waited_s: float = 0.0, **more: Any) -> None:
        variables = more.pop("variables", {})
        self.line.put(Waiter(InteractionId(name), queue, self.now - waited_s, variables, **more), now=self.now)

    def moves(self, name: str, move: Move) -> None:
        agent = self.agents[AgentId(name)]
        agent.move(move, now=self.now, interaction=InteractionId("x"))
        self.line.note(agent)

    def comes(self, *names: str) -> None:
        """Logs in and is ready, a second after the one before."""
        for name in names:
            self.moves(name, Move.LOG_IN)
            self.moves(name, Move.BE_AVAILABLE)
            self.now += 1

    def is_done(self, name: str) -> None:
        """The talk is over and another may come."""
        self.moves(name, Move.LEAVE_FREE)

    def serve(self) -> list[tuple[str, str]]:
        """Everybody who can be served now is: who by whom."""
        served: list[tuple[str, str]] = []
        while (match := self.match()) is not None:
            served.append((match.interaction, str(match.choice.agent)))
        return served

    def match(self) -> Match | None:
        match = self.line.next_match(now=self.now)
        if match is not None:
            for agent in match.choice.agents:
                assert self.agents[agent].state is AgentState.AVAILABLE
                self.moves(agent, Move.RESERVE)
                self.moves(agent, Move.JOIN)
        return match

    def wait(self, seconds: float) -> list[tuple[str, str]]:
        served: list[tuple[str, str]] = []
        until = self.now + seconds
        while (at := self.line.wake_at()) is not None and at <= until:
            self.now = max(self.now, at)
            self.line.wake(now=self.now)
            served += self.serve()
        self.now = until
        return served

    def reasons(self, name: str) -> dict[str, tuple[str, str]]:
        choice = self.line.explain(InteractionId(name), now=self.now)
        return {one.agent: (one.reason, one.detail) for one in choice.passed}


# ── who is first ──────────────────────────────────────────────────────────────────────────────────────────


def test_first_come_first_served_and_who_was_in_good_hands_already_before_that() -> None:
    hall = Hall((queue(),), (agent_plan("li"),))
    hall.calls("b", waited_s=20)
    hall.calls("a", waited_s=50)
    hall.calls("c", waited_s=1, is_head=True)
    assert hall.line.in_order() == ["c", "a", "b"]
    assert [hall.line.position(InteractionId(one)) for one in "cab"] == [1, 2, 3]


def test_a_point_is_worth_some_seconds_of_waiting_and_no_more() -> None:
    hall = Hall((queue(ageing_s=60),), (agent_plan("li"),), tiers={"gold": 2})
    hall.calls("gold", variables={"tier": "gold"})
    hall.calls("plain", waited_s=119)
    hall.calls("older", waited_s=121)
    hall.calls("severe", variables={"severity": "4"})
    hall.calls("again", variables={"calls_7d": "4"}, waited_s=1)
    hall.calls("hostile", variables={"calls_7d": "９9", "severity": "-5", "tier": "x"})
    assert hall.line.in_order() == ["severe", "again", "older", "gold", "plain", "hostile"]


def test_the_queue_whose_promise_is_due_first_goes_first_and_after_that_who_came_first() -> None:
    hall = Hall((queue(service_level_s=20), queue(SUPPORT, service_level_s=60)), (agent_plan("li", SALES, SUPPORT),))
    hall.calls("support", SUPPORT, waited_s=30)
    hall.calls("sales", SALES, waited_s=10)
    hall.calls("long", SUPPORT, waited_s=300)
    hall.comes("li")
    assert hall.serve() == [("long", "li")]
    hall.is_done("li")
    assert hall.serve() == [("sales", "li")]


def test_without_ageing_points_go_before_everybody_and_a_queue_without_points_stands_with_the_rest() -> None:
    hall = Hall((queue(ageing_s=0, priority=1), queue(SUPPORT, ageing_s=0)), (agent_plan("li", SALES, SUPPORT),))
    hall.calls("patient", SUPPORT, waited_s=5000)
    hall.calls("alarm", SALES)
    assert hall.line.in_order() == ["alarm", "patient"]


def test_what_becomes_known_of_a_caller_counts_from_then_on() -> None:
    hall = Hall((queue(),), (agent_plan("li"),), tiers={"gold": 5})
    hall.calls("a", waited_s=10)
    hall.calls("b")
    hall.calls("b", variables={"tier": "gold"})
    assert hall.line.in_order() == ["b", "a"]


# ── who gets whom ─────────────────────────────────────────────────────────────────────────────────────────


def test_who_comes_free_gets_the_first_of_all_queues_whom_this_agent_can_serve() -> None:
    hall = Hall(
        (queue(SALES, (0, "english >= 5")), queue(SUPPORT)),
        (agent_plan("li", SALES, SUPPORT, english=4), agent_plan("ann", SALES, english=5)),
    )
    hall.calls("sales", SALES, waited_s=100)
    hall.calls("support", SUPPORT, waited_s=50)
    hall.comes("li")
    assert hall.serve() == [("support", "li")]
    hall.comes("ann")
    assert hall.serve() == [("sales", "ann")]


def test_a_caller_gets_the_longest_idle_of_those_who_can_and_the_others_are_told_why_not() -> None:
    crew = [agent_plan(name, english=level) for name, level in (("ann", 5), ("bo", 9), ("cho", 3), ("dee", 9))]
    hall = Hall((queue(SALES, (0, "english >= 5")),), (*crew, agent_plan("eve", english=5)))
    hall.comes("bo", "ann", "cho", "dee")
    hall.moves("dee", Move.RESERVE)
    hall.calls("a")
    match = hall.match()
    assert match is not None
    assert (match.choice.agent, match.choice.rule, match.choice.required) == ("bo", "longest_idle", "english >= 5")
    assert [(one.agent, one.reason, one.detail) for one in match.choice.passed] == [
        ("ann", "less_idle", "3 < 4"),
        ("dee", "reserved", "x"),
        ("cho", "skill_too_low", "english 3 >= 5"),
        ("eve", "logged_out", ""),
    ]


def test_a_decision_among_many_names_some_and_counts_the_rest() -> None:
    crew = [agent_plan(f"agent{number:03}", english=number % 2) for number in range(200)]
    hall = Hall((queue(SALES, (0, "english >= 1")),), tuple(crew))
    hall.comes(*(one.id for one in crew))
    hall.calls("a")
    match = hall.match()
    assert match is not None
    assert match.choice.agent == "agent001"
    assert len(match.choice.passed) == MOST_PASSED + 2
    assert [(one.agent, one.reason, one.detail) for one in match.choice.passed[-2:]] == [
        ("", "less_idle", str(99 - MOST_PASSED)),
        ("", "unqualified", "100"),
    ]


def test_several_phones_ring_at_once_where_the_queue_says_so() -> None:
    crew = tuple(agent_plan(name) for name in ("ann", "bo", "cho"))
    for parallel, rung in ((2, ("ann", "bo")), (0, ("ann", "bo", "cho"))):
        hall = Hall((queue(parallel=parallel),), crew)
        hall.comes("ann", "bo", "cho")
        hall.calls("a")
        match = hall.match()
        assert match is not None
        assert match.choice.agents == rung


def test_a_named_agent_is_waited_for_and_nobody_else_taken() -> None:
    hall = Hall((queue(),), (agent_plan("ann"), agent_plan("bo")))
    hall.comes("bo")
    hall.calls("a", wanted=AgentId("ann"))
    assert hall.serve() == []
    assert hall.reasons("a") == {"ann": ("logged_out", "")}
    hall.comes("ann")
    match = hall.match()
    assert match is not None
    assert (match.choice.agent, match.choice.rule) == ("ann", "named_agent")


@pytest.mark.parametrize("preferred", [Preferred.OWNER, Preferred.LAST_AGENT])
def test_the_preferred_agent_is_waited_for_while_at_work_and_for_so_long(preferred: Preferred) -> None:
    plan = queue(preferred=preferred, preferred_patience_s=30)
    hall = Hall((plan,), (agent_plan("ann"), agent_plan("bo"), agent_plan("cho", SUPPORT)))
    known = {"owner": "ann", "last_agent": "ann"}
    hall.comes("ann", "bo")
    hall.moves("ann", Move.RESERVE)
    hall.calls("a", variables=known)
    assert hall.serve() == []
    assert hall.line.explain(InteractionId("a"), now=hall.now).rule == f"preferred_{preferred}"
    assert hall.wait(29) == []
    assert hall.wait(2) == [("a", "bo")]
    hall.is_done("bo")
    hall.moves("ann", Move.RELEASE)
    hall.calls("b", variables=known)
    assert hall.serve() == [("b", "ann")]
    # Who has gone for a break is not waited for, nor who is no member of the queue.
    hall.is_done("ann")
    hall.moves("ann", Move.RESERVE)
    hall.calls("c", variables=known)
    assert hall.serve() == []
    hall.moves("ann", Move.RELEASE)
    hall.moves("ann", Move.BE_NOT_READY)
    assert hall.serve() == [("c", "bo")]
    hall.is_done("bo")
    hall.calls("d", variables={"owner": "cho", "last_agent": "nobody"})
    assert hall.serve() == [("d", "bo")]


def test_a_picked_caller_goes_before_everybody_to_that_agent_and_after_a_while_to_anybody() -> None:
    hall = Hall((queue(),), (agent_plan("ann"), agent_plan("bo")))
    hall.comes("ann", "bo")
    hall.moves("ann", Move.RESERVE)
    hall.moves("bo", Move.RESERVE)
    hall.calls("old", waited_s=500)
    hall.calls("new", wanted=AgentId("ann"), wanted_until=hall.now + 30, wanted_why="picked")
    hall.moves("bo", Move.RELEASE)
    assert hall.serve() == [("old", "bo")]
    hall.moves("ann", Move.RELEASE)
    match = hall.match()
    assert match is not None
    assert (match.interaction, match.choice.agent, match.choice.rule) == ("new", "ann", "picked")
    hall.calls("late", wanted=AgentId("ann"), wanted_until=hall.now + 30, wanted_why="picked")
    hall.is_done("bo")
    assert hall.serve() == []
    assert hall.wait(31) == [("late", "bo")]


def test_a_caller_for_a_skill_is_served_by_whoever_has_it_in_any_queue() -> None:
    hall = Hall((queue(),), (agent_plan("ann"), agent_plan("bo", SUPPORT, law=3)))
    hall.comes("ann", "bo")
    hall.calls("a", required="law >= 2")
    assert hall.serve() == [("a", "bo")]


def test_a_parked_caller_keeps_the_place_and_is_not_served() -> None:
    hall = Hall((queue(),), (agent_plan("ann"),))
    hall.comes("ann")
    hall.calls("a", waited_s=20, is_parked=True)
    hall.calls("b")
    assert hall.line.position(InteractionId("a")) == 1
    assert hall.serve() == [("b", "ann")]


# ── breathers ─────────────────────────────────────────────────────────────────────────────────────────────


def worked(hall: Hall, name: str, seconds: float) -> None:
    hall.comes(name)
    hall.moves(name, Move.RESERVE)
    hall.moves(name, Move.JOIN)
    hall.now += seconds
    hall.is_done(name)


def test_who_was_busy_all_the_hour_rests_while_somebody_else_can_take_the_call() -> None:
    hall = Hall((queue(service_level_s=20),), (agent_plan("ann"), agent_plan("bo")), most_occupied=0.8)
    worked(hall, "ann", 3600)
    hall.comes("bo")
    hall.calls("a")
    assert hall.reasons("a")["ann"] == ("resting", "100")
    assert hall.serve() == [("a", "bo")]
    # bo talks, and could take the next: ann still rests, but no longer than the caller was promised to wait.
    hall.calls("b")
    assert hall.serve() == []
    assert hall.wait(19) == []
    assert hall.wait(2) == [("b", "ann")]


def test_where_all_are_worn_out_nobody_waits_for_it() -> None:
    hall = Hall((queue(),), (agent_plan("ann"),), most_occupied=0.8)
    worked(hall, "ann", 3600)
    hall.calls("a")
    assert hall.serve() == [("a", "ann")]


# ── what relaxes ──────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_required_relaxes_while_the_caller_waits() -> None:
    steps = ((0, "english >= 8"), (20, "english >= 5"), (60, ""))
    hall = Hall((queue(SALES, *steps),), (agent_plan("ann", english=9), agent_plan("bo", english=6), agent_plan("c")))
    hall.comes("ann", "bo", "c")
    hall.moves("ann", Move.RESERVE)
    hall.calls("a", waited_s=5)
    assert hall.serve() == []
    assert hall.wait(14) == []
    assert hall.wait(2) == [("a", "bo")]
    hall.calls("b")
    assert hall.wait(59) == []
    assert hall.line.explain(InteractionId("b"), now=hall.now).step == 1
    assert hall.wait(2) == [("b", "c")]


def test_a_step_that_nobody_logged_in_could_meet_is_left_at_once() -> None:
    steps = ((0, "english >= 8"), (300, "english >= 5"))
    hall = Hall((queue(SALES, *steps),), (agent_plan("ann", english=9), agent_plan("bo", english=6)))
    hall.comes("bo")
    hall.calls("a")
    assert hall.serve() == [("a", "bo")]
    hall.is_done("bo")
    hall.comes("ann")
    hall.moves("ann", Move.BE_NOT_READY)
    hall.calls("b")
    # Somebody could, after a break.
    assert hall.serve() == []
    hall.moves("ann", Move.LOG_OUT)
    assert hall.serve() == [("b", "bo")]


def test_one_whom_nobody_could_serve_is_served_as_soon_as_somebody_logs_in_who_can_later() -> None:
    hall = Hall((queue(SALES, (0, "english >= 8"), (300, "english >= 5")),), (agent_plan("bo", english=6),))
    hall.calls("a")
    assert hall.serve() == []
    hall.comes("bo")
    assert hall.serve() == [("a", "bo")]


def test_in_another_queue_what_is_required_begins_anew() -> None:
    steps = ((0, "english >= 8"), (20, "english"))
    hall = Hall((queue(SALES, *steps), queue(SUPPORT, *steps)), (agent_plan("bo", SALES, SUPPORT, english=6),))
    hall.calls("a", waited_s=30)
    assert hall.line.explain(InteractionId("a"), now=hall.now).step == 1
    hall.comes("bo")
    hall.moves("bo", Move.BE_NOT_READY)
    hall.agents[AgentId("ann")] = Agent(AgentId("ann"), is_desk_fresh=True, is_phone_reachable=True)
    hall.crew = (*hall.crew, agent_plan("ann", SALES, SUPPORT, english=9))
    before, hall.line = hall.line, Line(hall.plan(), hall.agents)
    hall.line.take_over(before, now=hall.now)
    hall.moves("ann", Move.LOG_IN)
    hall.calls("a", SUPPORT)
    assert hall.line.explain(InteractionId("a"), now=hall.now).step == 0


def test_the_call_says_what_is_required() -> None:
    text = '(language == "de" and german >= 3) or (language != "de" and english >= 3)'
    hall = Hall((queue(SALES, (0, text)),), (agent_plan("ann", german=5), agent_plan("bo", english=5)))
    hall.comes("ann", "bo")
    hall.calls("german", variables={"language": "de"})
    hall.calls("other", variables={"language": "fr"})
    hall.calls("unknown")
    assert hall.reasons("german")["bo"] == ("skill_missing", "german")
    assert sorted(hall.serve()) == [("german", "ann"), ("other", "bo")]
    assert hall.reasons("unknown")["ann"] == ("none_of", "language | language")


# ── plans ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_another_plan_keeps_everybody_in_place_and_counts_from_now_on() -> None:
    hall = Hall((queue(SALES, (0, "english >= 8")), queue(SUPPORT)), (agent_plan("ann", english=5),))
    hall.comes("ann")
    hall.calls("b", waited_s=10)
    hall.calls("a", waited_s=20)
    hall.calls("gone", SUPPORT)
    assert hall.serve() == []
    hall.queues = (queue(SALES, (0, "english >= 5")),)
    before, hall.line = hall.line, Line(hall.plan(), hall.agents)
    hall.line.take_over(before, now=hall.now)
    assert hall.serve() == [("a", "ann")]
    assert hall.line.explain(InteractionId("gone"), now=hall.now).rule == "no_queue"
    hall.is_done("ann")
    assert hall.serve() == [("b", "ann")]


# ── properties ────────────────────────────────────────────────────────────────────────────────────────────

CREW = (
    agent_plan("ann", SALES, english=8, german=2),
    agent_plan("bo", SALES, SUPPORT, english=3),
    agent_plan("cho", SUPPORT, german=7),
    agent_plan("dee", SALES, SUPPORT),
)
STEPS = st.sampled_from(
    [(), ((0, "english >= 5"), (30, "english")), ((0, "german or tier"), (60, "")), ((0, "nothing"), (45, ""))]
)
QUEUES = st.builds(
    lambda steps, selection, ageing, priority, preferred: queue(
        SALES, *steps, selection=selection, ageing_s=ageing, priority=priority, preferred=preferred
    ),
    STEPS,
    st.sampled_from(Selection),
    st.integers(10, 120),
    st.integers(0, 9),
    st.sampled_from(Preferred),
)
DO = st.lists(
    st.tuples(
        st.sampled_from(["call", "call", "done", "done", "done", "pause", "back", "leave", "wait"]), st.integers(0, 30)
    ),
    max_size=60,
)


ANY_DAY = given(QUEUES, QUEUES, DO, st.sampled_from([1.0, 0.5]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@ANY_DAY
def test_on_any_day_nobody_has_two_calls_and_nobody_waits_for_whom_somebody_is_free(
    one: QueuePlan, two: QueuePlan, day: list[tuple[str, int]], most_occupied: float
) -> None:
    live_through(one, two, day, most_occupied)


@pytest.mark.long
@settings(max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@ANY_DAY
def test_the_same_on_many_days(
    one: QueuePlan, two: QueuePlan, day: list[tuple[str, int]], most_occupied: float
) -> None:
    live_through(one, two, day, most_occupied)


def live_through(one: QueuePlan, two: QueuePlan, day: list[tuple[str, int]], most_occupied: float) -> None:
    """A day of calls, talks and breaks; whatever must hold is looked at after each turn."""
    hall = Hall((one, replace(two, id=SUPPORT, name=SUPPORT)), CREW, {"gold": 3}, most_occupied)
    hall.comes("ann", "bo", "cho", "dee")
    called: set[str] = set()
    served: list[str] = []
    for turn, (what, number) in enumerate(day):
        agent = CREW[number % len(CREW)].id
        state = hall.agents[agent].state
        if what == "call":
            variables = {"tier": "gold" if number % 3 == 0 else "", "owner": "ann", "last_agent": "cho"}
            called.add(f"call{turn}")
            hall.calls(f"call{turn}", (SALES, SUPPORT)[number % 2], variables=variables, waited_s=number)
        elif what == "done" and state is AgentState.ON_CALL:
            hall.is_done(agent)
        elif what == "pause" and state is AgentState.AVAILABLE:
            hall.moves(agent, Move.BE_NOT_READY)
        elif what == "back" and state is AgentState.NOT_READY:
            hall.moves(agent, Move.BE_AVAILABLE)
        elif what == "leave" and hall.line.in_order():
            gone = hall.line.in_order()[number % len(hall.line)]
            hall.line.remove(gone)
            called.discard(gone)
        elif what == "wait":
            served += [caller for caller, _ in hall.wait(number * 4)]
        # ``match`` asserts that each agent taken was free.
        served += [caller for caller, _ in hall.serve()]
        ranks = [hall.line.rank(caller) for caller in hall.line.in_order()]
        assert ranks == sorted(ranks)
        for caller in hall.line:
            # Who waits could be served by nobody who is free, but for a breather within the time promised.
            if most_occupied == 1.0:
                assert hall.line.explain(caller, now=hall.now).agents == ()
    assert len(served) == len(set(served))
    assert set(served) | set(hall.line) == called


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 600), st.integers(), st.sampled_from([(60, 60), (10, 120), (120, 10)]))
def test_however_many_important_callers_come_everybody_is_served_in_the_end(
    waited_s: int, seed: int, ageing: tuple[int, int]
) -> None:
    """The line grows all the time: more come than are served, all of them more important than the one who waits."""
    rng = random.Random(seed)
    hall = Hall(
        (queue(ageing_s=ageing[0]), queue(SUPPORT, ageing_s=ageing[1], priority=10)),
        (agent_plan("li", SALES, SUPPORT),),
        {"gold": 10},
    )
    hall.comes("li")
    hall.calls("first")
    hall.serve()
    hall.calls("modest", waited_s=waited_s)
    important = {"tier": "gold", "severity": "10", "calls_7d": "9"}
    # The most important has a head start of 35 points; who comes later than that is behind.
    longest_s = 35 * max(ageing) + 60
    turns = 0
    while InteractionId("modest") in hall.line:
        turns += 1
        assert turns < 2 * longest_s / 30
        hall.now += 30
        for number in range(rng.randint(1, 2)):
            hall.calls(f"{turns}-{number}", rng.choice((SALES, SUPPORT)), variables=important)
        hall.is_done("li")
        assert hall.serve()


@settings(max_examples=12, deadline=None)
@given(st.integers(), st.sampled_from(Selection))
def test_equal_agents_get_equal_work(seed: int, selection: Selection) -> None:
    rng = random.Random(seed)
    crew = tuple(agent_plan(f"agent{number}", english=5) for number in range(5))
    hall = Hall((queue(selection=selection),), crew)
    hall.comes(*(one.id for one in crew))
    calls = dict.fromkeys((one.id for one in crew), 0)
    busy: list[tuple[float, AgentId]] = []
    for turn in range(300):
        hall.now += 12
        for done in [one for one in busy if one[0] <= hall.now]:
            busy.remove(done)
            hall.is_done(done[1])
        hall.calls(f"pbx1-{seed}.{turn}")
        for _, agent in hall.serve():
            calls[AgentId(agent)] += 1
            busy.append((hall.now + rng.randint(1, 40), AgentId(agent)))
    # 60 each; a lot drawn at random strays by about the square root of that.
    assert max(calls.values()) - min(calls.values()) <= (45 if selection is Selection.WEIGHTED_RANDOM else 30)
