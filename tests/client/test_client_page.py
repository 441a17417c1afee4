"""The examples in docs/client.md run, in their order, and print what the page says."""

import ast
import asyncio
import contextlib
import inspect
import io
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import sidecar.client
from tests.client.echo import EchoServer

PAGE = Path(__file__).parents[2] / "docs" / "client.md"

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

# The servers that the examples name.
PLAIN, SECURE = "localhost:8001", "inference.example:8443"


@dataclass(frozen=True)
class Example:
    """A Python block, the text block that follows it, and the line that it starts at."""

    code: str
    output: str
    line: int


def examples() -> list[Example]:
    """The Python blocks of the page; each is followed by a text block if it prints something."""
    page = PAGE.read_text()
    blocks = list(BLOCK.finditer(page))
    found = []
    for block, after in zip(blocks, [*blocks[1:], None], strict=True):
        if block[1] == "python":
            line = page.count("\n", 0, block.start(2)) + 1
            output = after[2] if after is not None and after[1] == "text" else ""
            found.append(Example(block[2], output, line))
    return found


@pytest.fixture
async def servers(pki, monkeypatch) -> AsyncIterator[dict[str, str]]:
    """The address of a running server for each that the page names, and the TLS files beside."""
    monkeypatch.chdir(pki.ca.parent)
    assert (Path("ca.pem"), Path("cert.pem"), Path("key.pem")) == tuple(
        path.relative_to(Path.cwd()) for path in (pki.ca, pki.cert, pki.key)
    )
    plain, secure = EchoServer(), EchoServer()
    plain.models = {"bert": True, "bert:3": True, "llm": True}
    await plain.start()
    await secure.start(creds=pki.server_credentials(mutual=True))
    yield {PLAIN: f"localhost:{plain.port}", SECURE: f"localhost:{secure.port}"}
    await plain.stop()
    await secure.stop()


async def test_every_example_runs_and_prints_what_the_page_says(servers):
    namespace: dict[str, object] = {}
    for example in examples():
        code = example.code
        for named, address in servers.items():
            code = code.replace(named, address)
        run = run_program if "asyncio.run(" in code else run_in
        assert await run(code, namespace) == example.output, f"docs/client.md:{example.line}"


async def run_in(code: str, namespace: dict[str, object]) -> str:
    """What the code prints; `await` is allowed outside a function, as in `python -m asyncio`."""
    compiled = compile(code, "<example>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        result = eval(compiled, namespace)
        if inspect.isawaitable(result):
            await result
    return printed.getvalue()


async def run_program(code: str, _: dict[str, object]) -> str:
    """What the code prints as a program of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


def test_the_examples_are_found():
    assert len(examples()) == PAGE.read_text().count("```python\n") > 0


def test_every_public_name_and_call_is_on_the_page():
    page = PAGE.read_text()
    client = sidecar.client.InferenceGRPCClient
    calls = {name for name in dir(client) if not name.startswith("_")}
    arguments = set(inspect.signature(client).parameters) - {"url"}
    # What only calls return is described there by its attributes.
    returned = {"ModelIndex", "ModelMetadata", "ServerMetadata", "TensorMetadata"}
    names = calls | arguments | set(sidecar.client.__all__) - returned
    assert {name for name in names if not re.search(rf"\b{name}\b", page)} == set()


def test_links_and_headings_of_the_page_exist():
    page = PAGE.read_text()
    headings = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    }
    for path, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", page):
        assert (PAGE.parent / path).exists(), path
        assert path or anchor in headings, anchor
