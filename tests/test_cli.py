"""The command line: commands, flags, help, exit codes."""

import signal

import pytest
import yaml

from sidecar import __version__
from sidecar.cli import main
from sidecar.settings import Settings

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
    assert printed.err == ("sidecar: SIDECAR_PERIOD_SECNDS is set, but there is no such setting\n")


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


@pytest.mark.parametrize("args", [["--nope"], ["run", "--period", "3"], ["config", "extra"]])
def test_an_unknown_argument_is_refused_with_code_2(args, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(args)
    assert "unrecognized arguments" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "handler"), [("run", signal.SIG_IGN), ("check", signal.SIG_DFL)]
)
def test_a_reload_asked_for_too_early_ends_nothing(command, handler):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert main([command, "--jitter=7"]) == 2
    assert signal.getsignal(signal.SIGHUP) is handler
