"""OCSP (RFC 6960): the responder of the CA, and the client that listeners use.

`client` caches answers and asks again before they end. `verify` accepts an answer only if the
issuer of the certificate, or a responder that it has delegated, has signed it.
"""
