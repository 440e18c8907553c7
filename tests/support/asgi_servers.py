"""Real ASGI servers on loopback, each in a thread: Uvicorn, and Hypercorn under both loops."""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import hypercorn.asyncio
import hypercorn.trio
import trio
import uvicorn
from hypercorn.config import Config

Application = Callable[[Any, Any, Any], Awaitable[None]]


def _uvicorn(application: Application, listener: socket.socket, http: str) -> Callable[[], None]:
    """Start; returns what ends it."""
    config = uvicorn.Config(
        application, http=http, lifespan="off", log_config=None, ws="none", timeout_keep_alive=1
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()

    def end() -> None:
        server.should_exit = server.force_exit = True
        thread.join()

    return end


def _config(listener: socket.socket) -> Config:
    config = Config()
    config.bind = [f"fd://{os.dup(listener.fileno())}"]  # it is closed there
    config.errorlog = logging.getLogger("hypercorn.error")
    config.accesslog = None
    config.graceful_timeout = 0.1
    return config


def _hypercorn_asyncio(application: Application, listener: socket.socket) -> Callable[[], None]:
    ended = threading.Event()

    async def until() -> None:
        await asyncio.to_thread(ended.wait)

    def run() -> None:
        serving = hypercorn.asyncio.serve(
            application,
            _config(listener),
            shutdown_trigger=until,  # type: ignore[arg-type]
        )
        asyncio.run(serving)

    return _in_thread(run, ended)


def _hypercorn_trio(application: Application, listener: socket.socket) -> Callable[[], None]:
    ended = threading.Event()

    async def until() -> None:
        await trio.to_thread.run_sync(ended.wait)

    def run() -> None:
        serve = partial(hypercorn.trio.serve, shutdown_trigger=until)
        trio.run(serve, application, _config(listener))

    return _in_thread(run, ended)


def _in_thread(run: Callable[[], None], ended: threading.Event) -> Callable[[], None]:
    thread = threading.Thread(target=run)
    thread.start()

    def end() -> None:
        ended.set()
        thread.join()

    return end


SERVERS: dict[str, Callable[[Application, socket.socket], Callable[[], None]]] = {
    "uvicorn-h11": partial(_uvicorn, http="h11"),
    "uvicorn-httptools": partial(_uvicorn, http="httptools"),
    "hypercorn-asyncio": _hypercorn_asyncio,
    "hypercorn-trio": _hypercorn_trio,
}


@contextmanager
def serving(name: str, application: Application) -> Iterator[str]:
    """The base URL of a server that runs while the block does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        end = SERVERS[name](application, listener)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            end()
