"""The one-stop system's walks and wordings, reply by reply; log-in is tested with a server (test_loop.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from connectors.igate import FeeWalk, SearchWalk
from connectors.igate_records import read_items
from connectors.protocol import Call, Reply, SourceError, Step, Transient
from connectors.settings import IGateSettings
from tests.connectors.test_opencps import asked, drive

START = datetime(2026, 10, 1, tzinfo=UTC)


def settings(**changes: int) -> IGateSettings:
    return IGateSettings.model_validate(
        {
            "kind": "igate",
            "base_url": "http://onestop.invalid",
            "token_url": "http://onestop.invalid/token",
            "client_id_env": "CLIENT_ID",
            "client_secret_env": "CLIENT_SECRET",
            "page_rows": 2,
            **changes,
        }
    )


def row(name: str, hours: float) -> dict[str, Any]:
    """A dossier changed so many hours after START."""
    at = START + timedelta(hours=hours)
    return {"id": name, "updatedDate": at.strftime("%Y-%m-%dT%H:%M:%S.000+0000")}


def page(rows: Sequence[dict[str, Any]], *, total: int | None, last: bool = False) -> Reply:
    counted = {} if total is None else {"totalElements": total, "totalPages": -(-total // 2)}
    return Reply(200, {}, msgspec.json.encode({"content": rows, "last": last, **counted}))


def ids(records: Sequence[bytes]) -> list[str]:
    return [msgspec.json.decode(record)["id"] for record in records]


def served(rows: Sequence[dict[str, Any]], *, counted: bool = True) -> Callable[[Call], Reply]:
    def respond(call: Call) -> Reply:
        first = int(asked(call)["page"]) * 2
        total = len(rows) if counted else None
        return page(rows[first : first + 2], total=total, last=first + 2 >= len(rows))

    return respond


def test_a_walk_goes_from_new_to_old_until_everything_is_older_than_the_cursor() -> None:
    rows = [row("e", 9), row("d", 7), row("c", 5), row("b", 3), row("a", 1)]
    walk = SearchWalk(START + timedelta(hours=4), settings())
    read, made = drive(walk, served(rows))
    assert ids(read) == ["e", "d", "c", "b"]  # the page that crosses the cursor is kept whole
    assert [asked(call)["page"] for call in made] == ["0", "1"]
    assert {(asked(call)["sort"], asked(call)["spec"]) for call in made} == {("updatedDate,desc", "page")}
    assert walk.newest == START + timedelta(hours=9)


def test_only_one_page_is_ever_under_way() -> None:
    walk = SearchWalk(START, settings())
    step = walk.accept(walk.begin()[0], page([row("b", 9), row("a", 8)], total=9))
    assert len(step.calls) == 1


def test_both_offsets_name_the_same_instant() -> None:
    rows = [
        {"id": "b", "updatedDate": "2026-10-01T10:00:00.000+0700"},
        {"id": "a", "updatedDate": "2026-10-01T02:00:00.000+0000"},
    ]
    walk = SearchWalk(datetime(2026, 10, 1, 2, 30, tzinfo=UTC), settings())
    _, made = drive(walk, lambda _: page(rows, total=99))
    assert len(made) == 1
    assert walk.newest == datetime(2026, 10, 1, 3, tzinfo=UTC)


def test_a_row_that_slipped_over_a_page_border_by_a_deletion_is_found_by_a_second_walk() -> None:
    # d c | b a: when d is deleted after page 0, b slips onto page 0 and page 1 begins with a.
    before, after = [row("d", 9), row("c", 7)], [row("a", 3)]
    replies = iter(
        [page(before, total=4), page(after, total=3), page([row("c", 7), row("b", 5)], total=3), page(after, total=3)]
    )
    read, made = drive(SearchWalk(START, settings()), lambda _: next(replies))
    assert "b" in ids(read)
    assert [asked(call)["page"] for call in made] == ["0", "1", "0", "1"]


def test_without_totals_walks_are_made_until_one_finds_nothing_new() -> None:
    rows = [row("c", 5), row("b", 3), row("a", 1)]
    lost_b = [row("c", 5), row("d", 4)], [row("a", 1)]
    replies = iter(
        [
            page(lost_b[0], total=None),
            page(lost_b[1], total=None, last=True),
            *(served(rows, counted=False)(Call("", (("page", number),))) for number in ("0", "1")),
            *(served(rows, counted=False)(Call("", (("page", number),))) for number in ("0", "1")),
        ]
    )
    read, made = drive(SearchWalk(START, settings()), lambda _: next(replies))
    assert set(ids(read)) == {"a", "b", "c", "d"}
    assert len(made) == 6


def test_a_search_that_keeps_shrinking_and_showing_others_fails_with_words() -> None:
    totals, names = iter(range(1000, 0, -1)), iter(range(1000))
    with pytest.raises(SourceError, match="vanish"):
        drive(
            SearchWalk(START + timedelta(hours=3), settings()),
            lambda call: page([row(f"d{next(names)}", 5 - 4 * int(asked(call)["page"]))], total=next(totals)),
        )


def test_totals_that_lie_on_every_walk_cost_one_more_walk_and_nothing_else() -> None:
    totals = iter(range(1000, 0, -1))
    rows = [[row("b", 5), row("a", 4)], [row("c", 1)]]
    read, made = drive(
        SearchWalk(START + timedelta(hours=3), settings()),
        lambda call: page(rows[int(asked(call)["page"])], total=next(totals)),
    )
    assert set(ids(read)) == {"a", "b", "c"}
    assert len(made) == 4


def test_no_dossiers_at_all_is_doubted_when_some_are_stored() -> None:
    with pytest.raises(Transient, match="no dossiers at all"):
        drive(SearchWalk(START, settings(), known=5), lambda _: page([], total=0))
    read, made = drive(SearchWalk(START, settings()), lambda _: page([], total=0))
    assert (read, len(made)) == ([], 3)


@pytest.mark.parametrize(
    ("wording", "expected"),
    [
        ({"dossierStatus": {"id": 2, "name": "Đang xử lý"}}, {"dossierStatusId": 2, "dossierStatusName": "Đang xử lý"}),
        ({"dossierStatus": 2}, {"dossierStatusId": 2, "dossierStatusName": None}),
        ({"dossierStatus": "2"}, {"dossierStatusId": 2, "dossierStatusName": None}),
        ({"dossierStatus": [{"id": 2}]}, {"dossierStatusId": 2}),
        ({"procedure": {"code": "1.001612", "translate": {"name": "x"}}}, {"procedureCode": "1.001612"}),
        (
            {"procedure": {"code": "1.001612", "translate": [{"languageId": 228, "name": "x"}]}},
            {"procedureCode": "1.001612"},
        ),
        ({"procedureLevel": 4}, {"procedureLevel": "4"}),
        ({"procedureLevel": {"id": "x", "code": "TT"}}, {"procedureLevel": "TT"}),
        (
            {"agency": {"id": "62", "code": "H15.1", "name": "UBND"}},
            {"agencyId": "62", "agencyCode": "H15.1", "agencyName": "UBND"},
        ),
        ({"applyMethod": 1}, {"applyMethodId": 1, "applyMethodName": None}),
        (
            {"paymentRequestData": {"paidDate": "2026-10-01T02:00:00.000+0000"}},
            {"paidDate": "2026-10-01T02:00:00.000+0000"},
        ),
        ({"paymentRequestData": None}, {"paidDate": None}),
        ({"currentTask": {"assignee": 1}}, {"id": "x"}),
        ({"currentTask": [{"assignee": 1}]}, {"id": "x"}),
        (
            {
                "dossierFormFile": [
                    {"id": "f", "procedureForm": {"id": "p1"}, "file": [{"id": 1}, {"id": 2}]},
                    {"id": "f2"},
                ]
            },
            {"formFiles": [{"formId": "p1", "fileCount": 2}, {"formId": "f2", "fileCount": 0}]},
        ),
    ],
)
def test_one_thing_in_several_wordings(wording: dict[str, Any], expected: dict[str, Any]) -> None:
    typed = read_items(Step([msgspec.json.encode({"id": "x", **wording})]))
    assert typed.records.to_pylist()[0].items() >= expected.items()
    assert not typed.broken


def test_a_status_that_is_no_number_is_broken_and_its_neighbours_are_not() -> None:
    records = [b'{"id":"a"}', b'{"id":"b","dossierStatus":"Nguyen Van A"}', b'{"id":"c"}']
    typed = read_items(Step(records, where="page 3"))
    assert typed.records["id"].to_pylist() == ["a", "c"]
    assert [item.where for item in typed.broken] == ["page 3#1"]
    assert "Nguyen" not in repr(typed.broken)


def test_fees_are_asked_for_in_batches_and_given_back_by_dossier() -> None:
    def respond(call: Call) -> Reply:
        lines = [
            {"id": f"{key}-1", "amount": 15000.0, "paid": "0", "dossier": {"id": key}}
            for key in asked(call)["dossier-ids"].split(",")
        ]
        return Reply(200, {}, msgspec.json.encode([line for line in lines if line["id"] != "b-1"]))

    walk = FeeWalk(["a", "b", "c"], settings(fee_batch=2))
    _, made = drive(walk, respond)
    assert [asked(call)["dossier-ids"] for call in made] == ["a,b", "c"]
    assert walk.fees().to_pylist() == [
        [{"id": "a-1", "amount": 15000.0, "paid": 0.0}],
        [],
        [{"id": "c-1", "amount": 15000.0, "paid": 0.0}],
    ]


def test_a_fee_that_names_no_dossier_asked_for_is_not_guessed() -> None:
    walk = FeeWalk(["a"], settings())
    with pytest.raises(Transient, match="1 fee lines name no dossier"):
        walk.accept(walk.begin()[0], Reply(200, {}, b'[{"id":"1","amount":1,"dossier":{"id":"z"}}]'))


def test_a_record_whose_head_is_of_another_kind_stops_neither_the_page_nor_the_walk() -> None:
    rows = [{"id": {"$oid": "x"}, "updatedDate": "2026-10-01T08:00:00.000+0000"}, row("a", 1)]
    walk = SearchWalk(START, settings())
    step = walk.accept(walk.begin()[0], page(rows, total=2, last=True))
    typed = read_items(step)
    assert typed.records["id"].to_pylist() == ["a"]
    assert [broken.where for broken in typed.broken] == ["page 0 of walk 1#0"]


def test_bytes_that_are_no_text_in_one_record_cost_that_record_alone() -> None:
    body = msgspec.json.encode({"content": [{**row("b", 2), "code": "?"}, row("a", 1)], "totalElements": 2})
    walk = SearchWalk(START, settings())
    step = walk.accept(walk.begin()[0], Reply(200, {}, body.replace(b'"code":"?"', b'"nationCode":"\xff"')))
    typed = read_items(step)
    assert typed.records["id"].to_pylist() == ["a"]
    assert len(typed.broken) == 1


@pytest.mark.parametrize("status", [3.5, 2**70, "ba", [{"id": 2.5}]])
def test_a_status_that_is_no_whole_number_is_never_rounded(status: Any) -> None:
    rows = [{**row("b", 2), "dossierStatus": status}, {**row("a", 1), "dossierStatus": 4.0}]
    walk = SearchWalk(START, settings())
    typed = read_items(walk.accept(walk.begin()[0], page(rows, total=2)))
    assert typed.records["dossierStatusId"].to_pylist() == [4]
    assert len(typed.broken) == 1
