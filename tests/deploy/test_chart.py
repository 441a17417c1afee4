"""The charts render the pod of the component, and refuse values that no pod can have."""

import json
import re

import helm_python
import pytest

from tests.deploy.manifests import (
    CHARTS,
    COMPONENT,
    DEPLOY,
    EXAMPLES,
    charts,
    kustomize,
    objects,
    only,
    parse,
    pod_of,
    rendered,
    settings_text,
    sidecar_of,
    with_component,
    workload,
)
from tests.deploy.values_schema import FILE, settings_schema
from tests.support import sidecar

OWN = "inference-health-sidecar"
LIBRARY, DEMO = CHARTS / OWN, CHARTS / "demo"


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The demo's chart with what it depends on."""
    return charts(tmp_path_factory.mktemp("charts")) / "demo"


def pod(items):
    return pod_of(only(items, "Deployment"))


def with_values(demo, **values):
    return objects(rendered(demo, {OWN: values}))


@pytest.mark.parametrize("chart", [LIBRARY, DEMO], ids=lambda chart: chart.name)
def test_lint_has_nothing_against_a_chart_but_that_it_has_no_icon(chart, tmp_path):
    copy = charts(tmp_path) / chart.name
    report = helm_python.lint(copy, strict=True, with_subcharts=True)
    assert report["errors"] == []
    assert {message["error"] for message in report["messages"]} == {"icon is recommended"}


def test_the_charts_readme_names_each_template():
    defined = {
        name
        for file in (LIBRARY / "templates").iterdir()
        for name in re.findall(r'define "([^"]+)"', file.read_text())
    }
    told = set(re.findall(r"^\| `([^`]+)`", (LIBRARY / "README.md").read_text(), re.MULTILINE))
    inner = {f"{OWN}.values", f"{OWN}.port", f"{OWN}.drain"}
    assert {name for name in told if name.startswith(OWN)} == defined - inner


def test_a_library_renders_nothing_by_itself():
    assert rendered(LIBRARY) == {}


def test_the_chart_and_the_component_give_the_same_objects(demo):
    def normal(items):
        """Without what each gives in its own way: labels, names, and the order of keys."""
        for item in items:
            del item["metadata"]
            item.get("spec", {}).pop("selector", None)
            item.get("spec", {}).get("template", {}).pop("metadata", None)
            if item["kind"] == "ConfigMap":
                item["data"] = parse(item["data"]["sidecar.yaml"])
            if item["kind"] == "Deployment":
                (volume,) = pod([item])["volumes"]
                del volume["configMap"]["name"]
        return sorted(items, key=lambda item: item["kind"])

    chart, component = objects(rendered(demo)), kustomize(EXAMPLES / "demo")
    assert normal(chart) == normal(component)


def test_the_pod_to_be_pasted_has_the_sidecar_of_the_component(tmp_path):
    (item,) = with_component(COMPONENT, tmp_path, workload())
    component, pasted = pod_of(item), parse((DEPLOY / "pod.yaml").read_text())[0]["spec"]
    probes = ("startupProbe", "livenessProbe", "lifecycle")
    assert {k: pasted["containers"][0][k] for k in probes} == {
        k: component["containers"][0][k] for k in probes
    }
    # A pod that is pasted is one object: its settings are variables, not a ConfigMap.
    ours, theirs = sidecar_of(pasted), sidecar_of(component)
    environment = {variable["name"]: variable["value"] for variable in ours.pop("env")}
    file = tmp_path / "sidecar.yaml"
    file.write_text("server_url: localhost:8001\nmodels: [resnet50, 'bert:3']\ncanary: auto\n")
    mounted = {variable["name"]: variable["value"] for variable in theirs.pop("env")}
    mounted["SIDECAR_CONFIG"] = str(file)
    both = [parse(sidecar("config", **given).stdout) for given in (environment, mounted)]
    assert both[0] == both[1] != []
    del theirs["volumeMounts"]
    assert ours == theirs


def test_the_volume_names_the_settings_and_a_long_release_fits(demo):
    for name in ("demo", "a" * 53):
        texts = rendered(demo, name=name)
        items = objects(texts)
        assert "steady" in settings_text(items, pod(items))
        assert all(len(item["metadata"]["name"]) <= 63 for item in items)


def test_the_notes_name_what_was_installed(demo):
    texts = rendered(demo, {OWN: {"config": {"http_port": 9900}}}, name="mine")
    items = objects(texts)
    name = only(items, "Deployment")["metadata"]["name"]
    assert f"port-forward deploy/{name} 9900\n" in texts["NOTES.txt"]
    assert "app.kubernetes.io/instance=mine" in texts["NOTES.txt"]


