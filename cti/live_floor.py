"""The floor over the deciding core: reads its state, checks what people ask, posts it as facts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from cti import events as e
from cti.agent_state import Agent
from cti.errors import BadInput, Refused
from cti.events import AgentState
from cti.floor import AgentView, CallView, QueueView, Reason, RepairView
from cti.ids import AgentId, InteractionId, QueueId
from cti.inbound import Call, Inbound
from cti.routing.plan import Plan
from cti.routing.select import why_not

MOST_NOTE = 20_000
"""Characters in a note."""
KEPT_REPAIRS = 20


class LiveFloor:
    """Implements ``cti.floor.Floor``."""

    def __init__(self, core: Inbound, *, post: Callable[[e.Event], None], clock: Callable[[], float]) -> None:
        self._core = core
        self._post = post
        self._clock = clock
        self._entries: dict[AgentId, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self._repairs: deque[RepairView] = deque(maxlen=KEPT_REPAIRS)

    def listen(self, fact: e.Event) -> None:
        """Every fact passes here; what was put right is kept to be shown."""
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
            )
            for decision in decisions
        ]

    def repairs(self) -> Sequence[RepairView]:
        """What was put right since the start, newest first."""
        return tuple(self._repairs)

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
        """Hand the caller on: ``agent:<id>`` or, blind only, ``queue:<id>``."""
        call = self._must_talk(agent, interaction)
        if call.transfer is not None:
            raise Refused("transfer_under_way")
        kind, _, name = target.partition(":")
        if kind == "queue" and QueueId(name) in self.plan.queues:
            if is_attended:
                raise BadInput("target", "attended_needs_an_agent")
        elif kind == "agent" and AgentId(name) in self.plan.agents:
            if name == agent:
                raise BadInput("target", "oneself")
            why = why_not(self._live(AgentId(name)), self.plan.agents[AgentId(name)], None, now=self._clock())
            if why is not None and why.reason != "not_ready":
                raise Refused("target_" + why.reason)
        else:
            raise BadInput("target", "unknown")
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
