"""What a procedure was, and from when: nothing that was known is lost, nothing unknown is made up."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rows import table_rows
from warehouse.lake import connect
from warehouse.reference import (
    CATALOGUE_SAYS,
    SINCE_RECORDS_BEGAN,
    concerns_citizens,
    known_procedures,
    merge_catalogue,
    procedure_table,
    unplaced_procedures,
)
from warehouse.tables import CORE_PROCEDURE

BIRTH, LAND, NEW = "1.001193", "1.004203", "3.000001"
MARCH, MAY, JULY = date(2026, 3, 10), date(2026, 5, 4), date(2026, 7, 1)


def known(*rows: dict[str, Any]) -> pa.Table:
    """Procedures as the reference knows them: in force since records began, levels unknown."""
    fixed = {"valid_from": SINCE_RECORDS_BEGAN, "source": "reference", "state": "in_force", "name": "Thủ tục"}
    return table_rows(CORE_PROCEDURE, *(fixed | row for row in rows))


def said(*rows: dict[str, Any], source: str = "catalogue") -> pa.Table:
    """What a catalogue said, a column for each thing said by any of the rows."""
    names = [*dict.fromkeys(name for row in rows for name in row)]
    kinds = {name: CORE_PROCEDURE.column(name).type for name in names}
    columns = {name: pa.array([row.get(name) for row in rows], kind) for name, kind in kinds.items()}
    return pa.table(columns | {"source": pa.array([source] * len(rows))})


def history(table: pa.Table, code: str, *columns: str) -> list[tuple[Any, ...]]:
    rows = [row for row in table.to_pylist() if row["procedure_code"] == code]
    return [tuple(row[name] for name in ("valid_from", "valid_to", *columns)) for row in rows]


def test_the_reference_knows_channels_and_applicants_but_no_level() -> None:
    rows = {row["procedure_code"]: row for row in procedure_table().to_pylist()}
    # Three lines of procedures.csv, read by eye: citizens named, a list of others, a list cut at 120 characters.
    citizens, others, cut = rows["1.000014"], rows["1.000005"], rows["1.000010"]
    assert (citizens["is_citizen_subject"], citizens["has_whole_applicants"]) == (True, True)
    assert (others["is_citizen_subject"], others["has_whole_applicants"]) == (False, True)
    assert cut["is_citizen_subject"] is True
    for name in ("online_level", "is_online_eligible", "offers_online_payment", "is_integrated", "stated_on"):
        assert procedure_table()[name].null_count == procedure_table().num_rows
    assert set(procedure_table()["state"].to_pylist()) == {"in_force"}


@pytest.mark.parametrize(
    ("applicants", "is_citizen"),
    [
        ("Công dân Việt Nam, Doanh nghiệp", True),
        ("Tổ chức, công  dân", True),
        ("Cán bộ, công chức", False),
        ("", False),
    ],
)
def test_citizens_are_told_by_their_word(applicants: str, is_citizen: bool) -> None:
    assert concerns_citizens(applicants) is is_citizen


def test_a_change_closes_the_row_and_opens_the_next() -> None:
    before = known({"procedure_code": BIRTH, "has_fee": False}, {"procedure_code": LAND, "has_fee": True})
    after = merge_catalogue(before, said({"procedure_code": BIRTH, "has_fee": True}), on=MARCH)
    assert history(after, BIRTH, "has_fee", "source", "stated_on") == [
        (SINCE_RECORDS_BEGAN, date(2026, 3, 9), False, "reference", None),
        (MARCH, None, True, "catalogue", MARCH),
    ]
    assert history(after, LAND, "has_fee") == [(SINCE_RECORDS_BEGAN, None, True)]  # not named is no repeal


def test_what_is_learned_holds_from_the_day_on_which_it_is_learned() -> None:
    after = merge_catalogue(
        known({"procedure_code": BIRTH}), said({"procedure_code": BIRTH, "online_level": "full"}), on=MAY
    )
    assert history(after, BIRTH, "online_level") == [
        (SINCE_RECORDS_BEGAN, date(2026, 5, 3), None),
        (MAY, None, "full"),
    ]


def test_saying_nothing_or_the_same_changes_nothing() -> None:
    before = known({"procedure_code": BIRTH, "has_fee": True, "levels": "Cấp xã"})
    silent = said({"procedure_code": BIRTH, "has_fee": True, "levels": None, "online_level": None})
    assert merge_catalogue(before, silent, on=MARCH).equals(before)


def test_a_file_of_the_same_day_adds_to_what_the_service_said() -> None:
    start = known({"procedure_code": BIRTH, "has_fee": False})
    service = merge_catalogue(start, said({"procedure_code": BIRTH, "has_fee": True}), on=MARCH)
    both = merge_catalogue(service, said({"procedure_code": BIRTH, "online_level": "partial"}, source="file"), on=MARCH)
    assert history(both, BIRTH, "has_fee", "online_level", "source") == [
        (SINCE_RECORDS_BEGAN, date(2026, 3, 9), False, None, "reference"),
        (MARCH, None, True, "partial", "file"),
    ]


def test_a_repeal_and_a_return_are_rows_of_their_own() -> None:
    repealed = merge_catalogue(
        known({"procedure_code": BIRTH}), said({"procedure_code": BIRTH, "state": "repealed"}), on=MARCH
    )
    back = merge_catalogue(repealed, said({"procedure_code": BIRTH, "state": "in_force"}), on=JULY)
    assert history(back, BIRTH, "state") == [
        (SINCE_RECORDS_BEGAN, date(2026, 3, 9), "in_force"),
        (MARCH, date(2026, 6, 30), "repealed"),
        (JULY, None, "in_force"),
    ]


def test_a_closed_procedure_that_is_named_again_is_opened_again() -> None:
    closed = known({"procedure_code": BIRTH, "valid_to": date(2025, 12, 31)})
    after = merge_catalogue(closed, said({"procedure_code": BIRTH, "name": "Thủ tục"}), on=MARCH)
    assert history(after, BIRTH) == [(SINCE_RECORDS_BEGAN, date(2025, 12, 31)), (MARCH, None)]


def test_a_procedure_that_nobody_knew_begins_with_the_records_but_its_service_only_now() -> None:
    whole = {"name": "Mới", "has_fee": True, "is_result_required": True, "offers_online": True}
    after = merge_catalogue(
        known({"procedure_code": BIRTH}), said({"procedure_code": NEW, "is_integrated": True} | whole), on=MAY
    )
    assert history(after, NEW, "has_fee", "is_integrated", "state") == [
        (SINCE_RECORDS_BEGAN, date(2026, 5, 3), True, None, "in_force"),
        (MAY, None, True, True, "in_force"),
    ]
    plain = merge_catalogue(known({"procedure_code": BIRTH}), said({"procedure_code": NEW} | whole), on=MAY)
    assert history(plain, NEW, "stated_on") == [(SINCE_RECORDS_BEGAN, None, MAY)]


def test_a_code_of_which_too_little_is_said_is_named_and_left_out() -> None:
    only_a_level = said(
        {"procedure_code": NEW, "online_level": "full"}, {"procedure_code": BIRTH, "online_level": "full"}
    )
    before = known({"procedure_code": BIRTH})
    assert unplaced_procedures(before, only_a_level) == (NEW,)
    assert history(merge_catalogue(before, only_a_level, on=MAY), NEW) == []


def test_a_limit_and_its_unit_are_said_together() -> None:
    before = known({"procedure_code": BIRTH, "limit_value": 3.0, "limit_unit": "Ngày làm việc"})
    fetched = said({"procedure_code": BIRTH, "limit_value": 3.0, "limit_unit": "Ngày"})
    assert history(merge_catalogue(before, fetched, on=MAY), BIRTH, "limit_unit")[-1] == (MAY, None, "Ngày")


def test_a_code_named_twice_and_an_older_catalogue_are_refused() -> None:
    before = known({"procedure_code": BIRTH})
    with pytest.raises(ValueError, match=f"{BIRTH} được nói hai lần"):
        merge_catalogue(before, said({"procedure_code": BIRTH}, {"procedure_code": BIRTH}), on=MAY)
    newer = merge_catalogue(before, said({"procedure_code": BIRTH, "has_fee": True}), on=JULY)
    with pytest.raises(ValueError, match="04/05/2026 cũ hơn điều đã biết từ 01/07/2026"):
        merge_catalogue(newer, said({"procedure_code": BIRTH, "has_fee": False}), on=MAY)


def test_what_was_learned_stays_when_the_reference_comes_anew() -> None:
    learned = merge_catalogue(
        known({"procedure_code": "1.000014"}), said({"procedure_code": "1.000014", "online_level": "full"}), on=MAY
    )
    again = known_procedures(learned)
    assert history(again, "1.000014", "online_level")[-1] == (MAY, None, "full")
    assert len(set(again["procedure_code"].to_pylist())) == procedure_table().num_rows
    assert known_procedures(CORE_PROCEDURE.arrow_schema().empty_table()).equals(procedure_table())


FACTS = st.fixed_dictionaries(
    {},
    optional={
        "has_fee": st.booleans(),
        "online_level": st.sampled_from(["full", "partial", "none"]),
        "state": st.sampled_from(["in_force", "repealed"]),
        "is_integrated": st.booleans(),
    },
)
NIGHTS = st.lists(st.tuples(st.integers(0, 3), st.lists(FACTS, min_size=2, max_size=2)), max_size=6)


@given(NIGHTS)
def test_on_each_day_a_procedure_is_what_was_last_said_of_it_until_then(
    nights: list[tuple[int, list[dict[str, Any]]]],
) -> None:
    """Against a diary kept in plain Python: for every day, what had been said up to it."""
    table = known({"procedure_code": BIRTH}, {"procedure_code": LAND})
    codes, day = (BIRTH, LAND), MARCH
    names = ("has_fee", "online_level", "state", "is_integrated")
    start = {"has_fee": False, "online_level": None, "state": "in_force", "is_integrated": None}
    diary = {code: [(SINCE_RECORDS_BEGAN, start)] for code in codes}
    for gap, facts in nights:
        day += timedelta(days=gap)
        rows = [{"procedure_code": code} | row for code, row in zip(codes, facts, strict=True)]
        table = merge_catalogue(table, said(*rows), on=day)
        for code, row in zip(codes, facts, strict=True):
            diary[code].append((day, diary[code][-1][1] | row))
    for code in codes:
        spans = history(table, code, *names)
        for (_, end, *_), (start_next, *_) in pairwise(spans):
            assert end == start_next - timedelta(days=1)  # no gap, no overlap
        for probe in [SINCE_RECORDS_BEGAN, *(MARCH + timedelta(days=offset) for offset in range(20))]:
            (found,) = [row[2:] for row in spans if row[0] <= probe and (row[1] is None or row[1] >= probe)]
            told = [facts for on, facts in diary[code] if on <= probe][-1]
            assert found == tuple(told[name] for name in names)


def test_the_merged_table_is_a_core_procedure() -> None:
    merged = merge_catalogue(procedure_table(), said({"procedure_code": BIRTH, "online_level": "full"}), on=MAY)
    assert merged.schema.equals(CORE_PROCEDURE.arrow_schema())
    connection = connect()
    connection.register("core_procedure", merged)
    twice = connection.sql("SELECT procedure_code, valid_from FROM core_procedure GROUP BY ALL HAVING count(*) > 1")
    assert twice.fetchall() == []
    assert set(CATALOGUE_SAYS) < set(merged.column_names)
