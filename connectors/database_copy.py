"""PostgreSQL's COPY, fetched as bytes.

Belongs here: sending one COPY on psycopg's connection and taking its answer. Does not belong here: what is
copied, or what becomes of the bytes.

psycopg's own copy makes a Python step of every row; libpq's calls below it, which psycopg publishes as
`psycopg.pq`, take a quarter of the time. They never wait inside libpq: the interpreter goes on meanwhile.
"""

from __future__ import annotations

import selectors
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors, pq

#: Rows are put together so many at a time, to keep few small objects.
_ROWS = 4096


@dataclass(frozen=True)
class Copied:
    """Lines of CSV: all of them, how many rows they are, and the last row by itself."""

    data: bytes
    rows: int
    last: bytes


def copied(connection: psycopg.Connection[Any], query: str, parameters: Mapping[str, Any]) -> Copied:
    """The answer of `COPY (query) TO STDOUT` in CSV, in the connection's transaction.

    COPY knows no parameters: the driver writes them into the text as literals. Raises psycopg's errors.
    """
    if connection.info.transaction_status == pq.TransactionStatus.IDLE:
        # libpq's calls begin nothing by themselves.
        connection.execute("SELECT 1")
    text = psycopg.ClientCursor(connection).mogrify(f"COPY ({query}) TO STDOUT (FORMAT csv)", dict(parameters))
    server = connection.pgconn
    with selectors.DefaultSelector() as waiting:
        waiting.register(server.socket, selectors.EVENT_READ)
        server.send_query(text.encode())
        try:
            _expect(_result(server, waiting), pq.ExecStatus.COPY_OUT)
            came = _rows(server, waiting)
            _expect(_result(server, waiting), pq.ExecStatus.COMMAND_OK)
        finally:
            # What is left of an answer would be taken for the answer of the next statement.
            while server.status == pq.ConnStatus.OK and _result(server, waiting) is not None:
                pass
    return came


def _rows(server: pq.abc.PGconn, waiting: selectors.BaseSelector) -> Copied:
    joined: list[bytes] = []
    rows: list[bytes] = []
    count, last = 0, b""
    while True:
        size, row = server.get_copy_data(1)
        if size > 0:
            last = bytes(row)
            rows.append(last)
            count += 1
            if len(rows) == _ROWS:
                joined.append(b"".join(rows))
                rows.clear()
        elif size == 0:
            waiting.select()
            server.consume_input()
        else:
            return Copied(b"".join((*joined, *rows)), count, last)


def _result(server: pq.abc.PGconn, waiting: selectors.BaseSelector) -> pq.abc.PGresult | None:
    while server.is_busy():
        waiting.select()
        server.consume_input()
    return server.get_result()


def _expect(result: pq.abc.PGresult | None, status: pq.ExecStatus) -> None:
    """Raise the error of a result by its code alone: its words may quote what was being read."""
    if result is not None and result.status == status:
        return
    code = (result and result.error_field(pq.DiagnosticField.SQLSTATE)) or b"08006"
    try:
        raise errors.lookup(code.decode())
    except KeyError:
        raise psycopg.DatabaseError from None
