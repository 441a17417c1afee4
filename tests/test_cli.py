"""The command line: commands, flags, help, exit codes."""

import signal

import pytest
import yaml

from sidecar import __version__
from sidecar.cli import main
from sidecar.settings import Settings


@pytest.fixture(autouse=True)
def _restore_signals():
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize("command", ["run", "config", "demo"])
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


@pytest.mark.parametrize("args", [["--nope"], ["run", "--period", "3"], ["config", "extra"]])
def test_an_unknown_argument_is_refused_with_code_2(args, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(args)
    assert "unrecognized arguments" in capsys.readouterr().err
