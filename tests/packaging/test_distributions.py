"""The sdist and the wheel, built as a release would be, and the wheel used without its source."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INPUTS = ("src", "ext", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
GENERATED = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info", "*.c")
MADE = Path("build/cython")
COMPILED = {".pyx", ".pxd", ".h"}
MODULES = sorted(path.with_suffix("") for path in (ROOT / "ext").glob("crewgate/_*/*.pyx"))


def build(source: Path, out: Path, kind: str) -> Path:
    """One distribution of the tree at `source`, by the tools that are installed here.

    The C in it is compiled as it would be for a release, but for the optimiser.
    """
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "-o", str(out)]
    done = subprocess.run(
        [*command, str(source)],
        env=os.environ | {"CREWGATE_QUICK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, built from a copy so that nothing here is touched."""
    source = tmp_path_factory.mktemp("source")
    for name in (*INPUTS, "CHANGELOG.md"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=GENERATED)
        else:
            shutil.copy(ROOT / name, source / name)
    if (ROOT / MADE).is_dir():  # from the same sources by the same Cython; it is in no distribution
        shutil.copytree(ROOT / MADE, source / MADE)
    return build(source, tmp_path_factory.mktemp("sdist"), "sdist")


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from what the source distribution holds.

    Cython's sources are byte for byte those that are here, so it would make the same C again.
    """
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    for path in (path for path in (ROOT / "ext").rglob("*") if path.suffix in COMPILED):
        assert (source / path.relative_to(ROOT)).read_bytes() == path.read_bytes()
    if (ROOT / MADE).is_dir():
        shutil.copytree(ROOT / MADE, source / MADE)
    return build(source, tmp_path_factory.mktemp("wheel"), "wheel")


def test_the_sdist_holds_every_source_and_no_result(sdist: Path) -> None:
    """All of src/ and ext/ that is versioned, the build files, no tests and nothing compiled."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {
        str(path.relative_to(ROOT))
        for folder in ("src", "ext")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".pyi", ".pyx", ".pxd", ".h", ".typed"}
    }
    assert sources <= names
    assert {*INPUTS[2:], "CHANGELOG.md"} <= names
    assert not [name for name in names if name.startswith(("tests/", "bench/", ".ci/", "certs/"))]
    assert not [name for name in names if name.endswith((".so", ".c", ".pyc"))]


def test_the_wheel_holds_the_package_its_faces_and_binaries(wheel: Path) -> None:
    """Every module, a `.so` for each native one, all faces, the live page, and no other package."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"crewgate"}
    texts = {
        str(path.relative_to(ROOT / "src"))
        for pattern in ("*.py", "*.pyi", "ui/static/*")
        for path in (ROOT / "src/crewgate").rglob(pattern)
    }
    assert texts <= names
    assert "crewgate/py.typed" in names
    for module in MODULES:
        assert any(
            name.startswith(f"{module.relative_to(ROOT / 'ext')}.cpython") and name.endswith(".so")
            for name in names
        )
    assert not [name for name in names if name.endswith((".pyx", ".pxd", ".h", ".c"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_installed_wheel_works_without_its_source(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, the package imports, its native core passes its self-test."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = (
        "import crewgate\n"
        "from crewgate import *\n"  # which imports the modules of all names
        "from crewgate._native import gate, signature, table, token\n"
        "signature.self_test()\n"
        "print(crewgate.__file__, gate.__file__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(path.startswith(str(tmp_path)) for path in done.stdout.split())
