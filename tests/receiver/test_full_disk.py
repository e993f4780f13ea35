"""A full disk is answered with an error, and nothing half-written is counted later.

Real files, real ends: ENOSPC on a small file system of our own, EFBIG by the limit of the process.
"""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.receiver.conftest import DOSSIER, PROGRESS, Start, Vendor, codes, dossier, journalled, step

KIB = 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own for the journal, 2 MiB in all."""
    folder = tmp_path / "messages"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system of our own can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, *, leaving: int) -> Path:
    """Occupy the disk but for about `leaving` bytes."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4 * KIB)
        except OSError:
            file.truncate(max(0, file.tell() - leaving))
    return filler


def send_until_refused(vendor: Vendor, prefix: str, most: int = 500) -> tuple[list[str], httpx.Response]:
    """Send dossiers of some 3 KiB one by one: codes of what was acknowledged, and the reply that refused."""
    acknowledged: list[str] = []
    for number in range(most):
        reply = vendor.reply(DOSSIER, large(f"{prefix}-{number}"))
        if reply.status_code != 200:
            return acknowledged, reply
        assert reply.json()["error_code"] == 0
        acknowledged.append(f"{prefix}-{number}")
    raise AssertionError("the disk never got full")


def large(code: str) -> dict[str, Any]:
    return dossier(code, DonViXuLy="Sở " * 1000)


def check_refusal(vendor: Vendor, reply: httpx.Response) -> None:
    for refused in (reply, vendor.reply(PROGRESS, step("FULL-1", NgayBatDau="9" * 9000))):
        assert refused.status_code == 503
        assert refused.json()["error_code"] == 503
        assert "retry-after" in refused.headers
        assert "thành công" not in refused.json()["message"]
    plain = vendor.gateway(PROGRESS, [step("FULL-1", NgayBatDau="9" * 9000)])
    assert (plain.status_code, "thành công" in plain.text) == (503, False)


def test_a_full_disk_is_answered_with_an_error(start: Start, small_disk: Path) -> None:
    running = start()
    vendor = running.vendor()
    assert vendor.log_in()["error_code"] == 0
    filler = fill(small_disk, leaving=200 * KIB)
    first, refused = send_until_refused(vendor, "A")
    assert len(first) > 10
    check_refusal(vendor, refused)
    filler.unlink()
    assert vendor.send(DOSSIER, *map(dossier, first[:3]), updating="True")["error_code"] == 0
    assert vendor.send(DOSSIER, large("B"))["error_code"] == 0
    running.kill()
    assert codes(journalled(small_disk)) == [*first, *first[:3], "B"]
    assert journalled(small_disk, PROGRESS) == []
    again = start()
    assert "torn_bytes=0" in again.output.read_text(encoding="utf-8")
    known = again.vendor(session=vendor.session).send(DOSSIER, *map(dossier, [*first, "B"]))
    assert {one["error_code"] for one in known["result"]} == {3}


def test_a_file_that_may_not_grow_is_answered_with_an_error(start: Start) -> None:
    running = start()
    vendor = running.vendor()
    vendor.log_in()
    _, unlimited = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (100 * KIB, unlimited))
    first, refused = send_until_refused(vendor, "A")
    assert len(first) > 10
    check_refusal(vendor, refused)
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
    assert vendor.send(DOSSIER, large("B"))["error_code"] == 0
    assert vendor.send(DOSSIER, *map(dossier, [*first, "B"]))["error_code"] == 3
    running.kill()
    assert codes(journalled(running.folder)) == [*first, "B"]
    assert journalled(running.folder, PROGRESS) == []
