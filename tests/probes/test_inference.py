"""One canary against a server on loopback: what is sent, and what each reply ends in."""

import asyncio
import time

import grpc
import pytest

from sidecar.core.checks import Check, Observation, canary
from sidecar.core.target import Target
from sidecar.demo.inference import Statistics, Tensor
from sidecar.demo.server import Late, Refusal, Reply, Silence, ToyServer
from sidecar.oip import SERVICE, messages
from sidecar.payloads.given import Given
from sidecar.probes.inference import CanaryProbe
from tests.support import eventually

CHECK = canary("m")
REQUEST = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
INTERNAL = Refusal(grpc.StatusCode.INTERNAL, "Stub process 'm_0_0' is not healthy.")
SEQUENCE = Refusal(
    grpc.StatusCode.INVALID_ARGUMENT,
    "inference request to model 'm' must specify a non-zero or non-empty correlation ID",
)


def probe(server: ToyServer, given: Given | None = None, max_reply_bytes=2**20) -> CanaryProbe:
    target = Target(f"127.0.0.1:{server.port}", SERVICE, timeout=2, recovery_period=1)
    return CanaryProbe(
        target, {CHECK: given}, max_reply_bytes=max_reply_bytes, clock=time.monotonic
    )


async def ask(one: CanaryProbe, deadline: float = 10, check: Check = CHECK) -> list[Observation]:
    return [seen async for seen in one.ask(check, deadline)]


def told(seen: list[Observation]) -> list[tuple[str, str | None, bool]]:
    return [(str(one.reason), one.payload, one.pending) for one in seen]


@pytest.fixture
async def server():
    async with ToyServer({"m": True}) as started:
        yield started


async def test_a_request_that_is_built_is_answered(server):
    (seen,) = await ask(probe(server))
    assert told([seen]) == [("ok", "built", False)]
    assert (seen.check, seen.detail, 0 < seen.duration < 5) == (CHECK, "", True)


async def test_a_request_that_is_given_is_sent_and_its_reply_compared(server):
    right = Given(REQUEST, {"outputs": [{"name": "x", "data": [1, 2]}]})
    wrong = Given(REQUEST, {"outputs": [{"name": "x", "data": [1, 3]}]})
    assert told(await ask(probe(server, right))) == [("ok", "given", False)]
    (seen,) = await ask(probe(server, wrong))
    assert told([seen]) == [("wrong_output", "given", False)]
    assert seen.detail == "output 'x': element 1 is 2.0, expected 3"


@pytest.mark.parametrize("ready", [False, Refusal(grpc.StatusCode.NOT_FOUND, "no such model")])
async def test_a_model_that_is_not_ready_is_sent_no_inference(server, ready):
    server.models["m"] = ready
    assert await ask(probe(server)) == []
    assert (server.asked["ModelReady"], server.asked["ModelInfer"]) == (1, 0)


async def test_a_connection_that_cannot_be_made_is_a_failure():
    server = ToyServer()
    await server.start()
    await server.stop()
    assert told(await ask(probe(server))) == [("unreachable", "built", False)]


async def test_a_failure_has_the_servers_text(server):
    server.inferences["m"] = INTERNAL
    (seen,) = await ask(probe(server))
    assert told([seen]) == [("error", "built", False)]
    assert seen.detail == "INTERNAL: Stub process 'm_0_0' is not healthy."


async def test_a_model_without_declared_inputs_is_unconfigured(server):
    server.inputs["m"] = ()
    (seen,) = await ask(probe(server))
    assert told([seen]) == [("invalid_request", "none", False)]
    assert seen.detail == "the model's metadata declares no inputs"
    assert server.asked["ModelInfer"] == 0


@pytest.mark.parametrize("given", [None, Given(REQUEST)], ids=["built", "given"])
async def test_a_refused_request_is_an_invalid_one(server, given):
    server.inferences["m"] = Refusal(grpc.StatusCode.INVALID_ARGUMENT, "unexpected shape")
    payload = "given" if given else "built"
    assert told(await ask(probe(server, given))) == [("invalid_request", payload, False)]


