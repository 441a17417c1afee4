"""The command line's arguments: the flags of each command, and their errors."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field

from sidecar import __version__
from sidecar.config import Settings, is_hidden, suggestion

DAY = 86400

COMMANDS = {
    "run": "the daemon, until SIGTERM or SIGINT; also without a command",
    "check": "ask once, or until all is ready, print the findings and leave",
    "canary": "send one inference to a model, print the request and what the reply came to",
    "demo": "the daemon beside a demo server whose models load, fail and recover",
    "config": "validate the settings and print those in force, secrets masked",
    "doctor": "find mistakes in manifests of pods with inference servers, and correct them",
}

OUTPUTS = {"check": ("text", "json"), "doctor": ("text", "json", "github")}

# The flags of a command that are not settings: the placeholder of the value, and the help.
EVERYWHERE = {"--config": ("FILE", "settings file, YAML (SIDECAR_CONFIG)")}
FLAGS = {
    "check": {
        "--wait": ("SECONDS", "wait so long for all to be ready"),
        "--output": (
            "|".join(OUTPUTS["check"]),
            "the findings with hints, or the document of /status",
        ),
    },
    "canary": {
        "--save": ("FILE.json", "write the request there, and the reply to FILE.expect.json"),
    },
    "doctor": {
        "--output": (
            "|".join(OUTPUTS["doctor"]),
            "for people, for programs, or annotations of a pull request",
        ),
        "--ignore": ("IHS001,...", "findings to leave out"),
    },
}
SWITCHES = {"config": {"--schema": "print their JSON Schema instead"}}

# Positional arguments: the name in the help, how many, and the help.
WORDS = {
    "canary": ("MODEL", 1, "its name or name:version"),
    "doctor": ("FILE", 1000, "a manifest, YAML or JSON; - is standard input"),
}
# These commands use no server, and accept no settings.
WITHOUT_SETTINGS = ("doctor",)

# The groups of settings in the help, by the first setting of each.
GROUPS = {
    "server_url": "What is checked",
    "period_seconds": "How often",
    "liveness_failure_threshold": "How it decides",
    "canary": "Canaries",
    "discover": "Discovery",
    "tls_ca_file": "TLS and credentials",
    "reload_interval_seconds": "The daemon",
}
EXAMPLES = {
    "run": "sidecar run --config sidecar.yaml",
    "check": "sidecar check --server-url localhost:8001 --models resnet50,bert:3 --wait 600",
    "canary": "sidecar canary bert:3 --server-url localhost:8001",
    "demo": "sidecar demo --http-port 9900",
    "config": "SIDECAR_MODELS=bert sidecar config --config sidecar.yaml",
    "doctor": "kubectl kustomize . | sidecar doctor -",
}

HELP = ("-h", "--help")
SETTINGS = {"--" + name.replace("_", "-"): name for name in Settings.model_fields}


@dataclass(frozen=True, slots=True)
class Arguments:
    """The parsed command line.

    flags:  the values of the given flags.
    words:  the positional arguments: the model of a canary, the files for the doctor.
    wrong:  the errors, one line each.
    """

    command: str
    flags: dict[str, str] = field(default_factory=dict)
    switches: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        """The given settings, by name."""
        return {SETTINGS[flag]: text for flag, text in self.flags.items() if flag in SETTINGS}

    @property
    def config(self) -> str | None:
        """The given settings file, if any."""
        return self.flags.get("--config")

    @property
    def wait(self) -> str:
        """The seconds that `check` waits."""
        return self.flags.get("--wait", "0")

    @property
    def save(self) -> str | None:
        """The directory to which a canary's request is written."""
        return self.flags.get("--save")

    @property
    def output(self) -> str:
        """The output format."""
        return self.flags.get("--output", "text")

    @property
    def ignore(self) -> list[str]:
        """The findings that the doctor ignores."""
        return [name.strip() for name in self.flags.get("--ignore", "").split(",") if name.strip()]


def parse(args: list[str]) -> Arguments:
    """Parse the arguments; the first is the command. Help and version end the process."""
    command, *rest = args
    if command in (*HELP, "--version"):
        parser().parse_args(args)
    found = Arguments(command)
    if command in COMMANDS:
        _read(found, rest)
        found.wrong.extend(_wrong_values(found))
    else:
        close = suggestion(command, COMMANDS)
        found.wrong.append(
            f"{_shown(command)}: unknown command{close}; allowed: {', '.join(COMMANDS)}"
        )
    return found