def test_another_port_is_in_every_place_where_a_port_is(demo):
    spec = pod(with_values(demo, config={"http_port": 9900}))
    container = sidecar_of(spec)
    assert container["ports"] == [{"name": "health", "containerPort": 9900}]
    server = spec["containers"][0]
    assert server["startupProbe"]["httpGet"]["port"] == 9900
    assert server["livenessProbe"]["httpGet"]["port"] == 9900


@pytest.mark.parametrize(
    ("values", "drain"),
    [
        ({}, "0"),
        ({"native": False}, "20"),
        ({"native": False, "server": {"preStopSeconds": 0}}, "20"),
        ({"native": False, "server": {"preStopSeconds": 30}}, "40"),
        ({"server": {"preStopSeconds": 30}}, "0"),
        ({"config": {"drain_seconds": 7}}, "7"),
        ({"native": False, "config": {"drain_seconds": 0}}, "0"),
    ],
)
def test_the_drain_is_the_one_asked_for_or_fits_the_kind_of_container(demo, values, drain):
    environment = sidecar_of(pod(with_values(demo, **values)))["env"]
    assert {"name": "SIDECAR_DRAIN_SECONDS", "value": drain} in environment


def test_the_values_are_heard(demo):
    mount = {"name": "certificates", "mountPath": "/certificates", "readOnly": True}
    image = {"repository": "somewhere/health", "tag": "9", "pullPolicy": "Always"}
    spec = pod(
        with_values(
            demo,
            image=image,
            resources={"limits": {"memory": "1Gi"}},
            volumeMounts=[mount],
            server={"startupProbe": {"failureThreshold": 7}},
            config={"models": [{"name": "bert", "version": "3", "required": False}]},
        )
    )
    (container,) = spec["initContainers"]
    assert container["image"] == "somewhere/health:9"
    assert container["imagePullPolicy"] == "Always"
    assert container["resources"]["limits"] == {"memory": "1Gi"}
    assert container["volumeMounts"][1:] == [mount]
    assert spec["containers"][0]["startupProbe"]["failureThreshold"] == 7


def limited(demo, cpu):
    """The notes and the manifest for a CPU limit."""
    limits = {"memory": "128Mi", **({} if cpu is None else {"cpu": cpu})}
    texts = rendered(demo, {OWN: {"resources": {"limits": limits}}})
    return texts["NOTES.txt"], texts["deployment.yaml"]


LOW = ["50m", "99m", "0.05", ".05", "0.5m", 0.05, "1e-3", "5E-2", "50000u", "99999999n", "12.5m"]
ENOUGH = ["100m", "1500m", "0.1", 0.25, "1", 2, "1e3", "1E-1", "100000u", "500000u", "100000000n"]
ENOUGH += ["1k", "1Ki", "100e-3", "1E"]
NO_LIMIT = [None, "0", 0, "0m", "0.0"]


@pytest.mark.parametrize("cpu", LOW)
def test_a_cpu_limit_that_is_too_low_is_warned_of_in_notes_and_manifest(demo, cpu):
    warning = (
        f"WARNING: {OWN}.resources.limits.cpu is {cpu}, below 100m: a sidecar that starts so slowly"
        " may cost a healthy server a restart. Set none, or 100m and more."
    )
    notes, manifest = limited(demo, cpu)
    assert notes.endswith(f"\n\n{warning}\n")
    assert f"\n        # {warning}\n        - name: health\n" in manifest
    assert sidecar_of(pod(parse(manifest)))["resources"]["limits"]["cpu"] == cpu


@pytest.mark.parametrize("cpu", [*ENOUGH, *NO_LIMIT])
def test_no_cpu_limit_or_one_that_is_high_enough_is_not_warned_of(demo, cpu):
    assert not any("WARNING" in text for text in limited(demo, cpu))


WAITS = (
    f"WARNING: {OWN}.server.preStopSeconds is 30: the pod's terminationGracePeriodSeconds, 30 where"
    " it sets none, must be longer than that and what the server needs to end."
)
DRAINS = (
    "WARNING: the plain sidecar drains for 35 s: the pod's terminationGracePeriodSeconds, 30 where"
    " it sets none, must be longer than that."
)


@pytest.mark.parametrize(
    ("values", "warnings"),
    [
        ({"server": {"preStopSeconds": 20}}, []),
        ({"server": {"preStopSeconds": 30}}, [WAITS]),
        ({"config": {"drain_seconds": 35}}, []),
        ({"native": False}, []),
        ({"native": False, "server": {"preStopSeconds": 19}}, []),
        ({"native": False, "server": {"preStopSeconds": 20}}, [DRAINS.replace("35", "30")]),
        (
            {"native": False, "server": {"preStopSeconds": 25}},
            [WAITS.replace("is 30", "is 25"), DRAINS],
        ),
        ({"native": False, "config": {"drain_seconds": 35}}, [DRAINS]),
        (
            {"native": False, "server": {"preStopSeconds": 30}, "config": {"drain_seconds": 0}},
            [WAITS],
        ),
    ],
    ids=str,
)
def test_what_the_grace_period_of_kubernetes_does_not_cover_is_warned_of(demo, values, warnings):
    texts = rendered(demo, {OWN: values})
    notes, manifest = texts["NOTES.txt"], texts["deployment.yaml"]
    assert [line for line in notes.splitlines() if "WARNING" in line] == warnings
    assert [line for line in manifest.splitlines() if "WARNING" in line] == [
        f"        # {warning}" for warning in warnings
    ]
    assert sidecar_of(pod(parse(manifest)))["name"] == "health"


