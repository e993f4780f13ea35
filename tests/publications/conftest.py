"""A bucket for the tests that need one."""

from __future__ import annotations

from tests.buckets import bucket, s3_server

__all__ = ["bucket", "s3_server"]
