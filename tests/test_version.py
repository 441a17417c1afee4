"""The version stands in sidecar/__init__.py; wherever else it must be text, it is the same."""

import re
import tomllib
from pathlib import Path

import yaml

from deploy import version
from deploy.version import ROOT, documents, with_version
from sidecar import __version__

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Each kind of place, with the sidecar's version as VERSION and versions of others beside it.
EXAMPLES = {
    "README.md": "image: inference-health-sidecar:VERSION  # version: 1.0\nimage: other:1.0\n",
    "docs/install.md": "- name: inference-health-sidecar\n  version: VERSION\n- name: b\n",
    "deploy/pod.yaml": "- image: inference-health-sidecar:VERSION\n",
    "deploy/helm/a/Chart.yaml": "version: VERSION\nappVersion: VERSION\nkubeVersion: '>=1.0'\n",
    "deploy/helm/b/Chart.yaml": 'deps:\n- name: inference-health-sidecar\n  version: ">=0"\n',
    "deploy/helm/a/values.yaml": "  repository: inference-health-sidecar\n  tag: VERSION\n",
}


def test_every_file_that_names_the_version_names_this_one():
    stale = [
        str(path.relative_to(ROOT))
        for path in documents()
        if with_version(path, path.read_text(), __version__) != path.read_text()
    ]
    assert stale == [], "`make version` writes them"


def others() -> list[Path]:
    """Files in which the version of the sidecar might be named as text.

    The lock files and pyproject.toml name those of other packages, and a Python file reads it.
    A coverage run writes its own files beside, and removes them.
    """
    patterns = ("*", ".ci/*", "deploy/**/*", "docs/**/*", "sidecar/**/*", "tests/**/*")
    names = {"CHANGELOG.md", "pyproject.toml", "package.json", "package-lock.json"}
    suffixes = {".py", ".pyc", ".pyi", ".lock", ".png"}
    return [
        path
        for pattern in patterns
        for path in ROOT.glob(pattern)
        if path.is_file()
        and path.name not in names
        and path.suffix not in suffixes
        and not path.name.startswith(".coverage")
    ]


def test_no_place_that_is_not_written_names_the_version():
    literal = re.compile(rf"(?<![\w.]){re.escape(__version__)}(?![\w.]*\d)")
    found = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in others()
        for line in with_version(path, path.read_text(errors="replace"), "any").splitlines()
        if literal.search(line)
    ]
    assert found == []


def test_make_version_writes_it_into_each_kind_of_place_and_nothing_else(
    tmp_path, monkeypatch, capsys
):
    for name, text in EXAMPLES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("VERSION", "9.8.7rc1"))
    monkeypatch.setattr(version, "ROOT", tmp_path)
    version.main()
    written = {name: (tmp_path / name).read_text() for name in EXAMPLES}
    assert written == {
        name: text.replace("VERSION", __version__) for name, text in EXAMPLES.items()
    }
    changed = [name for name, text in EXAMPLES.items() if "VERSION" in text]
    assert sorted(capsys.readouterr().out.split()) == sorted(changed)


def test_the_newest_version_in_the_changelog_is_this_one():
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == __version__


def test_the_package_reads_its_version_from_the_same_line():
    assert PROJECT["dynamic"] == ["version"]
    assert "version" not in PROJECT


def test_the_projects_address_is_the_one_that_the_alerts_link_to():
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text())
    runbooks = {
        rule["annotations"]["runbook_url"].partition("/blob/")[0]
        for group in rules["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert {url.partition("/blob/")[0] for url in PROJECT["urls"].values()} == runbooks
    for url in PROJECT["urls"].values():
        _, _, path = url.partition("/blob/main/")
        assert (ROOT / path).exists()


def test_the_classifiers_name_the_pythons_that_the_tests_were_run_on():
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    sentence = re.search(r"The tests were run on ([^;]*);", contributing)
    assert sentence is not None
    versions = re.findall(r"3\.\d+", sentence[1])
    named = [
        text.removeprefix("Programming Language :: Python :: ")
        for text in PROJECT["classifiers"]
        if re.search(r":: 3\.\d+$", text)
    ]
    assert named == versions
    assert PROJECT["requires-python"] == f">={versions[0]}"
