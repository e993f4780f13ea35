"""Typing of records: the fast way, the way around it, and that both say the same."""

from __future__ import annotations

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.records import Reader, flag_of, int_of

SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("number", pa.int64()),
        ("papers", pa.list_(pa.struct([("code", pa.string()), ("size", pa.int64()), ("gone", pa.bool_())]))),
    ]
)


def rows(*records: bytes) -> list[dict[str, object]]:
    typed = Reader(SCHEMA).read(records, where=str)
    assert not typed.broken
    return list(typed.records.to_pylist())


def test_fields_outside_the_contract_are_not_built() -> None:
    typed = Reader(SCHEMA).read(
        [b'{"text":"a","applicantName":"Nguy\xe1\xbb\x85n","papers":[{"code":"x","displayName":"y"}]}'], where=str
    )
    assert typed.records.schema == SCHEMA
    assert typed.records.to_pylist() == [
        {"text": "a", "number": None, "papers": [{"code": "x", "size": None, "gone": None}]}
    ]


@pytest.mark.parametrize(
    ("record", "text", "number"),
    [
        (b'{"text":1,"number":2}', "1", 2),
        (b'{"text":true,"number":"2"}', "true", 2),
        (b'{"text":"","number":""}', "", None),
        (b'{"text":null,"number":2.0}', None, 2),
        (b'{"text":1.5,"number":false}', "1.5", 0),
    ],
)
def test_scalars_in_any_spelling(record: bytes, text: str | None, number: int | None) -> None:
    for records in ([record], [b'{"text":"x","number":1}', record]):
        row = rows(*records)[-1]
        assert (row["text"], row["number"]) == (text, number)


def test_a_page_in_which_spellings_differ_is_read_record_by_record() -> None:
    numbers = [row["number"] for row in rows(b'{"number":1}', b'{"number":"2"}', b'{"number":null}', b"{}")]
    assert numbers == [1, 2, None, None]


def test_lists_that_are_none() -> None:
    papers = [
        row["papers"] for row in rows(b'{"papers":""}', b'{"papers":null}', b'{"papers":[]}', b'{"papers":{"code":1}}')
    ]
    assert papers == [None, None, [], [{"code": "1", "size": None, "gone": None}]]


def test_records_over_several_lines_stay_one_record() -> None:
    assert len(rows(b'{"text":"a",\n "number":1}', b'{"text":"b"}')) == 2


@pytest.mark.parametrize(
    "record",
    [
        b'{"number":"x"}',
        b'{"number":1.5}',
        b'{"number":{}}',
        b'{"papers":["x"]}',
        b'{"papers":"x"}',
        b"[]",
        b'{"text":"\xff"}',
        b"{",
    ],
)
def test_what_cannot_be_typed_is_named_and_its_neighbours_are_kept(record: bytes) -> None:
    typed = Reader(SCHEMA).read([b'{"text":"a"}', record, b'{"text":"b"}'], where=lambda index: f"page#{index}")
    assert typed.records["text"].to_pylist() == ["a", "b"]
    assert typed.kept == (0, 2)
    assert [broken.where for broken in typed.broken] == ["page#1"]


def test_numbers_beyond_64_bits_are_broken_not_cut() -> None:
    typed = Reader(SCHEMA).read([b'{"number":99999999999999999999}'], where=str)
    assert len(typed.broken) == 1


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("False", False), (0, False), (" ", None), (True, True)])
def test_flags(value: object, *, expected: bool | None) -> None:
    assert flag_of(value) is expected


def test_a_flag_that_is_neither() -> None:
    with pytest.raises(ValueError, match="neither"):
        flag_of("maybe")
    with pytest.raises(ValueError, match="fraction"):
        int_of(1.5)


paper = st.fixed_dictionaries(
    {}, optional={"code": st.text(), "size": st.integers(-(2**63), 2**63 - 1), "gone": st.booleans()}
)
record = st.fixed_dictionaries(
    {},
    optional={
        "text": st.none() | st.text(),
        "number": st.none() | st.integers(-(2**63), 2**63 - 1),
        "papers": st.none() | st.lists(paper),
    },
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(record, min_size=1, max_size=5))
def test_the_fast_way_and_the_way_around_it_agree(records: list[dict[str, object]]) -> None:
    wire = [msgspec.json.encode(item) for item in records]
    reader = Reader(SCHEMA)
    assert reader.read(wire, where=str).records.to_pylist() == reader._one_by_one(wire, str).records.to_pylist()
