"""`make sbom`: lists all software of an installed gateway, as CycloneDX in JSON.

The list has the packages that pip installs for the wheel in dist/, and the native libraries inside
of these packages, which no package manager sees. A scanner can look for vulnerabilities in it.
"""

import json
import os
import platform
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "sbom"
EXTRAS = "gateway,postgresql"
# Asks the installed packages which native libraries they bring. Each line that it prints is the
# package, the library, and the library's version as the library states it.
ASK_VERSIONS = """
import re
from importlib import metadata
import apsw, nacl.bindings, psycopg
from cryptography.hazmat.backends.openssl import backend
def show(package, library, version):
    print(package, library, re.search(r"[0-9][0-9.]*[0-9]|$", str(version)).group(), sep="\\t")
show("apsw", "sqlite", apsw.sqlite_lib_version())
show("cryptography", "openssl", backend.openssl_version_text())
show("duckdb", "duckdb", metadata.version("duckdb"))
number = psycopg.pq.version()
show("psycopg-binary", "libpq", f"{number // 10000}.{number % 10000}")
# They state no version: their packages' own versions decide.
show("pynacl", "libsodium", "")
show("ngh2", "nghttp2", "")
show("httptools", "llhttp", "")
show("cffi", "libffi", "")
"""


def run(*command: str | Path, **environment: str) -> str:
    """Return what a command prints; if it fails, end with its error."""
    done = subprocess.run(
        [str(part) for part in command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{done.stderr[-2000:]}\nthis command failed: {command[0]}")
    return done.stdout


def find_wheel() -> Path:
    """Return the wheel in dist/ that the running interpreter can install."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    found = [
        path
        for path in (ROOT / "dist").glob(f"crewgate-*-{tag}-manylinux*.whl")
        if path.stem.endswith(platform.machine())
    ]
    if len(found) != 1:
        sys.exit(f"dist/ has {len(found)} wheels for {tag} here, not one: run make wheels first")
    return found[0]


def native_components(python: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return a package and a component for each native library inside of the packages."""
    result: list[tuple[str, dict[str, Any]]] = []
    for line in run(python, "-c", ASK_VERSIONS).splitlines():
        package, library, version = line.split("\t")
        component: dict[str, Any] = {
            "type": "library",
            "name": library,
            "bom-ref": f"{library} in {package}",
            "description": f"Compiled into the wheel of {package}.",
        }
        if version:
            component |= {"version": version, "purl": f"pkg:generic/{library}@{version}"}
        result.append((package, component))
    return result


def describe_crewgate(bom: dict[str, Any], version: str) -> None:
    """Make Crewgate the software that the list describes, without the path of the wheel here."""
    (own,) = (part for part in bom["components"] if part["name"] == "crewgate")
    bom["components"].remove(own)
    links = own.get("externalReferences", [])
    own["externalReferences"] = [link for link in links if not link["url"].startswith("file:")]
    bom["metadata"]["component"] = own | {
        "type": "application",
        "purl": f"pkg:pypi/crewgate@{version}",
    }


def main() -> None:
    """Write dist/crewgate-VERSION.cdx.json."""
    wheel = find_wheel()
    version = wheel.name.split("-")[1]
    venv.create(WORK / "gateway", clear=True, with_pip=True)
    python = WORK / "gateway" / "bin" / "python"
    pip = (python, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--only-binary=:all:", f"{wheel}[{EXTRAS}]")
    run(*pip, "uninstall", "--quiet", "--yes", "pip", "setuptools")
    # Reproducible: the same wheel and packages make the same bytes, without a time or a number.
    command = ("environment", "--output-reproducible", "--of", "JSON", "--mc-type", "application")
    text = run(sys.executable, "-m", "cyclonedx_py", *command, python)
    bom = json.loads(text)
    describe_crewgate(bom, version)
    references = {part["name"].lower(): part["bom-ref"] for part in bom["components"]}
    edges = {edge["ref"]: edge for edge in bom["dependencies"]}
    for package, component in native_components(python):
        bom["components"].append(component)
        bom["dependencies"].append({"ref": component["bom-ref"]})
        edge = edges[references[package]]
        edge["dependsOn"] = sorted([*edge.get("dependsOn", []), component["bom-ref"]])
    target = ROOT / "dist" / f"crewgate-{version}.cdx.json"
    target.write_text(json.dumps(bom, indent=2) + "\n")
    print(f"Wrote {target.relative_to(ROOT)}: {len(bom['components'])} components")


if __name__ == "__main__":
    main()
