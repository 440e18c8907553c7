"""Finds out whether the party that presents a bound token has the key that the token names.

A token can name the key of a client certificate (RFC 8705), which TLS has proven, or another key,
which a DPoP proof shows (RFC 9449). The machine remembers proofs (`proof_table.h`), so each is good
once. A proof may have a nonce, which depends on the table and on CLOCK_BOOTTIME: so the proof is
good on one machine only, and no wrong wall clock makes it good again.
"""

from base64 import urlsafe_b64encode

from crewgate import limits
from crewgate.core.reasons import Reason

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from crewgate._native.proof cimport KeyBinding, Proof
from crewgate._native.signature cimport blake2b16
from crewgate._native.table cimport cg_get, cg_header, cg_table
from crewgate._native.token_cache cimport VerifiedToken

cdef extern from "base64url.h" nogil:
    void base64url_prepare() noexcept
    int base64url_decode(const unsigned char *, size_t, unsigned char *) noexcept

base64url_prepare()

cdef extern from "sip_hash.h" nogil:
    ctypedef struct sip_state:
        pass
    void sip_start(sip_state *s, const uint64_t *key)
    void sip_add(sip_state *s, const unsigned char *data, size_t n)
    uint64_t sip_end(sip_state *s)

cdef extern from "proof_table.h" nogil:
    const int CG_PROOF_NEW, CG_PROOF_SEEN, CG_PROOF_FULL, CG_PROOF_CLOSED
    const int CG_PROOF_BY_TIME, CG_PROOF_BY_NONCE
    const uint64_t CG_PROOF_SECONDS
    int cg_remember_proof(const cg_table *t, unsigned set, uint64_t seconds, uint64_t proof,
                          uint64_t crew)

cdef object INVALID = Reason.INVALID_PROOF
cdef object USE_NONCE = Reason.USE_NONCE
cdef dict REFUSALS = {CG_PROOF_SEEN: Reason.PROOF_REPLAYED, CG_PROOF_FULL: Reason.PROOFS_FULL,
                      CG_PROOF_CLOSED: Reason.USE_NONCE}
cdef uint64_t NS = 1_000_000_000
cdef int64_t NONCE_STEPS = limits.proof_nonce_seconds // CG_PROOF_SECONDS
# Four bytes of time and 14 of a keyed hash: 24 characters.
cdef enum:
    NONCE_BYTES = 18


@cython.no_gc  # nothing that it refers to could refer to it
@cython.final
cdef class Presenter:
    """See the stub."""

    def __init__(self, crew=None, bytes certificate=None, Proof proof=None, *,
                 bytes branch=None, bint nonce_required=False):
        if branch is not None and PyBytes_GET_SIZE(branch) != 16:
            raise ValueError("the key of a branch has 16 bytes")
        self.crew = crew
        self.branch = branch
        self.certificate = certificate
        self.proof = proof
        self.nonce_required = nonce_required


cdef bytes nonce_of(const cg_header *header, uint32_t step):
    """Return the nonce of a step of CLOCK_BOOTTIME."""
    cdef uint8_t text[20]
    cdef uint8_t digest[16]
    cdef int at
    for at in range(4):
        text[at] = <uint8_t>(step >> (24 - 8 * at))
    memcpy(text + 4, header.proof_key, 16)
    blake2b16(text, 20, digest)
    memcpy(text + 4, digest, NONCE_BYTES - 4)
    return urlsafe_b64encode(PyBytes_FromStringAndSize(<const char *>text, NONCE_BYTES))


cdef inline int64_t now_step(uint64_t boot_ns) noexcept:
    return <int64_t>(boot_ns // NS // CG_PROOF_SECONDS)


cdef bytes current_nonce(const cg_table *t, uint64_t boot_ns):
    return nonce_of(t.header, <uint32_t>now_step(boot_ns))


cdef int64_t step_of(const cg_header *header, bytes nonce):
    """Return the step of a nonce that this machine has given out; -1 if it has not."""
    cdef const unsigned char *text = <const unsigned char *>PyBytes_AS_STRING(nonce)
    cdef unsigned char found[NONCE_BYTES + 1]
    cdef uint32_t step
    if PyBytes_GET_SIZE(nonce) != NONCE_BYTES // 3 * 4 or base64url_decode(
            text, NONCE_BYTES // 3 * 4, found) != 0:
        return -1
    step = <uint32_t>found[0] << 24 | <uint32_t>found[1] << 16 | <uint32_t>found[2] << 8 | found[3]
    return step if nonce == nonce_of(header, step) else -1


cdef uint64_t hash_of(const cg_header *header, Proof proof, KeyBinding binding):
    """Return the hash by which the machine remembers a proof: of its key and its id."""
    cdef sip_state state
    cdef bytes identifier = proof.claims.jti.encode()
    sip_start(&state, header.proof_key)
    sip_add(&state, <const unsigned char *>PyBytes_AS_STRING(binding.thumbprint), 32)
    sip_add(&state, <const unsigned char *>PyBytes_AS_STRING(identifier),
            PyBytes_GET_SIZE(identifier))
    return sip_end(&state)


cdef object remember(const cg_table *t, VerifiedToken entry, Presenter presenter,
                     uint64_t boot_ns):
    """Remember a good proof; return None if it is new, else the Reason."""
    cdef Proof proof = presenter.proof
    cdef unsigned set = CG_PROOF_BY_TIME
    cdef uint64_t seconds = <uint64_t>int(proof.claims.iat)
    cdef int64_t step = -1
    nonce = proof.claims.nonce
    if isinstance(nonce, str):
        step = step_of(t.header, nonce.encode(errors="replace"))
    if step >= 0:
        if not now_step(boot_ns) - NONCE_STEPS < step <= now_step(boot_ns):
            return USE_NONCE
        set, seconds = CG_PROOF_BY_NONCE, <uint64_t>step * CG_PROOF_SECONDS
    # A nonce of another machine counts for nothing, so a client may go from one to the other.
    elif presenter.nonce_required or seconds < cg_get(&t.header.proofs_from):
        return USE_NONCE
    cdef int found = cg_remember_proof(
        t, set, seconds, hash_of(t.header, proof, entry.binding), entry.crew.key[0])
    if found != CG_PROOF_NEW:
        return REFUSALS[found]
    proof.is_remembered = True
    if step >= 0 and step < now_step(boot_ns):
        presenter.next_nonce = current_nonce(t, boot_ns)
    return None


cdef inline bint same_digest(bytes shown, bytes expected) noexcept:
    return shown is not None and PyBytes_GET_SIZE(shown) == 32 and memcmp(
        PyBytes_AS_STRING(shown), PyBytes_AS_STRING(expected), 32) == 0


cdef object unproven(VerifiedToken entry, Presenter presenter, uint64_t wall_ns):
    if presenter is None:
        return INVALID
    if entry.certificate is not None and not same_digest(presenter.certificate, entry.certificate):
        return INVALID
    if entry.binding is None:
        return None if presenter.proof is None else INVALID
    if presenter.proof is None:
        return INVALID
    return presenter.proof.fault(entry.binding, <int64_t>(wall_ns // NS))


cdef object unremembered(const cg_table *t, VerifiedToken entry, Presenter presenter,
                         uint64_t boot_ns):
    # A request is judged again after a draw, and its proof is the same.
    if presenter is None or presenter.proof is None or presenter.proof.is_remembered:
        return None
    return remember(t, entry, presenter, boot_ns)
