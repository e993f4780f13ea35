"""The one-stop system's log of messages to the national portal: NDJSON files dropped in a folder.

Belongs here: the wire contracts of the two services, reading a line whatever its wrapping, and which
files are due. Does not belong here: storage, and what a code means.

One line is one call as it was sent (`service` and `data`), or a bare record, told apart by its
fields. Files are in sending order by name, and that order, not the order of reading, says which
message of a dossier is its newest: a file that is dropped again, changed or late is read again
without putting an old message over a newer one.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import unicodedata
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import SEEN, Broken, RecordContract, any_said, present, readable_date, wire_field
from connectors.file_names import Called, FileNames
from connectors.known_files import Stamp, sum_of
from connectors.person_fields import tells_person
from connectors.protocol import Batch, Completed, Part, Permanent, Span
from connectors.records import Reader, Typed, numbered, untyped
from connectors.settings import MessageLogSettings

DOSSIER_SERVICE = "DongBoHoSoMC"
PROGRESS_SERVICE = "CapNhatTienDoHoSoMC"

#: What is typed and stored together; bounds memory whatever the size of a file.
BATCH_RECORDS = 20_000
BATCH_BYTES = 64 * 1024 * 1024

_FORMATS = ("%Y%m%d%H%M%S",)
_BOM = b"\xef\xbb\xbf"
_GAP = re.compile(r"(?<=[^\W\d_])\s+(?=[^\W\d_])")
_TEXT = pa.string()

_POSITION = wire_field("position", _TEXT, "Vị trí trong nhật ký", "File, line and place in the line; sorts as sent")


def _texts(*names: str) -> pa.DataType:
    return pa.struct([(name, _TEXT) for name in names])


_PAPER_FLAGS = ("MaThanhPhanHoSo", "IsDeleted", "DuocSoHoa", "DuocTaiSuDung", "DuocLayTuKhoDMQG")
#: list column → (kept text fields, the path whose presence alone is kept).
WITH_FILES = {
    "TaiLieuNop": (_PAPER_FLAGS, "DuongDanTaiTepTin"),
    "DanhSachGiayToKetQua": (("MaGiayToKetQua",), "DuongDanTepTinKetQua"),
}
_MESSAGE_DATES = {
    "NgayNopHoSo": "Ngày nộp",
    "NgayTiepNhan": "Ngày tiếp nhận",
    "NgayHenTra": "Ngày hẹn trả",
    "NgayTuChoi": "Ngày từ chối",
    "NgayKetThucXuLy": "Ngày kết thúc xử lý",
    "NgayTra": "Ngày trả",
}
_PROGRESS_DATES = {
    "ThoiDiemXuLy": "Thời điểm xử lý",
    "NgayBatDau": "Ngày bắt đầu",
    "NgayKetThucTheoQuyDinh": "Ngày kết thúc theo quy định",
}


def _kept(name: str) -> pa.DataType:
    fields, _ = WITH_FILES[name]
    return pa.list_(pa.struct([*((item, _TEXT) for item in fields), ("hasFile", pa.bool_())]))


MESSAGES = RecordContract(
    kind="messages",
    schema=pa.schema(
        [
            wire_field("MaHoSo", _TEXT, "Mã hồ sơ", "Dossier code"),
            wire_field("MaHoSoKhac", _TEXT, "Mã hồ sơ khác", "Other code, when a substitute was sent"),
            wire_field("MaTTHC", _TEXT, "Mã thủ tục", "Procedure"),
            wire_field("KenhThucHien", _TEXT, "Kênh thực hiện", "1 direct, 2 online, 3 post, blank counts as direct"),
            *(wire_field(name, _TEXT, label, "yyyyMMddHHmmss, Vietnam") for name, label in _MESSAGE_DATES.items()),
            wire_field("TrangThaiHoSo", _TEXT, "Trạng thái", "National status code 1..10"),
            wire_field("HinhThuc", _TEXT, "Hình thức trả", "0 direct, 1 post"),
            wire_field("DonViXuLy", _TEXT, "Đơn vị xử lý", "Name of the handling unit"),
            wire_field("NoiNopHoSo", _TEXT, "Nơi nộp", "1 national portal, 2 province"),
            wire_field("HoSoCoThanhPhanSoHoa", _TEXT, "Có thành phần số hóa", "As reported"),
            wire_field("TaiKhoanDuocXacThucVoiVNeID", _TEXT, "Tài khoản xác thực VNeID", "As reported"),
            wire_field("DuocThanhToanTrucTuyen", _TEXT, "Được thanh toán trực tuyến", "As reported: 0, 1, 2 or 3"),
            wire_field("TaiLieuNop", _kept("TaiLieuNop"), "Tài liệu nộp", "Papers; no file name, no path"),
            wire_field("DanhSachGiayToKetQua", _kept("DanhSachGiayToKetQua"), "Giấy tờ kết quả", "Results; no path"),
            wire_field(
                "DanhSachLePhi",
                pa.list_(_texts("MaPhiLePhi", "HinhThucThu", "Gia")),
                "Phí, lệ phí",
                "Fee lines",
            ),
            wire_field(
                "DanhSachHoSoBoSung",
                pa.list_(
                    _texts("NgayBoSung", "NgayTiepNhanBoSung", "TrangThaiBoSung", "NgayHenTraTruoc", "NgayHenTraMoi")
                ),
                "Yêu cầu bổ sung",
                "Requests for supplements",
            ),
            wire_field("DSKetNoiCSDL", pa.list_(_texts("MaCSDL")), "CSDL đã kết nối", "Databases that were asked"),
            _POSITION,
        ]
    ),
    key='"MaHoSo"',
    position="position",
    clauses=(
        present("MaHoSo", "mã hồ sơ"),
        any_said("some_date_present", ("NgayNopHoSo", "NgayTiepNhan"), "Không có ngày nộp hay ngày tiếp nhận"),
        *(readable_date(name, _FORMATS, label) for name, label in _MESSAGE_DATES.items()),
        present("MaTTHC", "mã thủ tục"),
        present("DonViXuLy", "đơn vị xử lý"),
        present("TrangThaiHoSo", "trạng thái"),
    ),
)

PROGRESS = RecordContract(
    kind="progress",
    schema=pa.schema(
        [
            wire_field("MaHoSo", _TEXT, "Mã hồ sơ", "Dossier code"),
            wire_field("ThoiDiemXuLy", _TEXT, "Thời điểm xử lý", "When it was done, yyyyMMddHHmmss"),
            wire_field("TrangThai", _TEXT, "Trạng thái", "National status code after it"),
            wire_field("NgayBatDau", _TEXT, "Ngày bắt đầu", "When the step began"),
            wire_field("NgayKetThucTheoQuyDinh", _TEXT, "Hạn của bước", "When the step was due"),
            _POSITION,
        ]
    ),
    key="""\"MaHoSo\" || '|' || \"ThoiDiemXuLy\" || '|' || \"TrangThai\"""",
    position="position",
    clauses=(
        present("MaHoSo", "mã hồ sơ"),
        present("ThoiDiemXuLy", "thời điểm xử lý"),
        *(readable_date(name, _FORMATS, label) for name, label in _PROGRESS_DATES.items()),
        present("TrangThai", "trạng thái"),
    ),
)


