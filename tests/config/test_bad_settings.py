"""Each kind of bad setting has its exact message; all of them are told at once."""

import os
from pathlib import Path

import pytest
import yaml

from sidecar.config import BadSettings, Settings, load
from tests.config.reading import errors, in_file

URL = "allowed: host:port, grpc://, grpcs://, http://, https://, dns:///host:port or unix:///path"
SECONDS = "allowed: seconds, more than 0, at most a day"
COUNT = "allowed: a whole number from 1"
NUMBER = "not a number"
MODELS = (
    "allowed: name or name:version, separated by commas; or a list of such names or of"
    " {name, version, required, canary}"
)
POLICY = "allowed: all, any, a count of required models (2) or a share of them (50%)"
HEADERS = "allowed: name=value, separated by commas, or a mapping; names in lower case"
FILE = "allowed: the path of a file that can be read"
PORT = "allowed: a port from 1 to 65535, or 0 for any free one"
HIDDEN = "given a value that is not shown"


# One flag each: setting, what was given, the message between them and what is allowed.
BAD = [
    ("server_url", "h:99999", f"url 'h:99999': port 99999 is outside 1-65535; {URL}"),
    (
        "server_url",
        "\x00",
        f"url '\\x00' is not text on one line; {URL}",
    ),
    (
        "server_url",
        "ftp://h:1",
        f"url 'ftp://h:1': unknown scheme, known are grpc, grpcs, http, https; {URL}",
    ),
    (
        "grpc_service",
        "no such name",
        "not the full name of a gRPC service; allowed: the full name of a gRPC service, such as"
        " inference.GRPCInferenceService",
    ),
    ("models", "a,,b", f"model 2: name: empty; {MODELS}"),
    ("models", "a,b:3,a", f"given more than once: model:a; {MODELS}"),
    (
        "models",
        "[1",
        f"not a JSON list: Expecting ',' delimiter: line 1 column 3 (char 2); {MODELS}",
    ),
    (
        "models",
        '[{"nam": "a"}]',
        f"model 1 has no name, model 1 has no key 'nam'; did you mean name?; {MODELS}",
    ),
    (
        "models",
        '[{"name": "a", "version": 1.1}]',
        f"model 1: version: not text, so it must be in quotes; {MODELS}",
    ),
    ("models", '[{"name": "a", "required": 7}]', f"model 1: required: not a boolean; {MODELS}"),
    ("models", "[{}]", f"model 1 has no name; {MODELS}"),
    ("models", "[-0]", f"-0 is read as the number 0: quote it, or write 0; {MODELS}"),
    ("models", "a\tb", f"model 1: name: has a control character; {MODELS}"),
    ("period_seconds", "soon", f"{NUMBER}; {SECONDS}"),
    ("period_seconds", "-1", f"input should be greater than 0; {SECONDS}"),
    ("recovery_period_seconds", "0", f"input should be greater than 0; {SECONDS}"),
    ("timeout_seconds", "5", f"not shorter than period_seconds, 5; {SECONDS}"),
    ("timeout_seconds", "inf", f"input should be less than or equal to 86400; {SECONDS}"),
    ("jitter", "1.5", "input should be less than or equal to 1; allowed: a share from 0 to 1"),
    ("concurrency", "0", f"input should be greater than or equal to 1; {COUNT}"),
    (
        "liveness_failure_threshold",
        "1.5",
        f"not a whole number; {COUNT}",
    ),
    (
        "startup_grace_seconds",
        "-1",
        "input should be greater than or equal to 0; allowed: seconds, from 0 to a day",
    ),
    (
        "max_age_seconds",
        "5",
        "shorter than a period with its jitter and the timeout, 7.25: good answers would grow old"
        " between two rounds;"
        f" {SECONDS}",
    ),
    (
        "require_server_ready",
        "perhaps",
        "not a boolean; allowed: auto, true or false",
    ),
    (
        "readiness_policy",
        "most",
        f"must be all, any, N or N%; {POLICY}",
    ),
    ("readiness_policy", "101%", f"more than 100%; {POLICY}"),
    ("readiness_policy", "2", f"only 0 required models are configured; {POLICY}"),
    ("tls_ca_file", "/nowhere", f"cannot be read: No such file or directory; {FILE}"),
    ("tls_ca_file", "/", f"cannot be read: Is a directory; {FILE}"),
    ("tls_server_name", "", "empty; allowed: text"),
    ("bearer_token_file", "/dev/null", f"is empty; {FILE}"),
    ("http_port", "65536", f"input should be less than or equal to 65535; {PORT}"),
    (
        "drain_seconds",
        "-1",
        "input should be greater than or equal to 0; allowed: seconds, from 0 to a day",
    ),
    (
        "log_level",
        "loud",
        "unknown; allowed: debug, info, warning or error",
    ),
    ("log_format", "xml", "unknown; allowed: auto, text or json"),
]


