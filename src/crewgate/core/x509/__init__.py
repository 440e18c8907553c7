"""Certificates as pure values: strict DER, the fields that Crewgate reads, and identities."""
