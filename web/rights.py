"""Who may do what on the pages. A role is a set of rights; every route names the one right that it needs.

Which *fields* of a customer a role may read is another matter, decided in ``crm_core.access``.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Right(StrEnum):
    """One thing that a role may be allowed to do."""

    AGENT_DESK = "agent.desk"
    FLOOR_VIEW = "floor.view"
    FLOOR_STEER = "floor.steer"
    CUSTOMERS_READ = "customers.read"
    INTERACTIONS_READ = "interactions.read"
    RECORDINGS_PLAY = "recordings.play"
    ADMIN_CONFIG = "admin.config"


_READS = frozenset({Right.CUSTOMERS_READ, Right.INTERACTIONS_READ, Right.RECORDINGS_PLAY})
_AGENT = _READS | {Right.AGENT_DESK}
_SUPERVISOR = _AGENT | {Right.FLOOR_VIEW, Right.FLOOR_STEER}

ROLE_RIGHTS: Mapping[str, frozenset[Right]] = MappingProxyType(
    {
        "agent": _AGENT,
        "supervisor": _SUPERVISOR,
        "campaign_manager": _READS,
        "administrator": _SUPERVISOR | {Right.ADMIN_CONFIG},
    }
)
"""The roles are those of ``crm_core.users.ROLES``. A person without an agent's seat cannot use the desk, whatever the
role."""


def rights_of(role: str) -> frozenset[Right]:
    """The rights of a role; a role that is not in the table has none."""
    return ROLE_RIGHTS.get(role, frozenset())
