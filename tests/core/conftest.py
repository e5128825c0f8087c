"""The migrated databases of the CRM's tests serve the recorder's too."""

from tests.crm_core.conftest import blank_url, database, postgres_template, sqlite_template

__all__ = ["blank_url", "database", "postgres_template", "sqlite_template"]
