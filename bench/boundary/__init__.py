"""What the boundary between crews costs: handshakes, lists of the revoked, revocations."""
