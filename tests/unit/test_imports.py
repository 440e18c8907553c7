"""What the modules of Crewgate import, of other packages and of each other."""

import subprocess
import sys

import grimp
import pytest

# The library half: what `pip install crewgate` brings, and what those bring themselves.
FENCE = """
import sys
class Fence:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in {
            "crewgate", "msgspec", "nacl", "cffi", "_cffi_backend", "pycparser"
        }:
            raise ModuleNotFoundError(f"{name} is not installed")
sys.meta_path.insert(0, Fence())
"""


def behind_the_fence(statement: str) -> subprocess.CompletedProcess[str]:
    """Run a statement where nothing but the library's own requirements can be imported."""
    command = [sys.executable, "-c", f"{FENCE}\n{statement}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "statement",
    [
        "from crewgate import *",
        (
            "import crewgate, sys\n"
            "assert 'crewgate.errors' not in sys.modules\n"  # imported with the first use of a name
            "assert crewgate.errors.TableError is crewgate.TableError\n"
            "assert crewgate.verifier.Verifier is crewgate.Verifier\n"
            "assert set(crewgate.__all__) <= set(dir(crewgate))\n"
            "assert not hasattr(crewgate, 'Table')"
        ),
        (
            "from crewgate import Denial, Permit, Reason, Verifier\n"
            "Verifier.standalone(audience='a', tools={}, crews={}).close()\n"
            "assert not {'trio', 'asyncio'} & set(sys.modules)"
        ),
        "import crewgate.asgi",
        "import crewgate.config, crewgate.policy.loader, crewgate.runtime.file_watch",
        "import crewgate.ipc.embedder_attachment, crewgate.ipc.admin_client",
        "import crewgate._native.gate, crewgate._native.table, crewgate._native.token",
    ],
)
def test_the_library_needs_only_what_it_is_installed_with(statement: str) -> None:
    """No event loop, web stack or X.509 is imported by the half that embedders use."""
    done = behind_the_fence(statement)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("statement", "extra"),
    [
        ("import crewgate.issuer", "issuer"),
        ("import crewgate.issuer.httpx_auth", "issuer"),
        ("import crewgate.mcp", "mcp"),
        ("import crewgate.integrations", "issuer"),
        ("import crewgate.cli", "gateway"),
    ],
)
def test_what_is_not_installed_is_named_by_its_extra(statement: str, extra: str) -> None:
    """The name of the module alone would lead to another package: jwt is of PyJWT."""
    done = behind_the_fence(statement)
    assert done.returncode == 1
    assert f"run pip install 'crewgate[{extra}]'" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["trio", "click", "cryptography", "jwt"])
def test_the_fence_keeps_out_what_is_installed(name: str) -> None:
    """The check above can fail: what the other half needs does not pass."""
    assert f"{name} is not installed" in behind_the_fence(f"import {name}").stderr


# Parts of one thing, which import each other for the type checker only: a call with its response,
# its metering and its record, and an orchestrator with the handles of its branches.
CYCLES = {
    *(
        f"crewgate.gateway.call.{name}"
        for name in ("proxied_call", "response_metering", "response_relay")
    ),
    "crewgate.gateway.call.call_audit_line",
    *(
        f"crewgate.issuer.{name}"
        for name in ("branches.branch_operations", "orchestrator", "subagent")
    ),
}


def test_modules_import_each_other_in_no_other_cycle() -> None:
    """Imports for the type checker and in functions count too."""
    graph = grimp.build_graph("crewgate")
    found = {
        module
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
        if module in graph.find_upstream_modules(imported)
    }
    assert found == CYCLES
