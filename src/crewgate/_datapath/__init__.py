"""The native data path of a gateway worker, compiled from the Cython and C sources in `ext/`.

It polls the sockets of a worker, reads and writes them, and forwards calls. It decides no call:
`_native` does. Only Linux has it.
"""
