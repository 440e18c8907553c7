"""What `crewgate revocations` says if it lists nothing."""

import pytest

from crewgate.cli.output.revocation_list import show
from crewgate.ipc.cluster_view import ClusterRevocations


@pytest.mark.parametrize(
    ("crew", "says"),
    [("", "nothing is revoked\n"), ("artcle", "nothing of crew artcle is revoked\n")],
)
def test_an_empty_list_names_the_crew(
    capsys: pytest.CaptureFixture[str], crew: str, says: str
) -> None:
    """A person sees what was asked, also if the name has a typo."""
    show(ClusterRevocations([], 0, ["gw-1"], "gw-1", []), crew, as_json=False)
    assert capsys.readouterr().out == says
