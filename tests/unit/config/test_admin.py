"""The table [admin]: one place to listen, which other machines do not reach by mistake."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewgate.config import AdminConfig, load
from crewgate.config.restart_only import wants_restart
from crewgate.errors import ConfigurationError

Write = Callable[[str], Path]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("port = 8447", AdminConfig(port=8447)),
        ('address = "::1"\nport = 8447', AdminConfig("::1", 8447)),
        ('address = "0.0.0.0"\nport = 1\nremote = true', AdminConfig("0.0.0.0", 1, remote=True)),
    ],
)
def test_every_key_arrives(write: Write, minimal: str, text: str, expected: AdminConfig) -> None:
    config = load(write(f"{minimal}[admin]\n{text}\n"))
    assert config.admin == expected
    assert not list(wants_restart(load(write(minimal)), config))


def test_a_socket_is_relative_to_the_file(write: Write, minimal: str, tmp_path: Path) -> None:
    admin = load(write(minimal + '[admin]\nsocket = "state/admin.sock"\n')).admin
    assert admin == AdminConfig(socket=tmp_path / "state" / "admin.sock")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "admin: give either `port` or `socket`"),
        ('port = 1\nsocket = "x"', "admin: give either `port` or `socket`"),
        ('address = "10.0.0.1"\nport = 1', "admin.address: 10.0.0.1 is no loopback address"),
        ('address = "::"\nport = 1', "admin.address: :: is no loopback address"),
        ("port = 1\nremote = true", "admin.remote: only with an address that other machines"),
    ],
)
def test_a_mistake_is_one_line(write: Write, minimal: str, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(write(f"{minimal}[admin]\n{text}\n"))
    assert problem in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "is_taken"),
    [
        ("agent.sock", True),
        ("owner.sock", True),
        ("../state/./ocsp.sock", True),
        ("admin.sock", False),
        ("run/owner.sock", False),
    ],
)
def test_no_socket_of_another_process_is_taken(
    write: Write, minimal: str, name: str, is_taken: bool
) -> None:
    path = write(f'{minimal}[admin]\nsocket = "state/{name}"\n')
    if not is_taken:
        load(path)
        return
    with pytest.raises(ConfigurationError, match="another process of this machine listens"):
        load(path)


def test_two_sections_cannot_share_a_port(write: Write, minimal: str) -> None:
    control = (
        '[ca]\ntrust_domain = "x.example"\n[control]\naddress = "127.0.0.1"\nport = 8447\n'
        'certificate = "c.pem"\nkey = "c.key"\n'
    )
    with pytest.raises(ConfigurationError, match=r'admin: "\[control\]" has the same address'):
        load(write(f"{minimal}{control}[admin]\nport = 8447\n"))