def _read(found: Arguments, rest: list[str]) -> None:
    """Parse the flags of a command, and record errors for unknown ones."""
    command = found.command
    switches = SWITCHES.get(command, {})
    settings = () if command in WITHOUT_SETTINGS else (*SETTINGS, *EVERYWHERE)
    flags = {*settings, *FLAGS.get(command, {})}
    _, most, _ = WORDS.get(command, ("", 0, ""))
    last = ""
    while rest:
        arg = rest.pop(0)
        if arg in HELP:
            parser().parse_args([command, arg])
        if arg in switches:
            found.switches.add(arg)
            last = ""
            continue
        # The argument after a flag's value may be the rest of the value, and a secret.
        hidden = bool(last) and (last not in flags or is_hidden(SETTINGS.get(last)))
        is_word = arg == "-" or not arg.startswith("-")
        if is_word and len(found.words) < most and not hidden:
            found.words.append(arg)
            continue
        if not arg.startswith("--" if hidden else "-"):
            what = f"something unexpected after {last}" if hidden else f"{_shown(arg)}: unexpected"
            line = f"{what}; flags begin with --"
            if line not in found.wrong:
                found.wrong.append(line)
            continue
        flag, has_value, value = arg.partition("=")
        last = flag
        if not has_value and rest and not rest[0].startswith("--"):
            has_value, value = "=", rest.pop(0)
        if flag not in flags:
            close = suggestion(flag.lower().replace("_", "-"), flags | {*switches})
            wrong = "takes no value" if flag in switches else f"there is no such flag{close}"
            found.wrong.append(f"{flag}: {wrong}")
        elif not has_value:
            found.wrong.append(f"{flag}: a value is missing")
        else:
            found.flags[flag] = value


def _shown(arg: str) -> str:
    """Return an argument for an error, in quotes if it is blank or not printable."""
    return arg if arg.strip() and arg.isprintable() else repr(arg)


def _wrong_values(found: Arguments) -> Iterator[str]:
    """Yield the errors of flags that are not settings, in the form of the settings' errors."""
    try:
        fits = 0 <= float(found.wait) <= DAY
    except ValueError:
        fits = False
    if not fits:
        yield f"wait: given {found.wait!r} by --wait; allowed: seconds, from 0 to a day"
    if found.command in WORDS and not found.words:
        name, _, text = WORDS[found.command]
        what = name.lower()
        yield f"{found.command}: no {what} is given; sidecar {found.command} {name}, {text}"
    if found.save is not None and not found.save.endswith(".json"):
        yield f"save: given {found.save!r} by --save; allowed: the path of a .json file"
    forms = OUTPUTS.get(found.command, ("text",))
    if found.output not in forms:
        allowed = " or ".join(forms)
        yield f"output: given {found.output!r} by --output; allowed: {allowed}"


def parser() -> argparse.ArgumentParser:
    """Return the parser that prints the help. It parses no values: it would stop at one error."""
    made = argparse.ArgumentParser(
        prog="sidecar",
        description="Checks the health of an inference server and reports it to Kubernetes.",
        epilog="The settings are flags of every command but doctor: sidecar run --help",
    )
    made.add_argument("--version", action="version", version=__version__)
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command, meaning in COMMANDS.items():
        epilog = f"example: {EXAMPLES[command]}"
        words = "".join(f" {name}{' ...' if most > 1 else ''}" for name, most, _ in _words(command))
        sub = commands.add_parser(
            command,
            help=meaning,
            description=f"{meaning[:1].upper()}{meaning[1:]}.",
            usage=f"sidecar {command}{words} [--FLAG VALUE ...]",
            epilog=epilog,
        )
        for name, most, text in _words(command):
            sub.add_argument(name, help=text, nargs="+" if most > 1 else None)
        for flag, (metavar, text) in FLAGS.get(command, {}).items():
            sub.add_argument(flag, metavar=metavar, help=text)
        for switch, text in SWITCHES.get(command, {}).items():
            sub.add_argument(switch, action="store_true", help=text)
        if command not in WITHOUT_SETTINGS:
            _add_settings(sub)
    return made


def _words(command: str) -> list[tuple[str, int, str]]:
    return [WORDS[command]] if command in WORDS else []


def _add_settings(sub: argparse.ArgumentParser) -> None:
    for flag, (metavar, text) in EVERYWHERE.items():
        sub.add_argument(flag, metavar=metavar, help=text)
    group = sub.add_argument_group()
    for flag, name in SETTINGS.items():
        if name in GROUPS:
            group = sub.add_argument_group(GROUPS[name])
        description = Settings.model_fields[name].description or ""
        shown = "" if "default:" in description else f" (default: {default(name)})"
        group.add_argument(flag, metavar="VALUE", help=f"{description}{shown}")


def default(name: str) -> str:
    """Return the default of a setting as one would write it."""
    value = Settings.model_fields[name].get_default(call_default_factory=True)
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or (isinstance(value, tuple | dict) and not value):
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
