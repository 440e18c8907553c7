import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from revocation_targets import branch

from crewgate._native import signature
from crewgate._native import token as native
from crewgate.config import load
from crewgate.errors import ConfigurationError, IssuerError, JournalError, ServiceConnectionError
from crewgate.ipc.admin_messages import (
    AdminRequest,
    GetTree,
    QuorumResult,
    Revoke,
    TreePage,
    TreeRow,
    owner_asks,
)
from crewgate.ipc.admin_messages import RevocationReceipt as AgentReceipt
from crewgate.ipc.attach_messages import pack, unpack
from crewgate.ipc.frames import FrameDecoder
from crewgate.issuer import Orchestrator, RevocationReceipt, SigningKey, read_claims
from crewgate.issuer.branches.local_gateway import BranchUsage, LocalGateway, minter_of

BRANCH = "0199c1d2-0000-7000-8000-000000000002"
OTHER = "0199c1d2-0000-7000-8000-000000000003"
FILE = """\
audience = "https://gateway.example"
state = "state"

[[listener]]
name = "agents"
address = "127.0.0.1"
port = 8443
certificate = "gateway.pem"
key = "gateway.key"

[crew.article]
issuer = "https://orchestrator.example"
jwks = "article.jwks.json"
signing_key = "signing.key"
tools = ["search.*"]
credits_per_branch = "1000"
lifetime_seconds = 600

[crew.reader]
issuer = "https://orchestrator.example"
jwks = "reader.jwks.json"
tools = ["search.*"]

[upstream.tools]
url = "http://127.0.0.1:9000"

[tool."search.web"]
method = "POST"
path = "/search"
upstream = "tools"
price = "0.01"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration file with a crew that has a signing key."""
    key = SigningKey.generate("article-1")
    key.write(tmp_path / "signing.key")
    (tmp_path / "article.jwks.json").write_text(json.dumps({"keys": [key.jwk()]}))
    path = tmp_path / "crewgate.toml"
    path.write_text(FILE)
    return path


def serve(door: socket.socket, answer: Callable[[AdminRequest], bytes]) -> None:
    """Answer one question of one connection after the other, until the door is closed."""
    while True:
        try:
            peer, _ = door.accept()
        except OSError:
            return
        with peer:
            decoder = FrameDecoder()
            while data := peer.recv(65_536):
                for body in decoder.feed(data):
                    peer.sendall(answer(unpack(owner_asks, body)))


@contextmanager
def agent(state: Path, answer: Callable[[AdminRequest], bytes]) -> Iterator[None]:
    """An agent's owner door that answers as the function says."""
    state.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(str(state / "owner.sock"))
        door.listen()
        thread = threading.Thread(target=serve, args=(door, answer))
        thread.start()
        try:
            yield
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def rows(ask: AdminRequest) -> bytes:
    """A tree of two crews in which one branch of ours is revoked."""
    assert isinstance(ask, GetTree)
    tree = [
        TreeRow(crew="article", branch=BRANCH, state="live", spent=5, reserved=2, burned=1),
        TreeRow(crew="article", branch=OTHER, state="revoked", spent=7),
        TreeRow(crew="bd", branch=BRANCH, state="revoked", spent=1000),
    ]
    return pack(TreePage(id=ask.id, rows=tree, last=True))


def test_from_config_mints_what_the_file_says(config: Path) -> None:
    """Audience, issuer, lifetime, tools and kid are those of the file; no gateway is running."""
    with Orchestrator.from_config(config, crew="article") as article:
        run = article.start_run(credits="10.00", tools=["search.*"])
        child = article.spawn(role="researcher", parent=run, tools=["search.web"], credits="1")
        claims = read_claims(child.token())
        with pytest.raises(IssuerError, match="outside the tools"):
            article.start_run(credits="1", tools=["publish.post"])
        with pytest.raises(IssuerError, match=r"0 to 1000\.00"):
            article.start_run(credits="1000.01", tools=["search.*"])
    assert (claims.aud, claims.iss) == ("https://gateway.example", "https://orchestrator.example")
    assert claims.exp - claims.iat == 600
    _, minter = minter_of(config, "article")
    kid, signing_input, _, sig = native.split(child_token(config).encode())
    assert kid == "article-1"
    assert signature.verify(minter.key.public, signing_input, sig)


def child_token(config: Path) -> str:
    """A token by a second orchestrator of another name, which has its own journal."""
    with Orchestrator.from_config(config, crew="article", name="night") as night:
        return night.start_run(credits="1", tools=["search.web"]).token()


