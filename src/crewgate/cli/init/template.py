"""The text of the configuration that `crewgate init` writes, with comments for newcomers."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from crewgate import limits
from crewgate.config import HostPort
from crewgate.config.json_schema import SCHEMA_FILE
from crewgate.config.reference import summary

ADDRESS = "127.0.0.1"
# Where a machine listens that other hosts reach.
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - nothing is bound here
CREW = "article"
DOMAIN = "crewgate.internal"
UPSTREAM = "tools"
# The port of the example's tool server is the port of the agents' listener and this.
UPSTREAM_OFFSET = 10
_LINE_CHARS = 100
PORT_MAX = 65_535 - UPSTREAM_OFFSET


class LedgerKeys(NamedTuple):
    """The keys of [ledger]: its URL, and the file with the server's password, or ""."""

    url: str = "sqlite:state/ledger.db"
    password_file: str = ""


LEDGER = LedgerKeys()

# A line that ends with "#" gets what the declaration of its key says (`config/reference.summary`).
_TEXT = """\
#:schema ./{schema}
# Crewgate's configuration. Paths are relative to this file. `crewgate check -c FILE` checks this
# file and everything that it names. A running gateway reads it again when it changes.

name = "{name}" #
audience = "https://gateway.crewgate.example" #
state = "state" #
workers = 2 #
drain_seconds = {drain:g} #

[audit]
folder = "state/audit" #
on_full = "refuse" #
# sync = "second" #
# keep_bytes = 10_000_000_000 #

[ledger]
url = {ledger} #{password}

# The internal CA. Only the control process reads its folder; gateways read the root and the list of
# revoked certificates. To issue a certificate: crewgate ca issue --role orchestrator …
[ca]
folder = "ca" #
root = "certs/ca.pem" #
crl = "certs/crl.pem" #
trust_domain = "{domain}" #
life_seconds = {life} #
# The OCSP responder that the gateway asks about each client's certificate before it reads a byte:
# the control process of this machine, or "https://…". The gateway's OCSP requests name the CA whose
# certificate is issuing.pem, in the folder of `root`.
ocsp = "unix:state/ocsp.sock"
# control = "https://gw1.example:8445" #

# The control API for operators, orchestrators and gateways, always with mutual TLS.
[control]
address = "{address}"
port = {control}
certificate = "certs/gateway.pem"
key = "gateway/gateway.key"

# The other machines of this trust domain: all of them refuse what one of them revokes. They speak
# UDP and mutual TLS on port {peers}. `crewgate init DIR --from FILE` makes another machine.
[cluster]
peers = {others} #
address = "{address}"  # "0.0.0.0" needs advertise = "HOST:PORT" as well
port = {peers}{advertise}
certificate = "certs/machine.pem" #
key = "gateway/machine.key"
signing_key = "gateway/signing.key" #
# staleness_quorum = "majority" #
# max_staleness_seconds = 5 #

# Where this machine answers the probes /livez and /readyz, over plain HTTP at 127.0.0.1. For a unix
# socket, write socket = "state/admin.sock" in the place of the port.
[admin]
{remote}port = {admin}

# The listener for agents, which use TLS and a token.
[[listener]]
name = "agents"
address = "{address}"
port = {port}
certificate = "certs/gateway.pem" #
key = "gateway/gateway.key"
mode = "enforce" #
# hosts = ["localhost"] #

# The listener for other crews, whose clients present a certificate of the CA above. To call a tool
# of another crew, an agent needs a certificate and a token of its own crew. With a [[crossing]]
# from its crew to the other one, the certificate alone is enough.
[[listener]]
name = "crews"
address = "{address}"
port = {crews}
certificate = "certs/gateway.pem"
key = "gateway/gateway.key"
client_certificate = "required" #
# crews = ["{crew}"] #
# ocsp = "required" #

# A crew: its keys may sign tokens, within these limits.
[crew.{crew}]
issuer = "https://orchestrator.crewgate.example" #
jwks = "crews/{crew}.jwks.json" #
signing_key = "crews/{crew}/signing.key" #
tools = ["search.*", "embeddings.*", "publish.*"]
credits_per_branch = "1000" #
binding = "optional" #
# credits_per_hour, credits_per_day, live_branches, new_branches_per_minute, live_revocations,
# lifetime_seconds, depth and extension_seconds_max are further limits of the crew.

# What a branch does again and again: a warning at 4 equal calls with equal answers, a refusal at 10
# equal calls, the end of the branch at 20.
[loops]
# "observe" gives warnings, and the audit says what would be refused; "enforce" does it.
mode = "observe"
# Tools that may be called again and again, such as one that tells the state of a job.
# exempt_tools = ["jobs.status"]

# A limit on calls: here each crew makes at most 100 searches at once, and then 100 in a minute.
# [limit.searches]
# per = "crew"
# tools = ["search.*"]
# calls = 100
# seconds = 60

[upstream.{tools}]
url = "http://{loopback}:{upstream}"
# The gateway's own credential. The gateway never sends a client's token to the upstream.
# credential = {{ header = "authorization", prefix = "Bearer ", env = "TOOLS_KEY" }}

# A tool: a name to grant, a route, a price in credits a call.
[tool."search.web"]
method = "POST"
path = "/search"
upstream = "{tools}"
price = "0.01"

[tool."embeddings.create"]
method = "POST"
path = "/v1/embeddings"
upstream = "{tools}"
price = "0.01"

[tool."publish.post"]
method = "POST"
path = "/publish"
upstream = "{tools}"
price = "0.01"

# An MCP server: a path for its clients, and a price for each call of its tools. To let the crew use
# the tools, add "files.*" to its `tools`.
# [upstream.files]
# url = "http://127.0.0.1:9321"
# [mcp.files]
# path = "/mcp/files"
# rewrite = "/mcp"
# upstream = "files"
# price = "0.01"
"""


