"""The command line: commands, flags, help, exit codes."""

import signal

import pytest
import yaml

from sidecar import __version__
from sidecar.cli import main
from sidecar.cli.arguments import COMMANDS, EXAMPLES
from sidecar.config import Settings
from sidecar.demo import OWN
from tests.support import sidecar

pytestmark = pytest.mark.usefixtures("restored_signals")


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize("command", ["run", "check", "config", "demo"])
def test_every_setting_is_a_flag(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')} " in text for name in Settings.model_fields)


def test_config_prints_what_is_in_force(capsys):
    assert main(["config", "--models", "a,b:3", "--period-seconds", "10"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["period_seconds"] == 10
    assert printed["max_age_seconds"] == 32
    assert printed["models"] == [
        {"name": "a", "version": "", "required": True},
        {"name": "b", "version": "3", "required": True},
    ]


def test_config_prints_the_recovery_period_that_is_in_force_and_names_what_is_misspelt(
    capsys, monkeypatch
):
    monkeypatch.setenv("SIDECAR_PERIOD_SECNDS", "9")
    assert main(["config", "--recovery-period-seconds", "10"]) == 0
    printed = capsys.readouterr()
    assert yaml.safe_load(printed.out)["recovery_period_seconds"] == 5
    assert printed.err == (
        "sidecar: SIDECAR_PERIOD_SECNDS is set, but there is no such setting; did you mean"
        " SIDECAR_PERIOD_SECONDS?\n"
    )


def test_a_flag_without_a_command_belongs_to_run(capsys):
    assert main(["--jitter", "7"]) == 2
    assert capsys.readouterr().err.startswith("sidecar: jitter: given '7' by --jitter")


def test_everything_that_is_wrong_with_a_check_is_told_at_once(capsys):
    assert main(["check", "--wait=1m", "--output=yaml", "--jitter=7"]) == 2
    assert capsys.readouterr().err == (
        "sidecar: wait: given '1m' by --wait; allowed: seconds, from 0 to a day\n"
        "sidecar: output: given 'yaml' by --output; allowed: text or json\n"
        "sidecar: jitter: given '7' by --jitter: input should be less than or equal to 1;"
        " allowed: a share from 0 to 1\n"
    )


@pytest.mark.parametrize("wait", ["-1", "nan", "inf", "86401", ""])
def test_seconds_to_wait_that_no_clock_comes_to_are_refused(wait, capsys):
    assert main(["check", f"--wait={wait}"]) == 2
    assert f"wait: given {wait!r} by --wait" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (
            ["chekc"],
            "chekc: unknown command; did you mean check?;"
            " allowed: run, check, canary, demo, config, doctor",
        ),
        (
            ["Check"],
            "Check: unknown command; did you mean check?;"
            " allowed: run, check, canary, demo, config, doctor",
        ),
        (
            ["zzz", "--jitter=1"],
            "zzz: unknown command; allowed: run, check, canary, demo, config, doctor",
        ),
        (["--zzz"], "--zzz: there is no such flag"),
        (
            ["run", "--period", "3"],
            "--period: there is no such flag; did you mean --period-seconds?",
        ),
        (
            ["--period_seconds=3"],
            "--period_seconds: there is no such flag; did you mean --period-seconds?",
        ),
        (["--Jitter", "1"], "--Jitter: there is no such flag; did you mean --jitter?"),
        (["run", "--wait=3"], "--wait: there is no such flag"),
        (["config", "extra"], "extra: unexpected; flags begin with --"),
        (["--jitter", "0", "check"], "check: unexpected; flags begin with --"),
        ([""], "'': unknown command; allowed: run, check, canary, demo, config, doctor"),
        (["check", ""], "'': unexpected; flags begin with --"),
        (["check", " \t"], "' \\t': unexpected; flags begin with --"),
        (["--jitter"], "--jitter: a value is missing"),
        (["--jitter", "--concurrency=1"], "--jitter: a value is missing"),
        (["config", "--schema=1"], "--schema: takes no value"),
    ],
)
def test_a_wrong_argument_is_named_with_what_was_meant(args, line, capsys):
    assert main(args) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"sidecar: {line}\n")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--headers", "authorization=Bearer", "s3cr3t"], "something unexpected after --headers"),
        (["--headers=authorization=Bearer", "s3cr3t"], "something unexpected after --headers"),
        (["--headers", "a=Bearer", "-s3cr3t", "s3cr3t"], "something unexpected after --headers"),
        (["--header", "a=Bearer", "s3cr3t"], "something unexpected after --header"),
        (["--bearer-token-file", "Bearer", "s3cr3t"], "something unexpected after --bearer-to"),
        (["--authority", "h", "s3cr3t@h"], "something unexpected after --authority"),
    ],
)
def test_what_may_be_the_rest_of_a_secret_is_not_shown(args, told, capsys):
    assert main(["config", *args]) == 2
    printed = capsys.readouterr().err
    assert printed.count(f"sidecar: {told}") == 1
    assert "s3cr3t" not in printed