def as_read(contract: RecordContract) -> pa.Schema:
    """The contract as it stands on the wire: paths where the contract keeps only that there is one."""
    fields = []
    for item in contract.schema:
        if item.name == "position":
            continue
        texts, path = WITH_FILES.get(item.name, ((), ""))
        fields.append(pa.field(item.name, pa.list_(_texts(*texts, path))) if path else item)
    return pa.schema(fields)


_NOT_SAID = msgspec.Raw()


class _Line(msgspec.Struct):
    service: str | None = None
    data: list[msgspec.Raw] | None = None
    MaHoSo: msgspec.Raw = _NOT_SAID
    ThoiDiemXuLy: msgspec.Raw = _NOT_SAID


_lines = msgspec.json.Decoder(_Line)


@dataclass(frozen=True)
class Sorted:
    """The records of one line and the contract they fall under."""

    contract: RecordContract
    records: tuple[bytes, ...]


def split_line(line: bytes, where: str) -> Sorted | Broken | None:
    """One line as records of one service; `Broken` when it cannot be told, None for a blank line."""
    text = line.removeprefix(_BOM).strip()
    if not text:
        return None
    try:
        text.decode()
        parsed = _lines.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return untyped(text, where)
    if parsed.data is not None and parsed.service in _SERVICES:
        return Sorted(_SERVICES[parsed.service], tuple(bytes(piece) for piece in parsed.data))
    if parsed.service is None and bytes(parsed.MaHoSo):
        return Sorted(PROGRESS if bytes(parsed.ThoiDiemXuLy) else MESSAGES, (text,))
    detail = f"Dòng tại {where} không thuộc dịch vụ {DOSSIER_SERVICE} hay {PROGRESS_SERVICE}"
    return Broken(where, "unknown_service", "service", detail, hashlib.md5(text, usedforsecurity=False).hexdigest())


