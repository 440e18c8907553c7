"""The live page of a gateway, in processes of its own."""

import re
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from installation import COMMAND, Premises


@contextmanager
def foreground(site: Premises, *more: str) -> Iterator[tuple[str, str]]:
    """`crewgate ui` while the block runs: the URL of the page, and a code."""
    command = [*COMMAND, "ui", "-c", str(site.file), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            found = re.fullmatch(rb"(http://\S+)/#/code/(\S+)\n", process.stdout.readline())
            assert found, process.stderr and process.stderr.read()
            yield found[1].decode(), found[2].decode()
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
            assert process.stderr is not None
            assert found is None or found[2] not in process.stderr.read()


def answers(url: str, context: ssl.SSLContext | None = None) -> bool:
    """Whether a page answers at a URL, to a client with this TLS context."""
    try:
        answer = httpx.get(f"{url}/api/ways", verify=context or True, trust_env=False)
    except httpx.TransportError:
        return False
    return answer.status_code == 200
