"""Settings: every way to write them, precedence, what they hand out, what is masked."""

import json
import os
from dataclasses import replace

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from sidecar.config import BadSettings, Settings, load, variable_warnings
from sidecar.config.files import with_files
from sidecar.core.checks import SERVER_LIVE, SERVER_READY, Check, model_ready
from sidecar.core.reasons import Thresholds
from sidecar.core.snapshot import Policy, Quorum
from tests.support import untyped


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
        *(model_ready(name, version) for name, version in checks),
    )


# The contract's section 2, setting by setting.
DEFAULTS = {
    "server_url": "localhost:8001",
    "grpc_service": "inference.GRPCInferenceService",
    "models": (),
    "period_seconds": 5,
    "recovery_period_seconds": 1,
    "live_period_seconds": 1,
    "timeout_seconds": 2,
    "jitter": 0.1,
    "concurrency": 8,
    "liveness_failure_threshold": 3,
    "liveness_success_threshold": 1,
    "readiness_failure_threshold": 3,
    "readiness_success_threshold": 1,
    "startup_grace_seconds": 0,
    "max_age_seconds": None,
    "require_server_ready": "auto",
    "readiness_policy": "all",
    "canary": "off",
    "canary_dir": None,
    "canary_period_seconds": 30,
    "canary_timeout_seconds": 30,
    "canary_failure_threshold": 2,
    "canary_window": 4,
    "canary_success_threshold": 3,
    "canary_warmup_requests": 1,
    "canary_max_reply_bytes": 4 * 1024 * 1024,
    "canary_restart_after_seconds": 0,
    "canary_max_restarts_per_hour": 3,
    "progress_metrics_url": None,
    "tls_ca_file": None,
    "tls_cert_file": None,
    "tls_key_file": None,
    "tls_server_name": None,
    "authority": None,
    "headers": {},
    "bearer_token_file": None,
    "reload_interval_seconds": 5,
    "http_host": None,
    "http_port": 9808,
    "grpc_port": None,
    "kubernetes_events": False,
    "pod_name": None,
    "pod_uid": None,
    "discover": False,
    "discover_exclude": (),
    "discover_maximum_models": 1000,
    "discover_period_seconds": 30,
    "minimum_models": 1,
    "drain_seconds": 5,
    "log_level": "info",
    "log_format": "auto",
}


def test_the_defaults_are_those_of_the_contract():
    assert load({}).model_dump() == DEFAULTS


def test_the_defaults_become_values_of_the_core():
    settings = load({})
    assert settings.checks == (SERVER_LIVE, SERVER_READY)
    thresholds = Thresholds(failure=3, success=1, min_failure_interval=0.5)
    assert settings.readiness == thresholds
    # Three rounds that time out, from the last success at most one early question before.
    assert settings.liveness == replace(thresholds, min_duration=5.25 + 3 * 2 + 1.05)
    for period in ("0", "5"):  # ServerLive is not asked between the rounds
        assert load({"live_period_seconds": period}).liveness == thresholds
    assert settings.policy == Policy(max_age=17, quorum=Quorum(percent=100))
    assert with_files(settings).target.headers == {}
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
    assert settings.policy.optional == {model_ready("gpt", "2")}


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
    assert with_files(settings).target.headers == {"x-a": "1", "authorization": "Bearer abc"}


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


@pytest.mark.parametrize(
    ("version", "taken"), [(3, True), ("3", True), (1.1, False), (True, False)]
)
def test_the_schema_takes_a_version_as_the_settings_do(version, taken):
    document = {"models": [{"name": "a", "version": version}]}
    validator = jsonschema.Draft202012Validator(Settings.model_json_schema())
    assert validator.is_valid(document) is taken
    try:
        Settings(**untyped(document))
    except ValidationError:
        assert not taken
    else:
        assert taken


@pytest.mark.parametrize(
    ("setting", "value"), [("grpc_service", "a b"), ("authority", "a b"), ("authority", "")]
)
def test_the_schema_has_the_forms_of_names(setting, value):
    validator = jsonschema.Draft202012Validator(Settings.model_json_schema())
    assert not validator.is_valid({setting: value})
    assert validator.is_valid({setting: "a.b"})


def test_a_settings_file_may_be_a_pipe():
    read, write = os.pipe()
    os.write(write, b"http_port: 1234\n")
    os.close(write)
    try:
        assert load({}, f"/dev/fd/{read}").http_port == 1234
    finally:
        os.close(read)


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
    environ = {
        "SIDECAR_PERIOD_SECOND": "3",
        "SIDECAR_PERIOD_SECONDS": "3",
        "SIDECAR_CONFIG": "/x",
        "SIDECAR_HTPP_PORT": "9808",
        "sidecar_zzz": "1",
        "PATH": "/bin",
    }
    assert variable_warnings(environ) == [
        "SIDECAR_HTPP_PORT is set, but there is no such setting; did you mean SIDECAR_HTTP_PORT?",
        "SIDECAR_PERIOD_SECOND is set, but there is no such setting; did you mean"
        " SIDECAR_PERIOD_SECONDS?",
        "sidecar_zzz is set, but there is no such setting",
    ]


