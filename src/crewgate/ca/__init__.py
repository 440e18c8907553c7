"""The internal certificate authority: it issues, remembers and revokes certificates.

`authority` signs. `certificate_db` has every certificate that was issued, before it is handed out.
A revocation is in the database, then in the CRL, then in the agent's table;
`unrecorded_revocations` holds what the disk did not take. `ocsp` answers for single certificates.
"""
