"""The configuration that `crewgate init` writes: as text, with the comments a newcomer needs."""

import textwrap
from collections.abc import Iterator

from crewgate import limits
from crewgate.config.reference import summary

ADDRESS = "127.0.0.1"
CREW = "article"
DOMAIN = "crewgate.internal"
UPSTREAM = "tools"
UPSTREAM_OFFSET = 10  # the example's tool server listens so many ports above the agents
_LINE_CHARS = 100
PORT_MAX = 65_535 - UPSTREAM_OFFSET

# A line that ends with "#" gets what the declaration of its key says (`config/reference.summary`).
_TEXT = """\
# Crewgate's configuration. Paths are relative to this file. `crewgate check -c FILE` reads it and
# everything that it names, and says what is wrong; SIGHUP makes a running gateway read it again.

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
url = "sqlite:state/ledger.db" #

# The internal CA. Its folder is for the control process alone; root and list of revoked
# certificates are what gateways read. Issue with: crewgate ca issue --role orchestrator …
[ca]
folder = "ca" #
root = "certs/ca.pem" #
crl = "certs/crl.pem" #
trust_domain = "{domain}" #
life_seconds = {life} #
# Whom the gateway asks of each client's certificate before it reads a byte (OCSP), in the name of
# the CA in issuing.pem beside the root: the control process of this machine, or "https://…".
ocsp = "unix:state/ocsp.sock"
# control = "https://gw1.example:8445" #

# The control API: mutual TLS always, for operators, orchestrators and gateways.
[control]
address = "{address}"
port = {control}
certificate = "certs/gateway.pem"
key = "gateway/gateway.key"

# The other machines of this trust domain: what is revoked on one of them, all refuse. They speak
# UDP and mutual TLS on port {peers}. `crewgate init DIR --from FILE` makes another one.
[cluster]
peers = [] #
address = "{address}"  # "0.0.0.0" wants advertise = "ADDRESS:PORT" as well
port = {peers}
certificate = "certs/machine.pem" #
key = "gateway/machine.key"
signing_key = "gateway/signing.key" #
# staleness_quorum = "majority" #
# max_staleness_seconds = 5 #

# Agents come here, over TLS with a token.
[[listener]]
name = "agents"
address = "{address}"
port = {port}
certificate = "certs/gateway.pem" #
key = "gateway/gateway.key"
mode = "enforce" #
# hosts = ["localhost"] #

# Other crews come here: over a connection whose client certificate the CA above has issued. A tool
# of another crew is called with that, and a token; a token alone never crosses.
[[listener]]
name = "crews"
address = "{address}"
port = {crews}
certificate = "certs/gateway.pem"
key = "gateway/gateway.key"
client_certificate = "required" #
# crews = ["{crew}"] #
# ocsp = "required" #

# A crew: whose keys may sign tokens, and the most that any of them can grant.
[crew.{crew}]
issuer = "https://orchestrator.crewgate.example" #
jwks = "crews/{crew}.jwks.json" #
signing_key = "crews/{crew}/signing.key" #
tools = ["search.*", "embeddings.*", "publish.*"]
credits_per_branch = "1000" #
# credits_per_hour, credits_per_day, live_branches, new_branches_per_minute, live_revocations,
# lifetime_seconds and depth lower the crew as a whole.

[upstream.{tools}]
url = "http://{address}:{upstream}"
# The gateway's own credential; what a client sends never goes upstream.
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
"""


def fresh_config(port: int, name: str) -> str:
    """The text of a new crewgate.toml of machine `name` whose agents' listener is at `port`."""
    text = _TEXT.format(
        name=name,
        address=ADDRESS,
        crew=CREW,
        domain=DOMAIN,
        drain=limits.drain_seconds_default,
        life=limits.certificate_life_seconds,
        port=port,
        crews=port + 1,
        control=port + 2,
        peers=port + 3,
        tools=UPSTREAM,
        upstream=port + UPSTREAM_OFFSET,
    )
    return "".join(f"{line}\n" for line in _explained(text.splitlines()))


def _explained(lines: list[str]) -> Iterator[str]:
    """The lines, with what the declarations say above their keys."""
    table = ""
    for line in lines:
        if line.startswith("["):
            table = line.strip("[]")
        code = line.removesuffix(" #")
        if code != line:
            text = summary(table, code.removeprefix("# ").partition(" = ")[0])
            yield from textwrap.wrap(text, _LINE_CHARS, initial_indent="# ", subsequent_indent="# ")
        yield code
