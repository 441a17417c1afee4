"""The counters of models from the server's metrics page: Triton, MLServer and KServe."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from sidecar.blocking import BlockingCalls
from sidecar.core.canary import Counters
from sidecar.core.checks import Check

MAX_BYTES = 4 * 1024 * 1024

# The servers' metric for each counter. If a server does not count executions, successes are used;
# KServe counts only requests, including failed ones.
NAMES = {
    "nv_inference_exec_count": "executions",
    "nv_inference_request_success": "successes",
    "nv_inference_request_failure": "failures",
    "nv_cache_num_hits_per_model": "cache_hits",
    "model_infer_request_success_total": "successes",
    "model_infer_request_failure_total": "failures",
    "request_predict_seconds_count": "successes",
}
SAMPLE = re.compile(r"(\w+)\{([^}]*)\} ([0-9.eE+]+)")
LABEL = re.compile(r'(\w+)="([^"]*)"')

# By model, version and counter.
Samples = Counter[tuple[str, str, str]]


class MetricsPage:
    """Reads the counters of models from a metrics page.

    url:      of the page, http or https.
    timeout:  seconds for one read.

    If the page cannot be read there are no counters; nothing is raised.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._calls = BlockingCalls("reading the server's metrics", timeout)
        self._read = partial(_read, url, timeout)
        self._lock = asyncio.Lock()
        self._reads = 0
        self._last: Samples | None = None

    async def counters(self, check: Check) -> Counters | None:
        """Return the model's counters; the sum of all versions unless the check has one."""
        before = self._reads
        async with self._lock:
            if self._reads == before:  # otherwise another caller's read began after this call
                self._reads += 1
                try:
                    self._last = await self._calls.run(self._read)
                except (OSError, HTTPException, ValueError, OverflowError):
                    self._last = None
            samples = self._last
        return None if samples is None else of_model(samples, check.model, check.version)


def of_model(samples: Samples, model: str, version: str) -> Counters | None:
    """Return the counters of a model; None if the page has none."""
    found: Counter[str] = Counter()
    for (name, its_version, counter), value in samples.items():
        if name == model and version in ("", its_version):
            found[counter] += value
    if not found:
        return None
    successes = found["successes"]
    executions = found.get("executions", successes)
    return Counters(executions, successes, found["failures"], found["cache_hits"])


def parse(lines: Iterable[str]) -> Samples:
    """Return the known counters of a page."""
    samples: Samples = Counter()
    known = tuple(NAMES)
    for line in lines:
        if not line.startswith(known):
            continue
        sample = SAMPLE.match(line)
        if sample is not None and sample[1] in NAMES:
            labels = dict(LABEL.findall(sample[2]))
            model = labels.get("model") or labels.get("model_name", "")
            samples[model, labels.get("version", ""), NAMES[sample[1]]] += int(float(sample[3]))
    return samples


def _read(url: str, timeout: float) -> Samples:
    """Return the page, without proxy and redirects. It blocks."""
    place = urlsplit(url)
    connect = HTTPSConnection if place.scheme == "https" else HTTPConnection
    path = (place.path or "/") + (f"?{place.query}" if place.query else "")
    with closing(connect(place.netloc, timeout=timeout)) as connection:
        connection.request("GET", path)
        with closing(connection.getresponse()) as response:
            body = response.read(MAX_BYTES + 1)
    if response.status != HTTPStatus.OK or len(body) > MAX_BYTES:
        raise ValueError("the page is refused or too large")
    return parse(body.decode(errors="replace").splitlines())
