"""The C interface of presenters and of what a bound token demands from them."""

from libc.stdint cimport uint64_t

from crewgate._native.proof cimport Proof
from crewgate._native.table cimport cg_table
from crewgate._native.token_cache cimport VerifiedToken


# The party that shows a token (RFC 7800), and its evidence beside the token.
cdef class Presenter:
    cdef readonly object crew           # of its client certificate, or None
    cdef readonly bytes certificate     # SHA-256 digest of that certificate, or None
    cdef readonly bytes branch          # key of the branch that it names, or None
    cdef readonly Proof proof           # of this request, or None
    cdef readonly bint nonce_required   # a proof must have a nonce of this machine
    cdef readonly bytes next_nonce      # for the answer to a proof with an older one, or None


# Return the nonce for proofs of this moment (RFC 9449, section 8).
cdef bytes current_nonce(const cg_table *t, uint64_t boot_ns)

# Return None if the presenter has the key that a bound token names, else the Reason. The function
# remembers no proof.
cdef object unproven(VerifiedToken entry, Presenter presenter, uint64_t wall_ns)

# Remember the proof of the request, if it has one; return None if it is new, else the Reason. Its
# presenter has been found good.
cdef object unremembered(const cg_table *t, VerifiedToken entry, Presenter presenter,
                         uint64_t boot_ns)
