"""Whatever stands in a setting, the sidecar can start with it, or the setting is named as bad."""

import string
import time

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.config import BadSettings, Settings, load
from sidecar.config.files import with_files
from sidecar.probes.prober import Prober

names = st.sampled_from(sorted(Settings.model_fields))
likely = st.sampled_from(
    [
        *("0", "1", "-1", "1e9", "1e-9", "nan", "inf", "50%", "101%", "any", "all", "true", "no"),
        *("a:b", "a,a", "a=b", "[]", "[1]", "{}", '{"a": 1}', "null", "debug", "json"),
        *("h:1", "h:0", "h:65536", "grpcs://h", "unix:///x", "[::1]:1", "/dev/null", "/"),
    ]
)
texts = st.one_of(likely, st.text(string.printable), st.text())
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


def starts_or_names(flags: dict[str, str], name: str, config: str | None = None) -> None:
    wrong: list[str] = []
    try:
        loaded = load(flags, config)
    except BadSettings as error:
        wrong = error.lines
    if wrong:
        assert all(line.partition(":")[0] in Settings.model_fields for line in wrong)
        assert any(name in line for line in wrong)
        return
    assert Prober(with_files(loaded).target, time.monotonic)
    rounds = loaded.schedule.rounds
    assert rounds.period >= rounds.recovery_period
    assert loaded.policy.max_age > 0
    assert loaded.checks


@settings(max_examples=400)
@given(names, texts)
def test_as_a_flag(name, text):
    starts_or_names({name: text}, name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names, texts.filter(lambda text: text and "\0" not in text))
def test_as_a_variable(name, text):
    with pytest.MonkeyPatch.context() as patch:
        try:
            patch.setenv(f"SIDECAR_{name.upper()}", text)
        except UnicodeEncodeError:
            return  # no environment can hold a lone surrogate
        starts_or_names({}, name)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names, values)
def test_in_the_file(tmp_path, name, value):
    path = tmp_path / "sidecar.yaml"
    path.write_bytes(yaml.safe_dump({name: value}, encoding="utf-8", allow_unicode=False))
    starts_or_names({}, name, str(path))
