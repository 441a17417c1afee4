"""Every command in the pages is one that can be run."""

import pytest

from tests.docs import commands
from tests.docs.pages import PAGES, name_of

CHECKS = (
    commands.bad_sidecar_commands,
    commands.missing_targets,
    commands.missing_manifests,
    commands.missing_paths,
    commands.missing_programs,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_names_what_exists(page, check):
    assert check(page.read_text()) == []


def shell(*lines):
    """A page with one shell block."""
    return "\n".join(["```sh", *lines, "```", ""])


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (commands.bad_sidecar_commands, shell("sidecar checks")),
        (commands.bad_sidecar_commands, shell("X=1 .venv/bin/sidecar run --period 3")),
        (commands.bad_sidecar_commands, shell("true && sidecar check --wait soon | cat")),
        (commands.bad_sidecar_commands, shell("sidecar check \\", "  --wiat 3")),
        (commands.bad_sidecar_commands, "`sidecar check [--output json|xml]`"),
        (commands.bad_sidecar_commands, "`sidecar doctr`"),
        (commands.missing_targets, shell("make demos")),
        (commands.missing_targets, shell("make IMAGE=a image push")),
        (commands.missing_targets, "`KUBECONFIG=... make e2f IMAGE=...`"),
        (commands.missing_manifests, shell("cat x | kubectl apply -n a -f deploy/pods.yaml")),
        (commands.missing_manifests, shell("kubectl apply -k deploy/kustomize/examples/tritons")),
        (commands.missing_paths, shell("helm dependency update deploy/helm/demos")),
        (commands.missing_paths, "`tests/nowhere/test_*.py`"),
        (commands.missing_programs, shell("python -m benchmarks.reactions 3")),
        (commands.missing_programs, "`python -m tests.client.echoes`"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_command_that_names_what_does_not_exist_is_found(check, text):
    assert len(check(text)) == 1


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_what_exists_and_what_is_written_to_a_file_is_none_of_them(check):
    text = shell(
        "cat > a <<'EOF'",
        "sidecar nonsense",
        "EOF",
        "sidecar  # alone",
        "SIDECAR_HTTP_PORT=0 sidecar demo --http-port 0 && make test",
        "kubectl apply -f - ; kubectl apply -k .",
        "python -m benchmarks.reaction --kills 3",
    )
    assert check(text) == []


def test_the_commands_of_the_pages_are_seen():
    found = {
        words[0].rpartition("/")[2] for p in PAGES for words in commands.commands(p.read_text())
    }
    assert {"sidecar", "make", "kubectl", "helm", "curl", "python3"} <= found
