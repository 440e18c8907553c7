"""Finds the C header files of a CPython version: in Debian, or at an interpreter here."""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

# The suite of Debian that has a version. The suites differ from the machine's own, so nothing of
# them is installed here.
SUITES = {"3.11": "bookworm", "3.13": "trixie", "3.14": "forky"}
_FOLDER = "./usr/include/python"
_CONFIG = "./usr/include/x86_64-linux-gnu/python"


def headers_of(version: str, folder: Path) -> Path:
    """Return a folder with the header files of CPython `version`, which is made in `folder`.

    One set serves all platforms: `pyconfig.h` of 64-bit little-endian Linux differs only in what no
    extension module uses (assembler, and the name of the tier of support).
    """
    target = folder / version
    if target.is_dir():
        return target
    unfinished = folder / f"{version}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    if version in SUITES:
        _copy_from_debian(version, unfinished)
    else:
        _copy_from_interpreter(version, unfinished)
    return unfinished.rename(target)


def _copy_from_debian(version: str, target: Path) -> None:
    """Unpack the headers of Debian's package into `target`; run none of its programs."""
    command = [
        *("mmdebstrap", "--quiet", "--variant=extract", "--architectures=amd64"),
        f"--include=libpython{version}-dev",
        # The date until which a frozen copy of the archive is valid has passed. Its signature still
        # has to be good.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        SUITES[version],
        str(target / "debian.tar"),
    ]
    if shutil.which(command[0]) is None:
        sys.exit("make wheels needs mmdebstrap: run apt-get install mmdebstrap")
    subprocess.run(command, check=True)
    with tarfile.open(target / "debian.tar") as archive:
        for member in archive:
            for prefix in (f"{_FOLDER}{version}/", f"{_CONFIG}{version}/"):
                # Debian's own pyconfig.h only includes the one of the architecture.
                is_choice = member.name == f"{_FOLDER}{version}/pyconfig.h"
                if member.name.startswith(prefix) and member.isfile() and not is_choice:
                    member.name = member.name.removeprefix(prefix)
                    archive.extract(member, target, filter="data")
    (target / "debian.tar").unlink()


def _copy_from_interpreter(version: str, target: Path) -> None:
    """Copy the headers beside `python{version}` of this machine."""
    program = "import sysconfig; print(sysconfig.get_path('include'))"
    try:
        answer = subprocess.run(
            [f"python{version}", "-c", program], check=True, capture_output=True, text=True
        )
        found = Path(answer.stdout.strip())
        if not (found / "Python.h").is_file():
            raise FileNotFoundError(found / "Python.h")
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(
            f"no suite of Debian has the headers of Python {version}, and this machine has no "
            f"python{version} with headers ({error}): install one, or leave the version out with "
            f'make wheels ARGS="--python {" --python ".join(SUITES)}"'
        )
    shutil.copytree(found, target, dirs_exist_ok=True)
