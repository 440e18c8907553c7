"""Identity providers: their public keys, and the tokens by which they say who a person is.

The control process, the commands and the library use this package to begin a run on behalf of a
person. No call of a tool waits for it: from then on, the run has tokens of its own crew.
"""
