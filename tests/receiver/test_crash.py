"""Killed at any moment under load: what was acknowledged is in the journal, as the contract has it.

Senders behave as real ones do: they repeat a call that got no answer, and send as update what "đã tồn tại".
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.receiver.conftest import DOSSIER, KEPT, PROGRESS, Running, Start, Vendor, dossier, journalled, lines, step

SENDERS = 4


@dataclass
class Sender:
    """Sends until it is told to stop; every message carries a number that no other has."""

    name: str
    where: list[str]
    stopped: threading.Event
    dice: random.Random
    #: Numbers of acknowledged messages: at the first attempt, or after a repetition.
    at_once: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def run(self) -> None:
        vendor = Vendor("", client=httpx.Client(timeout=20))
        number = 0
        while not self.stopped.is_set():
            service = self.dice.choice((DOSSIER, DOSSIER, PROGRESS))
            updating = service == DOSSIER and number > 0 and self.dice.random() < 0.3
            numbers = [f"{self.name}-{number + place}" for place in range(self.dice.randint(1, 4))]
            number += len(numbers)
            self._send(vendor, service, numbers, updating=updating)

    def _send(self, vendor: Vendor, service: str, numbers: list[str], *, updating: bool) -> None:
        records = [self._record(service, one, updating=updating) for one in numbers]
        was_repeated = False
        while True:
            vendor.base_url = self.where[0]
            try:
                answer = vendor.send(service, *records, updating=str(updating))
            except httpx.TransportError:
                was_repeated = True
                if self.stopped.is_set():
                    return
                time.sleep(0.2)
                continue
            if "đã tồn tại" in answer["message"] and was_repeated and not updating:
                updating = True
                continue
            if answer["error_code"] != 0:
                self.problems.append(answer["message"])
            else:
                (self.repeated if was_repeated else self.at_once).extend(numbers)
            return

    def _record(self, service: str, number: str, *, updating: bool) -> dict[str, Any]:
        code = f"{self.name}-0" if updating else number
        return dossier(code, MaHoSoKhac=number) if service == DOSSIER else step(code, ThoiDiemXuLy=number)


def killed_again_and_again(start: Start, kills: int, seed: int) -> None:
    dice = random.Random(seed)
    running = start()
    where, stopped = [running.base_url], threading.Event()
    senders = [Sender(f"S{one}", where, stopped, random.Random(seed + one)) for one in range(SENDERS)]
    threads = [threading.Thread(target=sender.run) for sender in senders]
    for thread in threads:
        thread.start()
    try:
        for _ in range(kills):
            acknowledged = sum(len(sender.at_once) for sender in senders)
            while sum(len(sender.at_once) for sender in senders) == acknowledged:
                time.sleep(0.005)
            time.sleep(dice.uniform(0, 0.4))
            running.kill()
            # Small files: kills fall into their ends and beginnings too.
            running = start(rotate_bytes=dice.choice((2_000, 50_000, 10**9)))
            where[0] = running.base_url
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    assert running.stop() == 0
    check(running, senders)


def check(running: Running, senders: list[Sender]) -> None:
    assert [problem for sender in senders for problem in sender.problems] == []
    assert [file for file in running.folder.iterdir() if file.suffix == ".open"] == []
    assert all(set(line) == {"service", "data"} for line in lines(running.folder))
    found = journalled(running.folder), journalled(running.folder, PROGRESS)
    counts = Counter([one["MaHoSoKhac"] for one in found[0]] + [one["ThoiDiemXuLy"] for one in found[1]])
    for sender in senders:
        assert sender.at_once
        assert {number: counts[number] for number in sender.at_once if counts[number] != 1} == {}
        assert [number for number in sender.repeated if counts[number] == 0] == []
    for record in found[0]:
        assert record == {"MaHoSo": record["MaHoSo"], "MaHoSoKhac": record["MaHoSoKhac"], **KEPT}
    updates = [
        one["MaHoSoKhac"] for one in found[0] if one["MaHoSo"] == "S0-0" and one["MaHoSoKhac"] in senders[0].at_once
    ]
    assert updates == sorted(updates, key=lambda number: int(number.split("-")[1]))


@pytest.mark.slow
def test_what_was_acknowledged_survives_kills(start: Start) -> None:
    killed_again_and_again(start, kills=4, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [11, 12])
def test_what_was_acknowledged_survives_many_kills(start: Start, seed: int) -> None:
    killed_again_and_again(start, kills=30, seed=seed)
