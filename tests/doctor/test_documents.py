"""What is read: YAML, JSON, many documents; a clear line for what is none, and the rest is read."""

import json

import pytest

from sidecar.doctor.documents import MAX_BYTES, MAX_DEPTH, Document, Problem, read
from sidecar.doctor.examination import examine
from tests.doctor.test_rules import CAREFUL

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}\n"


def problems(text: str | bytes) -> list[tuple[int, str]]:
    content = text if isinstance(text, bytes) else text.encode()
    return [(p.line, p.why) for p in read("f", content) if isinstance(p, Problem)]


def kinds(text: str) -> list[str]:
    return [d.kind for d in read("f", text.encode()) if isinstance(d, Document)]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join(f'*{a}' for _ in range(10))}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_the_deepest_that_is_read():
    depth = MAX_DEPTH - 1  # and the mapping around it
    assert problems(f"{POD}a: {'[' * depth}{']' * depth}\n") == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("kind: Pod\nspec: [\n", "is not YAML: "),
        ("kind: Pod\nspec: {{ .Values.spec }}\nx: {{- if }}\n", "is a template with {{ }}"),
        ("kind: Pod\n  a: {{ x }}\n", "is a template with {{ }}, not YAML; render it first"),
        ("kind: Pod\nkind: Pod\n", "is not YAML: found duplicate key"),
        ("just text\n", "is no object of Kubernetes: it has no kind"),
        ("- 1\n- 2\n", "is no object of Kubernetes"),
        ("kind: Pod\n" + BOMB, "has more than 100,000 values once its aliases are written out"),
        ("kind: Pod\na: " + "[" * 5000 + "\n", "is nested too deeply"),
        ("kind: Pod\na: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "\n", "is nested too deeply"),
        ("kind: CronJob\nspec: {}\n", "kind CronJob is not examined; Pod, Deployment,"),
        ("kind: Pod\na: \x00\n", "is not YAML"),
    ],
)
def test_a_document_that_cannot_be_read_is_named_and_the_rest_is_read(text, why):
    stream = f"{POD}---\n{text}\n---\n{POD}"
    assert kinds(stream) == ["Pod", "Pod"]
    ((at, said),) = problems(stream)
    assert said.startswith(why)
    assert 5 <= at <= 5 + text.count("\n") + 2


def test_a_file_that_is_too_large_or_no_text_is_named():
    assert problems(b"a" * (MAX_BYTES + 1)) == [
        (1, "has more than 5,000,000 bytes, which are allowed")
    ]
    assert problems(b"\xff\xfe") == [(1, "is not text in UTF-8")]


def test_kinds_without_pods_are_passed_over_in_silence():
    assert problems("kind: Namespace\n---\nkind: Service\nmetadata: {name: a}\n") == []


def test_json_and_lists_and_empty_documents_are_read():
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {}}
    assert kinds(json.dumps(pod)) == ["Pod"]
    assert kinds(json.dumps({"kind": "List", "items": [pod, pod]})) == ["Pod", "Pod"]
    assert kinds(f"---\n---\n# nothing\n---\n{POD}...\n") == ["Pod"]


def test_a_line_is_the_one_in_the_file():
    text = f"# first\n---\n{POD}---\n{CAREFUL}".replace(
        "timeoutSeconds: 2 # enough", "timeoutSeconds: 1 # enough"
    )
    (finding,) = examine([("f", text.encode())]).findings
    assert "livenessProbe: # by the sidecar" in text.splitlines()[finding.line - 1]


SPOILT = CAREFUL.replace("timeoutSeconds: 2 # enough", "timeoutSeconds: 1 # {}\n            #")
COMMENT = "# sidecar-doctor: ignore IHS006 because its answers come at once"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("livenessProbe: # by the sidecar", f"livenessProbe: {COMMENT}"),
        (
            "          livenessProbe: # by the sidecar",
            f"          {COMMENT}\n          livenessProbe:",
        ),
        ("terminationGracePeriodSeconds: 15", f"terminationGracePeriodSeconds: 15 {COMMENT}"),
        ("# Nothing is wrong", f"{COMMENT}\n# Nothing is wrong"),
    ],
)
def test_a_comment_with_a_reason_silences_one_finding(old, new):
    assert old in SPOILT
    report = examine([("f", SPOILT.replace(old, new).encode())])
    assert list(report.findings) == []
    assert report.exit_code == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "livenessProbe: # by the sidecar",
            "livenessProbe: # sidecar-doctor: ignore IHS007 for it",
        ),
        ("args:", f"args: {COMMENT}"),
    ],
)
def test_a_comment_elsewhere_or_for_another_silences_nothing(old, new):
    report = examine([("f", SPOILT.replace(old, new).encode())])
    assert [f.mistake.identifier for f in report.findings] == ["IHS006"]


def test_a_comment_without_a_reason_silences_nothing_and_says_so():
    bare = "livenessProbe: # sidecar-doctor: ignore IHS006"
    report = examine([("f", SPOILT.replace("livenessProbe: # by the sidecar", bare).encode())])
    assert report.exit_code == 1
    (problem,) = report.problems
    assert problem.why.startswith("silences nothing without a reason")
    assert not problem.is_error


CONTAINER = {
    "env": "image: tritonserver, env: {A: b}",
    "probe": "image: tritonserver, livenessProbe: 5",
    "number": "image: vllm, livenessProbe: {periodSeconds: x}",
    "lifecycle": "image: tritonserver, lifecycle: [1]",
    "args": "image: torchserve, args: {a: 1}",
    "names": "name: 5, image: tritonserver, ports: [80]",
    "sleep": "image: tritonserver, lifecycle: {preStop: {sleep: 5}}",
    "mounts": "image: mlserver, volumeMounts: [5]",
    "ours": "image: inference-health-sidecar, resources: 3, securityContext: [2], env: 5",
    "file": "image: inference-health-sidecar, env: [{name: SIDECAR_CONFIG, value: /a/b}]",
}
WEIRD = {
    "containers": "spec: {template: {spec: {containers: tritonserver}}}",
    "replicas": "spec: {replicas: many, template: {spec: {containers: [{image: mlserver}]}}}",
    "spec": "spec: []",
    "strategy": "spec: {strategy: 5, replicas: 2, template: {spec: {containers: [{image: vllm}]}}}",
    **{
        name: f"spec: {{template: {{spec: {{volumes: 5, containers: [{{{text}}}, {{name: b}}]}}}}}}"
        for name, text in CONTAINER.items()
    },
}


@pytest.mark.parametrize("name", WEIRD)
def test_what_has_another_form_than_kubernetes_wants_ends_nothing(name):
    text = f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\n{WEIRD[name]}\n"
    report = examine([("f", text.encode())])
    for finding in report.findings:
        finding.corrected()
        assert finding.line >= 1
