"""The control process: the only process of a machine that reads the CA's key.

With the key it serves the control API and OCSP and keeps the CRL fresh (`server`). Without it, it
renews this machine's certificates over another machine's API (`remote_ca_client`).
"""
