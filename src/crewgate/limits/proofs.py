"""The bounds of DPoP proofs (RFC 9449), by which clients show the keys of bound tokens."""

proof_bytes_max = 2048  # of a DPoP proof; those of P-256 take 700 with a URL of 100 characters
proof_id_chars_max = 128  # of `jti` in a proof; a UUID has 36
proof_servers_max = 64  # whose nonces a client's hook remembers; most clients call one gateway
proof_age_seconds_max = 60  # a proof is made for one request that is sent at once
proof_nonce_seconds = 64  # four windows of the proof table; a client gets a new one in one answer
