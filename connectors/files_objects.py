"""JSON, NDJSON and Parquet files as tables of the columns that a profile wants.

Belongs here: finding the list of records, fields inside objects, and telling a document that was cut off.
Does not belong here: what a field means (`files_map.py`), archives (`files_open.py`).

Only wanted fields are ever taken out of a record; of Parquet only wanted columns are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from connectors.files_open import MOST_HELD_BYTES, FileProblem, PartialFile, Payload
from connectors.files_profile import FilesProfile, name_key
from connectors.files_sheets import encoding_of, undecodable
from connectors.files_table import Row, Table, told

BATCH_ROWS = 20_000
_MAGIC = b"PAR1"
_MOST_LINE_BYTES = 64 * 1024**2


def field_of(record: Mapping[str, Any], names: Sequence[str]) -> Any:
    """What stands in a decoded record under a name with dots, given as its parts; None where nothing does.

    Names are compared like headings; a field whose own name has dots comes first.
    """
    value: Any = record
    for at, part in enumerate(names):
        if not isinstance(value, Mapping):
            return None
        whole = ".".join(names[at:])
        found = next((key for key in value if name_key(key) == whole), None)
        if found is not None:
            return value[found]
        value = next((value[key] for key in value if name_key(key) == part), None)
    return value


class _Picker:
    """The wanted fields of records as cells; remembers how a source spells plain names."""

    def __init__(self, columns: Mapping[str, int]) -> None:
        self._paths = [tuple(name.split(".")) for name in columns]
        self._names = list(columns)
        self._spelt: dict[str, str] = {}

    def names(self) -> Iterable[str]:
        """Every plain name seen so far, as it is told."""
        return map(told, self._spelt)

    def cells(self, record: Mapping[str, Any]) -> list[Any]:
        """One cell per wanted column."""
        for key in record:
            self._spelt.setdefault(key, name_key(key))
        plain = {self._spelt[key]: value for key, value in record.items()}
        return [
            plain[name] if name in plain else (field_of(record, path) if len(path) > 1 else None)
            for name, path in zip(self._names, self._paths, strict=True)
        ]


def _columns(profile: FilesProfile) -> dict[str, int]:
    names = dict.fromkeys(name_key(name) for _, wanted, _ in profile.columns() for name in wanted)
    return {name: at for at, name in enumerate(names)}


def _table(
    place: str, profile: FilesProfile, rows: Iterator[Row], what: str, headings: Callable[[], Iterable[str]]
) -> Table:
    columns = _columns(profile)
    names = list(dict.fromkeys(name for _, wanted, _ in profile.columns() for name in wanted))
    spelt = {name_key(name): name for name in reversed(names)}
    names = [spelt[key] for key in columns]
    return Table(
        place=place,
        columns=columns,
        rows=rows,
        row=lambda row: f"{place}, {what} {row}",
        cell=lambda row, at: f"{place}, {what} {row}, trường “{names[at]}”",
        headings=headings,
    )


@contextmanager
def ndjson_tables(payload: Payload, profile: FilesProfile) -> Iterator[list[Table]]:
    """One record per line, after the whole file was seen to be text with a whole last line."""
    codec = encoding_of(payload, profile.encoding)
    if codec not in ("utf-8", "utf-8-sig"):
        raise FileProblem("not_text", "NDJSON phải là UTF-8", place=payload.place)
    _refuse_cut(payload, codec)
    with payload.stream() as stream:
        picker = _Picker(_columns(profile))
        yield [_table(payload.place, profile, _lines(stream, picker), "dòng", picker.names)]


def _lines(stream: BinaryIO, picker: _Picker) -> Iterator[Row]:
    for number, line in enumerate(iter(lambda: stream.readline(_MOST_LINE_BYTES), b""), start=1):
        text = line.removeprefix(b"\xef\xbb\xbf").strip()
        if text:
            yield _row(number, text, picker)


def _row(number: int, text: bytes | memoryview, picker: _Picker) -> Row:
    try:
        return Row(number, picker.cells(msgspec.json.decode(text, type=dict[str, Any])))
    except msgspec.DecodeError:
        # The decoder's own message may quote the value.
        return Row(number, (), "không phải một đối tượng JSON")


def _refuse_cut(payload: Payload, codec: str) -> None:
    last = b""
    with payload.stream() as stream:
        for line in iter(lambda: stream.readline(_MOST_LINE_BYTES), b""):
            try:
                line.decode()
            except UnicodeDecodeError:
                raise undecodable(payload, codec) from None
            last = line
    if not last:
        raise PartialFile("incomplete_file", "tệp rỗng", place=payload.place)
    if not last.endswith(b"\n"):
        try:
            msgspec.json.decode(last.removeprefix(b"\xef\xbb\xbf"))
        except msgspec.DecodeError:
            raise PartialFile("incomplete_file", "dòng cuối bị cắt: thiếu phần cuối", place=payload.place) from None


@contextmanager
def json_tables(payload: Payload, profile: FilesProfile) -> Iterator[list[Table]]:
    """An array of records, or an object that holds one; its text is held, its records are decoded one by one."""
    codec = encoding_of(payload, profile.encoding)
    with payload.stream() as stream:
        data = stream.read(MOST_HELD_BYTES + 1)
    if len(data) > MOST_HELD_BYTES:
        told = f"lớn hơn {MOST_HELD_BYTES // 1024**2} MB; hãy gửi NDJSON (mỗi dòng một hồ sơ)"
        raise FileProblem("file_too_big", told, place=payload.place)
    try:
        text = data.removeprefix(b"\xef\xbb\xbf") if codec.startswith("utf-8") else data.decode(codec).encode()
        text.decode()
    except UnicodeError:
        raise undecodable(payload, codec) from None
    del data
    records = _records(text, profile.records, payload.place)
    picker = _Picker(_columns(profile))
    rows = (_row(number, bytes(record), picker) for number, record in enumerate(records, start=1))
    yield [_table(payload.place, profile, rows, "bản ghi", picker.names)]


def field_names(payload: Payload, limit: int) -> tuple[str, ...]:
    """The names of the fields of the first records of a JSON or NDJSON file, those in objects with dots."""
    with payload.stream() as stream:
        if payload.format == "ndjson":
            pieces: Sequence[bytes | msgspec.Raw] = [line.strip() for line in islice(stream, limit) if line.strip()]
        else:
            pieces = _records(stream.read(MOST_HELD_BYTES).removeprefix(b"\xef\xbb\xbf"), None, payload.place)[:limit]
    names: dict[str, None] = {}
    for piece in pieces:
        try:
            names |= dict.fromkeys(_names(msgspec.json.decode(bytes(piece), type=dict[str, Any]), ""))
        except msgspec.DecodeError:
            continue
    return tuple(names)


def _names(record: Mapping[str, Any], at: str) -> Iterator[str]:
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{at}{key}.")
        else:
            yield f"{at}{key}"


def _records(text: bytes, path: str | None, place: str) -> list[msgspec.Raw]:
    """The raw records of a document."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        if "truncated" in str(error) or not text.strip():
            raise PartialFile("incomplete_file", "JSON bị cắt: thiếu phần cuối", place=place) from None
        raise FileProblem("unreadable_file", f"không phải JSON đúng{_at(text, error)}", place=place) from None
    found = dict(_lists(msgspec.Raw(text), ""))
    if path is not None:
        found = {key: value for key, value in found.items() if name_key(key) == name_key(path)}
    if len(found) != 1:
        listed = ", ".join(f"“{key or '(gốc)'}”" for key in found) or "không có"
        told = f"phải chỉ rõ danh sách hồ sơ bằng khóa records của hồ sơ nguồn; danh sách thấy được: {listed}"
        raise FileProblem("missing_records", told, place=place)
    return next(iter(found.values()))


