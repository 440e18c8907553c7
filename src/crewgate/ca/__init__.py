"""The internal CA: it signs leaves, knows what it signed, and says what it has revoked."""