def lifecycle(demo, **values):
    return pod(with_values(demo, **values))["containers"][0].get("lifecycle")


def test_the_pre_stop_fits_the_kubernetes_that_there_is(demo, tmp_path):
    command = {"preStop": {"exec": {"command": ["sleep", "7"]}}}
    sleep = {"preStop": {"sleep": {"seconds": 7}}}
    server = {"preStopSeconds": 7}
    assert lifecycle(demo, server=server) == sleep
    assert lifecycle(demo, server=server, native=False) == command
    assert lifecycle(demo, server={"preStopSeconds": 0}) is None
    older = charts(tmp_path)
    template = older / OWN / "templates" / "_probes.tpl"
    text = template.read_text()
    for version, expected in (("1.29.9", command), ("1.30.0-eks-1", sleep)):
        template.write_text(text.replace("$.Capabilities.KubeVersion.Version", f'"v{version}"'))
        helm_python.dependency_build(older / "demo")
        assert lifecycle(older / "demo", server=server) == expected


def test_a_native_sidecar_is_refused_by_a_kubernetes_that_has_none(tmp_path, capfd):
    # Lint calls what a template refuses no error, but says it.
    copy = charts(tmp_path) / "demo"
    helm_python.lint(copy, kube_version="v1.28.0")
    said = capfd.readouterr().err
    assert "a native sidecar needs Kubernetes 1.29, and this is v1.28.0: set" in said
    helm_python.lint(copy, {OWN: {"native": False}}, kube_version="v1.28.0")
    helm_python.lint(copy, kube_version="v1.29.0")
    assert "needs Kubernetes 1.29" not in capfd.readouterr().err


REFUSED = [
    ({OWN: {"nativ": True}}, "at '': additional properties 'nativ' not allowed"),
    ({OWN: {"native": "yes"}}, "at '/native': got string, want boolean"),
    (
        {OWN: {"config": {"perod_seconds": 5}}},
        "at '/config': additional properties 'perod_seconds' not allowed",
    ),
    (
        {OWN: {"config": {"period_seconds": 0}}},
        "at '/config/period_seconds': exclusiveMinimum: got 0, want 0",
    ),
    ({OWN: {"config": {"jitter": 2}}}, "at '/config/jitter': maximum: got 2, want 1"),
    ({OWN: {"config": {"http_port": 0}}}, "at '/config/http_port': minimum: got 0, want 1"),
    ({OWN: {"config": {"log_level": "loud"}}}, "at '/config/log_level': value must be one of"),
    ({OWN: {"image": {"tag": ""}}}, "at '/image/tag': minLength: got 0, want 1"),
    (
        {OWN: {"server": {"startupProbe": {"failureThreshold": 0}}}},
        "at '/server/startupProbe/failureThreshold': minimum: got 0, want 1",
    ),
    ({"replicaCount": "two"}, "at '/replicaCount': got string, want integer"),
    ({"replicas": 2}, "at '': additional properties 'replicas' not allowed"),
]


@pytest.mark.parametrize(("values", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_a_bad_value_is_named_with_what_is_allowed(demo, values, words):
    with pytest.raises(helm_python.HelmValuesError) as error:
        rendered(demo, values)
    assert words in str(error.value)


def test_the_schema_has_the_settings_that_there_are():
    # Fresh when `python -m tests.deploy.values_schema` changes nothing.
    assert json.loads(FILE.read_text())["properties"]["config"] == settings_schema()


TAKEN = [
    {"models": "resnet50,bert:3"},
    {"models": ["resnet50", {"name": "bert", "version": "3", "required": False}]},
    {"readiness_policy": 2},
    {"readiness_policy": "50%"},
    {"headers": {"a": "b"}},
    {"headers": "a=b"},
    {"max_age_seconds": None, "tls_ca_file": "/certificates/ca.pem"},
    {"period_seconds": 0.5, "timeout_seconds": 0.4},
]


@pytest.mark.parametrize("config", TAKEN, ids=str)
def test_every_form_of_a_setting_passes_unchanged(demo, config):
    items = with_values(demo, config=config)
    (settings,) = parse(settings_text(items, pod(items)))
    # Helm takes null for "not set".
    given = {name: value for name, value in config.items() if value is not None}
    assert {name: settings.get(name) for name in given} == given