def _lists(raw: msgspec.Raw, at: str, depth: int = 3) -> Iterator[tuple[str, list[msgspec.Raw]]]:
    """Every list in a document that is the document or stands in its objects, by its name with dots."""
    first = bytes(memoryview(raw)[:64]).lstrip()[:1]
    if first == b"[":
        yield at, msgspec.json.decode(raw, type=list[msgspec.Raw])
    elif first == b"{" and depth:
        for key, value in msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).items():
            yield from _lists(value, f"{at}.{key}" if at else key, depth - 1)


def _at(text: bytes, error: msgspec.DecodeError) -> str:
    """Line and column of a syntax error, from the byte that the decoder names."""
    digits = "".join(filter(str.isdigit, str(error).rpartition("(byte ")[2]))
    if not digits:
        return ""
    before = text[: int(digits)]
    line, _, rest = before.rpartition(b"\n")
    return f" tại dòng {line.count(10) + (1 if line else 0) + 1}, cột {len(rest.decode(errors='replace')) + 1}"


@contextmanager
def parquet_tables(payload: Payload, profile: FilesProfile) -> Iterator[list[Table]]:
    """The wanted columns of a Parquet file, row group by row group."""
    with payload.seekable() as stream:
        if stream.read(4) != _MAGIC:
            raise FileProblem("unreadable_file", "không phải Parquet", place=payload.place)
        size = stream.seek(0, 2)
        stream.seek(max(4, size - 4))
        if stream.read(4) != _MAGIC:
            raise PartialFile("incomplete_file", "Parquet thiếu phần cuối", place=payload.place)
        try:
            file = pq.ParquetFile(stream)
        except (pa.ArrowException, OSError):
            raise FileProblem("unreadable_file", "Parquet hỏng", place=payload.place) from None
        yield [_parquet_table(file, payload.place, profile)]


def _parquet_table(file: pq.ParquetFile, place: str, profile: FilesProfile) -> Table:
    there = {name_key(name): name for name in file.schema_arrow.names}
    missing = [
        " / ".join(names)
        for _, names, must in profile.columns()
        if must and not any({name_key(name), name_key(name).split(".")[0]} & set(there) for name in names)
    ]
    if missing:
        listed = ", ".join(f"“{name}”" for name in dict.fromkeys(missing))
        raise FileProblem("missing_column", f"không thấy cột {listed}", place=place)
    wanted = [there[each] for name in _columns(profile) for each in (name, name.split(".")[0]) if each in there]
    rows = _parquet_rows(file, list(dict.fromkeys(wanted)), profile)
    return _table(place, profile, rows, "dòng", lambda: map(told, there.values()))


def _parquet_rows(file: pq.ParquetFile, names: list[str], profile: FilesProfile) -> Iterator[Row]:
    picker = _Picker(_columns(profile))
    number = 0
    for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=names):
        for record in _local(batch, profile.zone).to_pylist():
            number += 1
            yield Row(number, picker.cells(record))


def _local(batch: pa.RecordBatch, zone: str) -> pa.RecordBatch:
    """Instants with a zone as local time of the profile's zone, since formats hold no offset."""
    columns = [
        pc.local_timestamp(column.cast(pa.timestamp("us", tz=ZoneInfo(zone).key)))
        if pa.types.is_timestamp(column.type) and column.type.tz
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
