"""The C interface of the answers to straight calls."""

from libc.stdint cimport int32_t

from crewgate._datapath.http2_protocol cimport HTTP2Protocol
from crewgate._datapath.straight_routes cimport StraightRoute
from crewgate._datapath.whole_answer cimport WholeAnswer
from crewgate._native.permit cimport Permit


# Queue the whole answer for the client. Return False, with nothing changed, if the Python way must
# choose its fields. Raises ngh2.NGH2Error if the client has closed the stream, or the connection
# ends.
cdef bint send_answer(HTTP2Protocol protocol, int32_t stream, StraightRoute route, Permit permit,
                      WholeAnswer answer) except -1
