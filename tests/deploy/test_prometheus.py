"""A real Prometheus with the rules of deploy/prometheus, and a real gateway."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml
from installation import Installation, installed, wait_until
from promql_names import DECLARED, named

from crewgate.demo.ports import reserve

DEPLOY = Path(__file__).parents[2] / "deploy"
TRACE = "0af7651916cd43dd8448eb211c80319c"
# What Grafana puts in the place of the variables of the dashboard.
CHOICES = {"$__rate_interval": "1m", "$instance": ".*", "$crew": ".*", "$tool": ".*"}

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed"
)


class Prometheus:
    """A server that scrapes a gateway each second."""

    def __init__(self, folder: Path, target: str) -> None:
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(DEPLOY / "prometheus" / "crewgate.rules.yml")]
        (scrape,) = config["scrape_configs"]
        scrape["static_configs"] = [{"targets": [target]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.url = f"http://127.0.0.1:{(port := reserve())}"
        self._process = subprocess.Popen(
            [
                "prometheus", f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}", "--enable-feature=exemplar-storage",
                f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
            ]
        )  # fmt: skip

    def get(self, path: str, **query: str) -> Any:
        """What the HTTP API answers as data; None while the server starts."""
        try:
            with urlopen(f"{self.url}/api/v1/{path}?{urlencode(query)}", timeout=30) as answer:
                return json.load(answer)["data"]
        except (URLError, ConnectionError):
            return None

    def has(self, expression: str) -> bool:
        """Whether a query gives data now."""
        for name, value in CHOICES.items():
            expression = expression.replace(name, value)
        found = self.get("query", query=expression)
        return found is not None and bool(found["result"])

    def rules(self) -> list[dict[str, Any]]:
        """All rules, with their state."""
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def end(self) -> None:
        """End the server, however it is."""
        self._process.kill()
        self._process.wait()


@contextmanager
def scraping(folder: Path, site: Installation) -> Iterator[Prometheus]:
    """A Prometheus that ends with the block."""
    server = Prometheus(folder, f"127.0.0.1:{site.port + 4}")
    try:
        yield server
    finally:
        server.end()


def exposed(site: Installation) -> str:
    """The text of a scrape."""
    with urlopen(f"http://127.0.0.1:{site.port + 4}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def lint(text: str) -> str:
    """What Prometheus finds to blame in metrics."""
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout + done.stderr


async def use(site: Installation) -> None:
    """Make calls: permitted, refused, with a bad token, and of a branch that is then revoked."""
    run = site.orchestrator().start_run(role="researcher", tools=["search.*"], credits="5")
    async with site.client() as client:
        for token in (run.token(), run.token(), "no.good.token"):
            headers = {
                "authorization": f"Bearer {token}",
                "traceparent": f"00-{TRACE}-{'b' * 16}-01",
            }
            await client.post("/search", headers=headers, json={})
        token = run.token()
        site.run("revoke", run.branch)
        gone = {"authorization": f"Bearer {token}"}
        assert (await client.post("/search", headers=gone, json={})).status_code == 401


async def test_prometheus_has_what_the_dashboard_shows(tmp_path: Path) -> None:
    """Each query whose metrics the gateway has gives data; the rules load, and none fires.

    The scrape is in OpenMetrics, so that it has the trace of a call.
    """
    panels = json.loads((DEPLOY / "grafana" / "crewgate.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    with installed(tmp_path, workers=1) as site, scraping(tmp_path, site) as prometheus:
        await use(site)
        text = exposed(site)
        assert lint(text) == ""
        names = {line.partition(" ")[0].partition("{")[0] for line in text.splitlines()}
        shown = [query for query in queries if named(query).metrics <= names]
        assert len(shown) > len(queries) * 2 / 3
        wait_until(lambda: all(map(prometheus.has, shown)))
        assert [name for name in names & DECLARED.keys() if not prometheus.has(name)] == []
        (exemplar, *_) = prometheus.get(
            "query_exemplars",
            query="crewgate_request_duration_seconds_bucket", start="0", end="9e9",
        )  # fmt: skip
        assert exemplar["exemplars"][0]["labels"]["trace_id"] == TRACE
        wait_until(lambda: {rule["health"] for rule in prometheus.rules()} == {"ok"})
        assert [rule["name"] for rule in prometheus.rules() if rule.get("state") == "firing"] == []
