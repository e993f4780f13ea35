"""A folder into which a system's dossiers are dropped as files, read by a profile.

Belongs here: what an integrator writes about such a source, which files are due and in which order, and
what a later file does to an earlier one. Does not belong here: the profile's shape (`files_profile.py`),
formats (`files_open.py`, `files_sheets.py`, `files_objects.py`), fields (`files_map.py`).

- A file is read once: its content, not its name, says whether it is known. Another map of columns in the
  profile is a reason to read everything again.
- Files are read in the order of the moment that they stand for. A record carries that moment, so that a
  file that arrives late never comes over what a newer one said.
- Where the profile says what a file replaces, records of the slice that the newest file does not hold are
  compared away, within a guard. A file in which some row cannot be told to be any record replaces nothing.
- A file whose end is missing waits for some nights, then it is refused. A refused file is a row in
  quarantine; the others are read.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, NonNegativeInt, PositiveInt

from connectors.contract import SEEN, Broken, RecordContract
from connectors.file_names import Called, FileNames
from connectors.files_map import SCHEMA_OF_FILES, Mapped, contract_of, mapped, mapping_of, slice_name
from connectors.files_objects import json_tables, ndjson_tables, parquet_tables
from connectors.files_open import FileProblem, PartialFile, Payload, called, payloads
from connectors.files_profile import FilesProfile
from connectors.files_sheets import csv_tables, workbook_tables
from connectors.files_table import Table
from connectors.known_files import Stamp, sum_of
from connectors.profiled import SCHEMA, Profile, ProfiledSettings, ProfileError
from connectors.protocol import Batch, Completed, Guard, Part, Permanent, Span, Whole
from connectors.records import numbered

PROPOSE = "propose"
#: What programs write while they are not done, or beside an open file.
_PASSING = (".part", ".partial", ".filepart", ".tmp", ".crdownload")
#: More slices in one file: the column tells records apart, not periods.
_MOST_SLICES = 500
_MOST_STREAM = 150
#: Drift of a file is told by its headings alone: what stands below them is whatever the format made of it.
_HEADING = frozenset({"text"})
READERS = {
    "csv": csv_tables,
    "xlsx": workbook_tables,
    "json": json_tables,
    "ndjson": ndjson_tables,
    "parquet": parquet_tables,
}
Positions = Mapping[str, Mapping[str, Any]]


class FilesSettings(ProfiledSettings):
    """Files that a system exports and somebody drops in a folder (every night, or whenever)."""

    profile_model: ClassVar[type[Profile]] = FilesProfile

    kind: Literal["files"]
    profile: str = PROPOSE
    folder: Path
    pattern: str = "*"
    #: A file younger than this may still be written to and is left for the next night.
    settle_seconds: NonNegativeInt = 60
    #: A file without its end is refused after so many nights in which it did not grow.
    partial_nights: PositiveInt = 3
    #: A file from which more than this share of its slice, and more than so many, are missing, is not believed.
    missing_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    missing_floor: NonNegativeInt = 20

    def loaded(self) -> Profile:
        """The profile; `ProfileError` says how to get one where there is none yet."""
        if Path(self.profile).name == PROPOSE:
            raise ProfileError(
                "profile: chưa có hồ sơ nguồn; chạy `thuocdo propose TỆP` để có bản đề xuất, sửa rồi ghi tên tệp vào "
                "đây (no profile yet: run `thuocdo propose FILE`)"
            )
        return super().loaded()


@dataclass(frozen=True)
class Dropped:
    """A file of the folder as it stands: what messages and cursors call it, and the moment it stands for."""

    path: Path
    name: str
    order: str
    stamp: Stamp
    #: What its cursor remembers of its name, where `name` is another one.
    memory: Mapping[str, str]

    @property
    def size(self) -> int:
        """Bytes."""
        return self.stamp.size

    @property
    def stream(self) -> str:
        """Its cursor."""
        return _stream("file", self.name)

    def is_same(self) -> bool:
        """Whether the file is still what it was when it was found."""
        return Stamp.of(self.path).is_same(self.stamp)


def _stream(kind: str, name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{kind} {name}" if len(name) <= _MOST_STREAM else f"{kind} {name[: _MOST_STREAM - 20]} {digest}"


def order_of(name: str, changed: int, profile: FilesProfile) -> str:
    """The moment a file stands for, by its name or by when it was written; sorts as text."""
    written = datetime.fromtimestamp(changed / 1e9, tz=UTC)
    moment = written
    if profile.order and (found := re.search(profile.order.name, name)):
        said = {key: int(value) for key, value in found.groupdict().items() if value}
        try:
            moment = datetime(**{"month": 1, "day": 1, **said}, tzinfo=UTC)
        except ValueError:
            moment = written
    return f"{moment:%Y-%m-%dT%H:%M}_{written:%Y-%m-%dT%H:%M:%S.%f}"


@dataclass
class Folder:
    """The folder, and what is known of its files and slices: the stored cursors, moved on while it is read."""

    name: str
    settings: FilesSettings
    profile: FilesProfile
    positions: Positions
    names: FileNames = field(default_factory=FileNames)
    _known: dict[str, dict[str, Any]] = field(init=False)
    _contract: RecordContract = field(init=False)
    _read: int = 0

    def __post_init__(self) -> None:
        self._known = {stream: dict(position) for stream, position in self.positions.items()}
        self._contract = contract_of(self.name, self.profile)
        self._mapping = mapping_of(self.profile)
        if self.profile.replaces:
            self._mapping += f" {self.settings.missing_share} {self.settings.missing_floor}"

    async def batches(self, span: Span) -> AsyncIterator[Batch]:
        """Every file that was not read as it is now, whatever the span, whose end tells one night from another."""
        iterator = self._batches(span.end.date().isoformat())
        while (batch := await asyncio.to_thread(next, iterator, None)) is not None:
            yield batch

    async def complete(self, records: pa.Table) -> Completed:
        """A file carries everything."""
        return Completed(records)

    def files(self) -> list[Dropped]:
        """The files of the folder in their order, those being written to included."""
        folder = self.settings.folder
        if not folder.is_dir():
            raise Permanent(f"folder {folder} does not exist", key="folder")
        found = []
        for path in folder.glob(self.settings.pattern):
            name = path.relative_to(folder).as_posix()
            if path.name.startswith((".", "~$")) or path.suffix.lower() in _PASSING or not path.is_file():
                continue
            stamp = Stamp.of(path)
            order = order_of(path.name, stamp.changed, self.profile)
            named = called(name, self.names)
            found.append(Dropped(path, named.name, order, stamp, named.memory))
        return sorted(found, key=lambda file: (file.order, file.name))

    # One night.

    def _batches(self, night: str) -> Iterator[Batch]:
        # Says today's contract even where no file is new: what was set aside under another one is read again.
        yield Batch((self._part(),), {})
        for file in self.files():
            for batch in self._file(file, night):
                yield self._moved(file, batch)
            known = self._known.get(file.stream)
            if known is not None and not Called(file.name, file.memory).is_remembered(known):
                yield self._moved(file, Batch((), {file.stream: known}))

    def _moved(self, file: Dropped, batch: Batch) -> Batch:
        """The batch with what the file's cursor remembers of its name; what cursors say is known from here on."""
        own = {stream: {**at, **file.memory} for stream, at in batch.cursors.items() if stream == file.stream}
        batch = replace(batch, cursors={**batch.cursors, **own})
        self._known |= {stream: dict(position) for stream, position in batch.cursors.items()}
        return batch

    def _file(self, file: Dropped, night: str) -> Iterator[Batch]:
        known = self._known.get(file.stream, {})
        is_mapped = known.get("mapping") == self._mapping
        if is_mapped and file.stamp.is_known(known):
            return
        if file.stamp.age_seconds < self.settings.settle_seconds:
            yield self._left(file, "vừa được ghi, để lại đêm sau")
            return
        digest = sum_of(file.path)
        consumed = {**file.stamp.cursor(digest), "mapping": self._mapping, "order": file.order}
        if is_mapped and known.get("sha256") == digest:
            if file.stamp.is_settled:
                yield Batch((), {file.stream: {**known, **file.stamp.cursor(digest)}})
            return
        if note := self._superseded(file, digest):
            yield Batch((), {file.stream: consumed | {"copy": True}}, (f"{self.name}: tệp {file.name}: {note}",))
            return
        try:
            yield from self._read_file(file, consumed)
        except PartialFile as problem:
            yield self._partial(file, problem, known, night, consumed)
        except FileProblem as problem:
            yield self._refused(file, problem, consumed)

    def _left(self, file: Dropped, why: str) -> Batch:
        return Batch((), {}, (f"{self.name}: tệp {file.name}: {why}",))

    def _superseded(self, file: Dropped, digest: str) -> str | None:
        """Why a file has nothing new to say: its bytes are known, or a newer file replaced what it stands for."""
        slice_ = self.slice_of(file)
        newest = self._known.get(_stream("slice", slice_)) if slice_ is not None else None
        if newest and newest["file"] != file.name and newest["order"] > file.order:
            return f"tệp {newest['file']} mới hơn đã thay cùng phần số liệu; không đọc"
        for stream, position in self._known.items():
            is_read = position.get("mapping") == self._mapping and not position.get("copy")
            if stream == file.stream or position.get("sha256") != digest or not is_read:
                continue
            if newest and _stream("file", newest["file"]) != stream:
                continue  # back to an earlier state of the slice, which is news
            return f"trùng từng byte với {stream.removeprefix('file ')} đã đọc; không đọc lại"
        return None

    def slice_of(self, file: Dropped) -> str | None:
        """The slice that a file's name says; None where the profile names none, or rows say it."""
        replaces = self.profile.replaces
        if replaces is None or replaces.name is None:
            return None
        found = re.search(replaces.name, file.path.name)
        return slice_name(found.groups()) if found else None

    def _partial(
        self, file: Dropped, problem: PartialFile, known: Mapping[str, Any], night: str, consumed: Mapping[str, Any]
    ) -> Batch:
        before = known.get("partial") or {}
        nights = int(before.get("nights", 0)) if before.get("size") == file.size else 0
        nights += 0 if nights and before.get("night") == night else 1
        if nights > self.settings.partial_nights:
            told = f"{problem}; đã chờ {self.settings.partial_nights} đêm mà tệp không lớn thêm"
            return self._refused(file, FileProblem(problem.reason, told, place=problem.place), consumed)
        told = f"{problem}; để lại đêm sau (lần {nights}/{self.settings.partial_nights})"
        waiting = {"partial": {"size": file.size, "nights": nights, "night": night}}
        return Batch((), {file.stream: waiting}, (f"{self.name}: {problem.place or f'tệp {file.name}'}: {told}",))

    def _refused(self, file: Dropped, problem: FileProblem, consumed: Mapping[str, Any]) -> Batch:
        place = problem.place or f"tệp {file.name}"
        broken = Broken(place, problem.reason, "file", f"{place}: {problem}", str(consumed["sha256"]))
        note = f"{self.name}: TỪ CHỐI {place}: {problem}"
        return Batch((self._part((broken,)),), {file.stream: {**consumed, "copy": True}}, (note,))

    def _part(self, broken: tuple[Broken, ...] = (), records: pa.Table | None = None, **more: Any) -> Part:
        table = SCHEMA_OF_FILES.empty_table() if records is None else records
        part = Part(self._contract, numbered(table, self._read, SEEN), broken, **more)
        self._read += table.num_rows
        return part

    # One file.

    def _read_file(self, file: Dropped, consumed: Mapping[str, Any]) -> Iterator[Batch]:
        found = payloads(file.path, file.name)
        if len(found) > 1:
            for payload in found:  # nothing is stored of an archive of which some member is unusable
                with self.opened(payload):
                    pass
        reading = _Reading(self, file)
        place = 0
        for payload in found:
            with self.opened(payload) as tables:
                for table in tables:
                    place += 1
                    yield from reading.table(table, place, str(consumed["sha256"]))
        if not file.is_same():
            yield self._left(file, "thay đổi trong lúc đọc, đêm sau đọc lại")
            return
        yield reading.end(consumed)

    def opened(self, payload: Payload) -> AbstractContextManager[list[Table]]:
        """The tables of a payload, their headings found."""
        return READERS[payload.format](payload, self.profile)

    def newest_of(self, slice_: str) -> str:
        """The order of the file that last replaced a slice; "" before any."""
        return str(self._known.get(_stream("slice", slice_), {}).get("order", ""))

    def sample(self, limit: int) -> pa.Table:
        """Up to `limit` mapped records of the newest file that can be read."""
        for file in reversed(self.files()):
            try:
                return self._sampled(file, limit)
            except PartialFile:
                continue
            except FileProblem as problem:
                raise Permanent(f"{problem.place or file.name}: {problem}", key="profile") from None
        return SCHEMA.empty_table()

    def _sampled(self, file: Dropped, limit: int) -> pa.Table:
        found: list[pa.Table] = []
        for payload in payloads(file.path, file.name):
            with self.opened(payload) as tables:
                for table in tables:
                    few = replace(table, rows=islice(table.rows, limit))
                    found += [each.records for each in mapped(few, self.profile, self.name, slice_=None, digest="")]
        return pa.concat_tables([SCHEMA_OF_FILES.empty_table(), *found]).slice(0, limit).select(SCHEMA.names)


