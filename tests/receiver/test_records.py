"""What is kept of a record is what the nightly reader would have read of it, and no person."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.contract import RecordContract
from connectors.npsp_log import MESSAGES, PROGRESS, WITH_FILES, as_read
from connectors.npsp_receiver_records import Kept, Refused, kept
from connectors.person_fields import is_personal, without_persons
from connectors.records import Reader
from tests.persons import PERSON
from tests.receiver.conftest import DOSSIER, KEPT, dossier, step
from tests.receiver.conftest import PROGRESS as PROGRESS_SERVICE

SERVICES = {DOSSIER: MESSAGES, PROGRESS_SERVICE: PROGRESS}


def written(record: Any) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode()


def as_stored(contract: RecordContract, record: bytes) -> dict[str, Any] | None:
    """A record as the nightly reader types it, paths reduced to whether they say anything; None when it cannot."""
    typed = Reader(as_read(contract)).read([record], where=str)
    if typed.broken:
        return None
    records, _ = without_persons(typed.records)
    (row,) = records.to_pylist()
    for column, (_, path) in WITH_FILES.items():
        for item in row.get(column) or ():
            if item is not None:
                item[path] = bool((item[path] or "").strip())
    return dict(row)


def test_only_the_contract_is_kept_and_a_path_only_as_a_mark() -> None:
    found = kept(DOSSIER, written(dossier(" H15-1 ")))
    assert isinstance(found, Kept)
    assert found.code == "H15-1"
    assert json.loads(found.body) == {"MaHoSo": " H15-1 ", **KEPT}
    found = kept(PROGRESS_SERVICE, written(step("H15-1")))
    assert isinstance(found, Kept)
    assert not PERSON.search(found.body.decode())


@pytest.mark.parametrize(
    "record",
    [{}, {"MaHoSo": ""}, {"MaHoSo": " \t"}, {"MaHoSo": None}, {"MaHoSo": ["Người Hư Cấu"]}, {"MaHoSo": "x" * 201}]
    + ["Người Hư Cấu", 5, None, [], [dossier("A")]]
    + [dossier("A", **{field: {"ten": "Người Hư Cấu"}}) for field in ("MaTTHC", "DonViXuLy", "TrangThaiHoSo")]
    + [dossier("A", TaiLieuNop="Người Hư Cấu"), dossier("A", DanhSachLePhi=[["Người Hư Cấu"]])],
)  # fmt: skip
def test_a_record_that_cannot_be_kept_is_refused_without_its_words(record: Any) -> None:
    found = kept(DOSSIER, written(record))
    assert isinstance(found, Refused)
    assert found.reason
    assert not PERSON.search(found.reason)


def test_broken_json_is_refused() -> None:
    for raw in (b'{"MaHoSo":"1"', b'{"MaHoSo":"\\ud800"}', b'{"MaHoSo":"1","x":' + b"[" * 50_000 + b"}"):
        assert isinstance(kept(DOSSIER, raw), Refused)


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8), st.sampled_from(["", " ", "0", "1", "true", "20261031073000", "\u2028", " /tep "]),
)  # fmt: skip


def _values(kind: pa.DataType) -> st.SearchStrategy[Any]:
    """Whatever may stand where `kind` is declared: mostly what belongs there, in any spelling."""
    if pa.types.is_struct(kind):
        known = st.fixed_dictionaries({}, optional={child.name: _values(child.type) for child in kind})
        return st.tuples(known, st.dictionaries(st.sampled_from(["TenTepDinhKem", "GhiChu", "x"]), SCALARS)).map(
            lambda pair: pair[0] | pair[1]
        )
    if pa.types.is_list(kind):
        inner = _values(kind.value_type)
        return st.one_of(st.lists(inner, max_size=3), st.lists(st.none() | inner, max_size=3), inner, SCALARS)
    return st.one_of(SCALARS, SCALARS, SCALARS, st.lists(SCALARS, max_size=1))


@pytest.mark.parametrize("service", SERVICES)
@given(data=st.data())
def test_what_is_kept_is_read_as_the_original_would_be(service: str, data: st.DataObject) -> None:
    """In any spelling, and pretty-printed: the receiver changes nothing that the night would see."""
    contract = SERVICES[service]
    record = data.draw(_values(pa.struct(list(as_read(contract)))))
    raw = json.dumps(
        record, ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.sampled_from([None, 1]))
    ).encode()
    expected = as_stored(contract, raw)
    found = kept(service, raw)
    if isinstance(found, Kept):
        assert b"\n" not in found.body
        assert as_stored(contract, found.body) == expected
    elif expected is not None:
        # What could be read is refused only for want of a usable code.
        code = (expected["MaHoSo"] or "").strip()
        assert not 0 < len(code) <= 200 or is_personal("MaHoSo", code)
