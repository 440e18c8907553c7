"""The bounds of calls on a certificate.

See policy/certificate_token_signer.py and verifier/peer_certificate_cache.py.
"""

crossings_max = 256  # pairs of crews; each is an account, as a crew is
crossing_tools_chars_max = 1024  # with the longest names beside them they fit a token of 4 KiB
peer_certificates_max = 4096  # shown to an embedder and remembered; 2 KiB each
crossing_tokens_max = 4096  # certificates whose calls need no token; 3 KiB each
