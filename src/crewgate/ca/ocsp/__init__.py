"""OCSP (RFC 6960): the responder of the CA, and the client of those who admit certificates."""
