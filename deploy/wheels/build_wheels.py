"""`make wheels`: builds the source distribution of HEAD, and from it the wheels of a release.

Zig's C compiler makes binaries of each platform on any other, so one machine builds all wheels. It
needs no container and runs no program of the other platforms. `auditwheel` then looks into each
binary and refuses one that its platform cannot load.
"""

import argparse
import concurrent.futures
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path
from typing import NamedTuple

from headers import headers_of

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "wheels"
TOOLS = Path(sys.executable).parent
VERSIONS = ("3.11", "3.12", "3.13", "3.14")


class Platform(NamedTuple):
    """A platform of wheels: how its tags begin and end, and what the compiler makes for it."""

    family: str
    machine: str
    zig_target: str
    libc: str  # as in the suffix of an extension module

    @property
    def name(self) -> str:
        """Both ends of its tags."""
        return f"{self.family}_{self.machine}"


PLATFORMS = (
    Platform("manylinux", "x86_64", "x86_64-linux-gnu.2.28", "gnu"),
    Platform("manylinux", "aarch64", "aarch64-linux-gnu.2.28", "gnu"),
    Platform("musllinux", "x86_64", "x86_64-linux-musl", "musl"),
    Platform("musllinux", "aarch64", "aarch64-linux-musl", "musl"),
)
# The usual ones of a release, and those that make an attack harder. No debug information: it would
# hold the paths of this machine.
COMPILE = "-O2 -g0 -fPIC -fno-strict-overflow -DNDEBUG -fstack-protector-strong -D_FORTIFY_SOURCE=2"
LINK = "-shared -Wl,-s -Wl,-z,relro -Wl,-z,now"
# Read once, here: two threads that read them first get half of them.
OWN_VARIABLES = sysconfig.get_config_vars()


def run(command: list[str], log: Path, cwd: Path, **environment: str) -> None:
    """Run `command` in `cwd`; if it fails, end with the last lines of what it printed to `log`."""
    with log.open("w") as output:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        lines = log.read_text(errors="replace").splitlines()[-20:]
        raise SystemExit("\n".join([*lines, f"this command failed: {' '.join(command)}"]))


