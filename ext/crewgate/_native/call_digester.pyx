"""Digests of calls and of answers, for the rules on branches; see `call_digest.h`."""

from crewgate import limits

from libc.stdint cimport uint64_t

from crewgate._native.rules cimport (
    cg_digest_body, cg_digest_bytes, cg_digest_call, cg_digester, cg_known,
)
from crewgate._native.table cimport Table

cdef size_t BYTES_MAX = limits.digested_bytes_max
cdef Py_ssize_t NAMES_MAX = limits.volatile_members_max


cdef class CallDigester:
    """See the stub."""

    def __cinit__(self, volatile_members=()):
        cdef Py_ssize_t at
        self.names = tuple([name.encode() for name in volatile_members])
        if len(self.names) > NAMES_MAX:
            raise ValueError(f"at most {NAMES_MAX} members are left out, not {len(self.names)}")
        for at in range(len(self.names)):
            name = <bytes>self.names[at]
            self.digester.left_out[at].at = <const unsigned char *><bytes>name
            self.digester.left_out[at].end = <const unsigned char *><bytes>name + len(name)
        self.digester.left_out_count = <unsigned>len(self.names)

    cdef uint64_t digest(self, const uint64_t *key, const unsigned char *method, size_t method_size,
                         const unsigned char *path, size_t path_size, const unsigned char *query,
                         size_t query_size, const unsigned char *body, size_t body_size) noexcept:
        if body_size > BYTES_MAX:
            return 0
        cdef cg_digester digester = self.digester
        digester.key = key
        return cg_digest_call(&digester, method, method_size, path, path_size, query, query_size,
                              body, body_size)

    def call(self, Table table not None, bytes method not None, bytes path not None,
             bytes query not None, bytes body not None):
        table.check_open()
        return self.digest(
            table.t.header.proof_key, <const unsigned char *>method, len(method),
            <const unsigned char *>path, len(path), <const unsigned char *>query, len(query),
            <const unsigned char *>body, len(body))

    def answer(self, Table table not None, bytes body not None, *, bint is_json=False):
        cdef cg_digester digester = self.digester
        table.check_open()
        if not body or <size_t>len(body) > BYTES_MAX:
            return 0
        if not is_json:
            return answer_digest(
                table.t.header.proof_key, <const unsigned char *>body, len(body))
        digester.key = table.t.header.proof_key
        return cg_known(cg_digest_body(&digester, <const unsigned char *>body, len(body)))


cdef uint64_t answer_digest(const uint64_t *key, const unsigned char *body, size_t size) noexcept:
    cdef cg_digester digester
    if size == 0 or size > BYTES_MAX:
        return 0
    digester.key = key
    digester.left_out_count = 0
    return cg_known(cg_digest_bytes(&digester, c"a", body, size))
