"""The processor of a run: ratios of two processors differ, so every figure names its own.

Names the processor and never the machine: no host name, no path. Virtual machines hide the model,
so family, model, stepping and cache stand beside its name.
"""

import platform
from collections.abc import Mapping
from os import cpu_count
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")
# The names of the document, and those of /proc/cpuinfo on x86 and on ARM.
IDENTITY = {
    "family": ("cpu family", "CPU architecture"),
    "model": ("model", "CPU part"),
    "stepping": ("stepping", "CPU revision"),
    "cache": ("cache size",),
}


def first_entry(text: str) -> dict[str, str]:
    """Return the lines of /proc/cpuinfo about the first core."""
    entry = text.strip().partition("\n\n")[0]
    pairs = (line.partition(":") for line in entry.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def threads_per_core(entry: Mapping[str, str]) -> int | None:
    """Return 2 where simultaneous multithreading (SMT) is on; None if the kernel does not say."""
    try:
        return int(entry["siblings"]) // int(entry["cpu cores"])
    except (KeyError, ValueError, ZeroDivisionError):
        return None


def describe(text: str) -> dict[str, Any]:
    """Return the processor, its cores, the kernel and Python; `text` is that of /proc/cpuinfo."""
    entry = first_entry(text)
    found = {
        name: next((entry[key] for key in keys if entry.get(key)), None)
        for name, keys in IDENTITY.items()
    }
    return {
        "cpu": entry.get("model name") or platform.machine(),
        **{name: value for name, value in found.items() if value},
        "cores": cpu_count(),
        "threads_per_core": threads_per_core(entry),
        "system": platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def processor() -> dict[str, Any]:
    """Return the same of this machine."""
    return describe(CPUINFO.read_text(encoding="utf-8") if CPUINFO.exists() else "")


def line(found: Mapping[str, Any]) -> str:
    """Return a processor in one line; the results of earlier versions lack some members."""
    identity = [f"{name} {found[name]}" for name in IDENTITY if name in found]
    threads = found.get("threads_per_core")
    smt = {None: "", 1: ", SMT off"}.get(threads, ", SMT on")
    system = " ".join(filter(None, (found.get("system"), found.get("kernel"))))
    name = f"{found['cpu']} ({', '.join(identity)})" if identity else found["cpu"]
    return f"{name}; {found['cores']} cores{smt}; {system}; Python {found['python']}"
