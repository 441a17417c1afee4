"""Settings: every way to write them, precedence, what they hand out, what is masked."""

import json

import pytest
import yaml

from sidecar.health.checks import SERVER_LIVE, SERVER_READY, Check, Rpc
from sidecar.health.state import Thresholds
from sidecar.health.verdict import Policy, Quorum
from sidecar.settings import BadSettings, Settings, load, unknown_variables


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "sidecar.yaml"
        path.write_text(text)
        return str(path)

    return write


def models(*checks: tuple[str, str]) -> tuple[Check, ...]:
    return (
        SERVER_LIVE,
        SERVER_READY,
        *(Check(Rpc.MODEL_READY, name, version) for name, version in checks),
    )


# The contract's section 2, setting by setting.
DEFAULTS = {
    "server_url": "localhost:8001",
    "grpc_service": "inference.GRPCInferenceService",
    "models": (),
    "period_seconds": 5,
    "recovery_period_seconds": 1,
    "timeout_seconds": 2,
    "jitter": 0.1,
    "concurrency": 8,
    "liveness_failure_threshold": 3,
    "liveness_success_threshold": 1,
    "readiness_failure_threshold": 3,
    "readiness_success_threshold": 1,
    "startup_grace_seconds": 0,
    "max_age_seconds": None,
    "require_server_ready": True,
    "readiness_policy": "all",
    "tls_ca_file": None,
    "tls_cert_file": None,
    "tls_key_file": None,
    "tls_server_name": None,
    "headers": {},
    "bearer_token_file": None,
    "reload_interval_seconds": 5,
    "http_host": None,
    "http_port": 9808,
    "drain_seconds": 5,
    "log_level": "info",
    "log_format": "auto",
}


def test_the_defaults_are_those_of_the_contract():
    assert load({}).model_dump() == DEFAULTS


def test_the_defaults_become_values_of_the_core():
    settings = load({})
    assert settings.checks == (SERVER_LIVE, SERVER_READY)
    assert settings.liveness == settings.readiness == Thresholds(failure=3, success=1, apart=0.5)
    assert settings.policy == Policy(max_age=17, quorum=Quorum(percent=100))
    assert settings.metadata == {}
    assert not settings.tls


def test_every_setting_has_words_for_its_errors_and_for_its_help():
    assert all(field.description for field in Settings.model_fields.values())
    for name in Settings.model_fields:
        with pytest.raises(BadSettings, match=f"(?s){name}: .*; allowed: .+"):
            load({name: "\x00"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("resnet50", [("resnet50", "")]),
        ("resnet50,bert:3", [("resnet50", ""), ("bert", "3")]),
        (" resnet50 , bert:3 ", [("resnet50", ""), ("bert", "3")]),
        ("a:b:3", [("a:b", "3")]),
        ('["resnet50", "bert:3"]', [("resnet50", ""), ("bert", "3")]),
        ('[{"name": "a:b"}, {"name": "c", "version": 3}]', [("a:b", ""), ("c", "3")]),
    ],
)
def test_models_can_be_written_in_short_or_as_json(text, expected):
    assert load({"models": text}).checks == models(*expected)


def test_what_is_not_well_is_never_asked_less_often_than_what_is():
    settings = load({"period_seconds": "0.5", "timeout_seconds": "0.4"})
    assert settings.recovery_period == 0.5


def test_models_can_be_written_in_yaml(file):
    path = file("models:\n  - resnet50\n  - bert:3\n  - {name: gpt, version: 2, required: false}\n")
    settings = load({}, path)
    assert settings.checks == models(("resnet50", ""), ("bert", "3"), ("gpt", "2"))
    assert settings.policy.optional == {Check(Rpc.MODEL_READY, "gpt", "2")}


@pytest.mark.parametrize(
    ("text", "quorum"),
    [
        ("all", Quorum(percent=100)),
        ("any", Quorum(count=1, percent=0)),
        ("2", Quorum(count=2, percent=0)),
        ("50%", Quorum(percent=50)),
    ],
)
def test_a_readiness_policy_becomes_a_quorum(text, quorum):
    assert load({"readiness_policy": text, "models": "a,b,c"}).policy.quorum == quorum


