"""What YAML would silently make of a settings file is an error that names the line."""

import pytest

from tests.config.reading import in_file


def test_a_key_in_another_case_is_no_setting_and_overrides_nothing(tmp_path):
    assert in_file(tmp_path, "SERVER_URL: a:1\nHttp_Port: 99999\n", server_url="b:1") == [
        "SERVER_URL: there is no such setting; did you mean server_url?",
        "Http_Port: there is no such setting; did you mean http_port?",
    ]


# What YAML 1.1, or another reader of YAML, makes something else of, whatever the setting wants.
CHANGED = [
    ("010", "the number 8", "8"),
    ("-0", "the number 0", "0"),
    ("-010", "the number -8", "-8"),
    ("0o17", "the number 15", "15"),
    ("09", "the number 9.0", "9"),
    ("0x1F", "the number 31", "31"),
    ("0b11", "the number 3", "3"),
    ("1_000", "the number 1000", "1000"),
    ("2024_01_15", "the number 20240115", "20240115"),
    ("1_0.5", "the number 10.5", "10.5"),
    ("1:30", "the number 90", "90"),
    ("1:30.5", "the number 90.5", "90.5"),
    ("+5", "the number 5", "5"),
    ("2024-01-15", "a date", ""),
    ("2024-13-45", "a date", ""),
    ("2024-01-15 10:00:00", "a date", ""),
]


@pytest.mark.parametrize("changed", CHANGED)
@pytest.mark.parametrize(
    ("setting", "content"),
    [
        ("period_seconds", "period_seconds: {}"),
        ("http_port", "http_port: {}"),
        ("grpc_service", "grpc_service: {}"),
        ("models", "models: {}"),
        ("models", "models: [{}]"),
        ("models", "models: [{{name: {}}}]"),
        ("models", "models: [{{name: a, version: {}}}]"),
        ("readiness_policy", "readiness_policy: {}"),
    ],
)
def test_what_yaml_changes_is_to_be_quoted(setting, content, changed, tmp_path):
    text, read_as, better = changed
    rest = f", or write {better}" if better else ""
    assert in_file(tmp_path, "\n" + content.format(text)) == [
        f"{setting}: line 2: {text} is read as {read_as}: quote it{rest}"
    ]


def test_what_yaml_changes_in_a_header_is_named_and_not_shown(tmp_path):
    hidden = "a value that is not shown"
    assert in_file(tmp_path, "headers:\n  x-a: 0777\n  on: x\n") == [
        f"headers: line 3: {hidden} is read as a boolean: quote it",
        f"headers: line 2: {hidden} is read as a number: quote it",
    ]


# What is good for a number or for true and false, and no text.
NO_TEXT = [
    ("1.10", "the number 1.1"),
    ("1e3", "the number 1000.0"),
    ("4.0e+6", "the number 4000000.0"),
    (".inf", "the number Infinity"),
    ("no", "the boolean false"),
    ("On", "the boolean true"),
    ("true", "a boolean"),
    ("~", "YAML's null"),
    ("null", "YAML's null"),
]


@pytest.mark.parametrize("scalar", [*NO_TEXT, ("3", "a number")])
@pytest.mark.parametrize(
    ("written", "told"),
    [
        (("server_url", "server_url: {}"), ("", "server_url is text")),
        (("models", "models: {}"), ("", "models is text or a list")),
        (("models", "models:\n\n- {}"), ("model 1: ", "a name is text")),
        (("models", "models:\n\n- name: {}"), ("model 1: ", "a name is text")),
        (("models", "models: [a, {{name: a, version: {}}}]"), ("model 2: ", "a version is text")),
        (("headers", "headers: {}"), ("", "headers is text or a mapping")),
        (("headers", "headers: {{x-a: {}}}"), ("", "a header is text")),
    ],
)
def test_text_that_yaml_takes_for_something_else_is_to_be_quoted(written, told, scalar, tmp_path):
    (setting, content), (place, wanted), (text, is_) = written, told, scalar
    if wanted == "a version is text" and text == "3":
        return  # a version may be a whole number
    (line,) = in_file(tmp_path, content.format(text))
    number = 1 + content.count("\n")
    shown = "a value that is not shown" if setting == "headers" else text
    assert line.startswith(f"{setting}: given ")
    if setting == "headers":
        is_ = " ".join(is_.replace("the", "a").split(" ")[:2])
    assert f": {place}line {number}: {shown} is {is_}, and {wanted}: quote it; allowed: " in line


