"""Every name in the pages is a setting, a variable, a metric or an endpoint that exists."""

import pytest

from tests.docs import names
from tests.docs.pages import PAGES, name_of

CHECKS = (
    names.unknown_variables,
    names.unknown_settings,
    names.unknown_metrics,
    names.unknown_endpoints,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_name_is_one_that_exists(page, check):
    assert check(page.read_text()) == []


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (names.unknown_variables, "set SIDECAR_PERIOD to 3"),
        (names.unknown_variables, "```yaml\n- name: SIDECAR_MODEL\n```\n"),
        (names.unknown_settings, "`poll_seconds`"),
        (names.unknown_settings, "`timeouts_seconds: 3`"),
        (names.unknown_settings, "`tsl_*`"),
        (names.unknown_metrics, "`inference_server_lives`"),
        (names.unknown_metrics, "```\nrate(inference_polls[5m])\n```\n"),
        (names.unknown_metrics, "`workload:inference_made_up:ratio`"),
        (names.unknown_endpoints, "`/health`"),
        (names.unknown_endpoints, "`/healthz/model:bert`"),
        (names.unknown_endpoints, "```sh\ncurl -i 'localhost:9808/ready?verbose'\n```\n"),
        (names.unknown_endpoints, "```sh\ncurl 'http://localhost:9808/metric'\n```\n"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_name_that_does_not_exist_is_found(check, text):
    assert len(check(text)) == 1


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_names_that_exist_are_none_of_them(check):
    recorded = "".join(f"`{name}` " for name in sorted(names.recorded()))
    assert recorded
    text = (
        f"{recorded} `SIDECAR_HTTP_PORT` `period_seconds: 10` `tls_*` `model_not_found`"
        " `inference_polls_total` `inference_poll_duration_seconds_bucket` `inference_*`"
        " `tests/interop/inference_servers.py` `/readyz/model:bert:3` `/livez`"
        " `/readyz?verbose` `/`\n"
        "```sh\ncurl 'localhost:9808/readyz/model:bert?verbose' localhost:9808/metrics\n```\n"
    )
    assert check(text) == []