@dataclass
class _Reading:
    """One file while it is read: which records and slices it holds, and what its rows could not say."""

    folder: Folder
    file: Dropped
    seen: list[pa.Array] = field(default_factory=list)
    slices: dict[str, None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    headings: set[str] = field(default_factory=set)
    unnamed: int = 0
    skipped: int = 0
    outdated: int = 0

    def table(self, table: Table, place: int, digest: str) -> Iterator[Batch]:
        """Records of one table, batch by batch."""
        self.notes += table.notes
        said = self.folder.slice_of(self.file)
        if said is not None:
            self.slices[said] = None
        for each in mapped(table, self.folder.profile, self.folder.name, slice_=said, digest=digest):
            self.unnamed += each.unnamed
            self.skipped += each.skipped
            records = self._placed(self._current(each), place)
            yield Batch((self.folder._part(each.broken, records),), {})  # noqa: SLF001  the folder's own reading
        self.headings.update(name[:_MOST_STREAM] for name in table.headings())

    def _current(self, each: Mapped) -> pa.Table:
        """The records without those of slices that a newer file has replaced."""
        if self.folder.profile.replaces is None:
            return each.records
        self.seen.append(pc.binary_join_element_wise(f"{self.folder.name}:", pa.array(each.keys, pa.string()), ""))
        found = [one for one in pc.unique(each.records["slice"]).to_pylist() if one is not None]
        old = [one for one in found if self.folder.newest_of(one) > self.file.order]
        self.slices |= dict.fromkeys(one for one in found if one not in old)
        if len(self.slices) > _MOST_SLICES:
            raise FileProblem("too_many_slices", f"replaces: hơn {_MOST_SLICES} phần trong một tệp; cột chia phần sai")
        if not old:
            return each.records
        kept = pc.invert(pc.fill_null(pc.is_in(each.records["slice"], value_set=pa.array(old)), False))
        self.outdated += each.records.num_rows - int(pc.sum(kept).as_py() or 0)
        return each.records.filter(kept)

    def _placed(self, records: pa.Table, place: int) -> pa.Table:
        at = records.schema.get_field_index("position")
        # A name may be words, which have no place among codes; its hash keeps two files of one moment apart.
        before = f"{self.file.order}_{hashlib.sha256(self.file.name.encode()).hexdigest()[:8]}_{place:03d}."
        return records.set_column(
            at, records.schema.field(at), pc.binary_join_element_wise(before, records["position"], "")
        )

    def end(self, consumed: Mapping[str, Any]) -> Batch:
        """What the whole file says: the comparison of its slices, its cursor, and the notes."""
        cursors: dict[str, Mapping[str, Any]] = {self.file.stream: consumed}
        wholes: tuple[Whole, ...] = ()
        if self.slices and self.unnamed:
            self._note(f"{self.unnamed} dòng không rõ của hồ sơ nào, nên tệp chưa thay số liệu cũ; các dòng kia đã đọc")
        elif self.slices:
            wholes = tuple(map(self._whole, self.slices))
            state = {"order": self.file.order, "file": self.file.name}
            cursors |= {_stream("slice", each): state for each in self.slices}
        if self.skipped:
            self._note(f"bỏ qua {self.skipped} dòng không phải hồ sơ (dòng tổng, chữ ký)")
        if self.outdated:
            self._note(f"bỏ qua {self.outdated} dòng mà tệp mới hơn đã thay")
        shape = dict.fromkeys(self.headings, _HEADING)
        parts = (self.folder._part(wholes=wholes, shape=shape),)  # noqa: SLF001  the folder's own reading
        return Batch(parts, cursors, tuple(self.notes))

    def _whole(self, slice_: str) -> Whole:
        settings = self.folder.settings
        quoted = slice_.replace("'", "''")
        return Whole(
            within=f"slice = '{quoted}'",
            where=f"phần “{slice_}” theo tệp {self.file.name}",
            seen=pa.concat_arrays([pa.array([], pa.string()), *self.seen]).drop_null(),
            guard=Guard(settings.missing_share, settings.missing_floor),
        )

    def _note(self, text: str) -> None:
        self.notes.append(f"{self.folder.name}: tệp {self.file.name}: {text}")


def folder_of(
    settings: FilesSettings, *, name: str, positions: Positions | None = None, names: FileNames | None = None
) -> Folder:
    """The folder of source `name`; `positions` are its stored cursors, `names` what its files were called before.

    Raises `ProfileError`.
    """
    profile = settings.loaded()
    if not isinstance(profile, FilesProfile):
        raise TypeError(f"file drops need a profile of files, not {type(profile).__name__}")
    return Folder(name, settings, profile, positions or {}, names or FileNames())


@asynccontextmanager
async def connect(
    settings: FilesSettings, *, name: str, positions: Positions | None = None, names: FileNames | None = None
) -> AsyncIterator[Folder]:
    """Open the folder of the source `name`; `positions` are the stored cursors of its files and slices."""
    yield folder_of(settings, name=name, positions=positions, names=names)


def probe(settings: FilesSettings) -> str:
    """Find the folder, and in its newest file the columns of the profile."""
    folder = folder_of(settings, name="probe")
    files = folder.files()
    if not files:
        return f"{settings.folder}: no file matches {settings.pattern} yet"
    newest = files[-1]
    try:
        for payload in payloads(newest.path, newest.name):
            with folder.opened(payload):
                pass
    except PartialFile as problem:
        return f"{settings.folder}: {len(files)} files; {newest.name}: {problem}"
    except FileProblem as problem:
        raise Permanent(f"{problem.place or newest.name}: {problem}", key="profile") from None
    except OSError as error:
        raise Permanent(f"{newest.name} in {settings.folder}: {error.strerror}", key="folder") from None
    return f"{settings.folder}: {len(files)} files, {files[0].name} to {newest.name}"


def sample(settings: FilesSettings, limit: int) -> pa.Table:
    """Up to `limit` mapped records of the newest file, for someone who checks a profile."""
    return folder_of(settings, name="sample").sample(limit)
