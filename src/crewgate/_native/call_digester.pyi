"""Digests of calls and of answers, by which the rules on branches compare them."""

from collections.abc import Sequence

from crewgate._native.table import Table

class CallDigester:
    def __init__(self, volatile_members: Sequence[str] = ()) -> None:
        """Leave out members with these names, at every level of a JSON body.

        Raises ValueError if there are too many.
        """
    def call(self, table: Table, method: bytes, path: bytes, query: bytes, body: bytes) -> int:
        """Return the digest of a call, 2 to 2**64 - 1; 0 if its body is too long for one.

        Calls have one digest if only the order of members and of query parameters, blanks and
        escapes of JSON differ. The digest depends on the key of the table.
        """
    def answer(self, table: Table, body: bytes, *, is_json: bool = False) -> int:
        """Return the digest of an answer; 0 if it is empty or too long.

        `is_json`: compare it as the body of a call is compared.
        """
