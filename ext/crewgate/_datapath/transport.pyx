"""Reads and writes a non-blocking socket to a tool's server; see the stub.

It reads and writes a plain socket by system calls, and TLS through Python's object. All reads of a
process share one buffer, because a protocol takes the bytes of a read before the next read.
"""

import logging
import ssl
from collections import deque

from crewgate import limits
from crewgate.core.delivery import OURS
from crewgate.errors import UpstreamError
from crewgate.ssl_workarounds import forget_errors

from cython cimport final

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from cpython.mem cimport PyMem_Malloc
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t

from crewgate._datapath.socket_poller cimport EPOLLIN, EPOLLOUT, SocketPoller
from crewgate._datapath.turn_work cimport Pollable, TurnWork

cdef extern from "<sys/socket.h>" nogil:
    ssize_t c_send "send"(int descriptor, const void *data, size_t size, int flags)
    ssize_t c_recv "recv"(int descriptor, void *data, size_t size, int flags)
    int setsockopt(int descriptor, int level, int option, const void *value, unsigned int size)
    int MSG_NOSIGNAL

cdef extern from "<netinet/in.h>" nogil:
    int IPPROTO_TCP

cdef extern from "<netinet/tcp.h>" nogil:
    int TCP_QUICKACK

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *descriptors, unsigned long count, int milliseconds)
    short POLLIN

log = logging.getLogger("crewgate.upstream.transport")
cdef tuple WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
cdef enum:
    RECORD_BYTES = 16_384  # the maximum of plain text in a TLS record (RFC 8446, section 5.1)
cdef Py_ssize_t RECEIVE_BYTES = limits.receive_bytes
cdef Py_ssize_t BULK_BYTES = limits.bulk_bytes
cdef char *received = <char *>PyMem_Malloc(RECEIVE_BYTES)
if received is NULL:
    raise MemoryError


cdef class TransportProtocol(TurnWork):
    """See the stub."""

    cdef int take(self, const char *data, Py_ssize_t size) except -1:
        raise NotImplementedError


