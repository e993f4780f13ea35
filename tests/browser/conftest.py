"""The practice province of tests/orchestration, for the browser."""

from tests.orchestration.conftest import served, thuocdo

__all__ = ["served", "thuocdo"]
