"""Reads and writes the TLS socket of one client; the stub says how.

It calls the OpenSSL object below `ssl.SSLSocket`, which costs no frame of Python and no buffer for
each read. All sockets read into one buffer, because a protocol takes the bytes at once.
"""

import logging
import socket
import ssl
from functools import partial

from crewgate import limits
from crewgate.ssl_workarounds import forget_errors

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.buffer cimport PyBUF_READ
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC

from crewgate._datapath.socket_poller cimport EPOLLIN, EPOLLOUT, SocketPoller
from crewgate._datapath.turn_work cimport Pollable
from crewgate._datapath.wire_protocol cimport NativeWireProtocol

cdef extern from "clock.h" nogil:
    uint64_t cg_clock_ns(int clock)

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int descriptor, void *buffer, size_t size, int flags)

_log = logging.getLogger(__name__)
cdef int RECEIVE_BYTES = limits.receive_bytes
cdef object RECEIVE_SIZE = limits.receive_bytes  # the same for Python
cdef int BULK_BYTES = limits.bulk_bytes
cdef bytearray RECEIVED = bytearray(RECEIVE_BYTES)


def reads_as_expected(connection):
    """Return whether OpenSSL's object in this Python reads into a buffer, and says if it must wait.

    `connection` is an `ssl.SSLObject` of a client whose server has sent nothing.
    """
    try:
        connection._sslobj.read(1, bytearray(1))
    except ssl.SSLWantReadError:
        pass
    except Exception:
        return False
    else:
        return False
    try:
        connection._sslobj.write(memoryview(b"x"))
    except ssl.SSLWantReadError:
        return True
    except Exception:
        return False
    return False


def new_client():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")


READS_OPENSSL = reads_as_expected(new_client())


def receive_into(sock, size, buffer):
    return sock.recv_into(buffer, size)


