"""Files that are named after persons: read once, over changes of the key, and nowhere told by what names them.

Whole extractions over a real folder, lake and database, for what is stored of a name lies in all three.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from assets.raw import hashes
from assets.raw.extraction import extract
from assets.raw.hashes import Keys, use
from assets.raw.quarantine import ask_again
from assets.raw.tables import RAW_MESSAGES, dropped_table
from connectors.file_names import FileNames
from connectors.files import FilesSettings
from connectors.settings import MessageLogSettings
from connectors.sources import SourceSettings
from tests.connectors.files.drops import PROFILE, csv_text, row
from tests.dossiers.records import message as record
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.schema import Table
from warehouse.tables import RAW_QUARANTINE

FIRST = datetime(2026, 11, 1, tzinfo=UTC)
PERSON = "Nguyễn Văn An"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = hashes.in_use()
    yield
    use(before)


def log_of(root: Path) -> SourceSettings:
    return MessageLogSettings(kind="npsp-log", folder=root / "in", settle_seconds=0)


def message(*codes: str, status: str = "4") -> str:
    # One that names no dossier breaks the contract.
    said = [record(code, TrangThaiHoSo=status) for code in codes]
    return "".join(json.dumps({"service": "DongBoHoSoMC", "data": [each]}, ensure_ascii=False) + "\n" for each in said)


def drops_of(root: Path) -> SourceSettings:
    (root / "profile.yaml").write_text(yaml.safe_dump(dict(PROFILE), allow_unicode=True), encoding="utf-8")
    said = {"kind": "files", "role": "onestop", "profile": str(root / "profile.yaml"), "folder": str(root / "in")}
    return FilesSettings.model_validate(said | {"settle_seconds": 0})


@dataclass(frozen=True)
class Kind:
    """A reader of a folder and its table; a file of one dossier, as it was and as it was corrected."""

    source: str
    settings: Callable[[Path], SourceSettings]
    table: Table
    suffix: str
    first: str
    corrected: str
    status: str


DONE = "Đã trả kết quả"
KINDS = [
    Kind("messages", log_of, RAW_MESSAGES, ".ndjson", message("A1"), message("A1", status="9"), "TrangThaiHoSo"),
    Kind("drop", drops_of, dropped_table("drop"), ".csv", csv_text([row(1)]), csv_text([row(1, c3=DONE)]), "status"),
]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=["messages", "drops"])


class House:
    """A folder, and nights that read it, each under its keys."""

    def __init__(self, root: Path, kind: Kind) -> None:
        self.root, self.kind, self.nights = root, kind, 0
        (root / "in").mkdir()
        self.settings = kind.settings(root)
        self.lake = Lake(str(root / "lake"))
        self.database = Database.open(f"sqlite:///{root / 'thuocdo.db'}")

    def put(self, name: str, content: str) -> Path:
        file = self.root / "in" / name
        file.write_text(content, encoding="utf-8")
        moment = (FIRST - timedelta(days=9) + timedelta(hours=self.nights)).timestamp()
        os.utime(file, (moment, moment))
        return file

    def night(self, keys: Keys) -> int:
        """How many records were read."""
        use(keys)
        self.nights += 1
        end = FIRST + timedelta(days=self.nights)
        counts = extract(
            self.kind.source,
            self.settings,
            window=(end - timedelta(days=1), end),
            lake=self.lake,
            database=self.database,
            night=f"n{self.nights}",
            now=end,
        )
        return counts[0].rows_read

    def cursors(self) -> dict[str, dict[str, object]]:
        """Those of files, by stream."""
        return self.database.cursors().get(self.kind.source, {})

    def everything(self) -> str:
        """All that is stored, in words."""
        rows = [self.lake.read(table).to_pylist() for table in (self.kind.table, RAW_QUARANTINE)]
        return json.dumps([self.cursors(), rows], default=str, ensure_ascii=False)


@each_kind
def test_it_is_read_once_over_changes_of_the_key_and_again_when_it_was_corrected(kind: Kind, tmp_path: Path) -> None:
    house, name = House(tmp_path, kind), f"0001 {PERSON}{kind.suffix}"
    file = house.put(name, kind.first)
    keys = [Keys(b"mot"), Keys(b"mot"), Keys(b"hai", b"mot"), Keys(b"hai", b"mot"), Keys(b"ba", b"hai")]
    assert [house.night(each) for each in keys] == [1, 0, 0, 0, 0]
    (stream,) = house.cursors()
    assert house.cursors()[stream]["named"] == Keys(b"ba").of(name), "the hash is today's"
    (before,) = house.lake.read(kind.table)["position"].to_pylist()
    stat = file.stat()
    house.put(name, kind.corrected)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert house.night(Keys(b"bon", b"ba")) == 1
    assert list(house.cursors()) == [stream]
    old, new = house.lake.read(kind.table).sort_by("extracted_at").to_pylist()
    assert new["position"] == before, "called the same for ever, or a correction might be an older message"
    assert old[kind.status] != new[kind.status]


@each_kind
def test_nothing_that_is_stored_tells_the_name_or_a_plain_hash_of_it(kind: Kind, tmp_path: Path) -> None:
    house, name = House(tmp_path, kind), f"{PERSON}{kind.suffix}"
    house.put(name, kind.first)
    house.put(f"{PERSON} hai{kind.suffix}", "hỏng\n" if kind.source == "messages" else "không phải bảng")
    house.night(Keys(b"mot"))
    stored = house.everything()
    assert "tên có thông tin cá nhân" in stored
    plain = {hash_(name.encode()).hexdigest()[:8] for hash_ in (hashlib.md5, hashlib.sha1, hashlib.sha256)}
    for telling in (*plain, f"{zlib.crc32(name.encode()):08x}", PERSON, "Nguyễn"):
        assert telling not in stored


@each_kind
def test_two_of_one_length_are_two_and_of_another_home_other_ones(kind: Kind, tmp_path: Path) -> None:
    found = []
    for key in (b"nha mot", b"nha hai"):
        home = tmp_path / key.decode()
        home.mkdir()
        house = House(home, kind)
        for number, person in enumerate((PERSON, "Nguyễn Văn Ba"), start=1):
            house.put(f"{person}{kind.suffix}", message(f"A{number}") if kind == KINDS[0] else csv_text([row(number)]))
        assert [house.night(Keys(key)) for _ in range(2)] == [2, 0]
        found.append(set(house.cursors()))
    assert [len(each) for each in found] == [2, 2]
    assert not found[0] & found[1]


def test_it_is_called_the_same_where_everything_is_read_again(tmp_path: Path) -> None:
    """An operator asks for what was set aside; a folder is then read without its cursors, under a new key."""
    house = House(tmp_path, KINDS[0])
    house.put(f"{PERSON}.ndjson", message("A1", ""))
    assert house.night(Keys(b"mot")) == 2
    (stream,), before = house.cursors(), house.lake.read(RAW_MESSAGES)
    assert ask_again(house.lake) == 1
    assert house.night(Keys(b"hai", b"mot")) == 2
    assert list(house.cursors()) == [stream]
    assert house.lake.read(RAW_MESSAGES).equals(before)


def test_messages_of_a_file_that_is_named_in_words_are_kept(tmp_path: Path) -> None:
    """Two words are somebody's name in a code, and a position is judged as one."""
    house = House(tmp_path, KINDS[0])
    house.put("bản tin tháng 11.ndjson", message("A1"))
    assert house.night(Keys(b"mot")) == 1
    assert house.lake.read(RAW_MESSAGES)["MaHoSo"].to_pylist() == ["A1"]
    assert house.night(Keys(b"mot")) == 0


def test_where_nothing_is_remembered_a_name_is_told_by_its_length() -> None:
    called = FileNames().call(f"{PERSON}.CSV")
    assert (called.name, dict(called.memory)) == (f"(tên có thông tin cá nhân «{len(PERSON) + 4} ký tự»).csv", {})
    assert FileNames().call("bao-cao. " + PERSON).name.endswith("»)"), "an ending in words is none"
