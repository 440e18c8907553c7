"""The agent of a table storm: grants, takes back, revokes and reclaims until it is killed.

`python storm_agent.py TABLE CAP`: reads "drop N" lines, writes a line for each revocation that it
has acknowledged. What was granted is never more than CAP, over any number of its lives.
"""

import os
import select
import sys

from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids

NS = 10**9
LIFE = 3600
WALL, BOOT = 1_000_000, 10**15


def main(path: str, cap: int) -> None:
    table = OwnedTable.open(path)
    crew = ids.crew_key("article")
    branches = [b.number for b in table.scan(0, table.geometry.branches) if b.parents]
    serial = table.revocation_generation
    os.write(1, b"open\n")
    lines = b""
    while True:
        if select.select([0], [], [], 0.0005)[0]:
            lines += os.read(0, 4096)
            *whole, lines = lines.split(b"\n")
            for line in whole:
                burned = table.drop_attachment(int(line.split()[1]))
                os.write(1, b"burned %d\n" % len(burned))
        serial += 1
        number = branches[serial % len(branches)]
        record = table.branch(number)
        outstanding = record.granted - record.given_back
        if record.pending or record.available < 500:
            table.begin_draw(number, 1)
            table.grant(number, min(1000, cap - outstanding))
        if serial % 7 == 0:
            table.take_back(number, 100)
        key = (serial << 20).to_bytes(16, "big")
        if table.revocations_of(crew) < table.geometry.revocations // 2:  # a long storm fills it
            table.revoke(key, crew, 2**60, LIFE, WALL, BOOT)
            os.write(1, b"revoked %s\n" % key.hex().encode())
        table.revoke(serial.to_bytes(16, "little"), crew, 2**60, 1, WALL, BOOT)
        table.reclaim(WALL + 2, BOOT + 2 * NS, 512)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
