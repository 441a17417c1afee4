"""What rules and dashboard ask, a real Prometheus answers with series that a sidecar gave it."""

import contextlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conftest import Pki
from tests.deploy.scraped import scrape_config
from tests.prometheus import Prometheus, prometheus
from tests.support import free_port, running_sidecar, wait_until
from tests.toy import ToyProcess

DEPLOY = Path(__file__).parents[2] / "deploy"
SPEC = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())["spec"]
RULES: list[dict[str, Any]] = [rule for group in SPEC["groups"] for rule in group["rules"]]
BOARD = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
QUERIES = {
    f"{panel['title']}, {target['refId']}": target["expr"]
    for panel in BOARD["panels"]
    for target in panel.get("targets", [])
}

SERVED = {
    "namespace": "ml",
    "pod": "bert-7d4b9c-x2x5q",
    "container": "health",
    "endpoint": "health",
    "workload": "bert",
    "job": "monitoring/inference-health",
}
LOST = "bert-7d4b9c-99v4z"
ANSWERED = "pod:inference_sidecar_up:known == 1"
# What a person has chosen on the dashboard, and what Grafana itself puts in.
CHOSEN = {
    "namespace": ".*",
    "pod": SERVED["pod"],
    "model": ".*",
    "__rate_interval": "1m",
}


def pod(address: str, name: str, **other: str) -> dict[str, str]:
    """A pod with a sidecar, as Prometheus discovers it."""
    return {
        "address": address,
        "namespace": "ml",
        "pod_name": name,
        "pod_phase": "Running",
        "pod_container_name": "health",
        "pod_container_port_name": "health",
        "pod_container_port_number": "9808",
        **other,
    }