@pytest.mark.parametrize(("setting", "given", "rest"), BAD)
def test_a_bad_setting_is_named_with_what_was_given_and_what_is_allowed(setting, given, rest):
    flag = "--" + setting.replace("_", "-")
    assert errors({setting: given}) == [f"{setting}: given {given!r} by {flag}: {rest}"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("secret", "a part has no '=' between its name and its value"),
        (
            "Token=secret",
            "the name of header 1 is not of lower-case letters, digits and _ . - alone",
        ),
        ("a=s\u00e9cret", "header 'a': a value is a str of printable ASCII"),
    ],
)
def test_a_bad_header_is_named_and_its_value_is_not_shown(given, reason):
    assert errors({"headers": given}) == [f"headers: {HIDDEN} by --headers: {reason}; {HEADERS}"]


def test_everything_that_is_wrong_is_told_at_once(tmp_path, monkeypatch):
    file = tmp_path / "s.yaml"
    file.write_text("http_port: no\nperiod-seconds: 3\n")
    monkeypatch.setenv("SIDECAR_TIMEOUT_SECONDS", "9")
    assert errors({"jitter": "2"}, str(file)) == [
        "timeout_seconds: given '9' by SIDECAR_TIMEOUT_SECONDS: not shorter than"
        f" period_seconds, 5; {SECONDS}",
        "jitter: given '2' by --jitter: input should be less than or equal to 1; allowed: a share"
        " from 0 to 1",
        f"http_port: given False by {file}: not a number; {PORT}",
        "period-seconds: there is no such setting; did you mean period_seconds?",
    ]


def test_a_key_of_a_json_object_that_is_given_twice_is_named():
    (line,) = errors({"models": '[{"name": "a", "name": "b"}]'})
    assert "a JSON object has a key more than once: name; allowed: " in line


def test_a_json_list_that_is_nested_too_deeply_is_named():
    (line,) = errors({"models": "[" * 100_000})
    assert "not a JSON list: it is nested too deeply; allowed: " in line


def test_a_header_that_is_given_twice_is_refused():
    (line,) = errors({"headers": "x-a=1, x-a=2"})
    assert f"{HIDDEN} by --headers: a header is given more than once; allowed: " in line


def test_a_variable_that_is_given_twice_is_refused(monkeypatch):
    monkeypatch.setenv("SIDECAR_JITTER", "0.1")
    monkeypatch.setenv("sidecar_jitter", "0.2")
    assert errors({}) == ["jitter: given twice, by SIDECAR_JITTER and by sidecar_jitter"]


QUOTED = sorted({*Settings.model_fields} - {"headers"})


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize("setting", QUOTED)
def test_quotes_around_a_whole_value_are_named(setting, quote, tmp_path, monkeypatch):
    text = f"{quote}1{quote}"
    reason = f"the quotes {quote} are part of the value; leave them out"
    assert reason in errors({setting: text})[0]
    monkeypatch.setenv(f"SIDECAR_{setting.upper()}", text)
    assert reason in errors({})[0]
    monkeypatch.delenv(f"SIDECAR_{setting.upper()}")
    assert reason in in_file(tmp_path, yaml.safe_dump({setting: text}))[0]


