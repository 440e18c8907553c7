"""The control process: the only one that can read the CA's key; API, OCSP, list of the revoked."""
