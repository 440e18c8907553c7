"""The internal certificate authority: it issues, records and revokes certificates.

`authority` signs. `certificate_db` (the register) records every certificate before anybody gets it.
A revocation goes into the register first, then into the CRL, then into the agent's table.
`unrecorded_revocations` holds what the disk did not take. `ocsp` answers for single certificates.
"""