@pytest.mark.parametrize("setting", ["tls_ca_file", "tls_server_name", "authority", "http_host"])
def test_a_path_or_a_name_that_yaml_takes_for_a_number_is_to_be_quoted(setting, tmp_path):
    (line,) = in_file(tmp_path, f"{setting}: 1.10")
    why = f"line 1: 1.10 is the number 1.1, and {setting} is text: quote it"
    assert f"{setting}: given 1.1 by FILE: {why}; allowed: " in line


def test_everything_that_is_wrong_in_a_list_of_models_is_told(tmp_path):
    lines = in_file(
        tmp_path, "models:\n- {name: a, version: 010}\n- no\n- {name: b, version: 1.10}\n"
    )
    assert lines[0] == "models: line 2: 010 is read as the number 8: quote it, or write 8"
    assert (
        ": model 2: line 3: no is the boolean false, and a name is text: quote it, model 3: line 4:"
        " 1.10 is the number 1.1, and a version is text: quote it; allowed: "
    ) in lines[1]


NO_NAME = "line 2: no is the boolean false, and a name is text: quote it"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("models:\n- &a {name: no}\n- *a\n", f"model 1: {NO_NAME}"),
        ("models:\n- &a no\n- *a\n", f"model 1: {NO_NAME}"),
        ("models:\n- name: &a no\n- name: *a\n", f"model 1: {NO_NAME}"),
        ("models:\n- &a [x]\n- *a\n", "model 1: name: not text"),
        (
            "models:\n- &a {name: x, verison: 1}\n- *a\n",
            "model 1 has no key 'verison'; did you mean version?",
        ),
        (
            "models:\n- &a {name: no}\n- {<<: *a, version: 1}\n",
            f"model 1: {NO_NAME}, model 2: {NO_NAME}",
        ),
        (
            "models:\n- &a {name: no, version: 1.5}\n- {<<: *a, name: x, version: y}\n",
            f"model 1: {NO_NAME}, model 1: line 2: 1.5 is a number, and a version is text:"
            " quote it",
        ),
    ],
)
def test_what_is_wrong_is_told_where_it_is_written_and_not_again_for_an_alias(
    content, told, tmp_path
):
    (line,) = in_file(tmp_path, content)
    assert f" by FILE: {told}; allowed: " in line


def test_an_alias_in_another_setting_is_told_for_both(tmp_path):
    lines = in_file(tmp_path, "tls_server_name: &a 1.10\nheaders: {x-a: *a}\n")
    why = "line 1: 1.10 is the number 1.1, and tls_server_name is text: quote it; "
    assert why in lines[0]
    hidden = "line 1: a value that is not shown is a number, and a header is text: quote it; "
    assert hidden in lines[1]


def test_an_alias_of_all_that_holds_it_ends(tmp_path):
    (line,) = in_file(tmp_path, "models: &a [*a, {name: no}, b]\n")
    assert line.startswith("models: given ")


@pytest.mark.parametrize(
    ("flag", "told"),
    [("bad", ["http_port: given 'bad' by --http-port: not a whole number"]), ("5", [])],
)
def test_what_yaml_changes_is_told_beside_what_is_wrong_with_the_flag(flag, told, tmp_path):
    lines = in_file(tmp_path, "http_port: 010\n", http_port=flag)
    assert lines[0] == "http_port: line 1: 010 is read as the number 8: quote it, or write 8"
    assert [line.partition(";")[0] for line in lines[1:]] == told


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("jitter: 0\nhttp_port: 1\njitter: 0.5\n", "jitter: given twice, in line 1 and line 3"),
        ('jitter: 0\n"jitter": 0\n', "jitter: given twice, in line 1 and line 2"),
        ("headers:\n  a: x\n  a: x\n", "headers: a key is given twice, in line 2 and line 3"),
        (
            "models:\n- name: a\n  version: 1\n  name: b\n",
            "models: a key is given twice, in line 2 and line 4",
        ),
        ("models: [{name: a, name: b}]", "models: a key is given twice, in line 1 and line 1"),
    ],
)
def test_a_key_that_is_given_twice_is_named_with_both_lines(content, line, tmp_path):
    assert in_file(tmp_path, content) == [line]


def test_a_key_that_is_given_twice_is_an_error_although_a_flag_overrides_it(tmp_path):
    assert in_file(tmp_path, "jitter: 0\njitter: 1\n", jitter="0.5") == [
        "jitter: given twice, in line 1 and line 2"
    ]