def fresh_config(
    port: int,
    name: str,
    *,
    host: str = "",
    remote_admin: bool = False,
    peers: Sequence[HostPort] = (),
    ledger: LedgerKeys = LEDGER,
) -> str:
    """Return the text of a new crewgate.toml for machine `name`, with its first port at `port`.

    If other hosts reach the machine, `host` is its name or address there. With `remote_admin`, they
    reach [admin] too. `peers` are the addresses
    of other machines, and `ledger` is the place of all budgets.
    """
    password = ledger.password_file
    text = _TEXT.format(
        schema=SCHEMA_FILE,
        name=name,
        address=EVERY_ADDRESS if host else ADDRESS,
        loopback=ADDRESS,
        others=json.dumps([str(each) for each in peers]),
        advertise=f'\nadvertise = "{HostPort(host, port + 3)}" #' if host else "",
        ledger=json.dumps(ledger.url),
        password=f"\npassword_file = {json.dumps(password)} #" if password else "",
        crew=CREW,
        domain=DOMAIN,
        drain=limits.drain_seconds_default,
        life=limits.certificate_life_seconds,
        port=port,
        crews=port + 1,
        control=port + 2,
        peers=port + 3,
        admin=port + 4,
        remote=f'address = "{EVERY_ADDRESS}"\nremote = true #\n' if remote_admin else "",
        tools=UPSTREAM,
        upstream=port + UPSTREAM_OFFSET,
    )
    return "".join(f"{line}\n" for line in _explained(text.splitlines()))


def _explained(lines: list[str]) -> Iterator[str]:
    table = ""
    for line in lines:
        if line.startswith("["):
            table = line.strip("[]")
        code = line.removesuffix(" #")
        if code != line:
            text = summary(table, code.removeprefix("# ").partition(" = ")[0])
            yield from textwrap.wrap(text, _LINE_CHARS, initial_indent="# ", subsequent_indent="# ")
        yield code
