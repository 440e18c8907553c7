"""OCSP (RFC 6960): the responder of the CA, and the client that listeners use.

`client` sends requests and caches responses. `verify` accepts a response only if the issuer of the
certificate, or a responder that the issuer has delegated, signed it. `transport` posts requests.
"""
