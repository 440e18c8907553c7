"""Which OIDs an identity may be under."""

import pytest
from cryptography import x509

from crewgate import limits
from crewgate.core.x509 import der
from crewgate.core.x509.identity_oids import DEFAULT, FORMER, check_oid

LARGEST = 2**31 - 1
LONG = "1.3.6.1.4.1" + f".{LARGEST}" * 11 + ".16384"


@pytest.mark.parametrize("oid", [DEFAULT, "1.3.6.1.4.1.32473.1", "0.39.0", f"2.{LARGEST - 80}.1"])
def test_good_ones(oid: str) -> None:
    check_oid(oid)


def test_the_longest_that_is_good_can_be_written() -> None:
    assert len(der.identifier(LONG)) == limits.identity_oid_bytes_max
    check_oid(LONG)
    assert x509.ObjectIdentifier(LONG).dotted_string == LONG
    with pytest.raises(ValueError, match="longer than 63 bytes"):
        check_oid(f"{LONG}.1")


@pytest.mark.parametrize(
    ("oid", "says"),
    [
        *((text, "write 3 to 63 numbers") for text in
          ("", "1", "1.2", "1.2.", ".1.2.3", "1..2.3", "3.1.1", "1.02.3", "1.2.x", "1.2.-3",
           "1.2.3 ", "1.2.3\n", "1.2.\u0663", "1.2.12345678901", "1" + ".1" * 63)),
        ("1.40.1", "at most 39"),
        (f"1.2.{LARGEST + 1}", "below 2"),
        (f"2.{LARGEST - 79}.1", "below 2"),
        (FORMER, "write 3 to 63 numbers"),
        ("2.5.29.19", "other extensions"),
        ("1.3.6.1.5.5.7.1.1", "other extensions"),
    ],
)  # fmt: skip
def test_bad_ones(oid: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_oid(oid)