_SERVICES = {DOSSIER_SERVICE: MESSAGES, PROGRESS_SERVICE: PROGRESS}


def position(file: str, line: int, index: int = 0) -> str:
    """Where a message stands; compared as text, positions are in sending order.

    Words of a file's name are joined: in a code, as which a position is judged, two words are somebody's name.
    """
    return f"{_GAP.sub('_', file)} {line:09d}#{index:04d}"


def called(file: Path, names: FileNames) -> Called:
    """What positions and cursors call a file: where its name tells somebody, the number it begins with and a mark."""
    if not tells_person(file.name):
        return Called(file.name)
    first = re.match(r"[0-9_-]{0,20}", unicodedata.normalize("NFC", file.name))
    return names.call(file.name, number=first[0] if first and not tells_person(first[0]) else "")


@dataclass
class _Heap:
    """Records of one service waiting to be typed, with their positions."""

    contract: RecordContract
    records: list[bytes] = field(default_factory=list)
    positions: list[str] = field(default_factory=list)

    def part(self, reader: Reader, broken: tuple[Broken, ...] = ()) -> Part:
        """What waited, typed by its contract, with the records that were broken."""
        typed = reader.read(self.records, where=self.positions.__getitem__)
        positions = self.positions if typed.kept is None else [self.positions[index] for index in typed.kept]
        table = _in_contract(typed, positions, self.contract)
        return Part(self.contract, numbered(table, 0, SEEN), (*broken, *typed.broken), shape=typed.shape)


def _in_contract(typed: Typed, positions: list[str], contract: RecordContract) -> pa.Table:
    columns = {name: typed.records[name] for name in typed.records.schema.names}
    columns["position"] = pa.chunked_array([pa.array(positions, _TEXT)])
    for name, (texts, path) in WITH_FILES.items():
        if name in columns:
            columns[name] = _without_path(columns[name], texts, path)
    return pa.table([columns[item.name] for item in contract.schema], schema=contract.schema)


def _without_path(column: pa.ChunkedArray, texts: tuple[str, ...], path: str) -> pa.Array:
    """The list column with `path` reduced to whether it says anything."""
    lists = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    structs = lists.flatten()
    has_file = pc.not_equal(pc.utf8_trim_whitespace(pc.fill_null(pc.struct_field(structs, path), "")), "")
    fields = [*((name, pc.struct_field(structs, name)) for name in texts), ("hasFile", has_file)]
    inner = pa.StructArray.from_arrays([array for _, array in fields], names=[name for name, _ in fields])
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_pylist()
    offsets = [0]
    for length in lengths:
        offsets.append(offsets[-1] + length)
    mask = lists.is_null() if lists.null_count else None
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), inner, mask=mask)


