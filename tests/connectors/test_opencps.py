"""The portal's walks, reply by reply: what they ask and what they believe needs no server to be seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

import msgspec
import pyarrow as pa
import pytest

from connectors.opencps import ALL_SYSTEMS, DOSSIERS, STATUSES, DetailWalk, ListWalk, NothingStored, Slice, months, runs
from connectors.protocol import Call, Permanent, Reply, Transient, Walk
from connectors.settings import OpenCpsSettings

MAY = Slice(7, "receive", date(2024, 5, 1), date(2024, 5, 31))


def settings(**changes: int) -> OpenCpsSettings:
    return OpenCpsSettings.model_validate(
        {
            "kind": "opencps",
            "base_url": "http://portal.invalid/o/rest/v2",
            "sites": [7],
            "username_env": "PORTAL_USER",
            "password_env": "PORTAL_PASSWORD",
            "page_rows": 2,
            **changes,
        }
    )


def answer(ids: Sequence[int], total: int | None = None) -> Reply:
    data = [{"dossierId": number, "applicantName": "NGUYỄN VĂN A"} for number in ids]
    return Reply(200, {}, msgspec.json.encode({"total": len(ids) if total is None else total, "data": data}))


def asked(call: Call) -> dict[str, str]:
    return dict(call.params)


def drive(walk: Walk, respond: Callable[[Call], Reply]) -> tuple[list[bytes], list[Call]]:
    """Answer every call in the order asked; what was read and what was asked."""
    waiting = list(walk.begin())
    made: list[Call] = []
    read: list[bytes] = []
    while waiting:
        call = waiting.pop(0)
        made.append(call)
        step = walk.accept(call, respond(call))
        read.extend(step.records)
        waiting.extend(step.calls)
        assert len(made) < 500, "the walk does not end"
    return read, made


def ids(records: Sequence[bytes]) -> set[int]:
    return {msgspec.json.decode(record)["dossierId"] for record in records}


def pages_of(rows: Sequence[int]) -> Callable[[Call], Reply]:
    def respond(call: Call) -> Reply:
        start, end = int(asked(call)["start"]), int(asked(call)["end"])
        return answer(rows[start:end], total=len(rows))

    return respond


def test_every_call_names_site_systems_and_json_and_never_the_key_that_lifts_the_site_filter() -> None:
    _, made = drive(ListWalk([MAY], settings()), pages_of([1, 2, 3]))
    for call in made:
        assert dict(call.headers) == {"groupId": "7", "Accept": "application/json"}
        assert asked(call)["systemId"] == ALL_SYSTEMS == "0,1,2,3,4,5"
        assert not {name.lower() for name in asked(call)} & {"secetkey", "secretkey"}
    assert asked(made[0])["fromReceiveDate"] == "01/05/2024"
    assert asked(made[0])["toReceiveDate"] == "31/05/2024"


def test_pages_are_row_offsets_and_all_are_asked_for_once_the_total_is_known() -> None:
    read, made = drive(ListWalk([MAY], settings()), pages_of([1, 2, 3, 4, 5]))
    assert [(asked(call)["start"], asked(call)["end"]) for call in made] == [("0", "2"), ("2", "4"), ("4", "6")]
    assert ids(read) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("status", [203, 401])
def test_not_logged_in_is_final_and_says_which_keys_to_check(status: int) -> None:
    walk = ListWalk([MAY], settings())
    with pytest.raises(Permanent, match="nobody is logged in") as caught:
        walk.accept(walk.begin()[0], Reply(status, {}, b'{"message":"Non-Authoritative Information."}'))
    assert caught.value.key == "username_env, password_env"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(403, {}, b'{"message":"No Content."}'),
        Reply(500),
        Reply(429),
        Reply(200, {}, b"<!DOCTYPE html><html></html>"),
        Reply(200, {}, b'{"total":1,"data":[{"dossierId":1'),
        Reply(200, {}, b'{"message":"No Content."}'),
        Reply(200, {}, b""),
    ],
)
def test_what_may_pass_is_tried_again_without_changing_state(reply: Reply) -> None:
    walk = ListWalk([MAY], settings())
    first = walk.begin()[0]
    with pytest.raises(Transient):
        walk.accept(first, reply)
    assert ids(walk.accept(first, answer([1])).records) == {1}


def test_an_empty_answer_is_believed_only_after_further_ones() -> None:
    replies = iter([answer([]), answer([]), answer([4])])
    read, made = drive(ListWalk([MAY], settings()), lambda _: next(replies))
    assert ids(read) == {4}
    assert len(made) == 3


class Knows(NothingStored):
    """A store that knows three dossiers on any day."""

    def known(self, site: int, axis: str, first: date, last: date) -> int:  # noqa: ARG002
        return 3


def test_an_empty_answer_where_the_store_knows_dossiers_fails_instead_of_saying_nothing() -> None:
    with pytest.raises(Transient, match="0 dossiers, but 3 are stored"):
        drive(ListWalk([MAY], settings(), Knows()), lambda _: answer([]))


def test_a_cleared_release_day_is_no_reason_to_doubt_an_empty_answer() -> None:
    released = Slice(7, "release", date(2024, 5, 1), date(2024, 5, 31))
    read, _ = drive(ListWalk([released], settings(), Knows()), lambda _: answer([]))
    assert read == []


def test_a_total_that_falls_to_0_between_pages_is_not_an_answer() -> None:
    walk = ListWalk([MAY], settings())
    step = walk.accept(walk.begin()[0], answer([1, 2], total=3))
    with pytest.raises(Transient, match="fell to 0"):
        walk.accept(step.calls[0], answer([]))


def test_a_window_that_reaches_the_limit_is_halved_down_to_a_day_then_divided_by_status() -> None:
    def respond(call: Call) -> Reply:
        query = asked(call)
        if query["fromReceiveDate"] <= "03/05/2024" <= query["toReceiveDate"] and "status" not in query:
            return answer([0, 0], total=10)  # the cap: what is beyond is cut off silently
        if query["fromReceiveDate"] == query["toReceiveDate"] == "03/05/2024":
            return answer([STATUSES.index(query["status"])])
        return answer([100 + int(query["fromReceiveDate"][:2])])

    week = Slice(7, "receive", date(2024, 5, 1), date(2024, 5, 4))
    read, made = drive(ListWalk([week], settings(search_limit=10)), respond)
    assert ids(read) == {*range(len(STATUSES)), 101, 104}
    assert {asked(call).get("status") for call in made} == {None, *STATUSES}


def test_a_day_and_status_beyond_the_limit_is_an_error_that_says_whom_to_ask() -> None:
    day = Slice(7, "receive", date(2024, 5, 3), date(2024, 5, 3))
    with pytest.raises(Permanent, match=r"index\.search\.limit"):
        drive(ListWalk([day], settings(search_limit=10)), lambda _: answer([1, 2], total=10))


def test_the_reporting_set_is_divided_by_the_day_of_reception() -> None:
    def respond(call: Call) -> Reply:
        query = asked(call)
        assert (query["top"], query["fromStatisticDate"], query["toStatisticDate"]) == (
            "statistic",
            "01/05/2024",
            "02/05/2024",
        )
        return answer([1]) if "fromReceiveDate" in query else answer([1, 2], total=10)

    statistic = Slice(7, "receive", statistic=(date(2024, 5, 1), date(2024, 5, 2)))
    read, made = drive(ListWalk([statistic], settings(search_limit=10)), respond)
    assert ids(read) == {1}
    assert len(made) == 3


def test_unstable_ties_are_read_again_until_every_id_was_seen() -> None:
    # First reading: row 3 takes the place of row 2 on the second page, so 2 and 4 readings differ.
    orders = iter([[1, 2], [2, 4], [1, 3], [2, 4], []])
    read, made = drive(ListWalk([MAY], settings()), lambda _: answer(next(orders), total=4))
    assert ids(read) == {1, 2, 3, 4}
    assert len(made) == 5  # two readings, and a look behind the full last page


def test_a_row_lost_by_a_deletion_between_pages_is_found_by_reading_again() -> None:
    # [1 2 | 3 4 | 5]: 1 is deleted after the first page, so 3 slips to the page already read.
    replies = iter(
        [answer([1, 2], 5), answer([4, 5], 4), answer([], 4), answer([2, 3], 4), answer([4, 5], 4), answer([], 4)]
    )
    read, _ = drive(ListWalk([MAY], settings()), lambda _: next(replies))
    assert {2, 3, 4, 5} <= ids(read)


def test_a_total_that_is_one_too_low_hides_no_row() -> None:
    pages = {"0": [1, 2], "2": [3]}
    read, _ = drive(ListWalk([MAY], settings()), lambda call: answer(pages[asked(call)["start"]], total=2))
    assert ids(read) == {1, 2, 3}


def test_a_count_that_is_off_by_one_for_ever_does_not_stop_the_night() -> None:
    read, made = drive(ListWalk([MAY], settings()), lambda call: answer([1] if asked(call)["start"] == "0" else [], 2))
    assert ids(read) == {1}
    assert len(made) == 4  # one reading and three more


def test_short_pages_in_the_middle_are_never_taken_for_the_end() -> None:
    def respond(call: Call) -> Reply:
        query = asked(call)
        whole = query["toReceiveDate"] == "02/05/2024" and query["fromReceiveDate"] == "01/05/2024"
        rows = {"0": [1], "2": [2, 3], "4": [4]}  # the server gives fewer rows than asked for, and goes on
        return answer(rows[query["start"]], 5) if whole else answer([int(query["fromReceiveDate"][:2]) * 10])

    two_days = Slice(7, "receive", date(2024, 5, 1), date(2024, 5, 2))
    read, _ = drive(ListWalk([two_days], settings()), respond)
    assert {10, 20} <= ids(read)


def test_details_keep_contract_fields_and_tell_a_missing_payment_from_an_empty_one() -> None:
    walk = DetailWalk([("7", 1), ("7", 2)])
    file = {"dossierFileId": 5, "dossierPartType": "2", "removed": "false", "displayName": "nguyen-van-a.pdf"}
    replies = {
        "/dossiers/1/files": {"total": 1, "data": [file]},
        "/dossiers/1/payment": {"paymentFileId": 9, "paymentAmount": "15000", "confirmNote": "Nguyễn Văn A"},
        "/dossiers/2/files": {"total": 0, "data": []},
        "/dossiers/2/payment": {},
    }
    drive(walk, lambda call: Reply(200, {}, msgspec.json.encode(replies[call.path])))
    assert walk.files[0] is not None
    assert (walk.files[0][0]["dossierPartType"], walk.files[0][0]["removed"]) == (2, False)
    assert "displayName" not in walk.files[0][0]
    assert walk.payments[0] is not None
    assert (walk.payments[0]["paymentAmount"], walk.payments[0]["feeAmount"]) == (15000, None)
    assert (walk.files[1], walk.payments[1]) == ([], None)


def test_single_details_that_fail_are_forgiven_and_many_are_not() -> None:
    walk = DetailWalk([("7", number) for number in range(1, 40)])
    refused = Transient("GET /dossiers/1/files: refused")
    verdicts = [walk.forgive(call, refused) for call in walk.begin()[::2]]
    assert verdicts[:5] == [True] * 5
    assert not any(verdicts[5:])
    assert not walk.forgive(walk.begin()[0], Permanent("not logged in"))


def test_months_and_runs_cover_every_day() -> None:
    assert list(months(date(2024, 1, 30), date(2024, 3, 2))) == [
        (date(2024, 1, 30), date(2024, 1, 31)),
        (date(2024, 2, 1), date(2024, 2, 29)),
        (date(2024, 3, 1), date(2024, 3, 2)),
    ]
    # A day early: an index in another zone files the early morning under the day before.
    days = [date(2024, 5, 9), date(2024, 5, 2), date(2024, 5, 3)]
    assert list(runs(days)) == [(date(2024, 5, 1), date(2024, 5, 3)), (date(2024, 5, 8), date(2024, 5, 9))]


def test_no_personal_field_is_part_of_the_contract() -> None:
    names = " ".join(DOSSIERS.schema.names).lower()
    assert not any(word in names for word in ("applicant", "address", "email", "tel", "contact", "delegate", "user"))
    assert pa.types.is_list(DOSSIERS.schema.field("files").type)