def test_wrong_arguments_are_told_together_with_bad_settings(capsys, monkeypatch, tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text("http_port: 0x10\nHTTP_PORT: 1\n")
    monkeypatch.setenv("SIDECAR_MODELS", "a:")
    args = ["check", "--bogus", "1", "x", "--config", str(file), "--wait=1m", "--jitter=7", "-q"]
    assert main(args) == 2
    assert [line.partition(": ")[2] for line in capsys.readouterr().err.splitlines()] == [
        "--bogus: there is no such flag",
        "something unexpected after --bogus; flags begin with --",
        "-q: there is no such flag",
        "wait: given '1m' by --wait; allowed: seconds, from 0 to a day",
        "models: given 'a:' by SIDECAR_MODELS: 'a:' has no version after its colon; allowed: name"
        " or name:version, separated by commas; or a list of such names or of {name, version,"
        " required, canary}",
        "jitter: given '7' by --jitter: input should be less than or equal to 1; allowed: a share"
        " from 0 to 1",
        f"http_port: {file}, line 1: 0x10 is read as the number 16: quote it, or write 16",
        "HTTP_PORT: there is no such setting; did you mean http_port?",
    ]


def test_of_a_flag_that_is_given_again_the_last_counts(capsys):
    assert main(["config", "--http-port", "1", "--http-port=2"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["http_port"] == 2


def test_a_value_may_begin_with_a_dash(capsys):
    assert main(["config", "--jitter", "-1"]) == 2
    assert "jitter: given '-1' by --jitter" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variables", "args", "lines"),
    [
        (
            {},
            ["--models=x", "--server-url", "h:1"],
            ["server_url: given 'h:1' by --server-url", "models: given 'x' by --models"],
        ),
        ({"SIDECAR_MODELS": "x"}, [], ["models: given 'x' by SIDECAR_MODELS"]),
        ({}, ["--tls-server-name=x"], ["tls_server_name: given 'x' by --tls-server-name"]),
        ({}, ["--grpc-service=a.B"], ["grpc_service: given 'a.B' by --grpc-service"]),
    ],
)
def test_the_demo_has_a_server_and_models_of_its_own(variables, args, lines, capsys, monkeypatch):
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert main(["demo", *args]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"sidecar: {line}: the demo has its own, which cannot be changed" for line in lines
    ]


def test_every_setting_of_the_demos_own_is_one():
    assert set(OWN) < set(Settings.model_fields)


@pytest.mark.parametrize("command", ["run", "check", "demo", "config"])
def test_a_bug_ends_every_command_with_a_code_of_its_own_and_a_traceback(
    command, capsys, monkeypatch
):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("for the test")

    monkeypatch.setattr("sidecar.config.load", broken)
    assert main([command]) == 70
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback (most recent call last):\n")
    assert printed.endswith("ZeroDivisionError: for the test\n")


def test_a_link_to_a_service_is_told_and_sets_nothing(capsys, monkeypatch):
    monkeypatch.setenv("SIDECAR_HTTP_PORT", "tcp://10.0.0.1:80")
    assert main(["config"]) == 0
    printed = capsys.readouterr()
    assert yaml.safe_load(printed.out)["http_port"] == 9808
    assert printed.err.count("SIDECAR_HTTP_PORT is ignored") == 1


@pytest.mark.parametrize(
    ("command", "handler"), [("run", signal.SIG_IGN), ("check", signal.SIG_DFL)]
)
def test_a_reload_asked_for_too_early_ends_nothing(command, handler):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert main([command, "--jitter=7"]) == 2
    assert signal.getsignal(signal.SIGHUP) is handler


def test_config_says_of_each_value_that_is_no_default_where_it_comes_from(tmp_path):
    file = tmp_path / "sidecar.yaml"
    file.write_text("timeout_seconds: 1\nperiod_seconds: 5\nheaders: {a: b}\n")
    done = sidecar("config", f"--config={file}", "--jitter=0.2", SIDECAR_MODELS="a")
    lines = done.stdout.splitlines()
    assert f"timeout_seconds: 1.0 # {file}" in lines
    assert "period_seconds: 5.0" in lines  # given, and the default
    assert "jitter: 0.2 # --jitter" in lines
    assert "models: # SIDECAR_MODELS" in lines
    assert f"headers: # {file}" in lines
    assert yaml.safe_load(done.stdout)["models"][0]["name"] == "a"
    assert sum("#" in line for line in lines) == 4


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_groups_defaults_and_an_example(command):
    text = sidecar(command, "--help").stdout
    assert f"example: {EXAMPLES[command].partition(' ')[0]}" in text
    if command != "doctor":
        assert "How often:" in text
        assert "(default: 5)" in text
        assert "(default: none)" in text
        assert "None" not in text
