"""Sites as the end-to-end tests have them."""

from __future__ import annotations

from tests.e2e.conftest import folder, start_site

__all__ = ["folder", "start_site"]
