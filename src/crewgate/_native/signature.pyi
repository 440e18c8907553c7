"""Ed25519 by the libsodium that PyNaCl bundles, called through its C function pointer."""

def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether `signature` (64 bytes) of `message` is good under `public` (32 bytes).

    RFC 8032, as strict as libsodium: low-order and non-canonical points and scalars are refused.
    Raises ValueError for other lengths.
    """

def is_valid_point(public: bytes) -> bool:
    """Return whether `public` (32 bytes) is a canonical point of the prime-order subgroup."""

def self_test() -> None:
    """Check edge cases on the linked library; raise DependencyError if a result is unexpected."""
