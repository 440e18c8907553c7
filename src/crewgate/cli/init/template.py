"""The configuration that `crewgate init` writes: as text, with the comments a newcomer needs."""

from crewgate import limits

ADDRESS = "127.0.0.1"
CREW = "article"
DOMAIN = "crewgate.internal"
UPSTREAM = "tools"
UPSTREAM_OFFSET = 10  # the example's tool server listens so many ports above the agents
_COMMENT_AT = 48  # the column of the comments
PORT_MAX = 65_535 - UPSTREAM_OFFSET

_TEXT = """\
# Crewgate's configuration. Paths are relative to this file. `crewgate check -c FILE` reads it and
# everything that it names, and says what is wrong; SIGHUP makes a running gateway read it again.

name = "{name}"{gap}# this machine: members, leases, audit, receipts
audience = "https://gateway.crewgate.example"   # what a token's `aud` must name
state = "state"                                 # sockets, table and audit of this machine
workers = 2                                     # processes that serve; 0: embedders only
drain_seconds = {drain:g}                               # what calls in flight get at the end

[audit]
folder = "state/audit"
on_full = "refuse"                              # a full disk: "refuse" calls or "continue"
# sync = "second"                               # a power loss takes so much; "each" takes none
# keep_bytes = 10_000_000_000                   # delete the oldest files beyond; else all are kept

[ledger]
url = "sqlite:state/ledger.db"                  # every budget; "postgresql://…" for many machines

# The internal CA. Its folder is for the control process alone; root and list of revoked
# certificates are what gateways read. Issue with: crewgate ca issue --role orchestrator …
[ca]
folder = "ca"
root = "certs/ca.pem"
crl = "certs/crl.pem"
trust_domain = "{domain}"              # of the SPIFFE IDs in certificates
life_seconds = {life}                            # of a certificate, unless it is asked for less
# Whom the gateway asks of each client's certificate before it reads a byte (OCSP), in the name of
# the CA in issuing.pem beside the root: the control process of this machine, or "https://…".
ocsp = "unix:state/ocsp.sock"
# control = "https://gw1.example:8445"          # the API where the CA's key is, if it is not here

# The control API: mutual TLS always, for operators, orchestrators and gateways.
[control]
address = "{address}"
port = {control}
certificate = "certs/gateway.pem"
key = "gateway/gateway.key"

# The other machines of this trust domain: what is revoked on one of them, all refuse. They speak
# UDP and mutual TLS on port {peers}. `crewgate init DIR --from FILE` makes another one.
[cluster]
peers = []                                      # whom to join: "10.0.0.2:8446", "gw2.example:8446"
address = "{address}"                           # "0.0.0.0" wants advertise = "ADDRESS:PORT" as well
port = {peers}
certificate = "certs/machine.pem"               # a gateway's of the CA above, with the public half
key = "gateway/machine.key"
signing_key = "gateway/signing.key"             # of this one, which signs what is revoked here
# staleness_quorum = "majority"                 # out of touch with most of them, refuse calls
# max_staleness_seconds = 5                     # for so long it counts as in touch

# Agents come here, over TLS with a token.
[[listener]]
name = "agents"
address = "{address}"
port = {port}
certificate = "certs/gateway.pem"               # the leaf, then the issuing CA
key = "gateway/gateway.key"
mode = "enforce"                                # "observe": judge and record, refuse little
# hosts = ["localhost"]                         # refuse requests for any other Host

# Other crews come here: over a connection whose client certificate the CA above has issued. A tool
# of another crew is called with that, and a token; a token alone never crosses.
[[listener]]
name = "crews"
address = "{address}"
port = {crews}
certificate = "certs/gateway.pem"
key = "gateway/gateway.key"
client_certificate = "required"                 # "optional": where both kinds come
# crews = ["{crew}"]                           # admit these only; else every crew of this file
# ocsp = "required"                             # no answer, no entry; or "soft-fail", or "off"

# A crew: whose keys may sign tokens, and the most that any of them can grant.
[crew.{crew}]
issuer = "https://orchestrator.crewgate.example"
jwks = "crews/{crew}.jwks.json"                # public keys; watched, a change is taken up
signing_key = "crews/{crew}/signing.key"       # only where tokens are minted
tools = ["search.*", "embeddings.*", "publish.*"]
credits_per_branch = "1000"
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
    return _TEXT.format(
        name=name,
        gap=" " * max(2, _COMMENT_AT - len(f'name = "{name}"')),
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