cdef class ClientSocket(Pollable):
    """See the stub."""

    def __init__(self, sock, peer, SocketPoller poller not None):
        self.peer = peer
        self.poller = poller
        self.sock = sock
        self.number = sock.fileno()
        self.unsent = b""

    def begin_handshake(self):
        self.poller.watch_native(self, self.number, EPOLLIN)
        self.is_bulky = True  # a step takes 0.3 ms: few in each turn, after all calls

    def start(self, protocol not None):
        if READS_OPENSSL:
            self.read, self.write = self.sock._sslobj.read, self.sock._sslobj.write
        else:
            self.read, self.write = partial(receive_into, self.sock), self.sock.send
        self.protocol = protocol
        self.native = protocol if isinstance(protocol, NativeWireProtocol) else None
        if self.is_watched:
            self.choose_events()
        else:
            self.poller.watch_native(self, self.number, EPOLLIN)

    def stop(self):
        if self.is_stopped:
            return
        self.is_stopped = True
        self.poller.forget_native(self)
        if self.protocol is not None:
            try:
                self.protocol.lose()
            except Exception:
                self.log_error()
        if not self.is_busy:
            self.finish()

    def linger(self):
        try:
            self.sock.unwrap()  # sends close_notify, and does not wait for that of the client
        except (OSError, ValueError):
            forget_errors()
        self.sock.shutdown(socket.SHUT_WR)
        self.is_lingering = True
        self.poller.watch_native(self, self.number, EPOLLIN)

    def release(self):
        self.poller.forget_native(self)
        self.protocol = self.native = None
        self.sock.close()

    def log_error(self):
        _log.exception("closing the connection from %s: internal error", self.peer.address)

    def wake(self):
        self.wake_native()

    def resume(self):
        self.choose_events()

    def unsent_seconds(self):
        if not self.unsent:
            return 0.0
        return (cg_clock_ns(CLOCK_MONOTONIC) - self.unsent_since_ns) / 1e9

    cdef int wake_native(self) except -1:
        return self.poller.write_at_end_native(self)

    def handshake_ended(self, error):
        raise NotImplementedError

    def ended(self):
        raise NotImplementedError

    def linger_ended(self):
        raise NotImplementedError

    # For the poller.

    cdef bint ready(self, uint32_t events) except -1:
        """Read or write, inside the barrier; return whether more of a large body is likely."""
        cdef bint is_bulk = False
        self.is_busy = True
        try:
            if self.is_lingering:
                is_bulk = self.discard_input()
            elif self.protocol is None:
                is_bulk = self.shake_hands()
            else:
                is_bulk = self.serve(events)
        except Exception:
            self.fail()
        self.leave()
        return is_bulk

    cdef int run(self) except -1:
        """Write the protocol's output; end the connection after the last of it."""
        self.is_busy = True
        self.write_output()
        return self.leave()

    cdef int leave(self) except -1:
        """Return to the poller: finish if the connection has ended."""
        self.is_busy = False
        if self.is_stopped:
            if not self.is_finished:
                self.finish()
        elif self.is_behind():
            self.poller.call_again(self)
        return 0

    cdef int finish(self) except -1:
        self.is_finished = True
        self.read = self.write = None  # OpenSSL's object has 60 KB; the socket keeps it as needed
        self.ended()
        return 0

    # Its steps.

    cdef bint serve(self, uint32_t events) except -1:
        cdef bint is_bulk = events & EPOLLOUT
        if events & EPOLLOUT:
            self.wants_write = False
            self.write_output()
        if events & EPOLLIN:
            if self.is_due:
                self.write_output()  # a second call in one turn: answers first, then more requests
            if self.is_watched:
                is_bulk = self.receive()
        elif events & ~EPOLLOUT:
            self.end(True)  # EPOLLERR or EPOLLHUP alone: a reset
        if self.is_watched:
            self.choose_events()
        return is_bulk

    cdef int write_output(self) except -1:
        if self.wants_write or not self.is_watched or self.is_lingering:
            return 0
        try:
            if not self.flush():
                self.wants_write = True
            elif self.is_watched and self.is_closing():
                self.end(False)
            if self.wants_write or self.events != EPOLLIN:
                self.choose_events()
        except OSError:
            forget_errors()
            self.end(True)
        except Exception:
            self.fail()
        return 0

    cdef bint shake_hands(self) except -1:
        """Take a step of the handshake; return whether another must follow."""
        cdef uint32_t events
        if self.is_secure:
            # The authorizer takes its time. `start` watches again.
            self.poller.forget_native(self)
            return False
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            events = EPOLLIN
        except ssl.SSLWantWriteError:
            events = EPOLLOUT
        except Exception as error:
            if isinstance(error, OSError):
                forget_errors()
            else:
                _log.exception("refusing %s: internal error in the handshake", self.peer.address)
            self.handshake_ended(error)
            return False
        else:
            self.is_secure = True
            self.handshake_ended(None)
            return False
        if events != self.events:
            self.poller.change_native(self, events)
        return True

    cdef bint receive(self) except -1:
        """Read what has arrived; return whether more of a large body is likely.

        One turn reads about `limits.receive_bytes`, so that no connection holds up the others. A
        read takes a whole TLS record, so OpenSSL buffers no bytes that the poller does not see.
        After a full record of a body another one is usually there: the same turn reads it as well.
        So it is after the head of a small request, if its client sends the body in another record.
        """
        cdef int remaining = RECEIVE_BYTES, count
        cdef bint is_body, is_bulk = False
        cdef const char *data = PyByteArray_AS_STRING(RECEIVED)
        if self.is_behind():
            self.native.take_held()
        while remaining > 0 and self.is_watched and not self.is_paused():
            try:
                count = self.read(RECEIVE_SIZE, RECEIVED)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLWantWriteError:
                # OpenSSL must answer a TLS key update, and the socket is full.
                self.wants_write = True
                break
            except ssl.SSLEOFError:
                count = 0  # most clients close without a TLS alert
            except OSError:
                forget_errors()
                count = 0
            if count == 0:
                self.take_held()
                self.end(True)
                return False
            remaining -= count
            if self.native is not None:
                is_body = self.native.receive_native(<const uint8_t *>data, count)
                if self.native.is_holding:
                    continue
            else:
                is_body = self.protocol.receive(PyBytes_FromStringAndSize(data, count))
            if not is_body or count < BULK_BYTES:
                break
            is_bulk = True
        self.take_held()
        if self.wants_output():
            self.wake_native()
        return is_bulk or self.is_behind()

    cdef int take_held(self) except -1:
        """Have the protocol act on what it has kept: no more of it has arrived."""
        if self.native is not None and self.native.is_holding:
            self.native.take_held()
        return 0

    cdef bint flush(self) except -1:
        """Write the protocol's output; return False if the socket is full."""
        cdef Py_ssize_t size, sent
        while self.is_watched:
            piece = self.unsent if self.unsent else self.next_piece()
            size = len(piece)
            if size:
                try:
                    sent = self.write(piece)
                except ssl.SSLWantWriteError:
                    if not self.unsent:
                        self.keep(bytes(piece))
                    return False
                if sent < size:
                    self.keep(bytes(piece[sent:]))
                    continue
                self.unsent = b""
                if self.wants_output():
                    continue
            if not (self.native.all_sent() if self.native is not None
                    else self.protocol.sent_all()):
                return True
        return True

    cdef int keep(self, bytes unsent) except -1:
        self.unsent, self.unsent_since_ns = unsent, cg_clock_ns(CLOCK_MONOTONIC)
        return 0

    cdef object next_piece(self):
        cdef const uint8_t *data = NULL
        cdef Py_ssize_t size
        if self.native is None:
            return self.protocol.bytes_to_send()
        size = self.native.next_output(&data)
        return PyMemoryView_FromMemory(<char *>data, size, PyBUF_READ) if size else b""

    cdef bint is_paused(self) except -1:
        return self.native.is_paused() if self.native is not None else self.protocol.paused

    cdef bint is_closing(self) except -1:
        return self.native.closing if self.native is not None else self.protocol.closing

    cdef bint is_behind(self) noexcept:
        return self.native is not None and self.native.is_behind

    cdef bint wants_output(self) except -1:
        return self.native.wants_output() if self.native is not None else self.protocol.has_output

    cdef bint discard_input(self) except -1:
        """Discard what has arrived; return whether more is likely."""
        cdef ssize_t count = recv(self.number, PyByteArray_AS_STRING(RECEIVED), RECEIVE_BYTES, 0)
        if count == 0 or (count < 0 and errno != EAGAIN and errno != EINTR):
            self.linger_ended()
        return count == RECEIVE_BYTES

    cdef int choose_events(self) except -1:
        """Have the poller report the events that this connection can act on."""
        cdef uint32_t events = EPOLLOUT if self.wants_write else 0
        if not self.is_watched:
            return 0
        if not self.is_paused():
            events |= EPOLLIN
        if events != self.events:
            self.poller.change_native(self, events)
        return 0

    cdef int end(self, bint peer_closed) except -1:
        self.peer_closed = self.peer_closed or peer_closed
        self.stop()
        return 0

    cdef int fail(self) except -1:
        self.log_error()
        return self.end(False)