@dataclass(frozen=True)
class MessageLog:
    """The folder, and the files of it that were consumed: stream (file name) → position."""

    settings: MessageLogSettings
    consumed: Mapping[str, Mapping[str, Any]]
    names: FileNames = field(default_factory=FileNames)

    async def batches(self, span: Span) -> AsyncIterator[Batch]:  # noqa: ARG002  a folder has no windows
        """Every file that was not consumed as it is now, in sending order, whatever the span."""
        iterator = self._batches()
        while (batch := await asyncio.to_thread(next, iterator, None)) is not None:
            yield batch

    async def complete(self, records: pa.Table) -> Completed:
        """A message carries everything."""
        return Completed(records)

    def due(self) -> list[Path]:
        """Files to read, by name: new or changed ones that are no longer being written to."""
        return [file for file, stamp in self._settled() if not self._is_consumed(file, stamp)]

    def _settled(self) -> Iterator[tuple[Path, Stamp]]:
        """The files that are no longer being written to, as they stand, in sending order."""
        if not self.settings.folder.is_dir():
            raise Permanent(f"folder {self.settings.folder} does not exist", key="folder")
        for file in sorted(self.settings.folder.glob(self.settings.pattern), key=lambda file: self._called(file).name):
            if file.is_file() and (stamp := Stamp.of(file)).age_seconds >= self.settings.settle_seconds:
                yield file, stamp

    def _is_consumed(self, file: Path, stamp: Stamp) -> bool:
        """Whether the file was consumed as it is now; its bytes are summed where how it stands does not tell."""
        known = self.consumed.get(self._called(file).name, {})
        if stamp.is_known(known):
            return True
        return known.get("size") == stamp.size and sum_of(file) == known.get("sha256")

    def _called(self, file: Path) -> Called:
        return called(file, self.names)

    def _batches(self) -> Iterator[Batch]:
        readers = {contract.kind: Reader(as_read(contract)) for contract in (MESSAGES, PROGRESS)}
        gathered = _Gathered()
        for file, stamp in self._settled():
            named = self._called(file)
            if self._is_consumed(file, stamp):
                known = self.consumed[named.name]
                if stamp.is_settled and not stamp.is_known(known):
                    gathered.cursors[named.name] = {**stamp.cursor(known["sha256"]), **named.memory}
                elif not named.is_remembered(known):
                    gathered.cursors[named.name] = {**known, **named.memory}
                continue
            digest, size = hashlib.sha256(), 0
            with file.open("rb") as stream:
                for number, line in enumerate(stream, start=1):
                    digest.update(line)
                    size += len(line)
                    gathered.add(line, named.name, number)
                    if gathered.is_full:
                        yield gathered.batch(readers)
            # What was read, should it have grown meanwhile.
            stood = replace(stamp, size=size).cursor(digest.hexdigest())
            gathered.cursors[named.name] = {**stood, **named.memory}
        # Also without a new file: what was set aside under another contract is asked for by this one.
        yield gathered.batch(readers)


class _Gathered:
    """Lines of a batch, by service. Files that ended within it are consumed once it is stored."""

    def __init__(self) -> None:
        self.cursors: dict[str, Mapping[str, Any]] = {}
        self._begin()

    def _begin(self) -> None:
        self._heaps = {contract.kind: _Heap(contract) for contract in (MESSAGES, PROGRESS)}
        self._broken: list[Broken] = []
        self._records = 0
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether the batch holds as many records or bytes as one may."""
        return self._records >= BATCH_RECORDS or self._bytes >= BATCH_BYTES

    def add(self, line: bytes, file: str, number: int) -> None:
        """Take a line in: its records to their service, a line that cannot be split to the broken ones."""
        found = split_line(line, position(file, number))
        if isinstance(found, Broken):
            self._broken.append(found)
        elif found is not None:
            heap = self._heaps[found.contract.kind]
            heap.records.extend(found.records)
            heap.positions.extend(position(file, number, index) for index in range(len(found.records)))
            self._records += len(found.records)
        self._bytes += len(line)

    def batch(self, readers: Mapping[str, Reader]) -> Batch:
        """Everything taken in since the last batch, with the cursors that are safe after it; begins anew."""
        # A line that belongs to no service is counted once, with the messages.
        broken = {MESSAGES.kind: tuple(self._broken)}
        parts = tuple(heap.part(readers[kind], broken.get(kind, ())) for kind, heap in self._heaps.items())
        batch = Batch(parts, self.cursors)
        self.cursors = {}
        self._begin()
        return batch


@asynccontextmanager
async def connect(
    settings: MessageLogSettings,
    consumed: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    names: FileNames | None = None,
) -> AsyncIterator[MessageLog]:
    """Open the folder; `names` are what its files were called before."""
    yield MessageLog(settings, consumed or {}, names or FileNames())


def probe(settings: MessageLogSettings) -> str:
    """Whether the folder is there and its files can be read."""
    files = MessageLog(settings, {}).due()
    told = [called(file, FileNames()).name for file in files]
    for file in files[-1:]:
        try:
            with file.open("rb") as stream:
                stream.read(1)
        except OSError as error:
            raise Permanent(
                f"{told[-1]} in {settings.folder}: {error.strerror}", hint="Check its permissions", key="folder"
            ) from None
    if not files:
        return f"{settings.folder}: no file matches {settings.pattern} yet"
    return f"{settings.folder}: {len(files)} files, {told[0]} to {told[-1]}"
