"""Builds the extension, nothing else; everything declarative stands in pyproject.toml.

Switches (environment): CREWGATE_TRACE=1 for coverage of Cython, CREWGATE_SANITIZE=1 for ASan and
UBSan, CREWGATE_FAULTS=1 for the build that can be killed between any two stores to the table,
CREWGATE_QUICK=1 to leave out the optimiser, which takes most of a build, where speed is no matter.
"""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

TRACE = os.environ.get("CREWGATE_TRACE") == "1"
SANITIZE = os.environ.get("CREWGATE_SANITIZE") == "1"
FAULTS = os.environ.get("CREWGATE_FAULTS") == "1"
QUICK = os.environ.get("CREWGATE_QUICK") == "1"
# The data path of a worker needs epoll, which only Linux has.
PACKAGES = ["_native", "_datapath"] if sys.platform == "linux" else ["_native"]
# Each module is one file of Cython, and one of C.
PROCESSES = os.cpu_count() or 1
SOURCES = [Path("ext/crewgate") / package for package in PACKAGES]
HEADERS = sorted(header for folder in SOURCES for header in folder.glob("*.h"))

# Python's own flags have -g, which takes a third of the compiler's time.
flags = ["-std=c11", "-O2", "-g0", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"]
# Cython's own output trips these two; ours does not use either.
flags += ["-Wno-missing-field-initializers", "-Wno-unused-function"]
if QUICK:  # a fortified library needs the optimiser
    flags += ["-O0", "-U_FORTIFY_SOURCE"]
sanitizers = []
if SANITIZE:
    # A report of either ends the process: what only a log says is never read.
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    flags += ["-O1", "-g", *sanitizers, "-fno-omit-frame-pointer"]

macros = [("CREWGATE_FAULTS", "1")] if FAULTS else []
if TRACE:
    macros += [("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")]

extensions = [
    Extension(
        f"crewgate.{folder.name}.{source.stem}",
        [str(source)],
        include_dirs=[str(folder) for folder in SOURCES],
        depends=[str(header) for header in HEADERS],
        define_macros=macros,
        extra_compile_args=flags,
        extra_link_args=sanitizers,
    )
    for folder in SOURCES
    for source in sorted(folder.glob("*.pyx"))
]

# Of Cython, for all modules.
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    # An object that `__new__` made and nothing filled raises; it does not end the process.
    "nonecheck": True,
    # No object of ours is copied: a state that a stranger wrote is never set.
    "auto_pickle": False,
    "freethreading_compatible": False,
    "linetrace": TRACE,
}

if __name__ == "__main__":  # the processes that compile to C may import this module
    setup(
        options={"build_ext": {"parallel": PROCESSES}},
        ext_modules=cythonize(
            extensions,
            include_path=["ext"],
            nthreads=PROCESSES,
            # Cython.Coverage reads the C file, and looks for it beside its source only.
            build_dir=None if TRACE else "build/cython",
            force=TRACE,
            compiler_directives=DIRECTIVES,
        ),
    )
