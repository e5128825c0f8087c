"""What the PBXs keep for the time without us: the members of the fall-back queues and a few settings.

Only what changed is told. What a PBX has of ours is known from what was told and from ``PbxRead``; while its link is
down nothing is told, and the next reading starts the comparison anew.

A member is paused where the agent would not want the next call if the daemon died this very second: nobody could lift
the pause then. So an agent who talks or wraps up is not paused (the phone's own state keeps it quiet) unless a break
comes next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from cti import commands as c
from cti.agent_state import BUSY, Agent
from cti.events import AgentState, MemberSeen
from cti.ids import AgentId, PbxId, QueueId
from cti.routing.menus import menu_settings
from cti.routing.plan import AgentPlan, PhoneKind, Plan, recording_settings

MEMBER_QUEUES = ":"
"""Between the queues of a phone in the setting ``member/<endpoint>``."""


def pause_of(agent: Agent) -> bool | None:
    """Whether the agent's phone is paused in its fall-back queues; None: it is no member."""
    state = agent.state
    if state in BUSY:
        state = agent.came_from[0]
        if agent.next_state is not None and state is not AgentState.LOGGED_OUT:
            return agent.next_state is not AgentState.AVAILABLE
    if state is AgentState.LOGGED_OUT:
        return None
    return state is not AgentState.AVAILABLE


def settings_of(plan: Plan, pbx: PbxId) -> dict[str, str]:
    """Key of a ``MirrorSetting`` → value, all that ``pbx`` needs to know."""
    settings = {}
    for route in plan.routes:
        if (digits := re.sub("[^0-9]", "", route.dnis)) and route.queue in plan.queues:
            settings[f"route/{digits}"] = str(route.queue)
    if plan.default_queue is not None:
        settings["default-queue"] = str(plan.default_queue)
    for agent in plan.agents.values():
        if agent.phone.pbx == pbx and agent.queues and agent.phone.kind is not PhoneKind.OUTSIDE:
            settings[f"member/{agent.phone.endpoint}"] = MEMBER_QUEUES.join(agent.queues)
            if not agent.may_see_numbers:
                settings.update(dict.fromkeys((f"numbers/{queue}" for queue in agent.queues), "hidden"))
    return settings | dict(recording_settings(plan)) | dict(menu_settings(plan))


class Mirror:
    """What each PBX should have of ours, and what it has as far as we know."""

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._members: dict[tuple[PbxId, QueueId], tuple[AgentPlan, ...]] = {}
        self._is_paused: dict[AgentId, bool] = {}
        self._told: dict[tuple[PbxId, QueueId], frozenset[c.Member]] = {}
        self._changed: set[tuple[PbxId, QueueId]] = set()
        self._told_settings: dict[PbxId, dict[str, str | None]] = {}
        self._keys_of_old: set[str] = set()
        self._changed_settings: set[PbxId] = set()
        self._read: set[PbxId] = set()
        """Whose link stands and whose state was read since."""

    def take_plan(self, plan: Plan, agents: Iterable[Agent]) -> None:
        """The centre was configured (anew)."""
        self._plan = plan
        members: dict[tuple[PbxId, QueueId], list[AgentPlan]] = {}
        for one in plan.agents.values():
            if one.phone.kind is PhoneKind.OUTSIDE:
                continue  # nobody there would be asked to press a key
            for queue in one.queues:
                if queue in plan.queues:
                    members.setdefault((one.phone.pbx, queue), []).append(one)
        self._members = {place: tuple(found) for place, found in members.items()}
        self._changed |= self._members.keys() | self._told.keys()
        self._changed_settings |= self._read
        for agent in agents:
            self._see(agent)

    def remember(self, plan: Plan) -> None:
        """A plan of an earlier run: what it told the PBXs and ours does not is to be removed."""
        for pbx in {agent.phone.pbx for agent in plan.agents.values()}:
            self._keys_of_old |= settings_of(plan, pbx).keys()

    def note(self, agent: Agent) -> None:
        """The agent's state may have changed."""
        if self._see(agent) and self._plan is not None and (plan := self._plan.agents.get(agent.id)) is not None:
            self._changed.update((plan.phone.pbx, queue) for queue in plan.queues)

    def _see(self, agent: Agent) -> bool:
        is_paused = pause_of(agent)
        if self._is_paused.get(agent.id) == is_paused:
            return False
        if is_paused is None:
            del self._is_paused[agent.id]
        else:
            self._is_paused[agent.id] = is_paused
        return True

    def link_lost(self, pbx: PbxId) -> None:
        """Nothing can be told until the next ``pbx_read``."""
        self._read.discard(pbx)

    def pbx_read(self, pbx: PbxId, members: Iterable[MemberSeen]) -> None:
        """What the PBX really has. Of its settings nothing is read: they are told whole."""
        self._read.add(pbx)
        self._forget_settings(pbx)
        seen: dict[tuple[PbxId, QueueId], set[c.Member]] = {place: set() for place in self._members if place[0] == pbx}
        for member in members:
            seen.setdefault((pbx, member.queue), set()).add(c.Member(member.endpoint, member.is_paused))
        self._told = {place: told for place, told in self._told.items() if place[0] != pbx}
        self._told.update((place, frozenset(found)) for place, found in seen.items())
        self._changed |= seen.keys()

    def tell_again(self) -> None:
        """Something could not be told: all is told once more."""
        self._changed |= self._told.keys() | self._members.keys()
        self._told.clear()
        for pbx in self._read:
            self._forget_settings(pbx)

    def _forget_settings(self, pbx: PbxId) -> None:
        self._changed_settings.add(pbx)
        self._told_settings[pbx] = dict.fromkeys((*self._keys_of_old, *self._told_settings.get(pbx, ())))

    def commands(self) -> Iterator[c.Command]:
        """What is to be told now."""
        if self._changed_settings:
            changed_settings, self._changed_settings = self._changed_settings, set()
            for pbx in sorted(changed_settings & self._read):
                yield from self._tell_settings(pbx)
        if self._changed:
            later = {place for place in self._changed if place[0] not in self._read}
            now, self._changed = self._changed - later, later
            for pbx, queue in sorted(now):
                wanted = [
                    c.Member(agent.phone.endpoint, self._is_paused[agent.id])
                    for agent in self._members.get((pbx, queue), ())
                    if agent.id in self._is_paused
                ]
                if self._told.get((pbx, queue)) != frozenset(wanted):
                    self._told[pbx, queue] = frozenset(wanted)
                    members = tuple(sorted(wanted, key=lambda member: member.endpoint))
                    yield c.MirrorMembers(pbx=pbx, queue=queue, members=members)

    def _tell_settings(self, pbx: PbxId) -> Iterator[c.Command]:
        assert self._plan is not None
        wanted, told = settings_of(self._plan, pbx), self._told_settings.setdefault(pbx, {})
        for key in sorted(wanted.keys() | told.keys()):
            value = wanted.get(key, "")
            if told.get(key) != value:
                yield c.MirrorSetting(pbx=pbx, key=key, value=value)
        self._told_settings[pbx] = dict(wanted)