def service_links(prefix: str) -> dict[str, str]:
    """What the kubelet puts into a pod's environment for a Service (kubelet/envvars)."""
    return {
        f"{prefix}_SERVICE_HOST": "10.0.0.1",
        f"{prefix}_SERVICE_PORT": "80",
        f"{prefix}_SERVICE_PORT_HTTP": "80",
        f"{prefix}_PORT": "tcp://10.0.0.1:80",
        f"{prefix}_PORT_80_TCP": "tcp://10.0.0.1:80",
        f"{prefix}_PORT_80_TCP_PROTO": "tcp",
        f"{prefix}_PORT_80_TCP_PORT": "80",
        f"{prefix}_PORT_80_TCP_ADDR": "10.0.0.1",
        f"{prefix}_PORT_53_UDP": "udp://[fd00::1]:53",
    }


@pytest.mark.parametrize("service", ["SIDECAR", "SIDECAR_HTTP", "SIDECAR_MODELS_A", "SIDECAR_X_Y"])
def test_links_to_a_service_set_nothing_and_only_the_one_like_a_setting_is_told(
    service, file, monkeypatch
):
    environ = service_links(service)
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    assert load({}, file("http_port: 1234\n")).http_port == 1234
    told = [
        "SIDECAR_HTTP_PORT is ignored: 'tcp://10.0.0.1:80' is Kubernetes' link to a Service;"
        " enableServiceLinks: false in the pod leaves such variables out"
    ]
    assert variable_warnings(environ) == (told if service == "SIDECAR_HTTP" else [])


@pytest.mark.parametrize(
    ("flags", "gates"),
    [
        ({}, True),
        ({"models": "a"}, False),
        ({"models": "a", "require_server_ready": "auto"}, False),
        ({"require_server_ready": "AUTO"}, True),
        ({"models": "a", "require_server_ready": "true"}, True),
        ({"models": "a", "require_server_ready": "yes"}, True),
        ({"require_server_ready": "false"}, False),
    ],
)
def test_server_ready_gates_by_itself_only_where_no_model_is_configured(flags, gates):
    settings = load(flags)
    assert settings.policy.require_server_ready is gates
    assert SERVER_READY in settings.checks


def test_whether_server_ready_gates_can_be_written_in_yaml(file):
    for text, gates in (("auto", False), ("true", True), ("false", False), ("off", False)):
        settings = load({"models": "a"}, file(f"require_server_ready: {text}\n"))
        assert settings.policy.require_server_ready is gates


def test_a_file_and_a_token_with_a_byte_order_mark_are_read(tmp_path, file):
    token = tmp_path / "token"
    token.write_text("\ufeffabc\n")
    settings = load({}, file(f"\ufeffbearer_token_file: {token}\n"))
    assert with_files(settings).target.headers == {"authorization": "Bearer abc"}


@pytest.mark.parametrize(
    ("text", "value"), [("10", 10), ("1.50", 1.5), (".5", 0.5), ("1e3", 1000), ("4.0e+3", 4000)]
)
def test_a_number_in_yaml_may_be_written_as_any_decimal(text, value, file):
    settings = load({"timeout_seconds": "0.1"}, file(f"period_seconds: {text}\n"))
    assert settings.period_seconds == value


def test_a_version_may_be_an_ordinary_number_and_whatever_is_in_quotes_is_text(file):
    path = file(
        "models:\n- {name: a, version: 3}\n- {name: 'no', version: '010'}\n- '1e3'\n"
        '- {name: "1.10", version: 0}\n'
    )
    assert load({}, path).checks == models(("a", "3"), ("no", "010"), ("1e3", ""), ("1.10", "0"))


def test_a_mapping_may_be_merged_and_then_changed(file):
    path = file(
        "models:\n- &a {name: a, version: 1}\n- {<<: *a, name: b}\n- {<<: *a, version: 2}\n"
    )
    assert load({}, path).checks == models(("a", "1"), ("b", "1"), ("a", "2"))


def test_what_stands_in_the_place_of_a_headers_name_is_not_repeated(file):
    path = file('headers: {"authorization: Bearer s3cret": }')
    with pytest.raises(BadSettings) as caught:
        load({}, path)
    assert "s3cret" not in "".join(caught.value.lines)
