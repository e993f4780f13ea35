"""A local S3 server with an empty bucket, for tests of storage in a bucket.

Belongs here: the fixtures. Does not belong here: assertions.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pyarrow.fs as pafs
import pytest

BUCKET = "kho"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of an S3 server in this process."""
    server = pytest.importorskip("moto.server", reason="no S3 server: pip install 'moto[s3]' flask flask-cors")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as patch:
        _make_puts_atomic(patch)
        running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        running.start()
        host, port = running.get_host_and_port()
        yield f"http://{host}:{port}"
        running.stop()


def _make_puts_atomic(patch: pytest.MonkeyPatch) -> None:
    """A conditional put is atomic at S3; this server looks first and writes then, and two threads both win."""
    from moto.s3.responses import S3Response  # noqa: PLC0415  installed where the server is

    one, put = threading.Lock(), S3Response.put_object

    def put_alone(self: S3Response) -> Any:
        with one:
            return put(self)

    patch.setattr(S3Response, "put_object", put_alone)


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The storage URL of a place in a bucket that no other test uses; the environment says how to reach it."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
    for name, value in {**keys, "AWS_ENDPOINT_URL": s3_server, "AWS_ALLOW_HTTP": "true"}.items():
        monkeypatch.setenv(name, value)
    pafs.S3FileSystem(endpoint_override=s3_server, allow_bucket_creation=True).create_dir(BUCKET)
    return f"s3://{BUCKET}/{uuid4().hex}/tỉnh 66"
