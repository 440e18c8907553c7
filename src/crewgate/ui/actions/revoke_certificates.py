"""Revokes the certificates and the tokens of an orchestrator: a short-lived process.

    python -m crewgate.ui.actions.revoke_certificates -c FILE

It reads a `CertificateOrder` from standard input, and writes a `CertificateReceipt`. The intent is
on disk before the first step, as of an order to the control API: after a crash, the control process
completes it. Exit status 1: it was not done, and standard error says why.
"""

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import msgspec

from crewgate.api.schemas import RevocationReason
from crewgate.ca.authority import Authority, configured_ca
from crewgate.ca.certificate_db import CertificateRecord
from crewgate.ca.decommission_intents import DecommissionIntent, DecommissionIntents
from crewgate.ca.revocation_propagation import announce
from crewgate.config import Config, load
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import CrewgateError
from crewgate.ipc import receipt_text
from crewgate.ipc.admin_messages import RevocationReceipt
from crewgate.lifecycle.orchestrator_runs import OrchestratorRunStore
from crewgate.ui.actions.orchestrator_certificates import CertificateOrder, CertificateReceipt


def main() -> int:
    """Carry out one order; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-c", dest="file", type=Path, required=True, help="crewgate.toml")
    options = parser.parse_args()
    try:
        order = msgspec.json.decode(sys.stdin.buffer.read(), type=CertificateOrder)
        found = revoke(load(options.file), order)
    except (CrewgateError, msgspec.DecodeError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(found))
    return 0


def revoke(config: Config, order: CertificateOrder) -> CertificateReceipt:
    """Revoke all certificates of an orchestrator, and all tokens that it has issued until now.

    If `crewgate run` runs it, the control process ends its process and removes its keys. Raises
    CrewgateError; then the intent is stored, unless the error says that it cannot be.
    """
    ca, now = configured_ca(config), int(time.time())
    reason = order.reason if order.reason in get_args(RevocationReason) else "unspecified"
    intent, intents = (
        DecommissionIntent(order.crew, order.name, reason, now),
        DecommissionIntents(ca.folder),
    )
    with OrchestratorRunStore(ca.register) as runs, Authority(ca) as authority:
        runs.request_stop_if_running(order.crew, order.name, now)
        intents.note(intent)
        revoked = authority.register.revoke_holder(order.crew, order.name, reason, now)
        authority.catch_up(datetime.now(UTC))
        named = (order.crew, order.name)
        pending = [each for each in authority.register.pending() if (each.crew, each.name) == named]
        target = RevocationTarget(EntityKind.ORCHESTRATOR, f"{order.crew}/{order.name}", order.crew)
        done = announce(authority.register, config.state, pending, [target], by=order.by)
        intents.done(intent)
    return _receipt(revoked, target, done)


def _receipt(
    revoked: list[CertificateRecord], target: RevocationTarget, done: RevocationReceipt
) -> CertificateReceipt:
    about = msgspec.structs.replace(done, targets=[target])
    number = len(revoked)
    first = f"revoked {number} certificate{'' if number == 1 else 's'} of {target.name}"
    document = msgspec.to_builtins(about)
    document |= {"certificates": [each.serial for each in revoked]}
    document["targets"] = [{"kind": target.rules.label, "name": target.name, "crew": target.crew}]
    for member in ("type", "id"):
        document.pop(member, None)
    return CertificateReceipt([first, *receipt_text.revocation_lines(about)], document)


if __name__ == "__main__":
    sys.exit(main())
