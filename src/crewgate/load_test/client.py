"""The bundled client: sends the steps of a load from one thread, over TLS and HTTP/2."""

import selectors
import socket
import ssl
import time
from contextlib import suppress

from crewgate import limits
from crewgate.errors import LoadTestError
from crewgate.load_test.http2_connection import ClientConnection
from crewgate.load_test.pacer import WAIT_SECONDS, Pacer
from crewgate.load_test.plan import Request, Shape, Step
from crewgate.load_test.result import StepResult

_RECEIVE_BYTES = 65_536
_SEND_BYTES = 65_536


def open_socket(request: Request, tls: ssl.SSLContext) -> ssl.SSLSocket:
    """Connect, and return a socket that does not block. Raises LoadTestError."""
    target = request.target
    where = (target.host, target.port)
    try:
        raw = socket.create_connection(where, limits.load_test_connect_seconds)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock = tls.wrap_socket(raw, server_hostname=target.host)
    except ssl.SSLCertVerificationError as error:
        raise LoadTestError(
            f"{target.authority}: the certificate is not trusted ({error.verify_message}); "
            f"name its CA with --ca, or use --insecure for a test certificate"
        ) from error
    except OSError as error:
        raise LoadTestError(f"{target.authority}: no connection ({error})") from error
    if sock.selected_alpn_protocol() != "h2":
        sock.close()
        raise LoadTestError(f"{target.authority}: the server does not speak HTTP/2")
    sock.settimeout(0)
    return sock


class LoadClient:
    """Runs steps one after the other; a step opens its own connections before it begins."""

    def __init__(self, request: Request, shape: Shape, tls: ssl.SSLContext) -> None:
        self._request = request
        self._shape = shape
        self._tls = tls

    def run(self, step: Step) -> StepResult:
        """Send one step. Raises LoadTestError if the gateway accepts no connection."""
        return _StepRun(self._request, self._shape, self._tls, step).run()

    def send_one(self) -> tuple[int, bytes]:
        """Send one request, and return its status and the beginning of the body of a refusal.

        The status is 0 if there is no answer. Raises LoadTestError as `run`.
        """
        step = Step("one request", limits.load_test_answer_seconds, requests=1)
        run = _StepRun(self._request, Shape(1, 1), self._tls, step)
        statuses = run.run().statuses
        return next(iter(statuses), 0), run.refusal


class _StepRun:
    """The connections and the counts of one step."""

    def __init__(self, request: Request, shape: Shape, tls: ssl.SSLContext, step: Step) -> None:
        self._request, self._shape, self._tls, self._step = request, shape, tls, step
        self._result = StepResult(step.name, step.rate)
        self._selector = selectors.DefaultSelector()
        self._connections: dict[ssl.SSLSocket, ClientConnection] = {}
        self._output: dict[ssl.SSLSocket, bytearray] = {}
        self._reconnections = limits.load_test_reconnections_max
        self.refusal = b""  # the beginning of the body of the last answer that is not 2xx

    def run(self) -> StepResult:
        """Send all requests, wait for their answers, and close the connections."""
        try:
            return self._run()
        finally:
            self._selector.close()
            for sock in self._connections:
                sock.close()

    def _run(self) -> StepResult:
        for _ in range(self._shape.connections):
            self._open()
        began, cpu = time.perf_counter(), time.process_time()
        pacer = Pacer(self._step, began)
        last = began + self._step.seconds + limits.load_test_answer_seconds
        while True:
            now = time.perf_counter()
            is_over = pacer.is_over(now)
            open_count = sum(each.open_count for each in self._connections.values())
            if (is_over and not open_count) or now >= last:
                break
            self._turn(pacer, now, reopen=not is_over)
        self._result.seconds = time.perf_counter() - began
        self._result.client_share = (time.process_time() - cpu) / self._result.seconds
        self._result.unanswered = open_count
        self._result.unsent = pacer.unsent
        return self._result

    def _turn(self, pacer: Pacer, now: float, *, reopen: bool) -> None:
        """Send what is due, then take what has arrived."""
        waits_for_answers = not self._send_due(pacer, now)
        for sock, connection in list(self._connections.items()):
            self._flush(sock, connection)
            if connection.is_closing and not connection.open_count:
                self._drop(sock, reopen=reopen)
        if not self._connections:
            raise LoadTestError("the gateway closes each connection")
        # While no stream is free, the next answer wakes the client and not the time.
        seconds = WAIT_SECONDS if waits_for_answers else pacer.seconds_to_next(now)
        for key, events in self._selector.select(seconds):
            if events & selectors.EVENT_READ and isinstance(key.fileobj, ssl.SSLSocket):
                self._receive(key.fileobj)

    def _send_due(self, pacer: Pacer, now: float) -> bool:
        """Send the requests that are due, over the connections in turn.

        Returns False if there was no free stream for one.
        """
        free = [each for each in self._connections.values() if each.has_free_stream]
        while free:
            for connection in free:
                moment = pacer.due(now)
                if moment is None:
                    return True
                connection.send_request(moment)
                pacer.note_sent()
            free = [each for each in free if each.has_free_stream]
        return False

    def _on_answer(self, began: float, status: int, body: bytes) -> None:
        self.refusal = body or self.refusal
        result = self._result
        if not status:
            result.lost += 1
            return
        result.statuses[status] += 1
        result.times.append((time.perf_counter() - began) * 1e3)

    def _open(self) -> None:
        sock = open_socket(self._request, self._tls)
        self._connections[sock] = ClientConnection(
            self._request, self._shape.streams, self._on_answer
        )
        self._output[sock] = bytearray()
        self._selector.register(sock, selectors.EVENT_READ)

    def _drop(self, sock: ssl.SSLSocket, *, reopen: bool) -> None:
        """Close a connection, and open another one while requests are due."""
        self._connections.pop(sock).end()
        del self._output[sock]
        self._selector.unregister(sock)
        sock.close()
        if reopen and self._reconnections:
            self._reconnections -= 1
            with suppress(LoadTestError):  # the step goes on with the other connections
                self._open()

    def _flush(self, sock: ssl.SSLSocket, connection: ClientConnection) -> None:
        """Send as much as the socket takes."""
        output = self._output[sock]
        output += connection.output()
        events = selectors.EVENT_READ
        try:
            while output:
                del output[: sock.send(output[:_SEND_BYTES])]
        except ssl.SSLWantWriteError:
            events |= selectors.EVENT_WRITE
        except OSError:
            output.clear()
            connection.end()
            return
        if self._selector.get_key(sock).events != events:
            self._selector.modify(sock, events)

    def _receive(self, sock: ssl.SSLSocket) -> None:
        """Take all that has arrived."""
        connection = self._connections[sock]
        try:
            while data := sock.recv(_RECEIVE_BYTES):
                connection.receive(data)
        except ssl.SSLWantReadError:
            return
        except OSError:
            pass
        connection.end()
