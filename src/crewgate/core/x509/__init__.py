"""Certificates and CRLs as values: strict DER, the fields that Crewgate reads, and identities."""