@pytest.mark.parametrize(
    "value",
    ['"resnet50,bert:3"', '\'[{"name": "a"}]\'', 'a,"b"', "[\"'a'\"]", 'a:"3"'],
)
def test_quotes_around_models_or_one_of_them_are_named(value):
    (line,) = errors({"models": value})
    assert "are part of the value; leave them out" in line


def test_quotes_around_headers_are_named_and_the_value_is_not_shown():
    (line,) = errors({"headers": '"authorization=s3cret"'})
    assert line.startswith(f'headers: {HIDDEN} by --headers: the quotes " are part of the value')
    assert "s3cret" not in line


def test_quotes_around_the_name_of_the_settings_file_are_named(monkeypatch):
    reason = "the quotes ' are part of the value; leave them out; allowed: the path of a YAML file"
    assert errors({}, "'/x'") == [f"config: given \"'/x'\": {reason}"]
    monkeypatch.setenv("SIDECAR_CONFIG", "'/x'")
    assert errors({}) == [f"config: given \"'/x'\": {reason}"]


@pytest.mark.parametrize("content", ["models: {name: a}", 'models: \'{"name": "a"}\''])
def test_one_model_instead_of_a_list_is_named(content, tmp_path):
    (line,) = in_file(tmp_path, content)
    assert "one mapping and not a list; a list of one is in brackets, [{...}]; allowed: " in line


def test_headers_in_json_are_named():
    (line,) = errors({"headers": '{"a": "b"}'})
    assert f"{HIDDEN} by --headers: JSON; as text it is name=value; allowed: " in line


@pytest.mark.parametrize("value", ["a:,b", "a,b: ", '["a:"]'])
def test_a_colon_without_a_version_is_refused(value):
    (line,) = errors({"models": value})
    assert "has no version after its colon; allowed: " in line


def reasons(lines: list[str]) -> dict[str, str]:
    """What is wrong with each setting, without what was given and what is allowed."""
    return {
        line.partition(":")[0]: line.partition(": given ")[2].partition(": ")[2].partition("; ")[0]
        for line in lines
    }


def test_a_rule_between_two_settings_is_checked_although_another_one_is_broken():
    told = reasons(errors({"timeout_seconds": "9", "max_age_seconds": "7"}))
    assert told == {
        "timeout_seconds": "not shorter than period_seconds, 5",
        "max_age_seconds": "shorter than a period with its jitter and the timeout, 14.25: good"
        " answers would grow old between two rounds",
    }


@pytest.mark.parametrize(
    ("bad", "least"),
    [("period_seconds", "4"), ("timeout_seconds", "5.25"), ("jitter", "9")],
)
def test_the_age_is_held_to_what_is_known_of_a_round(bad, least):
    given = {"timeout_seconds": "4", "max_age_seconds": "3", bad: "x"}
    told = reasons(errors(given))
    assert set(told) == {bad, "max_age_seconds"}
    assert f"and the timeout, {least}: " in told["max_age_seconds"]


def test_a_plaintext_url_is_told_although_it_is_bad(pki):
    lines = errors(
        {"server_url": "http://h:99999", "tls_ca_file": str(pki.ca), "tls_server_name": "a"}
    )
    told = reasons(lines)
    assert set(told) == {"server_url", "tls_ca_file", "tls_server_name"}
    assert "http:// is plaintext, but TLS was asked for" in lines[1]


def test_a_key_without_a_certificate_is_told_although_it_cannot_be_read():
    lines = errors({"tls_key_file": "/nowhere"})
    assert "cannot be read: No such file or directory, tls_cert_file is not given; give" in lines[0]
    lines = errors({"tls_cert_file": "/nowhere"})
    assert [line.partition(":")[0] for line in lines] == ["tls_cert_file", "tls_key_file"]


def test_a_token_beside_headers_that_are_bad_is_told(tmp_path):
    token = tmp_path / "token"
    token.write_text("x")
    lines = errors({"headers": "authorization=\xe9", "bearer_token_file": str(token)})
    assert [line.partition(":")[0] for line in lines] == ["headers", "bearer_token_file"]
    assert "headers holds an authorization already" in lines[1]


