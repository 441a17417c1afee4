"""The commands in the pages: what they would run, and what of it does not exist."""

import fnmatch
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise

from sidecar.cli import arguments
from tests.docs.pages import ROOT, SHELLS, blocks, inline

TARGETS = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
FOLDERS = ("benchmarks", "deploy", "docs", "protos", "sidecar", "tests")
IN_REPOSITORY = re.compile(rf"(?:{'|'.join(FOLDERS)})(?:/[\w.*-]+)+/?")
HERE_DOCUMENT = re.compile(r"<<'?(\w+)'?\n.*?^\1$", re.DOTALL | re.MULTILINE)
BETWEEN = {"&&", "||", "|", ";", "&", "(", ")", "\n"}


def commands(text: str) -> Iterator[list[str]]:
    """Every simple command in the shell blocks of a page, as its words."""
    for block in blocks(text, *SHELLS):
        code = HERE_DOCUMENT.sub("\n", block).replace("\\\n", " ")
        for line in code.splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
            lexer.whitespace_split = True
            yield from _split(list(lexer))


def _split(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in [*words, ";"]:
        if word not in BETWEEN:
            command.append(word)
            continue
        while command and re.fullmatch(r"\w+=.*", command[0]):
            command.pop(0)
        if command:
            yield command
        command = []


def bad_sidecar_commands(text: str) -> list[str]:
    """What the real parser refuses of the `sidecar ...` commands of a page."""
    wrong = []
    for program, *rest in commands(text):
        if program.rpartition("/")[2] == "sidecar":
            wrong += arguments.parse(rest or ["run"]).wrong
    for code in inline(text):
        if re.match(r"sidecar [a-z-]", code):
            wrong += _of_usage(code)
    return wrong


def _of_usage(code: str) -> list[str]:
    """What is wrong with a command in a sentence, where `[...]` and CAPITALS stand for values."""
    _, command, *rest = re.sub(r"[\[\]]", " ", code).split()
    if command == "--version":
        return []
    values = {
        "SECONDS": "1",
        "text|json": "text",
        "text|json|github": "text",
        "IHS001,...": "IHS001",
    }
    return arguments.parse([command, *(values.get(word, word) for word in rest)]).wrong


def missing_targets(text: str) -> list[str]:
    """The targets of `make` in a page that are none."""
    wanted = [words[1:] for words in commands(text) if words[0] == "make"]
    wanted += [
        code.partition("make ")[2].split() for code in inline(text) if re.search(r"\bmake ", code)
    ]
    targets = [w for words in wanted for w in words if re.fullmatch(r"[a-z][a-z0-9-]*", w)]
    return [target for target in targets if target not in TARGETS]


def missing_manifests(text: str) -> list[str]:
    """The paths of `kubectl apply -f` and `-k` that do not exist."""
    paths = [
        path
        for words in commands(text)
        if words[0] == "kubectl" and "apply" in words
        for flag, path in pairwise(words)
        if flag in {"-f", "-k"} and path != "-"
    ]
    return [path for path in paths if not (ROOT / path).exists()]


def missing_paths(text: str) -> list[str]:
    """The paths of this repository, in commands and sentences, that do not exist."""
    code = [word for words in commands(text) for word in words] + inline(text)
    return [path for path in code if IN_REPOSITORY.fullmatch(path) and not _exists(path)]


def _exists(path: str) -> bool:
    return any(ROOT.glob(path.rstrip("/"))) if "*" in path else (ROOT / path).exists()


def missing_programs(text: str) -> list[str]:
    """The modules of `python -m`, of this repository, that do not exist."""
    code = [" ".join(words) for words in commands(text)] + inline(text)
    modules = [module for line in code for module in re.findall(r"python -m ([\w.]+)", line)]
    ours = [m for m in modules if fnmatch.filter(FOLDERS, m.partition(".")[0])]
    return [m for m in ours if not _module(m)]


def _module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__main__.py").exists()
