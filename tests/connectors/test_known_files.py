"""Files that were read before: unread where that is safe, and never missed when they were replaced.

On a disk of our own, whose clock ticks as slowly as we like: a real one ticks too fast to be caught between two ticks.
The readers are the real ones; only what the file system says of times, and our clock, are made.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.files import FilesSettings, Folder, folder_of
from connectors.known_files import MARGIN_SECONDS
from connectors.npsp_log import MessageLog
from connectors.protocol import Batch, Span
from connectors.settings import MessageLogSettings
from tests.connectors.files.drops import PROFILE, csv_text, row

SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND
SPAN = Span(datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC), is_update=True)
Cursors = dict[str, Mapping[str, Any]]


@dataclass
class Disk:
    """A folder of which the times are made: a tick of the file system's clock, and how far it is behind ours."""

    folder: Path
    tick: int = 2 * SECOND
    behind: int = 0
    now: int = START
    times: dict[str, int] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)

    def write(self, name: str, text: str) -> None:
        """Put a file there, or another one in its place."""
        (self.folder / name).write_text(text, encoding="utf-8")
        self.times[name] = self.now - self.behind

    def stat(self, file: Path) -> SimpleNamespace:
        """What the file system says of a file."""
        time = self.times[file.name] // self.tick * self.tick
        size = len((self.folder / file.name).read_bytes())
        return SimpleNamespace(st_size=size, st_mode=stat.S_IFREG, st_mtime_ns=time, st_ctime_ns=time)

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Have the readers see this disk and this clock; files that they open are kept in `opened`."""
        real_stat, real_open = Path.stat, Path.open

        def told(path: Path, **more: Any) -> Any:
            return self.stat(path) if path.name in self.times else real_stat(path, **more)

        def opened(path: Path, *args: Any, **more: Any) -> Any:
            if path.name in self.times and args[:1] == ("rb",):
                self.opened.append(path.name)
            return real_open(path, *args, **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "stat", told)
            patch.setattr(Path, "open", opened)
            patch.setattr("connectors.known_files.time.time_ns", lambda: self.now)
            yield

    def looked_at(self, reader: MessageLog | Folder) -> tuple[list[str], Cursors]:
        """What one look reads (codes of dossiers), and the cursors that it leaves; `opened` begins anew."""
        self.opened.clear()

        async def run() -> list[Batch]:
            return [batch async for batch in reader.batches(SPAN)]

        with self.mounted():
            batches = asyncio.run(run())
        name = "MaHoSo" if isinstance(reader, MessageLog) else "dossier_code"
        codes = [code for batch in batches for part in batch.parts[:1] for code in part.records[name].to_pylist()]
        return codes, {stream: at for batch in batches for stream, at in batch.cursors.items()}


def log_of(folder: Path, cursors: Cursors) -> MessageLog:
    return MessageLog(MessageLogSettings(kind="npsp-log", folder=folder, settle_seconds=0), cursors)


def drops_of(folder: Path, cursors: Cursors) -> Folder:
    profile = folder.parent / "profile.yaml"
    if not profile.exists():
        profile.write_text(yaml.safe_dump(dict(PROFILE), allow_unicode=True), encoding="utf-8")
    said = {"kind": "files", "role": "onestop", "profile": str(profile), "folder": str(folder), "settle_seconds": 0}
    return folder_of(FilesSettings.model_validate(said), name="drop", positions=cursors)


def message(number: int) -> str:
    return f'{{"service": "DongBoHoSoMC", "data": [{{"MaHoSo": "{number:04d}"}}]}}\n'


def table(number: int) -> str:
    return csv_text([row(number)])


@dataclass(frozen=True)
class Kind:
    """A reader of a folder, and a file of one dossier for it; files of all numbers have one size."""

    reader: Callable[[Path, Cursors], MessageLog | Folder]
    file: Callable[[int], str]
    name: str


KINDS = [Kind(log_of, message, "a.ndjson"), Kind(drops_of, table, "a.csv")]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=["messages", "drops"])


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    folder = tmp_path / "in"
    folder.mkdir()
    return Disk(folder)


@each_kind
def test_an_old_file_is_not_opened_again(kind: Kind, disk: Disk) -> None:
    disk.write(kind.name, kind.file(1))
    disk.now += MARGIN_SECONDS * SECOND
    first, cursors = disk.looked_at(kind.reader(disk.folder, {}))
    assert (len(first), disk.opened[:1]) == (1, [kind.name])
    for _ in range(2):
        disk.now += 3600 * SECOND
        assert disk.looked_at(kind.reader(disk.folder, cursors)) == ([], {})
        assert disk.opened == []


@each_kind
def test_a_file_replaced_within_one_tick_is_found(kind: Kind, disk: Disk) -> None:
    """Read in the very tick in which it was written, then replaced: size and times are the same to the bit."""
    disk.write(kind.name, kind.file(1))
    _, cursors = disk.looked_at(kind.reader(disk.folder, {}))
    disk.now += disk.tick // 2
    disk.write(kind.name, kind.file(2))
    assert disk.stat(disk.folder / kind.name).st_mtime_ns == cursors[next(iter(cursors))]["changed"]
    disk.now += 86_400 * SECOND
    (code,), _ = disk.looked_at(kind.reader(disk.folder, cursors))
    assert code.endswith("0002")


@each_kind
def test_a_file_that_was_too_young_is_summed_once_more_and_then_believed(kind: Kind, disk: Disk) -> None:
    disk.write(kind.name, kind.file(1))
    _, cursors = disk.looked_at(kind.reader(disk.folder, {}))
    disk.now += SECOND
    assert disk.looked_at(kind.reader(disk.folder, cursors)) == ([], {}), "nothing to remember yet"
    assert disk.opened == [kind.name]
    disk.now += 86_400 * SECOND
    codes, renewed = disk.looked_at(kind.reader(disk.folder, cursors))
    assert (codes, list(renewed), disk.opened) == ([], list(cursors), [kind.name])
    disk.now += 86_400 * SECOND
    assert disk.looked_at(kind.reader(disk.folder, cursors | renewed)) == ([], {})
    assert disk.opened == []


@each_kind
def test_a_cursor_of_before_is_summed_once(kind: Kind, disk: Disk) -> None:
    """Homes remember size and sum of files that they read before the look was remembered."""
    disk.write(kind.name, kind.file(1))
    disk.now += 86_400 * SECOND
    _, cursors = disk.looked_at(kind.reader(disk.folder, {}))
    old: Cursors = {
        stream: {key: at[key] for key in at if key not in ("entered", "looked")} for stream, at in cursors.items()
    }
    codes, renewed = disk.looked_at(kind.reader(disk.folder, old))
    assert (codes, renewed) == ([], cursors)


@dataclass(frozen=True)
class Turn:
    """Wait so many milliseconds; then write the file with this number, or look where there is none."""

    wait: int
    number: int | None


waits = st.sampled_from([0, 1, 3, 900, 2100, MARGIN_SECONDS * 1000, 86_400_000])
turns = st.lists(st.builds(Turn, wait=waits, number=st.none() | st.integers(1, 3)), min_size=2, max_size=14)


@settings(max_examples=150, deadline=timedelta(seconds=5))
@given(turns=turns, tick=st.sampled_from([1, 4_000_000, 2 * SECOND]), behind=st.integers(0, 50))
def test_whatever_the_order_the_last_look_has_read_what_stands_there(turns: list[Turn], tick: int, behind: int) -> None:
    """Writes and looks at any distance, on disks of any tick whose clock is up to 50 seconds behind ours."""
    with TemporaryDirectory() as folder:
        disk = Disk(Path(folder), tick=tick, behind=behind * SECOND)
        cursors: Cursors = {}
        read: str | None = None
        for turn in (Turn(0, 1), *turns, Turn(0, None)):
            disk.now += turn.wait * 1_000_000
            if turn.number is not None:
                disk.write("a.ndjson", message(turn.number))
                there = f"{turn.number:04d}"
                continue
            codes, renewed = disk.looked_at(log_of(disk.folder, cursors))
            cursors |= renewed
            read = codes[-1] if codes else read
            assert read == there
