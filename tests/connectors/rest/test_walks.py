"""Every way of paging against lists that shift, stop early, lie and repeat themselves: no I/O, reply by reply.

A list here is a plain Python list that pages are cut out of, written without the product; what a walk
must bring is simply everything that stayed in it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.protocol import Call, Permanent, Reply, SourceError, Span, Transient
from connectors.rest_call import Calls
from connectors.rest_page import PageReader
from connectors.rest_profile import RestProfile
from connectors.rest_time import instant_reader, windows
from connectors.rest_walk import Lane, ListWalk, Read

ORIGIN = "https://mot-cua.invalid"
FIELDS = {"record_id": "id", "status": "s", "procedure_code": "p", "agency": "a", "modified_at": "m"}
PAGINGS: dict[str, dict[str, Any]] = {
    "offset and limit": {"kind": "offset", "start": "from", "limit": "n", "total": "total"},
    "offset and end": {"kind": "offset", "start": "from", "end": "until", "total": "total"},
    "page from 0": {"kind": "page", "page": "page", "size": "n", "total": "total"},
    "page from 1": {"kind": "page", "page": "page", "size": "n", "first": 1, "total": "total"},
    "page without total": {"kind": "page", "page": "page", "size": "n"},
    "slice": {"kind": "page", "page": "page", "size": "n", "last": "last"},
    "cursor": {"kind": "cursor", "cursor": "after", "next": "next", "size": "n"},
    "link in the reply": {"kind": "link", "next": "link", "size": "n"},
    "link in the header": {"kind": "link", "size": "n", "total": "header:X-Total-Count"},
}


def profile(paging: Mapping[str, Any], **said: Any) -> RestProfile:
    return RestProfile.model_validate(
        {
            "system": "giả lập",
            "dates": ["%Y-%m-%dT%H:%M:%S%z"],
            "list": {"path": "/hs", "records": "items", "paging": paging, **said},
            "fields": FIELDS,
        }
    )


@dataclass
class Listing:
    """A system that lists `rows` (ids); `happens` is called before each page with the number of the call."""

    rows: list[int]
    cap: int = 1000
    total: Callable[[int], int | None] = lambda rows: rows
    happens: Callable[[Listing, int], None] = lambda *_: None
    asked: list[dict[str, str]] = field(default_factory=list)

    def reply(self, call: Call) -> Reply:
        """One page, in every wording at once; a profile reads its own."""
        said = dict(call.params)
        self.happens(self, len(self.asked))
        self.asked.append(said)
        wanted = min(int(said.get("n", 0)) or int(said.get("until", 0)) - int(said.get("from", 0)), self.cap)
        if "after" in said:
            begin = next((at for at, row in enumerate(self.rows) if row > int(said["after"])), len(self.rows))
        elif "page" in said:
            begin = (int(said["page"]) - FIRST.get("page", 0)) * wanted
        else:
            begin = int(said.get("from", 0))
        shown = self.rows[begin : begin + wanted]
        is_last = begin + wanted >= len(self.rows)
        link = f"/o/hs?from={begin + wanted}&n={wanted}"
        body: dict[str, Any] = {"items": [{"id": row} for row in shown], "last": is_last}
        if not is_last:
            body |= {"next": str(shown[-1]), "link": link}
        if (stated := self.total(len(self.rows))) is not None:
            body["total"] = stated
        headers = {} if is_last else {"link": f'<{ORIGIN}{link}>; rel="next"'}
        if "total" in body:
            headers["x-total-count"] = str(body["total"])
        return Reply(200, headers, json.dumps(body).encode())


#: Number of the first page of the profile under test.
FIRST: dict[str, int] = {}


def walk(shape: RestProfile, *, rows: int = 10, **said: Any) -> ListWalk:
    FIRST["page"] = getattr(shape.list.paging, "first", 0)
    calls = Calls(shape, origin=ORIGIN, base_path="/o", page_rows=rows)
    return ListWalk(calls, PageReader(shape), said.pop("lanes", None) or [Lane()], **said)


def read(walked: ListWalk, reply: Callable[[Call], Reply], *, tries: int = 5, most: int = 400) -> list[str]:
    """Ids in the order read; each call is tried `tries` times, as the loop does."""
    pending, keys = deque(walked.begin()), list[str]()
    for _ in range(most):
        if not pending:
            return keys
        call = pending.popleft()
        for attempt in range(tries):
            try:
                step = walked.accept(call, reply(call))
                break
            except Transient:
                if attempt == tries - 1:
                    raise
        if isinstance(step.origin, Read):
            keys += [str(key) for key in step.origin.page.keys]
        pending.extend(step.calls)
    raise AssertionError("the walk goes on for ever")


@pytest.mark.parametrize("paging", PAGINGS.values(), ids=PAGINGS)
@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 20, 35])
def test_every_way_of_paging_brings_every_record(paging: dict[str, Any], count: int) -> None:
    rows = list(range(1, count + 1))
    assert set(read(walk(profile(paging)), Listing(rows).reply)) == {str(row) for row in rows}


@pytest.mark.parametrize("paging", PAGINGS.values(), ids=PAGINGS)
def test_a_server_that_gives_fewer_rows_than_were_asked_for_loses_none(paging: dict[str, Any]) -> None:
    rows = list(range(1, 36))
    assert set(read(walk(profile(paging)), Listing(rows, cap=4).reply)) == {str(row) for row in rows}


@pytest.mark.parametrize("wrong", [-13, -7, -1, 1, 7], ids=lambda by: f"total off by {by}")
@pytest.mark.parametrize("paging", ["offset and limit", "page from 0", "page from 1"])
def test_a_total_that_lies_neither_ends_a_walk_early_nor_never(paging: str, wrong: int) -> None:
    rows = list(range(1, 36))
    keys = read(walk(profile(PAGINGS[paging])), Listing(rows, total=lambda count: max(0, count + wrong)).reply)
    assert set(keys) == {str(row) for row in rows}


@pytest.mark.parametrize("paging", ["offset and limit", "page from 0", "page without total", "slice"])
def test_what_vanishes_before_the_reader_takes_nothing_else_with_it(paging: str) -> None:
    def vanish(listing: Listing, call: int) -> None:
        if call in (1, 2):
            listing.rows.pop(0)

    listing = Listing(list(range(1, 36)), happens=vanish)
    keys = read(walk(profile(PAGINGS[paging])), listing.reply)
    assert set(keys) >= {str(row) for row in listing.rows}


@pytest.mark.parametrize("paging", ["offset and limit", "page from 1", "link in the header"])
def test_one_that_goes_while_one_comes_hides_what_slipped_from_the_total_and_not_from_us(paging: str) -> None:
    def swap(listing: Listing, call: int) -> None:
        if call == 1:
            listing.rows.pop(0)
            listing.rows.append(99)

    listing = Listing(list(range(1, 36)), happens=swap)
    keys = read(walk(profile(PAGINGS[paging])), listing.reply)
    assert set(keys) >= {str(row) for row in listing.rows}


def test_a_list_that_nothing_leaves_is_walked_once() -> None:
    listing = Listing(list(range(1, 36)))
    read(walk(profile(PAGINGS["offset and limit"] | {"steady": True})), listing.reply)
    assert [said["from"] for said in listing.asked] == ["0", "10", "20", "30"]


@pytest.mark.parametrize("paging", ["offset and limit", "page from 0", "page from 1"])
def test_a_total_that_wavers_neither_loses_a_record_nor_stops_the_night(paging: str) -> None:
    listing = Listing(list(range(1, 36)))
    wavering = iter([0, 1, 0, -1, 1, 0] * 40)
    listing.total = lambda count: count + next(wavering)
    keys = read(walk(profile(PAGINGS[paging])), listing.reply, most=20)
    assert set(keys) == {str(row) for row in listing.rows}


@pytest.mark.parametrize("total", [None, 20], ids=["slice", "with a total as wrong"])
def test_a_full_page_that_calls_itself_the_last_is_not_believed(total: int | None) -> None:
    listing = Listing(list(range(1, 36)), total=lambda _: total)

    def reply(call: Call) -> Reply:
        said = listing.reply(call)
        is_second = dict(call.params)["page"] == "1"
        return Reply(200, {}, said.body.replace(b'"last": false', b'"last": true') if is_second else said.body)

    shape = profile(PAGINGS["slice"] | ({"total": "total"} if total else {}))
    assert set(read(walk(shape), reply)) == {str(row) for row in listing.rows}


def test_a_list_out_of_which_rows_fall_for_ever_is_given_up_with_the_reason() -> None:
    def vanish(listing: Listing, call: int) -> None:
        if call % 2:
            listing.rows.pop(0)
            listing.rows += [1000 + 3 * call, 1001 + 3 * call]
            listing.rows.pop(0)
            listing.rows.pop(0)

    listing = Listing(list(range(1, 360)), happens=vanish)
    with pytest.raises(SourceError, match="faster than it can be read"):
        read(walk(profile(PAGINGS["offset and limit"]), rows=50), listing.reply)


def test_an_empty_page_before_the_end_is_asked_again() -> None:
    listing = Listing(list(range(1, 36)))
    empty = iter([False, True, False, True, True, False, False])

    def reply(call: Call) -> Reply:
        said = listing.reply(call)
        return Reply(200, {}, b'{"items": [], "total": 35}') if next(empty, False) else said

    assert set(read(walk(profile(PAGINGS["offset and limit"])), reply)) == {str(row) for row in listing.rows}


def test_an_empty_list_is_believed_of_a_new_source_and_not_of_a_known_one() -> None:
    nothing = Listing([])
    assert read(walk(profile(PAGINGS["page from 0"])), nothing.reply) == []
    assert len(nothing.asked) == 3, "it is asked again before it is believed"
    with pytest.raises(Transient, match="812 were read before"):
        read(walk(profile(PAGINGS["page from 0"]), known=812), nothing.reply)


@pytest.mark.parametrize("paging", ["page from 0", "slice", "cursor", "link in the reply"])
def test_a_page_that_comes_again_for_ever_is_an_error_and_no_loop(paging: str) -> None:
    first: list[Reply] = []

    def reply(call: Call) -> Reply:
        first.append(Listing(list(range(1, 36))).reply(call))
        return first[0]

    with pytest.raises(Transient, match=r"again|own page"):
        read(walk(profile(PAGINGS[paging])), reply)


def test_pages_that_go_round_in_a_circle_are_an_error_and_no_loop() -> None:
    pages = [[{"id": row} for row in range(begin, begin + 10)] for begin in (0, 10, 20)]

    def reply(call: Call) -> Reply:
        number = int(dict(call.params).get("after", "0"))
        return Reply(200, {}, json.dumps({"items": pages[number % 3], "next": str(number + 1)}).encode())

    with pytest.raises(Transient, match="circle"):
        read(walk(profile(PAGINGS["cursor"])), reply)


def test_a_system_that_repeats_its_last_page_without_a_total_has_ended() -> None:
    def reply(call: Call) -> Reply:
        number = min(int(dict(call.params)["page"]), 2)
        return Reply(200, {}, json.dumps({"items": [{"id": number * 10 + row} for row in range(10)]}).encode())

    assert set(read(walk(profile(PAGINGS["page without total"])), reply)) == {str(row) for row in range(30)}


def test_a_link_to_another_server_is_not_followed() -> None:
    body = json.dumps({"items": [{"id": 1}], "link": "https://elsewhere.invalid/hs?from=10"}).encode()
    with pytest.raises(Permanent, match="another server"):
        read(walk(profile(PAGINGS["link in the reply"])), lambda _: Reply(200, {}, body))


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(200, {}, b"<html>login</html>"), "web page"),
        (Reply(200, {}, b'{"items": [{"id": 1}, {"id"'), "not a page"),
        (Reply(200, {}, b'{"code": "-3", "items": []}'), "error '-3' at code"),
        (Reply(200, {}, b'{"code": 0, "data": {"items": []}}'), "no array at list.records.*has code, data"),
        (Reply(200, {}, b'{"items": [{"id": 1}], "total": "nhieu"}'), "paging.total is no whole number"),
        (Reply(503, {"retry-after": "7"}, b""), "HTTP 503"),
    ],
    ids=["html", "truncated", "error code", "wrong path", "no number", "unavailable"],
)
def test_a_reply_that_is_no_page_says_so_without_its_content(reply: Reply, told: str) -> None:
    shape = profile(PAGINGS["offset and limit"], error={"path": "code", "ok": [0, "00"]})
    with pytest.raises(Transient, match=told):
        read(walk(shape), lambda _: reply)


def test_newest_first_ends_where_everything_is_older() -> None:
    shape = profile(PAGINGS["page from 0"], changes={"kind": "newest-first"})
    start = datetime(2026, 9, 1, tzinfo=UTC)
    times = [start - timedelta(hours=row) for row in range(100)]

    def reply(call: Call) -> Reply:
        page = int(dict(call.params)["page"])
        shown = list(enumerate(times))[page * 10 : page * 10 + 10]
        items = [{"id": row, "m": f"{time:%Y-%m-%dT%H:%M:%S}+0000"} for row, time in shown]
        return Reply(200, {}, json.dumps({"items": items, "total": 100}).encode())

    walked = walk(shape, since=start - timedelta(hours=34, minutes=30), instant=instant_reader(shape))
    assert read(walked, reply) == [str(row) for row in range(40)]
    assert walked.newest == start


def test_a_list_that_is_not_in_order_is_read_whole() -> None:
    shape = profile(PAGINGS["page from 0"], changes={"kind": "newest-first"})
    start = datetime(2026, 9, 1, tzinfo=UTC)

    def reply(call: Call) -> Reply:
        page = int(dict(call.params)["page"])
        # The oldest stands third of each page: the system ignores what it was asked to sort by.
        items = [
            {"id": row, "m": f"{start - timedelta(days=900 if row % 10 == 2 else row % 7):%Y-%m-%dT%H:%M:%S}+0000"}
            for row in range(page * 10, min(page * 10 + 10, 35))
        ]
        return Reply(200, {}, json.dumps({"items": items, "total": 35}).encode())

    walked = walk(shape, since=start - timedelta(days=10), instant=instant_reader(shape))
    assert set(read(walked, reply)) == {str(row) for row in range(35)}


SPAN = Span(datetime(2026, 8, 30, 17, tzinfo=UTC), datetime(2026, 9, 11, 3, tzinfo=UTC), is_update=True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # Whole days of Vietnam: the span begins on 31 August there and ends on 11 September.
        ({"format": "%d/%m/%Y"}, [("28/08/2026", "03/09/2026"), ("04/09/2026", "10/09/2026"),
                                  ("11/09/2026", "11/09/2026")]),
        ({"format": "%Y-%m-%d %H:%M:%S", "days": 10}, [("2026-08-28 00:00:00", "2026-09-06 23:59:59"),
                                                       ("2026-09-07 00:00:00", "2026-09-11 23:59:59")]),
        ({"format": "%Y-%m-%dT%H:%M:%S%z", "days": 10, "overlap_days": 0, "to_is_exclusive": True},
         [("2026-08-31T00:00:00+0700", "2026-09-10T00:00:00+0700"),
          ("2026-09-10T00:00:00+0700", "2026-09-12T00:00:00+0700")]),
        ({"format": "epoch_s", "days": 30, "overlap_days": 0, "to_is_exclusive": True},
         [("1788109200", "1789146000")]),
    ],
    ids=["days", "inclusive seconds", "exclusive", "epoch"],
)  # fmt: skip
def test_windows_are_whole_days_of_the_zone_and_leave_no_gap(
    changes: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    shape = profile(PAGINGS["cursor"], changes={"kind": "windows", "axes": [{"from": "tu", "to": "den"}], **changes})
    assert shape.list.changes.kind == "windows"
    cut = list(windows(SPAN, shape.list.changes, "Asia/Ho_Chi_Minh"))
    assert [(window.start, window.end) for window in cut] == expected
    assert cut[-1].until == SPAN.end


def test_a_window_is_read_until_its_end_once_every_axis_of_it_and_of_those_before_arrived() -> None:
    one, two = datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 9, 8, tzinfo=UTC)
    lanes = [Lane({"axis": axis, "w": str(until)}, until=until) for until in (one, two) for axis in ("a", "b")]
    walked = walk(profile(PAGINGS["offset and limit"]), lanes=lanes, at_once=4)
    calls = {call.tag.lane.narrowed["w"] + call.tag.lane.narrowed["axis"]: call for call in walked.begin()}
    last = b'{"items": [{"id": 1}], "total": 1}'
    seen = []
    for name in (f"{two}a", f"{one}a", f"{two}b", f"{one}b"):
        step = walked.accept(calls[name], Reply(200, {}, last))
        step.origin.lane.taken += 1
        seen.append(walked.until)
    assert seen == [None, None, None, two]


def test_a_body_takes_the_parameters_where_the_profile_says_so() -> None:
    shape = profile(
        {"kind": "page", "page": "paging.page", "size": "paging.size", "first": 1, "total": "total"},
        method="POST",
        send="json",
        params={"filter.unit": "x", "sort": ["-m"]},
    )
    (call,) = walk(shape).begin()
    assert json.loads(call.content or b"") == {
        "filter": {"unit": "x"}, "sort": ["-m"], "paging": {"page": 1, "size": 10}
    }  # fmt: skip
    form = profile(PAGINGS["page from 1"], method="POST", send="form", params={"unit": "x y"})
    (call,) = walk(form).begin()
    assert dict(parse_qsl((call.content or b"").decode())) == {"unit": "x y", "page": "1", "n": "10"}
    assert "content" not in repr(call)


@given(
    paging=st.sampled_from(sorted(PAGINGS)),
    count=st.integers(0, 60),
    cap=st.integers(1, 15),
    lie=st.integers(-5, 5),
    faults=st.lists(st.sampled_from(["", "", "", "html", "cut", "503", "empty"]), max_size=40),
    gone=st.lists(st.integers(0, 30), max_size=3),
)
def test_whatever_happens_meanwhile_what_stays_is_read(  # noqa: PLR0917  drawn by name
    paging: str, count: int, cap: int, lie: int, faults: list[str], gone: list[int]
) -> None:
    def vanish(listing: Listing, call: int) -> None:
        if call in gone and listing.rows:
            listing.rows.pop(0)

    listing = Listing(
        list(range(1, count + 1)), cap=cap, total=lambda rows: max(0, rows + (0 if gone else lie)), happens=vanish
    )
    spoiled = iter(faults)
    before: list[str] = []

    def reply(call: Call) -> Reply:
        fault = next(spoiled, "")
        # A system that is well again sooner than a reader gives up.
        fault = "" if all(before[-2:]) and len(before) > 1 else fault
        before.append(fault)
        if fault == "503":
            return Reply(503, {}, b"")
        said = listing.reply(call)
        spoilt = {"html": b"<html>", "cut": said.body[: len(said.body) // 2], "empty": said.body}
        if fault == "empty" and listing.rows and paging in ("offset and limit", "page from 0", "page from 1"):
            return Reply(200, {}, json.dumps({"items": [], "total": len(listing.rows) + 1}).encode())
        return Reply(200, said.headers, spoilt.get(fault, said.body))

    keys = read(walk(profile(PAGINGS[paging])), reply, most=4000)
    assert set(keys) >= {str(row) for row in listing.rows}