def test_an_orchestrator_is_one_process(config: Path) -> None:
    """Its journal is in the state folder; the same name a second time is refused."""
    with Orchestrator.from_config(config, crew="article"):
        with pytest.raises(JournalError, match="another process"):
            Orchestrator.from_config(config, crew="article")
        assert child_token(config)
    journals = {path.name for path in (load(config).state / "issuer").iterdir()}
    assert journals == {"article+article-1.jsonl", "article+night.jsonl"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"lifetime": 601}, "lifetime: .* from 1 to 600, as crew article allows, not 601"),
        ({"lifetime": 0}, "not 0"),
        ({"name": "a b"}, "name 'article/a b' must be 1 to 128 characters"),
        ({"name": "x" * 128}, "name 'article/x"),
    ],
)
def test_a_bad_argument_leaves_no_journal(
    config: Path, arguments: dict[str, Any], said: str
) -> None:
    """It is refused when the orchestrator is made, and not with its first run."""
    with pytest.raises(IssuerError, match=said):
        Orchestrator.from_config(config, crew="article", **arguments)
    assert not (load(config).state / "issuer").exists()


def test_a_crew_without_a_key_cannot_mint(config: Path) -> None:
    """The error names the file, the crew and what is missing."""
    with pytest.raises(ConfigurationError, match="crew reader has no signing_key"):
        minter_of(config, "reader")
    with pytest.raises(ConfigurationError, match="no crew 'nobody'"):
        minter_of(config, "nobody")


def test_a_key_that_the_jwks_lacks_cannot_mint(config: Path, tmp_path: Path) -> None:
    """Gateways would refuse every token, so it is said before the first."""
    (tmp_path / "article.jwks.json").write_text('{"keys": []}')
    with pytest.raises(ConfigurationError, match="its public key is not in"):
        minter_of(config, "article")


def test_standing_is_read_from_the_tree(tmp_path: Path) -> None:
    """Spent, reserved and burned count; another crew's branch of the same id does not."""
    with agent(tmp_path, rows):
        standing = LocalGateway(tmp_path, "article").usage({BRANCH, OTHER})
        nobody = LocalGateway(tmp_path, "article").usage({"unseen"})
    assert standing == {BRANCH: BranchUsage(8), OTHER: BranchUsage(7, is_revoked=True)}
    assert nobody == {}


def test_without_a_gateway_nothing_is_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Minting goes on, and the log says what was not compared; a revocation is an error."""
    local = LocalGateway(tmp_path, "article")
    assert local.usage({BRANCH}) == {}
    assert "minting without asking the agent what was spent or revoked" in caplog.text
    with pytest.raises(ServiceConnectionError):
        local.revoke(BRANCH)


@pytest.mark.parametrize(
    ("reach", "more", "expected"),
    [
        (
            QuorumResult(),
            {},
            {"elapsed_ms": 0.5, "is_complete": True, "is_whole_crew": False, "is_known": True},
        ),
        (
            QuorumResult("quorum", 2, 9, 1000.0, ["gw-3", "gw-4"], missing_more=5, enough=False),
            {"coarsened": True, "never_seen": "here"},
            {"elapsed_ms": 1000.0, "is_complete": False, "is_whole_crew": True, "is_known": False},
        ),
    ],
    ids=["one machine", "too few of nine"],
)
def test_a_revocation_returns_the_receipt(
    config: Path, reach: QuorumResult, more: dict[str, Any], expected: dict[str, Any]
) -> None:
    """The agent is told the branch and the crew, and its receipt is the answer."""
    asked: list[AdminRequest] = []

    def answer(ask: AdminRequest) -> bytes:
        asked.append(ask)
        return pack(
            AgentReceipt(
                id=ask.id,
                targets=[branch(BRANCH, "article")],
                read_ns=1,
                last_cut_ns=2,
                cut_ms=0.5,
                calls_cut=4,
                attachments=2,
                unresponsive=0,
                reach=reach,
                **more,
            )
        )

    with (
        Orchestrator.from_config(config, crew="article") as article,
        agent(load(config).state, answer),
    ):
        receipt = article.revoke(BRANCH)
    assert receipt == RevocationReceipt(
        machines_applied=reach.applied_on,
        machines_total=reach.of,
        machines_missing=tuple(reach.missing),
        machines_missing_more=reach.missing_more,
        calls_cut=4,
        **expected,
    )
    assert asked == [Revoke(id=1, targets=[branch(BRANCH, "article")])]