def source_date() -> str:
    """Return SOURCE_DATE_EPOCH, the time of all files in the distributions: that of HEAD."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    command = ["git", "log", "-1", "--format=%ct"]
    return given or subprocess.check_output(command, cwd=ROOT, text=True).strip()


def build_sdist(target: Path, epoch: str) -> Path:
    """Build the source distribution of HEAD, without anything that is not committed."""
    source = WORK / "source"
    source.mkdir()
    with (
        subprocess.Popen(["git", "archive", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        archive.extractall(source, filter="data")
    command = [sys.executable, "-m", "build", "--no-isolation", "--sdist", "-o", str(target)]
    run(command, WORK / "sdist.log", source, SOURCE_DATE_EPOCH=epoch)
    (made,) = target.glob("*.tar.gz")
    set_dates(made, int(epoch))
    return made


def set_dates(sdist: Path, epoch: int) -> None:
    """Pack a source distribution again, with nothing that depends on who built it, and when.

    setuptools gives the files that it writes itself the time of the build.
    """
    again = sdist.with_suffix(".again")
    with (
        tarfile.open(sdist) as old,
        again.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=epoch) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old, key=lambda member: member.name):
            is_program = member.isdir() or member.mode & 0o100
            plain = member.replace(
                mtime=epoch,
                mode=0o755 if is_program else 0o644,
                uid=0,
                gid=0,
                uname="",
                gname="",
            )
            plain.pax_headers = {}
            new.addfile(plain, old.extractfile(member) if member.isfile() else None)
    again.replace(sdist)


def unpack_and_translate(sdist: Path, epoch: str) -> Path:
    """Unpack the source distribution, and have Cython write the C code, once for all wheels."""
    with tarfile.open(sdist) as archive:
        archive.extractall(WORK / "unpacked", filter="data")
    (source,) = (WORK / "unpacked").iterdir()
    # setup.py calls Cython whatever it is asked for.
    command = [sys.executable, "setup.py", "--quiet", "--version"]
    run(command, WORK / "cython.log", source, SOURCE_DATE_EPOCH=epoch)
    return source


def write_build_variables(folder: Path, version: str, platform: Platform, include: Path) -> None:
    """Write the module from which `sysconfig` learns how to compile, as cross builds do.

    The running interpreter may have another version: the variables name `version`.
    """
    compiler = f"{sys.executable} -m ziglang cc -target {platform.zig_target}"
    suffix = f".cpython-{version.replace('.', '')}-{platform.machine}-linux-{platform.libc}.so"
    variables = OWN_VARIABLES | {
        "CC": compiler,
        "CFLAGS": COMPILE,
        "OPT": "",
        "CCSHARED": "-fPIC",
        "LDSHARED": f"{compiler} {LINK}",
        "LDFLAGS": "",
        "EXT_SUFFIX": suffix,
        "INCLUDEPY": str(include),
        "CONFINCLUDEPY": str(include),
        "Py_ENABLE_SHARED": 0,
    }
    text = f"build_time_vars = {variables!r}\n"
    (folder / "crewgate_build_variables.py").write_text(text)


def build_wheel(source: Path, target: Path, version: str, platform: Platform, epoch: str) -> Path:
    """Build the wheel of one CPython version for one platform, and have auditwheel check it."""
    folder = WORK / f"{version}-{platform.name}"
    folder.mkdir()
    write_build_variables(folder, version, platform, WORK / "headers" / version)
    shutil.copytree(source, folder / "source")
    made = folder / "made"
    run(
        [sys.executable, "-m", "build", "--no-isolation", "--wheel", "-o", str(made)],
        folder / "build.log",
        folder / "source",
        PYTHONPATH=str(folder),
        _PYTHON_SYSCONFIGDATA_NAME="crewgate_build_variables",
        _PYTHON_HOST_PLATFORM=f"linux-{platform.machine}",
        SOURCE_DATE_EPOCH=epoch,
    )
    python_tag = f"cp{version.replace('.', '')}"
    tags = [f"--python-tag={python_tag}", f"--abi-tag={python_tag}"]
    (wheel,) = made.iterdir()
    command = [sys.executable, "-m", "wheel", "tags", "--remove", *tags, str(wheel)]
    run(command, folder / "tags.log", folder, SOURCE_DATE_EPOCH=epoch)
    (wheel,) = made.iterdir()
    if platform.libc == "musl":
        name_musl(wheel, folder, platform, epoch)
    shutil.rmtree(folder / "source")
    checked = check_wheel(wheel, folder, platform, epoch)
    return checked.rename(target / checked.name)


def name_musl(wheel: Path, folder: Path, platform: Platform, epoch: str) -> None:
    """Have each extension module of `wheel` ask for musl by the name that musllinux gives it.

    Zig calls it libc.so, which musl takes for itself, but auditwheel does not.
    """
    opened = folder / "opened"
    wheel_tool = [sys.executable, "-m", "wheel"]
    run([*wheel_tool, "unpack", "-d", str(opened), str(wheel)], folder / "unpack.log", folder)
    (tree,) = opened.iterdir()
    change = ["--replace-needed", "libc.so", f"libc.musl-{platform.machine}.so.1"]
    modules = [str(path) for path in sorted(tree.rglob("*.so"))]
    run([str(TOOLS / "patchelf"), *change, *modules], folder / "patchelf.log", folder)
    command = [*wheel_tool, "pack", "-d", str(wheel.parent), str(tree)]
    run(command, folder / "pack.log", folder, SOURCE_DATE_EPOCH=epoch)


def check_wheel(wheel: Path, folder: Path, platform: Platform, epoch: str) -> Path:
    """Return the wheel with the tags of the oldest systems that auditwheel finds it good for.

    auditwheel reads of each binary which libraries and which versions of their functions it needs.
    """
    repaired = folder / "repaired"
    command = [sys.executable, "-m", "auditwheel", "repair", "-w", str(repaired), str(wheel)]
    path = f"{TOOLS}:{os.environ['PATH']}"  # auditwheel looks for patchelf
    run(command, folder / "audit.log", folder, PATH=path, SOURCE_DATE_EPOCH=epoch)
    (checked,) = repaired.iterdir()
    for tag in checked.stem.rpartition("-")[2].split("."):
        if not (tag.startswith(platform.family) and tag.endswith(platform.machine)):
            raise SystemExit(f"auditwheel calls {checked.name} no wheel for {platform.name}")
    return checked


def write_sums(target: Path) -> None:
    """Write SHA256SUMS, as `sha256sum --check` reads it."""
    files = sorted(path for path in target.iterdir() if path.suffix in {".gz", ".whl"})
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (target / "SHA256SUMS").write_text("".join(lines))


def main() -> None:
    """Build what the arguments select, into an empty folder."""
    parser = argparse.ArgumentParser(prog="make wheels", description=__doc__)
    names = [platform.name for platform in PLATFORMS]
    parser.add_argument("--python", action="append", choices=VERSIONS, help="default: all")
    parser.add_argument("--platform", action="append", choices=names, help="default: all")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="default: dist")
    arguments = parser.parse_args()
    target: Path = arguments.output.resolve()
    if target.is_dir() and any(target.iterdir()):
        sys.exit(f"{target} is not empty: a release has nothing else in it; remove the old files")
    target.mkdir(parents=True, exist_ok=True)
    WORK.mkdir(parents=True, exist_ok=True)
    for path in WORK.iterdir():
        if path.name not in {"headers", "tools"}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    versions = arguments.python or VERSIONS
    for version in versions:
        headers_of(version, WORK / "headers")
    epoch = source_date()
    sdist = build_sdist(target, epoch)
    source = unpack_and_translate(sdist, epoch)
    chosen = [
        (version, platform)
        for platform in PLATFORMS
        if platform.name in (arguments.platform or names)
        for version in versions
    ]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        builds = [pool.submit(build_wheel, source, target, *each, epoch) for each in chosen]
        for build in concurrent.futures.as_completed(builds):
            print(build.result().name, flush=True)
    write_sums(target)
    print(f"Wrote {target}")


if __name__ == "__main__":
    main()