@final
cdef class Transport(Pollable):
    """See the stub."""

    def __init__(self, sock not None, SocketPoller poller not None, protocol not None):
        self.poller = poller
        self.protocol = protocol
        if isinstance(protocol, TransportProtocol):
            self.native_protocol = protocol
        self.queued = 0
        self.sent = 0
        self.sock = sock
        self.is_tls = isinstance(sock, ssl.SSLSocket)
        self.unsent = deque()
        self.wanted = EPOLLIN
        self.fd = sock.fileno()
        poller.watch_native(self, self.fd, EPOLLIN)

    def __cinit__(self, *_, **__):
        self.fd = -1

    def send(self, bytes data not None):
        self.send_bytes(data)

    cdef int send_bytes(self, bytes data) except -1:
        """See `send`."""
        cdef Py_ssize_t sent
        if self.unsent:
            self.unsent.append(data)
            self.queued += PyBytes_GET_SIZE(data)
            return 0
        sent = self.push(data)
        if sent < 0:
            sent = 0
        self.sent += sent
        if sent < PyBytes_GET_SIZE(data):
            # OpenSSL requires the same bytes again if it did not take them.
            self.unsent.append(data[sent:])
            self.queued = PyBytes_GET_SIZE(data) - sent
            self.set_events(self.wanted | EPOLLOUT)
        return 0

    cpdef pause(self):
        self.set_events(self.wanted & ~EPOLLIN)

    cpdef resume(self):
        self.set_events(self.wanted | EPOLLIN)

    cpdef bint is_stale(self):
        cdef pollfd descriptor
        descriptor.fd, descriptor.events, descriptor.revents = self.fd, POLLIN, 0
        return self.fd < 0 or poll(&descriptor, 1, 0) != 0

    cpdef acknowledge(self):
        cdef int on = 1
        # It fails if the socket is not TCP, where it is not needed.
        setsockopt(self.fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on))

    cpdef close(self):
        if self.fd >= 0:
            self.poller.forget_native(self)
            self.fd = -1
            self.sock.close()

    cdef int set_events(self, uint32_t events) except -1:
        if events == self.wanted or self.fd < 0:
            return 0
        self.wanted = events
        if self.is_watched:
            self.poller.change_native(self, events)
        elif events & EPOLLIN:  # it broke while reading was paused
            self.poller.watch_native(self, self.fd, events)
        return 0

    cdef Py_ssize_t push(self, bytes data) except -2:
        """Send what the kernel takes now; return how much, or -1 if that is nothing.

        Raises OSError if the connection broke.
        """
        cdef ssize_t sent
        if self.is_tls:
            return self.push_tls(data)
        while True:
            sent = c_send(
                self.fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), MSG_NOSIGNAL
            )
            if sent >= 0:
                return sent
            if errno == EAGAIN:
                return -1
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)

    cdef Py_ssize_t push_tls(self, bytes data) except -2:
        """Send at most one TLS record at a time.

        Given several records at once, OpenSSL writes as many as the kernel takes, but reports only
        the last one. The server could then read bytes that do not count as `sent`.
        """
        cdef Py_ssize_t sent = 0, size = PyBytes_GET_SIZE(data)
        view = memoryview(data)
        try:
            while sent < size:
                sent += self.sock.send(view[sent : sent + RECORD_BYTES])
        except WOULD_BLOCK:
            return sent if sent else -1
        except OSError:
            forget_errors()
            if not sent:
                raise
            # The next call raises it again; the bytes that were sent count now.
        return sent

    cdef bint ready(self, uint32_t events) except -1:
        """Write and read, inside the barrier; return whether more of a large body is likely."""
        if not self.wanted & EPOLLIN and events & ~EPOLLOUT:
            # The connection broke while reading was paused. The transport writes no more, and reads
            # the last input after `resume`.
            self.poller.forget_native(self)
            return False
        try:
            if events & EPOLLOUT:
                self.write()
            if events & ~EPOLLOUT:
                return self.read()
        except UpstreamError as error:
            self.protocol.failed(error)
        except Exception:
            log.exception("closing a connection to a tool's server: internal error")
            self.protocol.failed(UpstreamError(OURS))
        return (events & EPOLLOUT) != 0

    cdef bint read(self) except -1:
        if self.fd < 0:  # the write before has closed it
            return False
        if not self.is_tls:
            return self.read_plain()
        cdef bytes data
        try:
            data = self.sock.recv(RECEIVE_BYTES)
        except WOULD_BLOCK:
            return False
        except OSError as error:
            forget_errors()
            self.protocol.closed(error)
            return False
        if not data:
            self.protocol.closed(None)
        elif self.native_protocol is not None:
            self.native_protocol.take(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        else:
            self.protocol.received(data)
        return PyBytes_GET_SIZE(data) >= BULK_BYTES

    cdef bint read_plain(self) except -1:
        cdef ssize_t size
        while True:
            size = c_recv(self.fd, received, RECEIVE_BYTES, 0)
            if size >= 0 or errno != EINTR:
                break
        if size > 0:
            if self.native_protocol is not None:
                self.native_protocol.take(received, size)
            else:
                self.protocol.received(PyBytes_FromStringAndSize(received, size))
            return size >= BULK_BYTES
        if size == 0:
            self.protocol.closed(None)
        elif errno != EAGAIN:
            try:
                PyErr_SetFromErrno(OSError)
            except OSError as error:
                self.protocol.closed(error)
        return False

    cdef int write(self) except -1:
        cdef bytes data
        cdef Py_ssize_t sent
        try:
            while self.unsent:
                data = self.unsent[0]
                sent = self.push(data)
                if sent < 0:
                    return 0
                self.sent += sent
                self.queued -= sent
                if sent < PyBytes_GET_SIZE(data):
                    self.unsent[0] = data[sent:]
                    return 0
                self.unsent.popleft()
        except OSError:
            # The next read tells the cause: a response may have arrived before the close.
            self.unsent.clear()
            self.queued = 0
            self.set_events(EPOLLIN)
            return 0
        self.set_events(self.wanted & ~EPOLLOUT)
        self.protocol.drained()
        return 0
