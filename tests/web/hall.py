"""A floor made by hand for the pages' tests: what is asked of it is written down, what it refuses is set by the
test."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cti.errors import BadInput, Refused
from cti.events import AgentState, Passed, SpyMode
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
from cti.ids import AgentId, InteractionId, PbxId, QueueId
from cti.routing.plan import AgentPlan, DnisRoute, Phone, PhoneKind, Plan, QueuePlan, Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SALES, SUPPORT = QueueId("sales"), QueueId("support")
LI_WEI, ANNA, CHEN = AgentId("li.wei"), AgentId("anna"), AgentId("chen.jie")
PBX = PbxId("pbx1")
WAITING, TALKING = InteractionId("pbx1-1795315190.4"), InteractionId("pbx1-1795315000.1")
NOW = 1_795_315_200.0

PLAN = Plan(
    queues={
        SALES: QueuePlan(SALES, "Sales 销售", (Step(0, "chinese >= 3"),)),
        SUPPORT: QueuePlan(SUPPORT, "Support"),
    },
    agents={
        LI_WEI: AgentPlan(LI_WEI, "Li Wei", Phone(PBX, "li-wei", PhoneKind.BROWSER), {"chinese": 8}, (SALES, SUPPORT)),
        ANNA: AgentPlan(ANNA, "Anna Berg", Phone(PBX, "anna", PhoneKind.DESK), {}, (SUPPORT,)),
        CHEN: AgentPlan(CHEN, "陈洁", Phone(PBX, "chen", PhoneKind.BROWSER), {"chinese": 2}, (SALES,)),
    },
    routes=(DnisRoute("4001", SALES),),
    default_queue=SUPPORT,
)


def agent_view(agent: AgentId, state: AgentState, **more: Any) -> AgentView:
    plan = PLAN.agents[agent]
    view = AgentView(
        id=agent,
        name=plan.name,
        state=state,
        reason="",
        since=NOW - 65,
        until=None,
        next_state=None,
        interaction=None,
        is_desk_fresh=True,
        desk_why="",
        is_phone_reachable=True,
        queues=plan.queues,
        skills=tuple(plan.skills.items()),
    )
    return replace(view, **more)


def call_view(interaction: InteractionId, phase: str, **more: Any) -> CallView:
    view = CallView(
        id=interaction,
        direction="inbound",
        phase=phase,
        queue=SALES,
        agent=None,
        ani="+8613800138000",
        ani_name="<b>Caller</b>",
        is_withheld=False,
        dnis="4001",
        account="",
        choice="",
        language="zh",
        started_at=NOW - 30,
        queued_at=NOW - 28,
        phase_since=NOW - 28,
        parties=(),
        party=None,
        how="none",
        recording="off",
    )
    return replace(view, **more)


class Hall:
    """Implements ``cti.floor.Floor`` in memory. ``asked``: every request as (name, *arguments)."""

    def __init__(self) -> None:
        self.plan = PLAN
        self.pbx_status = {"pbx1": "up"}
        self.asked: list[tuple[Any, ...]] = []
        self.put_right: list[RepairView] = []
        self.places = {WAITING: Waiting(1, 75.0, 140.0, "chinese >= 3", NOW + 30, "chinese")}
        self.stories: dict[InteractionId, list[Happening]] = {}
        self.heard_by: list[ListenerView] = []
        self.kept: list[CallbackView] = []
        self.refusal: Refused | BadInput | None = None
        self._agents = {
            LI_WEI: agent_view(LI_WEI, AgentState.LOGGED_OUT),
            ANNA: agent_view(ANNA, AgentState.NOT_READY, reason="lunch"),
            CHEN: agent_view(CHEN, AgentState.ON_CALL, interaction=TALKING, is_phone_reachable=False),
        }
        self._calls = {
            WAITING: call_view(WAITING, "waiting"),
            TALKING: call_view(TALKING, "talking", agent=CHEN, is_withheld=True, ani="", ani_name="", recording="on"),
        }
        self._reasons = {
            WAITING: [
                Reason(
                    WAITING,
                    SALES,
                    None,
                    "longest_idle",
                    NOW - 1,
                    (
                        Passed(LI_WEI, "not_ready", "lunch"),
                        Passed(CHEN, "skill_too_low", "chinese 2 < 3"),
                        Passed(ANNA, "a_reason_of_tomorrow", "x"),
                        Passed(AgentId(""), "logged_out", "12"),
                    ),
                )
            ],
        }

    def agents(self) -> Sequence[AgentView]:
        return list(self._agents.values())

    def agent(self, agent: AgentId) -> AgentView:
        if agent not in self._agents:
            raise BadInput("agent", "unknown")
        return self._agents[agent]

    def queues(self) -> Sequence[QueueView]:
        return [QueueView(SALES, "Sales 销售", 1, NOW - 28, 1, 0, 2), QueueView(SUPPORT, "Support", 0, None, 0, 0, 1)]

    def calls(self) -> Sequence[CallView]:
        return list(self._calls.values())

    def call(self, interaction: InteractionId) -> CallView | None:
        return self._calls.get(interaction)

    def reasons(self, interaction: InteractionId) -> Sequence[Reason]:
        return self._reasons.get(interaction, ())

    def repairs(self) -> Sequence[RepairView]:
        return self.put_right

    def waiting(self) -> Mapping[InteractionId, Waiting]:
        return self.places

    def story(self, interaction: InteractionId) -> Sequence[Happening]:
        return self.stories.get(interaction, ())

    def listeners(self) -> Sequence[ListenerView]:
        return self.heard_by

    def callbacks(self) -> Sequence[CallbackView]:
        return self.kept

    @property
    def counted_since(self) -> float | None:
        return NOW - 3600

    def empty(self) -> None:
        """Nobody calls."""
        self._calls.clear()

    def put(self, view: AgentView) -> None:
        """An agent is now like this."""
        self._agents[view.id] = view

    def _ask(self, *request: Any) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.asked.append(request)

    def log_in(self, agent: AgentId) -> None:
        self._ask("log_in", agent)
        self._agents[agent] = replace(self._agents[agent], state=AgentState.NOT_READY, reason="logged_in")

    def log_out(self, agent: AgentId, *, by: str) -> None:
        self._ask("log_out", agent, by)

    def set_state(self, agent: AgentId, state: str, reason: str, *, by: str) -> None:
        self._ask("set_state", agent, state, reason, by)

    def save_note(self, agent: AgentId, interaction: InteractionId, text: str) -> None:
        self._ask("save_note", agent, interaction, text)

    def set_disposition(self, agent: AgentId, interaction: InteractionId, code: str) -> None:
        self._ask("set_disposition", agent, interaction, code)

    def choose_customer(self, agent: AgentId, interaction: InteractionId, party: int | None) -> None:
        self._ask("choose_customer", agent, interaction, party)

    def finish_wrap_up(self, agent: AgentId) -> None:
        self._ask("finish_wrap_up", agent)

    def hang_up(self, agent: AgentId, interaction: InteractionId) -> None:
        self._ask("hang_up", agent, interaction)

    def object_to_recording(self, agent: AgentId, interaction: InteractionId) -> None:
        self._ask("object_to_recording", agent, interaction)

    def pause_recording(self, agent: AgentId, interaction: InteractionId, *, is_paused: bool) -> None:
        self._ask("pause_recording", agent, interaction, is_paused)

    def transfer(self, agent: AgentId, interaction: InteractionId, target: str, *, is_attended: bool) -> None:
        self._ask("transfer", agent, interaction, target, is_attended)

    def complete_transfer(self, agent: AgentId, interaction: InteractionId) -> None:
        self._ask("complete_transfer", agent, interaction)

    def cancel_transfer(self, agent: AgentId, interaction: InteractionId) -> None:
        self._ask("cancel_transfer", agent, interaction)

    def confer(self, agent: AgentId, interaction: InteractionId) -> None:
        self._ask("confer", agent, interaction)

    def read_message(self, agent: AgentId, message: str) -> None:
        self._ask("read_message", agent, message)

    def spy(self, listener: AgentId, interaction: InteractionId, agent: AgentId, mode: SpyMode, *, by: str) -> None:
        self._ask("spy", listener, interaction, agent, mode, by)

    def end_spying(self, listener: AgentId, interaction: InteractionId, *, by: str) -> None:
        self._ask("end_spying", listener, interaction, by)

    def take_over(self, taker: AgentId, interaction: InteractionId, agent: AgentId, *, by: str) -> None:
        self._ask("take_over", taker, interaction, agent, by)

    def pick(self, interaction: InteractionId, agent: AgentId, *, by: str) -> None:
        self._ask("pick", interaction, agent, by)

    def send_message(self, agents: Sequence[AgentId], text: str, *, by: str, name: str) -> None:
        self._ask("send_message", tuple(agents), text, by, name)
