"""No object of the native core ends the interpreter, however it was made.

`X.__new__(X)` makes an object that nothing filled. Python may refuse it; else each of its
attributes and methods, and each call that takes it, gives a value or raises an Exception.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
MODULES = sorted(
    f"crewgate.{source.parent.name}.{source.stem}"
    for source in (ROOT / "ext/crewgate").glob("_*/*.pyx")
)

# Runs in a process of its own: what it looks for ends the process that runs it.
TRY_ALL = """
import faulthandler, importlib, inspect, itertools, sys
from crewgate._native.table import Table

faulthandler.enable()
GIVEN = [None, 0, 2**64 - 1, b"", b"x" * 16, "x", (), [], {}, object()]
LANGUAGE = ("__class__", "__init_subclass__", "__subclasshook__", "__reduce_ex__")


def tried(call, *given):
    try:
        return call(*given)
    except Exception:
        return None


def blanks_of(cls):
    empty = Table.__new__(Table)
    made = (tried(cls.__new__, cls, *given) for given in ((), (empty,), (empty, 0)))
    return [one for one in made if one is not None]


def try_all(blank, name, given):
    for one in given:
        tried(setattr, blank, name, one)
    method = tried(getattr, blank, name)
    if not callable(method):
        return
    for count in range(3):
        for some in itertools.product(given, repeat=count):
            tried(method, *some)
    for count in range(3, 14):
        for one in given:
            tried(method, *[one] * count)


seen = 0
for module in sys.argv[1:]:
    module = importlib.import_module(module)
    classes = [one for one in vars(module).values()
               if inspect.isclass(one) and one.__module__ == module.__name__]
    for blank in itertools.chain.from_iterable(map(blanks_of, classes)):
        for name in sorted(set(dir(blank)) - set(LANGUAGE)):
            print(type(blank).__name__, name, file=sys.stderr, flush=True)
            try_all(blank, name, [*GIVEN, blank])
            seen += 1
print(seen)
"""


def test_what_new_made_raises_and_never_crashes(tmp_path: Path) -> None:
    """Every class, attribute and method, with arguments of every kind."""
    ended = subprocess.run(
        [sys.executable, "-c", TRY_ALL, *MODULES],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert int(ended.stdout) > 200
