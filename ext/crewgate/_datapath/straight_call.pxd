"""The C interface of straight calls, and of the parts that those of a listener share."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from crewgate._datapath.ended_calls cimport EndedCallQueue
from crewgate._datapath.grant_cache cimport GrantCache
from crewgate._datapath.http2_message cimport HTTP2Message
from crewgate._datapath.http2_protocol cimport HTTP2Protocol, RequestTaker
from crewgate._datapath.http2_request_head cimport HTTP2RequestHead
from crewgate._datapath.in_flight cimport InFlightCall, InFlightCalls
from crewgate._datapath.straight_routes cimport RoutedListener, StraightRoute, StraightRoutes
from crewgate._native.audit_line cimport AuditLines, AuditLineTemplate
from crewgate._native.audit_state cimport AuditRecorderState
from crewgate._native.bearer cimport bearer_search
from crewgate._native.fields cimport message_field
from crewgate._native.presenter cimport Presenter
from crewgate._native.proof cimport Origin
from crewgate._native.request_id cimport RequestIds


cdef class StraightCalls:
    cdef RoutedListener gateway
    cdef object services                # the CallServices of the worker, and parts of it:
    cdef InFlightCalls in_flight
    cdef EndedCallQueue ended
    cdef AuditLines audit_lines
    cdef RequestIds request_ids
    cdef AuditRecorderState audit
    cdef object support                 # the StraightSupport, and part of it:
    cdef GrantCache identities          # of IdentityHeaders
    cdef StraightRoutes routes          # those of the last request
    cdef readonly uint64_t done         # calls that it has carried to their end
    cdef readonly uint64_t given_up     # calls that have become ordinary ones

    cdef StraightRoutes current_routes(self)


cdef class StraightRequestTaker(RequestTaker):
    cdef StraightCalls calls
    cdef object peer                    # the ClientInfo of the connection
    cdef Presenter presenter            # of tokens without a proof; None without a certificate
    cdef str serial                     # of its certificate, for the audit
    cdef str network                    # of the peer, for the audit
    cdef bytes authority                # that of the last request; the rest depends on it
    cdef StraightRoutes routes
    cdef dict served                    # its straight routes; None: the listener does not serve it
    cdef bytes origin_lines             # where its requests come from, as lines of HTTP/1.1
    cdef tuple origin_fields            # the same as pairs
    cdef Origin proof_origin            # that proofs of its requests must name

    cdef int look_up(self, const message_field *field) except -1
    cdef Presenter presenter_of(self, HTTP2Message request, StraightRoute route,
                                const bearer_search *search)


cdef class StraightCall(InFlightCall):
    cdef StraightRequestTaker taker
    cdef HTTP2Protocol protocol         # of its client's connection, which it does not outlive
    cdef readonly StraightRoute route
    cdef readonly StraightRoutes routes
    cdef HTTP2Message request
    cdef readonly Presenter presenter
    cdef object stream                  # None while it waits for one, and once it is over
    cdef readonly bytes token, request_id
    # The request upstream, until it is sent: for HTTP/1.1 what follows the host.
    cdef bytes outgoing
    cdef HTTP2RequestHead outgoing_head
    cdef Py_ssize_t body_size           # of the request
    cdef readonly object trace          # a TraceContext, or None
    cdef readonly int64_t arrived_wall_ns, arrived_ns, started_ns, sent_ns
    cdef public int attempts            # how often the pool has looked for another connection
    cdef public object reuse_key
    cdef object ordinary                # the ProxiedCall that it has become
    cdef bint is_over

    cdef int begin(self) except -1
    cdef int send(self, object stream) except -1
    cdef object become_ordinary(self)
    cdef int record(self, int status, int64_t answered_ns, Py_ssize_t bytes_out) except -1
    cdef AuditLineTemplate template(self)