def expired_root() -> bytes:
    """A root that expired long ago, as the bundles of distributions have them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "an old root")])
    root = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(datetime(1999, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2019, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    return root.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def scraped(pki: Pki, tmp_path_factory) -> Iterator[Prometheus]:
    """It has seen a server with TLS, one of whose two models was ready once and is not.

    A second sidecar, which is all that a workload has and one of two of another, has ended.
    """
    folder = tmp_path_factory.mktemp("scraped")
    made = {"key": str(pki.key), "cert": str(pki.cert)}
    bundle = folder / "bundle.pem"
    bundle.write_bytes(expired_root() + pki.ca.read_bytes())
    with ToyProcess(made, models={"steady": True, "flaky": True}) as server:
        flags = [f"--server-url=grpcs://{server.url}", f"--tls-ca-file={bundle}"]
        flags += [f"--tls-cert-file={pki.cert}", f"--tls-key-file={pki.key}"]
        flags += ["--models=steady,flaky", "--canary=auto"]
        with (
            running_sidecar(folder / "sidecar.log", *flags) as sidecar,
            contextlib.ExitStack() as stack,
        ):
            sidecar.wait_for("/readyz", 200)
            server.tell(models={"steady": True, "flaky": False})
            sidecar.wait_for("/readyz", 503)
            lost = stack.enter_context(running_sidecar(folder / "lost.log", *flags))
            lost.wait_for("/livez", 200)
            here, there = f"127.0.0.1:{sidecar.port}", f"127.0.0.1:{lost.port}"
            nobody = f"127.0.0.1:{free_port()}"
            replica = {"pod_controller_kind": "ReplicaSet", "pod_controller_name": "bert-7d4b9c"}
            stateful = {"pod_controller_kind": "StatefulSet", "pod_controller_name": "lost-set"}
            pods = [
                pod(here, SERVED["pod"], **replica),
                pod(there, LOST, **replica),
                pod(there, "lost-set-0", **stateful),
                pod(nobody, "alone"),
                pod(nobody, "downloads", pod_phase="Pending"),
                pod(nobody, "ended", pod_phase="Failed"),
                pod(nobody, "stranger", pod_container_port_number="8080"),
                pod(nobody, "stranger", pod_container_port_name="http"),
            ]
            # JSON is YAML.
            (folder / "rules.yaml").write_text(json.dumps(SPEC))
            config = {
                "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
                "rule_files": ["rules.yaml"],
                "scrape_configs": [scrape_config("monitoring", pods)],
            }
            with prometheus(folder, config) as running:
                wait_until(lambda: len(running.series(ANSWERED)) == 3, 20)
                stack.close()
                wait_until(lambda: not running.series(f'up{{pod=~"lost.*|{LOST}"}} == 1'), 20)
                # The lost ones have had series, too, and may have had them before.
                for record in ("inference_models_unready:count", "inference_polls_refused:rate5m"):
                    wanted = f'pod:{record}{{pod="{SERVED["pod"]}"}}'
                    wait_until(partial(running.series, wanted), 20)
                yield running


def test_the_pods_that_are_scraped_and_their_labels(scraped):
    found = scraped.get("targets", state="active")["activeTargets"]
    labels = [{k: v for k, v in target["labels"].items() if k != "instance"} for target in found]
    assert sorted(labels, key=lambda target: target["pod"]) == [
        {**SERVED, "pod": "alone", "workload": "alone"},
        {**SERVED, "pod": LOST},
        SERVED,
        {**SERVED, "pod": "downloads", "workload": "downloads"},
        {**SERVED, "pod": "lost-set-0", "workload": "lost-set"},
    ]


def test_the_sidecars_own_labels_keep_their_names(scraped):
    found = scraped.series("inference_health_passing")
    assert {series["probe"] for series in found} == {"healthz", "readyz", "startupz", "livez"}
    assert not [series for series in found if any(label.startswith("exported") for label in series)]


def test_an_old_root_in_the_bundle_is_no_certificate_that_expires(scraped):
    expiry = "inference_tls_certificate_expiry_timestamp_seconds"
    left = {s["file"] for s in scraped.series(f"{expiry} - time() > 29 * 86400")}
    assert left == {"ca", "cert"}


def relaxed(expr: str) -> str:
    """The expression with nothing left that could be false today.

    Without its bounds and what lies back in time each selector has to find series,
    and with `and` for `unless` both sides have to agree in their labels.
    """
    bound = r"(?:==|>=|<=|<|>)\s*[\d.]+(?:\s*\*\s*\d+)?|offset \w+"
    expr = re.sub(bound, "", expr)
    return re.sub(r"\babsent\b", "", expr).replace("unless", "and")


def test_relaxing_leaves_no_condition_and_no_other_change():
    assert relaxed("a == 0 and b > 0.5\nunless c >= 1") == "a  and b \nand c "
    assert relaxed("a - b < 14 * 86400 >= 86400") == "a - b  "
    assert relaxed("absent(a == a offset 1d)") == "(a == a )"


# kube-state-metrics does not run here: promtool plays what stands on it.
OWN = [rule for rule in RULES if "kube_" not in rule["expr"]]


@pytest.mark.parametrize("rule", OWN, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_without_its_bounds_finds_series_that_have_the_labels_of_its_texts(scraped, rule):
    found = wait_until(lambda: scraped.series(relaxed(rule["expr"])), within=5)
    texts = " ".join(rule.get("annotations", {}).values())
    named = set(re.findall(r"\$labels\.(\w+)", texts)) - {"version"}  # a model may have none
    assert all(named <= series.keys() for series in found)


def selectors(expr: str) -> set[str]:
    """The selectors of scraped series, each of several values by itself."""
    whole = re.findall(r"(?<![:\w])(?:inference_\w+|up)(?![:\w])(?:{[^}]*})?", expr)
    split = set()
    for selector in whole:
        several = re.search(r'=~"(\w+(?:\|\w+)+)"', selector)
        values = several[1].split("|") if several else []
        split |= {selector.replace(f'=~"{several[1]}"', f'="{v}"') for v in values if several}
        split |= {selector} if not several else set()
    return split


NAMED = {
    selector
    for expr in [*(rule["expr"] for rule in RULES), *QUERIES.values()]
    for selector in selectors(expr)
}


def test_selectors_are_taken_apart_by_value():
    expr = 'a:inference_b:c unless sum without (x) (inference_d{e=~"f|g", h="i"}) > up'
    assert selectors(expr) == {'inference_d{e="f", h="i"}', 'inference_d{e="g", h="i"}', "up"}


@pytest.mark.parametrize("selector", sorted(NAMED))
def test_each_metric_and_value_that_is_named_is_scraped_from_the_sidecar(scraped, selector):
    assert scraped.series(filled(selector))


def test_the_rules_are_evaluated_without_an_error(scraped):
    groups = scraped.get("rules")["groups"]
    names = {rule["name"] for group in groups for rule in group["rules"]}
    assert names == {rule.get("alert") or rule["record"] for rule in RULES}

    def health() -> set[str]:
        groups = scraped.get("rules")["groups"]
        return {rule["health"] for group in groups for rule in group["rules"]}

    wait_until(lambda: health() == {"ok"}, within=10)


def test_what_fails_here_is_what_becomes_an_alert(scraped):
    def waiting() -> set[tuple[str, str]]:
        found = scraped.series('ALERTS{alertstate="pending"}')
        return {(s["alertname"].removeprefix("InferenceHealth"), s.get("pod", "")) for s in found}

    expected = {
        ("FewReady", ""),
        ("ModelNotReady", SERVED["pod"]),
        ("SidecarDown", LOST),
        ("Blind", ""),
    }
    wait_until(lambda: waiting() == expected, within=10)


def filled(expr: str) -> str:
    """A query with the variables of the dashboard filled in."""
    for name, value in CHOSEN.items():
        expr = expr.replace(f"${name}", value)
    return expr


@pytest.mark.parametrize("panel", QUERIES)
def test_a_query_of_the_dashboard_finds_series(scraped, panel):
    expr = filled(QUERIES[panel])
    assert "$" not in expr
    assert wait_until(lambda: scraped.series(expr), within=5)


def test_a_lost_sidecar_is_a_replica_that_is_not_ready(scraped):
    def shown(title: str) -> list[str]:
        # What still answers here is not ready, but its sidecar's loop is well.
        expr = filled(QUERIES[f"{title}, A"]).replace('"readyz"', '"livez"')
        return [series["value"][1] for series in scraped.get("query", query=expr)["result"]]

    assert shown("Replicas") == ["5"]
    assert shown("Ready") == ["1"]
    assert shown("Share ready, worst workload") == ["0"]
    assert shown("Replicas that are not ready") == ["0"] * 4


@pytest.mark.parametrize("panel", QUERIES)
def test_the_labels_in_a_legend_are_there(scraped, panel):
    title, _, letter = panel.rpartition(", ")
    targets = [t for p in BOARD["panels"] if p["title"] == title for t in p["targets"]]
    legends = [t["legendFormat"] for t in targets if t["refId"] == letter]
    for legend in legends:
        named = set(re.findall(r"{{(\w+)}}", legend)) - {"model", "version"}  # ServerLive has none
        assert all(named <= s.keys() for s in scraped.series(filled(QUERIES[panel])))


def test_each_variable_of_the_dashboard_has_values_to_choose_from(scraped):
    variables = BOARD["templating"]["list"]
    assert [v["name"] for v in variables] == ["datasource", "namespace", "pod", "model"]
    values = {}
    for variable in variables[1:]:
        asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
        assert asked
        match, label = filled(asked[1]), asked[2]
        values[label] = scraped.get(f"label/{label}/values", **{"match[]": match})
    assert values == {
        "namespace": ["ml"],
        "pod": [LOST, SERVED["pod"], "lost-set-0"],
        "model": ["flaky", "steady"],
    }
