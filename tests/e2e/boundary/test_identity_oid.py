"""An organisation writes identities under its own OID; old certificates are good until they end."""

import re
import signal
from pathlib import Path

import forged_certificates
from cryptography import x509
from installation import wait_until
from mtls_gateway import Boundary

from crewgate.ca.key_files import read_certificates
from crewgate.config import load
from crewgate.core.x509.identity_oids import DEFAULT

OID = "1.3.6.1.4.1.32473.1"
NEXT = "1.3.6.1.4.1.32473.2"


def _reload(boundary: Boundary, old: str, new: str) -> None:
    before = boundary.generation()
    text = boundary.file.read_text()
    assert old in text
    boundary.file.write_text(text.replace(old, new, 1))
    config = load(boundary.file)
    assert config.ca is not None
    boundary.ca = config.ca
    assert boundary.serving is not None
    boundary.serving.send_signal(signal.SIGHUP)
    wait_until(lambda: boundary.generation() > before)
    boundary.run("status", "--wait", "100")


def test_the_arc_changes_twice_while_serving(tmp_path: Path) -> None:
    """Workers, control API and commands read each OID of the configuration, and no other one."""
    line = f'identity_oid = "{OID}"'
    boundary = Boundary(tmp_path, workers=1)
    try:
        # A member of a cluster reads the OIDs at its start.
        text = boundary.file.read_text()
        boundary.file.write_text(
            re.sub(r"\n\[cluster\].*?\n(?=\n*\[)", "\n", text, flags=re.DOTALL)
        )
        boundary.serve()

        def status(leaf: Path) -> int:
            files = forged_certificates.Files(leaf, leaf.with_suffix(".key"))
            return boundary.knock(files, 1, boundary.say("bd")).status

        leaves = []
        for oid in (DEFAULT, OID, NEXT):
            if oid == OID:
                _reload(boundary, "[ca]\n", f"[ca]\n{line}\n")
            elif oid == NEXT:
                own = f'identity_oid = "{NEXT}"\naccepted_identity_oids = ["{OID}"]'
                _reload(boundary, line, own)
            leaf = boundary.issue(forged_certificates.bd()).files.certificate
            found = read_certificates(leaf)[0].extensions
            found.get_extension_for_oid(x509.ObjectIdentifier(oid))
            leaves.append(leaf)
            assert [status(each) for each in leaves] == [200] * len(leaves)
        _reload(boundary, f'\naccepted_identity_oids = ["{OID}"]', "")
        assert [status(each) for each in leaves] == [200, 0, 200]
        assert boundary.connections()[-1]["reason"] == "no-identity"
        # A client without a configuration reads its own certificate under whichever OID it is.
        control = f"https://127.0.0.1:{boundary.port + 2}"
        prefix = str(leaves[-1].with_suffix(""))
        boundary.run(
            "ca", "issue", "--control", control, "--cert", prefix, "--ca", str(boundary.root),
            configured=False,
        )  # fmt: skip
        assert status(leaves[-1]) == 200
    finally:
        boundary.end()