def test_a_policy_that_even_bad_models_cannot_meet_is_told():
    told = reasons(errors({"models": "a,a", "readiness_policy": "3"}))
    assert told["readiness_policy"] == "only 2 required models are configured"
    assert set(reasons(errors({"models": "[", "readiness_policy": "3"}))) == {"models"}


@pytest.mark.parametrize(
    "models", ["a:,b", "a,,", '["a:", {"name": 1}, {"name": "b", "required": false}]']
)
def test_a_policy_is_held_to_the_count_of_models_each_of_which_may_be_bad(models):
    told = reasons(errors({"models": models, "readiness_policy": "5"}))
    count = 3 if models == "a,," else 2
    assert told["readiness_policy"] == f"only {count} required models are configured"
    assert set(told) == {"models", "readiness_policy"}


@pytest.mark.parametrize(
    "authority", ["a b", "a/b", "http://a", "\xfc", "a@b", "a:x", "a:123456", "[::1", ":80", "a?b"]
)
def test_an_authority_is_a_host_and_a_port(authority):
    (line,) = errors({"authority": authority})
    assert line.endswith(
        ": neither host nor host:port; allowed: host or host:port; IPv6 in brackets"
    )


@pytest.mark.parametrize("port", ["0", "65536", "99999"])
@pytest.mark.parametrize("host", ["h", "[::1]"])
def test_the_port_of_an_authority_is_one(host, port):
    (line,) = errors({"authority": f"{host}:{port}"})
    assert f": port {port} is outside 1-65535; allowed: host or host:port" in line


@pytest.mark.parametrize("port", ["1", "65535"])
def test_the_least_and_the_greatest_port_of_an_authority_are_taken(port):
    assert load({"authority": f"h:{port}"}).authority == f"h:{port}"


@pytest.mark.parametrize("setting", ["authority", "http_host", "tls_server_name"])
def test_a_password_before_a_host_is_not_shown(setting):
    (line,) = errors({setting: "user:s3cr3t@h\t"})
    assert line.startswith(f"{setting}: given '***@h\\t' by --")
    assert "s3cr3t" not in line


PRIVATE = "-----BEGIN PRIVATE KEY-----\ns3cr3t\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("setting", ["bearer_token_file", "tls_key_file", "tls_cert_file"])
@pytest.mark.parametrize(
    "secret",
    [
        "s3cr3t",
        "s3cr3t" * 1000,
        PRIVATE,
        "s3cr3t\0",
        "'s3cr3t'",
        "/s3cr3t",
        "./s3cr3t",
        "/s3cr3t/x",
    ],
)
def test_a_secret_in_the_place_of_its_file_is_not_shown(setting, secret, tmp_path):
    hidden = "a value that is not shown (neither the file nor its directory exists)"
    for lines in (
        errors({setting: secret}),
        in_file(tmp_path, yaml.safe_dump({setting: secret})),
    ):
        assert lines[0].startswith(f"{setting}: given {hidden} by ")
        assert "s3cr3t" not in "".join(lines)


def test_the_path_of_a_secret_file_that_is_not_there_is_shown_where_its_directory_is(tmp_path):
    path = str(tmp_path / "token")
    assert errors({"bearer_token_file": path}) == [
        f"bearer_token_file: given {path!r} by --bearer-token-file: cannot be read: No such file or"
        f" directory; {FILE}"
    ]


def test_a_number_in_the_place_of_a_secret_file_is_not_shown(tmp_path):
    for text in ("1234", "01234"):
        assert "1234" not in "".join(in_file(tmp_path, f"bearer_token_file: {text}"))


