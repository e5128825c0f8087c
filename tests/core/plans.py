"""A small centre for tests of the deciding core."""

from __future__ import annotations

from cti.ids import AgentId, PbxId, QueueId
from cti.routing.plan import AgentPlan, DnisRoute, Phone, PhoneKind, Plan, QueuePlan, Step

PBX = PbxId("pbx1")
SALES = QueueId("sales")
SUPPORT = QueueId("support")
LI, ANN, BO = AgentId("li"), AgentId("ann"), AgentId("bo")


def phone(endpoint: str, kind: PhoneKind = PhoneKind.BROWSER) -> Phone:
    """A phone on the only PBX."""
    return Phone(PBX, endpoint, kind)


def small_plan(**queue_changes: object) -> Plan:
    """Two queues, three agents: li and ann sell (english 8, 5), bo supports (technical 7)."""
    sales = QueuePlan(SALES, "Sales", (Step(0, "english >= 4"),), **queue_changes)  # type: ignore[arg-type]
    support = QueuePlan(SUPPORT, "Support", (Step(0, "technical >= 5"),))
    agents = {
        LI: AgentPlan(LI, "Li Wei", phone("agent1"), {"english": 8}, (SALES,)),
        ANN: AgentPlan(ANN, "Ann Smith", phone("agent2"), {"english": 5}, (SALES, SUPPORT)),
        BO: AgentPlan(BO, "Bo", phone("agent3", PhoneKind.DESK), {"technical": 7}, (SUPPORT,)),
    }
    routes = (DnisRoute("4001", SALES), DnisRoute("4002", SUPPORT))
    return Plan({SALES: sales, SUPPORT: support}, agents, routes, SALES)
