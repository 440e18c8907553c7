"""The branch tree of this machine: as a whole, and followed from reading to reading."""