@pytest.mark.parametrize(
    ("key", "meant"), [("verison", "version"), ("Version", "version"), ("NAME", "name")]
)
def test_an_unknown_key_of_a_model_is_named_with_the_one_that_was_meant(key, meant, tmp_path):
    (line,) = in_file(tmp_path, f"models: [a, {{name: b, {key}: x}}]")
    assert f": model 2 has no key '{key}'; did you mean {meant}?; allowed: " in line


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("http_port: [1]", "not a whole number"),
        ("http_port: 1.5", "not a whole number"),
        ("http_port: .inf", "not a finite number"),
        ("jitter: [1]", "not a number"),
        ("jitter: x", "not a number"),
        ("require_server_ready: [1]", "not a boolean"),
        ("models: [{name: a, required: [1]}]", "model 1: required: not a boolean"),
        ("models: [[a]]", "model 1: name: not text"),
        ("headers: [a]", "not a mapping"),
        ("headers: {a: [b]}", "not text"),
        ("authority: [a]", "not text"),
        ("tls_ca_file: [a]", "not text"),
        ("log_level: [a]", "unknown"),
    ],
)
def test_a_value_of_another_kind_is_refused_in_plain_words(content, reason, tmp_path):
    (line,) = in_file(tmp_path, content)
    assert f" by FILE: {reason}; allowed: " in line


def test_a_setting_that_a_command_has_itself_may_not_be_given(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDECAR_GRPC_SERVICE", "a.B")
    path = tmp_path / "s.yaml"
    path.write_text("models: [x]\n")
    own = {"server_url": "h:1", "models": ["a"], "grpc_service": "a.C"}
    with pytest.raises(BadSettings) as caught:
        load({"server_url": "h:2"}, str(path), own)
    why = "the demo has its own, which cannot be changed"
    assert caught.value.lines == [
        f"server_url: given 'h:2' by --server-url: {why}",
        f"grpc_service: given 'a.B' by SIDECAR_GRPC_SERVICE: {why}",
        f"models: given ['x'] by {path}: {why}",
    ]


def test_a_variable_in_lower_case_is_named_as_a_source_too(monkeypatch):
    monkeypatch.setenv("sidecar_http_port", "x")
    (line,) = errors({})
    assert line.startswith("http_port: given 'x' by SIDECAR_HTTP_PORT: ")


def test_a_password_in_a_url_is_not_shown():
    (line,) = errors({"server_url": "grpc://user:secret@h:80"})
    assert line.startswith("server_url: given 'grpc://***@h:80' by --server-url: url 'grpc://***@h")
    assert "secret" not in line


def test_a_default_that_no_longer_fits_is_named_as_a_default():
    assert errors({"period_seconds": "1"}) == [
        f"timeout_seconds: default 2: not shorter than period_seconds, 1; {SECONDS}"
    ]


def test_a_setting_that_nothing_resembles_is_just_named(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text("zzz: 1\n")
    assert errors({}, str(file)) == ["zzz: there is no such setting"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"a: [1", "is not YAML: expected ',' or ']', but got '<stream end>' in line 1"),
        (b"\xff\xfe\xfa", "is not UTF-8 text"),
        (b"a: \x07", "is not YAML"),
        (b"- a", "is not a mapping of settings to values"),
        (b"1: a", "is not a mapping of settings to values"),
        (b"!!timestamp x", "is not YAML"),
        (b"a: !!bool x", "is not YAML"),
        (b"a: !!int x", "is not YAML"),
        (b"? [a]\n: b", "is not YAML: found unhashable key in line 1"),
        (b"[" * 1000, "is not YAML"),
        (
            b"!!python/object/apply:os.system [true]",
            "is not YAML: could not determine a constructor for the tag in line 1",
        ),
        (
            b"headers: {authorization: *s3cr3t}",
            "is not YAML: found undefined alias in line 1",
        ),
        (
            b"headers: {authorization: !s3cr3t x}",
            "is not YAML: could not determine a constructor for the tag in line 1",
        ),
        (
            b"headers: {authorization: !s3cr3t'x x}",
            "is not YAML: could not determine a constructor for the tag in line 1",
        ),
        (
            b"headers: {authorization: !s3cr3t!x x}",
            "is not YAML: found undefined tag handle in line 1",
        ),
        (
            b"a:\n\t- b",
            "is not YAML: found character '\\t' that cannot start any token in line 2",
        ),
    ],
)
def test_a_settings_file_that_cannot_be_used_is_named_with_the_reason(tmp_path, content, reason):
    path = tmp_path / "s.yaml"
    if content is not None:
        path.write_bytes(content)
    (line,) = errors({}, str(path))
    assert line.startswith(f"config: given {str(path)!r}: {reason}")
    assert "s3cr3t" not in line
    assert line.endswith("; allowed: the path of a YAML file")


