"""Puts the certificates and the keys of a machine into the empty volume of its pod.

`python first_start.py ARCHIVE FOLDER [--bootstrap]`. If FOLDER exists, the program changes nothing:
the gateway has renewed its certificates there. ARCHIVE has the folders that `crewgate init` wrote.
"""

import argparse
import os
import shutil
import tarfile
from pathlib import Path

# The first machine of a trust domain has this file, so it asks no other machine for revocations. A
# machine that has lost its volume must ask.
FIRST = Path("state", "gossip", "standing")


def main() -> None:
    """Unpack the archive beside the folder, and rename it when it is complete."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bootstrap", action="store_true")
    options = parser.parse_args()
    if options.folder.exists():
        print(f"{options.folder}: exists; nothing to do")
        return
    # The modes of the folders are not those of the archive, which could be too wide.
    os.umask(0o077)
    draft = options.folder.with_name(f"{options.folder.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    with tarfile.open(options.archive) as archive:
        archive.extractall(draft, filter="data")
    missing = [each for each in ("certs", "gateway") if not (draft / each).is_dir()]
    if missing:
        raise SystemExit(f"{options.archive}: has no {' and no '.join(missing)} at its top")
    if not options.bootstrap:
        (draft / FIRST).unlink(missing_ok=True)
    os.sync()
    draft.rename(options.folder)
    os.sync()
    print(f"{options.folder}: unpacked from {options.archive.name}")


if __name__ == "__main__":
    main()
