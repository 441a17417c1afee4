"""A test that is a promise: it runs in a thread, several at once, and its result is awaited."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, Stopped
from tests.e2e.evidence import evidence
from tests.e2e.report import BROKEN, KEPT, SKIPPED, Report
from tests.e2e.scenario import Scenario

# They mostly wait. More of them would keep two cores busy with starts, and so disturb what
# the others measure.
AT_ONCE = 5


@dataclass(frozen=True)
class Promise:
    """What is shown, by what, in objects of which name.

    about:  seconds that it takes; the longest begin first.
    alone:  it disturbs the others, so it begins when they have ended.
    """

    name: str
    text: str
    run: Callable[[Scenario], None]
    about: int
    alone: bool


def promise(
    name: str, *, about: int, alone: bool = False
) -> Callable[[Callable[[Scenario], None]], Any]:
    """Makes a promise, and the test that awaits it, of a function that is given a scenario."""

    def made(run: Callable[[Scenario], None]) -> Any:
        text = run.__name__.removeprefix("test_").replace("_", " ")
        promised = Promise(name, text, run, about, alone)

        def test(promises: Promises, request: pytest.FixtureRequest) -> None:
            promises.await_result(promised, request.node)

        test.__name__, test.__doc__ = run.__name__, run.__doc__
        test.promise = promised  # type: ignore[attr-defined]
        return pytest.mark.timeout(900)(test)

    return made


class Promises:
    """The promises that were chosen, running."""

    def __init__(
        self, cluster: Cluster, image: str, report: Report, chosen: Sequence[Promise]
    ) -> None:
        self._cluster = cluster
        self._image = image
        self._report = report
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._futures: dict[str, Future[None]] = {
            one.name: self._pool.submit(self._show, one)
            for one in sorted(chosen, key=lambda one: -one.about)
            if not one.alone
        }

    def await_result(self, promise: Promise, item: pytest.Item) -> None:
        """Returns when the promise was kept, and raises what broke it."""
        try:
            if promise.alone:
                wait(self._futures.values())
                self._show(promise)
            else:
                self._futures[promise.name].result()
        finally:
            if text := self._report.evidence.get(promise.text):
                item.add_report_section("call", "evidence", text)

    def stop(self) -> None:
        """Lets none begin that has not begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _show(self, promise: Promise) -> None:
        scenario = Scenario(self._cluster, self._image, promise.name, promise.text, self._report)
        outcomes = self._report.outcomes
        try:
            promise.run(scenario)
        except pytest.skip.Exception as skipped:
            outcomes[promise.text] = (SKIPPED, str(skipped))
            raise
        except Stopped:
            raise
        except BaseException as error:
            outcomes[promise.text] = (BROKEN, str(error))
            self._report.evidence[promise.text] = evidence(scenario)
            raise
        else:
            outcomes[promise.text] = (KEPT, "")
        finally:
            scenario.take_away()