def test_a_key_or_a_certificate_alone_is_refused(pki):
    assert errors({"tls_key_file": str(pki.key)}) == [
        f"tls_key_file: given {str(pki.key)!r} by --tls-key-file: tls_cert_file is not given; give"
        f" both or neither; {FILE}"
    ]
    assert errors({"tls_cert_file": str(pki.cert)}) == [
        f"tls_key_file: not given, but tls_cert_file is; give both or neither; {FILE}"
    ]


def test_a_key_that_is_not_the_certificates_is_refused(pki, other_pki):
    (line,) = errors({"tls_cert_file": str(pki.cert), "tls_key_file": str(other_pki.key)})
    assert "is not the key of tls_cert_file (KEY_VALUES_MISMATCH)" in line


def test_a_file_without_a_certificate_is_refused(pki):
    (line,) = errors({"tls_ca_file": str(pki.key)})
    assert "holds no certificate in PEM form" in line
    lines = errors({"tls_cert_file": str(pki.key), "tls_key_file": str(pki.key)})
    assert "holds no certificate in PEM form" in lines[0]


def test_a_certificate_of_another_form_is_refused(pki, tmp_path):
    file = tmp_path / "ca.pem"
    file.write_text(pki.ca.read_text().replace(" CERT", " TRUSTED CERT"))
    (line,) = errors({"tls_ca_file": str(file)})
    assert "holds no certificate in PEM form" in line


def test_a_certificate_that_is_cut_short_is_refused(tmp_path):
    file = tmp_path / "ca.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")
    (line,) = errors({"tls_ca_file": str(file)})
    assert "holds a certificate that cannot be read" in line


def test_plaintext_by_url_and_tls_settings_contradict_each_other(pki):
    (line,) = errors({"server_url": "http://h:80", "tls_ca_file": str(pki.ca)})
    assert line.startswith("tls_ca_file: ")
    assert "http:// is plaintext, but TLS was asked for" in line


def test_a_token_beside_an_authorization_header_is_refused(tmp_path):
    token = tmp_path / "token"
    token.write_text("secret")
    (line,) = errors({"headers": "authorization=secret", "bearer_token_file": str(token)})
    assert "headers holds an authorization already" in line
    assert "secret" not in line


def test_a_token_that_cannot_be_sent_is_refused_and_not_shown(tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("sec\nret")
    (line,) = errors({"bearer_token_file": str(token)})
    assert "header 'authorization'" in line
    assert "ret" not in line.replace(str(token), "").replace("secret", "")


def test_a_fifo_is_no_file_and_is_not_opened(tmp_path):
    fifo = tmp_path / "token"
    os.mkfifo(fifo)
    (line,) = errors({"bearer_token_file": str(fifo)})
    assert line.endswith(f" by --bearer-token-file: is a FIFO, not a file; {FILE}")


@pytest.mark.parametrize(("missing", "field"), [("pod_name", "name"), ("pod_uid", "uid")])
def test_kubernetes_events_need_the_pod(missing, field):
    given = {"kubernetes_events": "true", "pod_name": "bert-0", "pod_uid": "7d2a9c1e"}
    load(given)
    del given[missing]
    text = f"{missing}: .*fieldPath metadata.{field}"
    with pytest.raises(BadSettings, match=text):
        load(given)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("pod_name", "Bert"), ("pod_name", "a" * 254), ("pod_name", "a-"), ("pod_uid", "a b")],
)
def test_what_no_pod_is_called_is_refused(setting, value):
    with pytest.raises(BadSettings, match=f"{setting}: given '{value[:20]}"):
        load({setting: value})
