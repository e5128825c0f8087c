"""The floor over the deciding core: reads its state, checks what people ask, posts it as facts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from cti import events as e
from cti.agent_state import Agent
from cti.attending import AT_WORK
from cti.errors import BadInput, Refused
from cti.events import AgentState
from cti.floor import (
    AgentView,
    CallbackView,
    CallView,
    Happening,
    ListenerView,
    QueueView,
    Reason,
    RepairView,
    Waiting,
)
from cti.floor_memory import FloorMemory
from cti.ids import AgentId, InteractionId, QueueId
from cti.inbound import Call, Inbound
from cti.routing.expression import ExpressionError, parse
from cti.routing.plan import Plan
from cti.routing.select import why_not
from cti.waiting import WIDEST

MOST_NOTE = 20_000
"""Characters in a note."""
EXPLAINED = 100
"""For so many callers, first served first, what is required now is asked of the line itself."""
MOST_MESSAGE = 1000
"""Characters in a supervisor's message."""
KEPT_REPAIRS = 20


class LiveFloor:
    """Implements ``cti.floor.Floor``."""

    def __init__(
        self,
        core: Inbound,
        *,
        post: Callable[[e.Event], None],
        clock: Callable[[], float],
        memory: FloorMemory | None = None,
    ) -> None:
        self._memory = memory if memory is not None else FloorMemory()
        self._messages = 0
        self._core = core
        self._post = post
        self._clock = clock
        self._entries: dict[AgentId, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self._repairs: deque[RepairView] = deque(maxlen=KEPT_REPAIRS)

    def listen(self, fact: e.Event) -> None:
        """Every fact passes here; what was put right is kept to be shown."""
        self._memory.listen(fact)
        if isinstance(fact, e.Repaired):
            self._repairs.appendleft(RepairView(fact.at, fact.what, fact.agent, fact.interaction, fact.detail))

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def plan(self) -> Plan:
        """The configured centre."""
        return self._core.plan

    @property
    def pbx_status(self) -> dict[str, str]:
        """PBX → ``up`` or why not."""
        return {str(pbx): status for pbx, status in self._core.links.items()}

    def agents(self) -> Sequence[AgentView]:
        """All agents of the plan."""
        return [self.agent(agent) for agent in self.plan.agents]

    def agent_entries(self) -> list[dict[str, Any]]:
        """All agents, JSON-ready. An agent of whom nothing changed is the very same entry as the last time."""
        entries = []
        for plan in self.plan.agents.values():
            live = self._live(plan.id)
            now = (
                plan,
                live.state,
                live.reason,
                live.since,
                live.until,
                live.next_state,
                live.interaction,
                live.is_desk_fresh,
                live.desk_why,
                live.is_phone_reachable,
            )
            made = self._entries.get(plan.id)
            if made is None or made[0][0] is not plan or made[0][1:] != now[1:]:
                made = self._entries[plan.id] = (now, asdict(self.agent(plan.id)))
            entries.append(made[1])
        if len(self._entries) > len(entries):
            self._entries = {agent: made for agent, made in self._entries.items() if agent in self.plan.agents}
        return entries

    def queue_entries(self) -> list[dict[str, Any]]:
        """All queues with their live counts, JSON-ready."""
        return [asdict(queue) for queue in self.queues()]

    def agent(self, agent: AgentId) -> AgentView:
        """One agent. Raises ``BadInput`` for an unknown one."""
        plan = self.plan.agents.get(agent)
        if plan is None:
            raise BadInput("agent", "unknown")
        live = self._live(agent)
        calls, occupancy = self._memory.work(agent, now=self._clock())
        return AgentView(
            id=agent,
            name=plan.name,
            state=live.state,
            reason=live.reason,
            since=live.since,
            until=live.until,
            next_state=live.next_state,
            interaction=live.interaction,
            is_desk_fresh=live.is_desk_fresh,
            desk_why=live.desk_why,
            is_phone_reachable=live.is_phone_reachable,
            queues=plan.queues,
            skills=tuple(sorted(plan.skills.items())),
            team=plan.team,
            next_reason=live.next_reason,
            set_by=self._memory.set_by(agent),
            calls_taken=calls,
            occupancy=occupancy,
        )

    def queues(self) -> Sequence[QueueView]:
        """All queues with their live counts."""
        waiting: dict[QueueId, list[float]] = {}
        talking: dict[QueueId, int] = {}
        for call in self._core.calls.values():
            if call.queue is None:
                continue
            if call.is_waiting or call.ringing is not None:
                waiting.setdefault(call.queue, []).append(call.queued_at or call.started_at)
            elif call.talking:
                talking[call.queue] = talking.get(call.queue, 0) + 1
        views = []
        for queue in self.plan.queues.values():
            members = [self._live(agent) for agent in self._core.members(queue.id)]
            views.append(
                QueueView(
                    id=queue.id,
                    name=queue.name,
                    waiting=len(waiting.get(queue.id, ())),
                    longest_wait_since=min(waiting.get(queue.id, ()), default=None),
                    talking=talking.get(queue.id, 0),
                    agents_available=sum(1 for agent in members if agent.state is AgentState.AVAILABLE),
                    agents_logged_in=sum(1 for agent in members if agent.state is not AgentState.LOGGED_OUT),
                )
            )
        return views

    def calls(self) -> Sequence[CallView]:
        """All live interactions, oldest first."""
        return [_view(call, self._direction(call)) for call in self._core.calls.values()]

    def call(self, interaction: InteractionId) -> CallView | None:
        """One live interaction."""
        call = self._core.calls.get(interaction)
        return _view(call, self._direction(call)) if call is not None else None

    def reasons(self, interaction: InteractionId) -> Sequence[Reason]:
        """The decisions so far; for a caller who waits, last the one as of now."""
        call = self._core.calls.get(interaction)
        if call is None:
            return ()
        decisions = list(call.decisions)
        if call.is_waiting:
            decisions.append(self._core.explain(call, now=self._clock()))
        return [
            Reason(
                interaction=decision.interaction,
                queue=decision.queue,
                agent=decision.agent,
                rule=decision.rule,
                at=decision.at,
                passed=decision.passed,
                others=decision.others,
                required=decision.required,
            )
            for decision in decisions
        ]

    def repairs(self) -> Sequence[RepairView]:
        """What was put right since the start, newest first."""
        return tuple(self._repairs)

    def waiting(self) -> Mapping[InteractionId, Waiting]:
        """Those who wait, first served first."""
        now = self._clock()
        waiting: dict[InteractionId, Waiting] = {}
        at_work = {
            queue: sum(1 for agent in self._core.members(queue) if self._live(agent).state in AT_WORK)
            for queue in self.plan.queues
        }
        for call in self._core.waiting_in_order():
            # Places that are kept for call backs count.
            position = self._core.line.position(call.id)
            decision = self._core.explain(call, now=now) if len(waiting) < EXPLAINED else None
            place = self._place(call, position, decision, now)
            wait = None
            if call.queue is not None:
                pace = self._core.attending.waiting.pace(call.queue)
                wait = pace.expected(position, agents=at_work.get(call.queue, 0), now=now)
            if wait is not None and wait.upper_s <= WIDEST * wait.likely_s:
                place = replace(place, expected_s=wait.likely_s, at_most_s=wait.upper_s)
            waiting[call.id] = place
        return waiting

    def story(self, interaction: InteractionId) -> Sequence[Happening]:
        """What a live interaction met so far, oldest first."""
        return self._memory.story(interaction)

    def listeners(self) -> Sequence[ListenerView]:
        """Who listens to which talk now."""
        return self._memory.listeners()

    def callbacks(self) -> Sequence[CallbackView]:
        """The places kept, longest kept first."""
        return self._memory.callbacks()

    @property
    def counted_since(self) -> float | None:
        """From when on the agents' work of today is known."""
        return self._memory.began

    def _place(self, call: Call, position: int, decision: e.AgentChosen | None, now: float) -> Waiting:
        """``decision`` None: which step counts is taken from the time waited alone."""
        queue = self.plan.queues.get(call.queue) if call.queue is not None else None
        since = call.queued_at if call.queued_at is not None else call.started_at
        steps = queue.steps if queue is not None else ()
        at = decision.step if decision is not None else 0
        while at + 1 < len(steps) and since + steps[at + 1].after_s <= now:
            at += 1
        to_come = steps[at + 1] if at + 1 < len(steps) else None
        of_step = steps[at].text if steps else ""
        return Waiting(
            position=position,
            expected_s=None,
            at_most_s=None,
            required=decision.required if decision is not None else of_step,
            next_at=since + to_come.after_s if to_come is not None else None,
            required_next=to_come.text if to_come is not None else "",
        )

    # ── asking ────────────────────────────────────────────────────────────────────────────────────────────

    def log_in(self, agent: AgentId) -> None:
        """An agent sits down at a desk."""
        self.agent(agent)
        self._post(e.AgentLoggedIn(at=self._clock(), agent=agent))

    def log_out(self, agent: AgentId, *, by: str) -> None:
        """An agent leaves; during a call as soon as it is over."""
        self.agent(agent)
        self._post(e.AgentLoggedOut(at=self._clock(), agent=agent, by=by))

    def set_state(self, agent: AgentId, state: str, reason: str, *, by: str) -> None:
        """Ask for AVAILABLE or NOT_READY with a reason."""
        view = self.agent(agent)
        if state not in (AgentState.AVAILABLE, AgentState.NOT_READY):
            raise BadInput("state", "unknown")
        if state == AgentState.NOT_READY and not reason:
            raise BadInput("reason", "missing")
        if view.state is AgentState.LOGGED_OUT:
            raise Refused("logged_out")
        self._post(
            e.StateRequested(
                at=self._clock(),
                agent=agent,
                state=AgentState(state),
                reason=reason if state == AgentState.NOT_READY else "",
                by=by,
            )
        )

    def save_note(self, agent: AgentId, interaction: InteractionId, text: str) -> None:
        """Keep the agent's note, whole text as it stands."""
        self._must_be_mine(agent, interaction)
        if len(text) > MOST_NOTE:
            raise BadInput("text", "too_long")
        self._post(e.NoteSaved(at=self._clock(), interaction=interaction, agent=agent, text=text))

    def set_disposition(self, agent: AgentId, interaction: InteractionId, code: str) -> None:
        """What came of it."""
        self._must_be_mine(agent, interaction)
        self._post(e.DispositionSet(at=self._clock(), interaction=interaction, agent=agent, code=code))

    def choose_customer(self, agent: AgentId, interaction: InteractionId, party: int | None) -> None:
        """Whose interaction it is."""
        self._must_be_mine(agent, interaction)
        self._post(e.CustomerChosen(at=self._clock(), interaction=interaction, agent=agent, party=party))

    def finish_wrap_up(self, agent: AgentId) -> None:
        """Done with the after-call work."""
        if self.agent(agent).state is not AgentState.WRAP_UP:
            raise Refused("not_in_wrap_up")
        self._post(e.WrapUpFinished(at=self._clock(), agent=agent))

    def hang_up(self, agent: AgentId, interaction: InteractionId) -> None:
        """End the agent's talk."""
        self._must_be_mine(agent, interaction)
        self._post(e.HangUpRequested(at=self._clock(), interaction=interaction, agent=agent))

    def pause_recording(self, agent: AgentId, interaction: InteractionId, *, is_paused: bool) -> None:
        """Keep card data out of the recording (or go on recording)."""
        call = self._must_talk(agent, interaction)
        if call.recording == "off":
            raise Refused("not_recorded")
        self._post(
            e.RecordingPauseRequested(at=self._clock(), interaction=interaction, agent=agent, is_paused=is_paused)
        )

    def object_to_recording(self, agent: AgentId, interaction: InteractionId) -> None:
        """The caller does not want to be recorded: nothing more of this call is."""
        if self._must_talk(agent, interaction).recording == "off":
            raise Refused("not_recorded")
        self._post(e.RecordingObjected(at=self._clock(), interaction=interaction, agent=agent))

    def transfer(self, agent: AgentId, interaction: InteractionId, target: str, *, is_attended: bool) -> None:
        """Hand the caller on: ``agent:<id>``, ``queue:<id>``, ``skill:<expression>`` or ``number:<digits>``."""
        call = self._must_talk(agent, interaction)
        if call.transfer is not None:
            raise Refused("transfer_under_way")
        self._check_target(agent, target)
        if self._core.customer_leg(interaction) is None:
            raise Refused("no_caller")
        self._post(
            e.TransferRequested(
                at=self._clock(), interaction=interaction, agent=agent, target=target, is_attended=is_attended
            )
        )

    def complete_transfer(self, agent: AgentId, interaction: InteractionId) -> None:
        """Join the caller with the agent consulted."""
        self._must_consult(agent, interaction)
        self._post(e.TransferCompleteRequested(at=self._clock(), interaction=interaction, agent=agent))

    def cancel_transfer(self, agent: AgentId, interaction: InteractionId) -> None:
        """Back to the caller."""
        self._must_consult(agent, interaction)
        self._post(e.TransferCancelRequested(at=self._clock(), interaction=interaction, agent=agent))

    def confer(self, agent: AgentId, interaction: InteractionId) -> None:
        """All three speak together."""
        self._must_consult(agent, interaction)
        self._post(e.ConferenceRequested(at=self._clock(), interaction=interaction, agent=agent))

    def read_message(self, agent: AgentId, message: str) -> None:
        """The agent has read it."""
        self._post(e.MessageRead(at=self._clock(), agent=agent, message=message))

    # ── what supervisors ask ──────────────────────────────────────────────────────────────────────────────

    def spy(self, listener: AgentId, interaction: InteractionId, agent: AgentId, mode: e.SpyMode, *, by: str) -> None:
        """Hear the talk of ``agent`` on the phone of ``listener``, or change how."""
        self._must_talk_there(agent, interaction)
        if not self._is_listening(listener, interaction):
            self._must_have_a_phone(listener, agent)
        self._post(
            e.SpyRequested(at=self._clock(), interaction=interaction, agent=agent, listener=listener, mode=mode, by=by)
        )

    def end_spying(self, listener: AgentId, interaction: InteractionId, *, by: str) -> None:
        """The listener has heard enough."""
        if not self._is_listening(listener, interaction):
            raise Refused("not_listening")
        self._post(e.SpyEndRequested(at=self._clock(), interaction=interaction, listener=listener, by=by))

    def take_over(self, taker: AgentId, interaction: InteractionId, agent: AgentId, *, by: str) -> None:
        """Have the caller of ``agent`` on the phone of ``taker``."""
        call = self._must_talk_there(agent, interaction)
        if call.transfer is not None:
            raise Refused("transfer_under_way")
        if self._core.customer_leg(interaction) is None:
            raise Refused("no_caller")
        if not self._is_listening(taker, interaction):
            self._must_have_a_phone(taker, agent)
        self._post(e.TakeOverRequested(at=self._clock(), interaction=interaction, agent=agent, taker=taker, by=by))

    def pick(self, interaction: InteractionId, agent: AgentId, *, by: str) -> None:
        """Give one who waits to this agent, before everybody else."""
        if self.agent(agent).state is AgentState.LOGGED_OUT:
            raise Refused("target_logged_out")
        call = self._core.calls.get(interaction)
        if call is None or not call.is_waiting:
            raise Refused("not_waiting")
        self._post(e.PickRequested(at=self._clock(), interaction=interaction, agent=agent, by=by))

    def send_message(self, agents: Sequence[AgentId], text: str, *, by: str, name: str) -> None:
        """Write to the desks of these agents."""
        if not text.strip():
            raise BadInput("text", "missing")
        if len(text) > MOST_MESSAGE:
            raise BadInput("text", "too_long")
        for agent in agents:
            self.agent(agent)
        if not agents:
            raise Refused("nobody_to_tell")
        now = self._clock()
        self._messages += 1
        message = f"{now * 1000:.0f}-{self._messages}"
        self._post(e.MessageSent(at=now, agents=tuple(agents), text=text, by=by, message=message, name=name))

    # ── checks ────────────────────────────────────────────────────────────────────────────────────────────

    def _live(self, agent: AgentId) -> Agent:
        return self._core.agents.get(agent) or Agent(agent)

    def _direction(self, call: Call) -> str:
        interaction = self._core.conversations.get(call.id)
        return interaction.direction if interaction is not None else "inbound"

    def _must_be_mine(self, agent: AgentId, interaction: InteractionId) -> None:
        """Rung for, talking, or in wrap-up: else the interaction is somebody else's."""
        if self.agent(agent).interaction == interaction:
            return
        call = self._core.calls.get(interaction)
        if call is not None and agent in call.talking:
            return
        raise Refused("not_your_interaction")

    def _check_target(self, agent: AgentId, target: str) -> None:
        """Raises ``BadInput`` for what is no target, ``Refused`` for one that can't be reached now."""
        kind, _, name = target.partition(":")
        if kind == "agent" and AgentId(name) in self.plan.agents:
            if name == agent:
                raise BadInput("target", "oneself")
            why = why_not(self._live(AgentId(name)), self.plan.agents[AgentId(name)], None, now=self._clock())
            if why is not None and why.reason != "not_ready":
                raise Refused("target_" + why.reason)
        elif (kind == "queue" and QueueId(name) not in self.plan.queues) or kind not in ("queue", "skill", "number"):
            raise BadInput("target", "unknown")
        elif kind == "skill":
            if not name.strip():
                raise BadInput("target", "missing")
            try:
                parse(name)
            except ExpressionError as error:
                raise BadInput("target", error.problem) from error
        elif kind == "number" and not self.plan.outside.allows(name):
            raise Refused("number_not_allowed")

    def _is_listening(self, listener: AgentId, interaction: InteractionId) -> bool:
        return any(view.listener == listener and view.interaction == interaction for view in self.listeners())

    def _must_have_a_phone(self, listener: AgentId, agent: AgentId) -> None:
        """A supervisor hears on the own phone, which must be there and at rest."""
        if listener == agent:
            raise Refused("own_call")
        own = self._live(listener)
        if not own.is_phone_reachable:
            raise Refused("own_phone_unreachable")
        if own.legs:
            raise Refused("own_phone_in_use")

    def _must_talk_there(self, agent: AgentId, interaction: InteractionId) -> Call:
        self.agent(agent)
        call = self._core.calls.get(interaction)
        if call is None or agent not in call.talking:
            raise Refused("agent_not_talking")
        return call

    def _must_talk(self, agent: AgentId, interaction: InteractionId) -> Call:
        call = self._core.calls.get(interaction)
        if call is None or agent not in call.talking:
            raise Refused("not_talking")
        return call

    def _must_consult(self, agent: AgentId, interaction: InteractionId) -> None:
        call = self._core.calls.get(interaction)
        if call is None or call.transfer is None or call.transfer.by != agent or call.transfer.kind != "attended":
            raise Refused("no_transfer")


def _view(call: Call, direction: str) -> CallView:
    agent = call.ringing or next(iter(call.talking), None)
    return CallView(
        id=call.id,
        direction=direction,
        phase=_phase(call),
        queue=call.queue,
        agent=agent,
        ani=call.ani,
        ani_name=call.ani_name,
        is_withheld=call.is_withheld,
        dnis=call.dnis,
        account=call.account,
        choice=call.choice,
        language=call.language,
        started_at=call.started_at,
        queued_at=call.queued_at,
        phase_since=call.phase_since,
        parties=call.parties,
        party=call.party,
        how=call.how,
        recording=call.recording,
        recording_basis=call.recording_basis,
    )


def _phase(call: Call) -> str:
    if call.transfer is not None and call.transfer.kind == "attended":
        return "consulting"
    if call.talking:
        return "held" if call.is_held else "talking"
    if call.ringing is not None:
        return "ringing"
    if call.is_waiting:
        return "waiting"
    if call.is_fallen_back:
        return "fallback"
    return "offered"