async def test_a_refusal_that_comes_when_the_model_is_unready_says_nothing(server):
    server.inferences["m"] = Late(
        0.2, Refusal(grpc.StatusCode.INVALID_ARGUMENT, "Model m is not ready yet.")
    )
    asking = asyncio.create_task(ask(probe(server, Given(REQUEST))))
    await eventually(lambda: server.inferring["m"])
    server.models["m"] = False
    assert await asking == []


async def test_a_sequence_model_gets_a_sequence_from_then_on():
    class Sequences(ToyServer):
        parameters: frozenset[str] = frozenset()

        def choose_inference(self, request: messages.ModelInferRequest) -> Reply:
            self.parameters = frozenset(request.parameters)
            return True if self.parameters else SEQUENCE

    async with Sequences({"m": True}) as sequences:
        one = probe(sequences)
        for _ in range(2):
            assert told(await ask(one)) == [("ok", "built", False)]
        assert sequences.parameters == {"sequence_id", "sequence_start", "sequence_end"}
        assert sequences.asked["ModelInfer"] == 3


async def test_without_a_reply_each_time_out_counts_and_the_late_reply_too(server):
    server.inferences["m"] = Late(0.35, True)
    seen = await ask(probe(server), 0.1)
    assert told(seen) == [("timeout", "built", True)] * 3 + [("ok", "built", False)]
    assert seen[0].detail == "no reply for 0.1 s"
    assert server.asked["ModelInfer"] == 1


async def test_it_is_given_up_after_ten_time_outs(server):
    server.inferences["m"] = Silence()
    assert told(await ask(probe(server), 0.03)) == [("timeout", "built", True)] * 10
    await eventually(lambda: server.inferring["m"] == 0)


async def test_a_model_that_finishes_others_is_busy_and_one_that_never_ends_given_up(server):
    counted = server.statistics["m"] = Statistics()
    server.inferences["m"] = Silence()

    async def work() -> None:
        while True:
            counted.executions += 1
            await asyncio.sleep(0.01)

    working = asyncio.create_task(work())
    seen = await ask(probe(server), 0.1)
    working.cancel()
    assert told(seen) == [("busy", "built", True)] * 4
    assert all(one.progress for one in seen)


async def test_failures_of_others_are_no_progress(server):
    counted = server.statistics["m"] = Statistics()
    server.inferences["m"] = Late(0.25, True)

    async def fail() -> None:
        while True:
            counted.executions += 1
            counted.failures += 1
            await asyncio.sleep(0.01)

    failing = asyncio.create_task(fail())
    seen = await ask(probe(server), 0.1)
    failing.cancel()
    assert [one.reason for one in seen] == ["timeout", "timeout", "ok"]


async def test_statistics_are_asked_no_more_where_there_are_none(server):
    one = probe(server)
    assert await one.statistics(CHECK) is None
    assert await one.statistics(CHECK) is None
    assert server.asked["ModelStatistics"] == 1


async def test_a_reply_that_is_too_large_is_not_read(server):
    server.inputs["m"] = [Tensor("x", "FP32", (1, 50_000))]
    (seen,) = await ask(probe(server, max_reply_bytes=100_000))
    assert (seen.reason, "larger than max" in seen.detail) == ("error", True)


@pytest.mark.parametrize("reply", [b"\xff\xff", b"\x2a\x05\x0a\x01y\x1a\x00"])
async def test_a_malformed_reply_is_an_error(server, reply):
    server.inferences["m"] = reply
    (seen,) = await ask(probe(server))
    assert seen.reason == "error"


async def test_each_goes_over_a_connection_of_its_own(server):
    one = probe(server)
    for _ in range(3):
        await ask(one)
    assert len(server.peers) == 3


async def test_when_it_is_sent_is_told(server):
    sent: list[int] = []
    one = probe(server)
    async for _ in one.ask(CHECK, 10, lambda: sent.append(server.asked["ModelInfer"])):
        pass
    assert sent == [0]
