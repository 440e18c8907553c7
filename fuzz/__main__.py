"""Fuzzes the C headers of the native code with libFuzzer under ASan and UBSan; `make fuzz`.

Each target is a C file beside this one; its kept inputs stand in `corpus/`, which a test of the
suite also plays through the real build. Needs clang and its runtime (Debian: clang and
libclang-rt-*-dev). What breaks a target stays in build/fuzz, with the command that shows it again.

The target `straight_calls` is a program of its own, straight_calls.py: it compares two gateways.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
HEADERS = [HERE.parent / "ext" / "crewgate" / folder for folder in ("_native", "_datapath")]
BUILD = HERE.parent / "build" / "fuzz"
STRAIGHT_CALLS = "straight_calls"
TARGETS = [*sorted(source.stem for source in HERE.glob("*.c")), STRAIGHT_CALLS]
COMPILERS = ("clang", *(f"clang-{version}" for version in range(22, 13, -1)))
FLAGS = ["-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror"]
FLAGS += ["-Wno-unused-function", "-Wno-unused-parameter"]  # headers of inline functions
FLAGS += ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=undefined"]
BYTES_MAX = 4200  # of an input: a token has at most 4,096
KEPT_BYTES_MAX = 4096  # of one target's kept inputs: every clone has them, and a test reads them
KEPT_INPUT_BYTES_MAX = 512
KEPT_INPUTS_MAX = 40


def compiler() -> str:
    """The first clang that there is; ends the run with what to install."""
    found = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    if found is None:
        sys.exit("no clang was found: install clang and its runtime (libclang-rt-*-dev)")
    return found


def build(target: str) -> Path:
    """The target's program."""
    program = BUILD / target / target
    program.parent.mkdir(parents=True, exist_ok=True)
    includes = [f"-I{folder}" for folder in (*HEADERS, HERE)]
    source = str(HERE / f"{target}.c")
    subprocess.run([compiler(), *FLAGS, *includes, source, "-o", str(program)], check=True)
    return program


def fuzz(target: str, seconds: int) -> bool:
    """Run a target, beginning with what is kept and what earlier runs found. Whether it held."""
    if target == STRAIGHT_CALLS:
        command = [sys.executable, str(HERE / "straight_calls.py"), f"--seconds={seconds}"]
        return not subprocess.run(command, check=False).returncode
    program, found = build(target), BUILD / target / "corpus"
    found.mkdir(exist_ok=True)
    kept = HERE / "corpus" / target
    options = [f"-max_total_time={seconds}", f"-max_len={BYTES_MAX}", "-timeout=10"]
    options += ["-print_final_stats=1", "-verbosity=0", f"-artifact_prefix={BUILD / target}/"]
    command = [str(program), *options, str(found), *([str(kept)] if kept.is_dir() else [])]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(done.stderr, f"\n{target}: broken; again with {program} FILE", sep="")
        return False
    units = next((line for line in done.stderr.splitlines() if "executed_units" in line), "")
    print(f"{target}: {units.split()[-1] if units else '?'} inputs, nothing broke", flush=True)
    return True


def keep(target: str) -> None:
    """Put some of the inputs that together reach all that was reached into `corpus/`.

    Of all lengths, as far as there is room.
    """
    if target == STRAIGHT_CALLS:
        command = [sys.executable, str(HERE / "straight_calls.py"), "--seconds=0", "--keep"]
        subprocess.run(command, check=True)
        return
    program, kept = build(target), HERE / "corpus" / target
    least = BUILD / target / "least"
    shutil.rmtree(least, ignore_errors=True)
    least.mkdir()
    kept.mkdir(parents=True, exist_ok=True)
    command = [str(program), "-merge=1", str(least), str(kept), str(BUILD / target / "corpus")]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    room = KEPT_BYTES_MAX - sum(path.stat().st_size for path in kept.iterdir())
    places = KEPT_INPUTS_MAX - len(list(kept.iterdir()))
    reached = sorted(least.iterdir(), key=lambda path: path.stat().st_size)
    short = [path for path in reached if path.stat().st_size <= KEPT_INPUT_BYTES_MAX]
    for path in short[:: max(1, -(-len(short) // max(1, places)))] if places > 0 else []:
        size = path.stat().st_size
        name = kept / path.name[:16]
        if size <= room and not name.exists():
            shutil.copy(path, name)
            room -= size


def main() -> None:
    """Fuzz each target; status 1 if one broke."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", choices=TARGETS, action="append", help="default: all")
    parser.add_argument("--keep", action="store_true", help="add what was found to corpus/")
    given = parser.parse_args()
    os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1")
    targets = given.target or TARGETS
    broken = [target for target in targets if not fuzz(target, given.seconds)]
    if given.keep and not broken:
        for target in targets:
            keep(target)
    sys.exit(f"broken: {', '.join(broken)}" if broken else 0)


if __name__ == "__main__":
    main()
