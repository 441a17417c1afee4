"""The command: files and standard input, its three forms, its exit codes."""

import json
import subprocess
import sys

import pytest

from tests.doctor.spoiling import spoilt
from tests.doctor.test_rules import CAREFUL
from tests.support import clean_environment, python, sidecar


@pytest.fixture
def files(tmp_path):
    (tmp_path / "good.yaml").write_text(CAREFUL)
    (tmp_path / "bad.yaml").write_text(str(spoilt(CAREFUL, "IHS007")))
    (tmp_path / "broken.yaml").write_text("kind: Pod\nspec: [\n")
    return {path.stem: str(path) for path in tmp_path.iterdir()}


def test_exit_codes(files):
    assert sidecar("doctor", files["good"]).returncode == 0
    assert sidecar("doctor", files["bad"]).returncode == 1
    assert sidecar("doctor", files["bad"], "--ignore=IHS006,IHS007").returncode == 0
    done = sidecar("doctor", files["broken"], files["bad"])
    assert done.returncode == 2
    assert f"{files['broken']}:3: is not YAML" in done.stdout
    assert "IHS007 error" in done.stdout


def test_the_text_says_what_why_and_how_and_how_long(files):
    out = sidecar("doctor", files["bad"]).stdout
    assert out.startswith("Deployment/triton: Triton in container triton, with the sidecar\n")
    assert "IHS007 error: One failure of the livenessProbe restarts the server" in out
    assert "    Why: " in out
    assert "    Instead: " in out
    assert "    Corrected:\n      livenessProbe:" in out
    assert "docs/doctor.md#ihs007" in out
    assert "server frozen, until it gets no traffic     at most 9 s" in out
    assert "worker dead, until it gets no traffic       at most 33 s; 92 s if it hangs" in out
    assert out.endswith("1 pod with an inference server: 1 error, 0 warnings\n")


def test_without_the_sidecar_the_text_says_what_it_would_change(tmp_path):
    file = tmp_path / "bare.yaml"
    file.write_text(str(spoilt(CAREFUL, "IHS001")))
    out = sidecar("doctor", str(file)).stdout
    assert "With the Inference Health Sidecar (deploy/pod.yaml):\n" in out
    assert "worker dead, until it gets no traffic       never\n" in out


def test_json_and_github(files):
    (pod,) = json.loads(sidecar("doctor", "--output=json", files["bad"]).stdout)["pods"]
    (finding,) = pod["findings"]
    assert (finding["id"], finding["severity"], finding["container"]) == (
        "IHS007",
        "error",
        "triton",
    )
    assert finding["corrected"].startswith("livenessProbe:")
    assert pod["how_long_until"][0]["until"] == "at most 2 s"
    (line,) = sidecar("doctor", "--output=github", files["bad"]).stdout.splitlines()
    assert line.startswith(f"::error file={files['bad']},line={finding['line']},title=IHS007 ")
    assert "\n" not in line


def test_standard_input_is_read():
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "doctor", "-"],
        input=str(spoilt(CAREFUL, "IHS007")),
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "(<stdin>:" in done.stdout


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (
            [],
            "doctor: no file is given; sidecar doctor FILE, a manifest, YAML or JSON; - is",
        ),
        (["absent.yaml"], "absent.yaml: cannot be read: No such file or directory"),
        (["--ignore=IHS999", "{good}"], "ignore: 'IHS999' is no finding"),
        (
            ["--output=xml", "{good}"],
            "output: given 'xml' by --output; allowed: text or json or github",
        ),
        (["--models=a", "{good}"], "--models: there is no such flag"),
    ],
)
def test_bad_arguments_are_named(files, args, line):
    done = sidecar("doctor", *(arg.format(**files) for arg in args))
    assert done.returncode == 2
    assert f"sidecar: {line}" in done.stderr


def test_what_of_several_files_can_be_read_is_examined(files):
    done = sidecar("doctor", "absent.yaml", files["bad"])
    assert done.returncode == 2
    assert "IHS007" in done.stdout


def test_the_environment_of_the_doctor_is_not_that_of_the_sidecar(files):
    assert sidecar("doctor", files["good"], SIDECAR_PERIOD_SECONDS="nonsense").returncode == 0


def test_without_ruamel_the_extra_is_named(files):
    code = (
        "import sys; sys.modules['ruamel.yaml'] = None; from sidecar.cli import main;"
        f"sys.exit(main(['doctor', {files['good']!r}]))"
    )
    done = python("-c", code)
    assert done.returncode == 2
    assert "pip install 'inference-health-sidecar[doctor]'" in done.stderr


def test_no_other_command_imports_it():
    code = "import sys, sidecar.runtime, sidecar.cli.check; print('sidecar.doctor' in sys.modules)"
    assert python("-c", code).stdout == "False\n"
