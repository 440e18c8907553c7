"""Ed25519 by the libsodium that PyNaCl bundles, called through its C function pointer."""

def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """True if `signature` (64 bytes) of `message` is good under `public` (32 bytes), RFC 8032.

    Strictness is libsodium's: low-order and non-canonical points and scalars are refused.
    ValueError on any other length.
    """

def is_valid_point(public: bytes) -> bool:
    """True if `public` (32 bytes) is a canonical point of the prime-order subgroup."""

def self_test() -> None:
    """Check the linked library on edge cases; RuntimeError if it differs from what we rely on."""