def test_a_count_in_yaml_may_be_a_number(file):
    settings = load({}, file("models: [a, b]\nreadiness_policy: 2\n"))
    assert settings.policy.quorum == Quorum(count=2, percent=0)


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(file, monkeypatch):
    path = file("period_seconds: 10\njitter: 0.5\nconcurrency: 3\nheaders: {x-a: file}\n")
    monkeypatch.setenv("SIDECAR_PERIOD_SECONDS", "20")
    monkeypatch.setenv("SIDECAR_JITTER", "0.25")
    monkeypatch.setenv("SIDECAR_HEADERS", "x-b=environment")
    settings = load({"period_seconds": "30"}, path)
    assert (settings.period_seconds, settings.jitter, settings.concurrency) == (30, 0.25, 3)
    assert settings.timeout_seconds == 2
    assert settings.headers == {"x-b": "environment"}


def test_the_file_can_be_named_by_the_environment(file, monkeypatch):
    monkeypatch.setenv("SIDECAR_CONFIG", file("http_port: 1234\n"))
    assert load({}).http_port == 1234


def test_an_empty_variable_and_an_empty_file_set_nothing(file, monkeypatch):
    monkeypatch.setenv("SIDECAR_HTTP_PORT", "")
    assert load({}, file("")).http_port == 9808


@pytest.mark.parametrize(
    ("written", "headers"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=1, b = x=y", {"a": "1", "b": "x=y"}),
    ],
)
def test_headers_can_be_written_as_text(written, headers):
    assert load({"headers": written}).headers == headers


def test_a_bearer_token_is_read_from_its_file_and_sent_as_authorization(tmp_path):
    token = tmp_path / "token"
    token.write_text("abc\n")
    settings = load({"bearer_token_file": str(token), "headers": "x-a=1"})
    assert settings.metadata == {"x-a": "1", "authorization": "Bearer abc"}


def test_tls_is_wanted_when_any_of_its_settings_is_given(pki):
    assert load({"tls_ca_file": str(pki.ca)}).tls
    assert load({"tls_server_name": "triton"}).tls
    assert load({"tls_cert_file": str(pki.cert), "tls_key_file": str(pki.key)}).tls


def test_no_secret_is_printed_and_the_print_is_a_settings_file_again(tmp_path, file):
    token = tmp_path / "token"
    token.write_text("s3cret")
    settings = load(
        {
            "headers": "x-api-key=s3cret",
            "bearer_token_file": str(token),
            "models": "a,b:3",
            "readiness_policy": "50%",
        }
    )
    text = settings.as_yaml()
    assert "s3cret" not in text
    assert yaml.safe_load(text)["headers"] == {"x-api-key": "***"}
    again = load({}, file(text))
    assert again.checks == settings.checks
    assert again.policy == settings.policy
    assert again.as_yaml() == text


def test_the_schema_names_every_setting_and_takes_the_short_forms():
    schema = json.loads(json.dumps(Settings.model_json_schema()))
    assert set(schema["properties"]) == set(DEFAULTS)
    assert {"type": "string"} in schema["properties"]["models"]["anyOf"]
    assert schema["additionalProperties"] is False
    period, threshold = (
        schema["properties"][name] for name in ("period_seconds", "liveness_failure_threshold")
    )
    assert (period["exclusiveMinimum"], period["maximum"]) == (0, 86400)
    assert (threshold["type"], threshold["minimum"]) == ("integer", 1)


def test_variables_that_are_most_likely_misspelt_are_found():
    environ = [
        "SIDECAR_PERIOD_SECOND",
        "SIDECAR_PERIOD_SECONDS",
        "SIDECAR_CONFIG",
        "SIDECAR_SERVICE_HOST",
        "SIDECAR_PORT",
        "SIDECAR_PORT_9808_TCP_ADDR",
        "PATH",
    ]
    assert unknown_variables(environ) == ["SIDECAR_PERIOD_SECOND"]


def test_what_stands_in_the_place_of_a_headers_name_is_not_repeated(file):
    path = file('headers: {"authorization: Bearer s3cret": }')
    with pytest.raises(BadSettings) as caught:
        load({}, path)
    assert "s3cret" not in "".join(caught.value.lines)
