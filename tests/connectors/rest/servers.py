"""Small real servers of invented systems, with what can go wrong on the way.

Belongs here: serving an app on a free port, and spoiling its answers by schedule. Does not belong here: any
expectation, nor the sandbox's systems.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Answer = Callable[[Request], Awaitable[Response]]


@contextmanager
def serving(routes: dict[str, Answer]) -> Iterator[str]:
    """Serve path → answer (GET and POST) on a free port; yields the address."""
    app = Starlette(routes=[Route(path, answer, methods=["GET", "POST"]) for path, answer in routes.items()])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the server did not start")
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def spoiled(answer: Answer, *faults: str) -> Answer:
    """`answer` on a bad day: before each good answer the next of `faults`, until they are used up."""
    left = iter(faults)

    async def spoil(request: Request) -> Response:
        good = await answer(request)
        match next(left, ""):
            case "429":
                return Response("{}", status_code=429, headers={"retry-after": "0"})
            case "500":
                return Response("<html>500</html>", status_code=500)
            case "html":
                return Response("<html><form>login</form></html>", media_type="text/html")
            case "cut":
                return Response(bytes(good.body)[: len(bytes(good.body)) // 2], media_type="application/json")
            case "empty":
                return Response(b'{"error_code": 0, "result": [], "total": 12}', media_type="application/json")
        return good

    return spoil
