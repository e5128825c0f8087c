"""What it looks like when the database does not answer (as opposed to answering that something is wrong)."""

from __future__ import annotations

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

AWAY = (OperationalError, InterfaceError, PoolTimeout, ConnectionError, TimeoutError)
