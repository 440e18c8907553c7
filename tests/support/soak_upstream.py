"""A tool's server of the soak: writes down every request that reached it, then answers or behaves.

`python soak_upstream.py PORT LOG [CERTIFICATE KEY PROTOCOL]`. The id of a request is in LOG, by one
write of the kernel's, before anything else happens to it: a SIGKILL loses none. SIGTERM lets
answers end for a second. What may be asked for is in `soak_answers`.
"""

import os
import signal
import ssl
import sys
from functools import partial

import trio
from soak_answers import behave
from soak_upstream1 import serve_http1
from soak_upstream2 import serve_http2

GRACE = 1.0  # seconds, for answers under way at SIGTERM


async def serve(
    log: int, context: ssl.SSLContext | None, protocol: str, plain: trio.SocketStream
) -> None:
    """One connection, to its end."""
    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = plain
    if context is not None:
        stream = trio.SSLStream(plain, context, server_side=True, https_compatible=True)
    try:
        if protocol == "h2":
            await serve_http2(stream, log, behave)
        else:
            await serve_http1(stream, log, behave)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return
    finally:
        await trio.aclose_forcefully(stream)


def context_of(certificate: str, key: str, protocol: str) -> ssl.SSLContext:
    """TLS as a tool's server speaks it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols([protocol])
    return context


async def main(port: int, log: str, *tls: str) -> None:
    """Serve until SIGTERM."""
    context = context_of(*tls) if tls else None
    protocol = tls[-1] if tls else "http/1.1"
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as answers, trio.open_nursery() as listening:
            handler = partial(serve, descriptor, context, protocol)
            await listening.start(
                partial(trio.serve_tcp, handler, port, host="127.0.0.1", handler_nursery=answers)
            )
            print("ready", flush=True)
            async for _ in signals:
                break
            answers.cancel_scope.deadline = trio.current_time() + GRACE
            listening.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(partial(main, int(sys.argv[1]), *sys.argv[2:]))
