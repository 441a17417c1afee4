"""The probe for canaries: one inference over a separate connection, and its reason."""

import asyncio
import random
import re
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
import grpc.aio

from sidecar.client.channel import parse_url
from sidecar.client.client import InferenceGRPCClient
from sidecar.client.errors import InferenceError, InvalidInput
from sidecar.client.inference.request import InferRequest
from sidecar.client.inference.response import InferResponse
from sidecar.core.canary import DECISIVE, MOST_EXCUSED, Counters
from sidecar.core.checks import Check, Observation, Payload
from sidecar.core.reasons import Reason
from sidecar.core.target import Target
from sidecar.payloads.build import CannotBuild, build
from sidecar.payloads.given import Given
from sidecar.payloads.judge import judge
from sidecar.probes.channel import MAX_DETAIL, Found, channel_args
from sidecar.probes.classify import classify
from sidecar.probes.progress import MetricsPage

# A canary without an answer is abandoned after this many timeouts.
MOST_TIMEOUTS = 10

# The model accepts no requests now, which the rounds report.
NOT_READY = frozenset({Reason.NOT_READY, Reason.MODEL_NOT_FOUND, Reason.SHUTTING_DOWN})

# Triton's texts for models that accept only sequences, and for models that only stream.
SEQUENCE = re.compile("must specify a non-zero or non-empty correlation ID")
STREAM = re.compile("decoupled transaction policy")


class CanaryProbe:
    """Sends the canaries of one server.

    payloads:         the configured request of each canary; None to generate one.
    max_reply_bytes:  larger replies are not read.
    clock:            monotonic seconds.
    metrics_url:      of the server's metrics page; None to call ModelStatistics.
    exchanged:        called with each request and its replies.
    """

    def __init__(
        self,
        target: Target,
        payloads: Mapping[Check, Given | None],
        *,
        max_reply_bytes: int,
        clock: Callable[[], float],
        metrics_url: str | None = None,
        exchanged: Callable[[InferRequest, list[InferResponse]], None] = lambda *_: None,
    ) -> None:
        self._target = target
        self._payloads = payloads
        self._max_reply_bytes = max_reply_bytes
        self._clock = clock
        self._exchanged = exchanged
        self._page = None if metrics_url is None else MetricsPage(metrics_url, target.timeout)
        # Models that only stream, and that only take sequences; learned from rejected requests.
        self._streaming: set[Check] = set()
        self._sequential: set[Check] = set()
        self._has_statistics = True
        self._judging = asyncio.Lock()

    async def ask(
        self, check: Check, deadline: float, sent: Callable[[], None] = lambda: None
    ) -> AsyncIterator[Observation]:
        """Send one canary and yield its result.

        Before the result, it yields one observation for each `deadline` seconds without
        a reply: `busy` while the model completes other requests, else `timeout`. The
        call stays pending meanwhile, because a server would execute a cancelled call
        anyway. It yields nothing if the model is not ready.

        sent:  called when the request is sent.
        """
        client = self._client()
        try:
            async for seen in self._ask(client, check, deadline, sent):
                yield seen
        finally:
            await client.close()

    async def statistics(self, check: Check) -> Counters | None:
        """Return the model's counters, over a separate connection; None if there are none."""
        client = self._client()
        try:
            return await self._statistics(client, check)
        finally:
            await client.close()

    async def _ask(
        self, client: InferenceGRPCClient, check: Check, deadline: float, sent: Callable[[], None]
    ) -> AsyncIterator[Observation]:
        started, given = self._clock(), self._payloads[check]
        payload = Payload.BUILT if given is None else Payload.GIVEN

        def observe(found: Found, payload: Payload = payload, **more: Any) -> Observation:
            at = self._clock()
            return Observation(check, found[0], at, at - started, found[1], payload, **more)

        refused = await self._refusal(client, check)
        if refused is not None:
            if refused[0] not in NOT_READY:
                yield observe(refused)
            return
        try:
            request = await self._request(client, check)
        except grpc.aio.AioRpcError as error:
            yield observe(_found(check, error))
            return
        except CannotBuild as error:
            yield observe((Reason.INVALID_REQUEST, str(error)), Payload.NONE)
            return
        form = _form(request) if given is None else ""
        started = self._clock()
        before = await self._statistics(client, check)
        sent()
        asking = asyncio.create_task(self._infer(client, check, request))
        try:
            for timeouts in range(1, MOST_TIMEOUTS + 1):
                done, _ = await asyncio.wait({asking}, timeout=deadline)
                if done:
                    break
                after = await self._statistics(client, check)
                progress = after is not None and after.has_progressed(before)
                before = after
                reason = Reason.BUSY if progress else Reason.TIMEOUT
                text = f"no reply for {timeouts * deadline:g} s"
                yield observe((reason, text), pending=True, progress=progress, form=form)
                if progress and timeouts > MOST_EXCUSED:
                    return  # other requests complete, and this one never does
            else:
                return
            found = asking.result()
        finally:
            asking.cancel()
        if given is not None and found[0] in DECISIVE and await self._refusal(client, check):
            return  # the model is no longer ready
        yield observe(found, form=form)

    async def _refusal(self, client: InferenceGRPCClient, check: Check) -> Found | None:
        """Call ModelReady over the canary's connection; return why it fails, None if it passes."""
        target = self._target
        try:
            is_ready = await client.is_model_ready(
                check.model, target.timeout, target.headers, model_version=check.version
            )
        except grpc.aio.AioRpcError as error:
            return _found(check, error)
        return None if is_ready else (Reason.NOT_READY, "")

    async def _request(self, client: InferenceGRPCClient, check: Check) -> InferRequest:
        given, request_id = self._payloads[check], str(uuid.uuid4())
        if given is not None:
            return given.request(check.model, check.version, request_id)
        target = self._target
        metadata = await client.model_metadata(
            check.model, check.version, target.timeout, target.headers
        )
        # The model's name in its metadata may differ from the configured name.
        metadata = type(metadata)(check.model, (), "", metadata.inputs, metadata.outputs)
        sequence = check in self._sequential
        return build(metadata, check.version, request_id, random.random, sequence=sequence)

    async def _infer(
        self, client: InferenceGRPCClient, check: Check, request: InferRequest
    ) -> Found:
        """Send the request, repeat it with what the server asks for, and evaluate the reply."""
        while True:
            try:
                responses = await self._responses(client, check, request)
                self._exchanged(request, responses)
                return await self._judge(check, responses)
            except grpc.aio.AioRpcError as error:
                found, text = _found(check, error), error.details() or ""
            except InferenceError as error:
                found, text = (Reason.ERROR, str(error)[:MAX_DETAIL]), str(error)
            except InvalidInput as error:
                return Reason.ERROR, f"the reply is malformed: {error}"[:MAX_DETAIL]
            is_built = self._payloads[check] is None
            if STREAM.search(text) and check not in self._streaming:
                self._streaming.add(check)
            elif SEQUENCE.search(text) and is_built and check not in self._sequential:
                self._sequential.add(check)
                request = await self._request(client, check)
            else:
                return found

    async def _responses(
        self, client: InferenceGRPCClient, check: Check, request: InferRequest
    ) -> list[InferResponse]:
        headers = self._target.headers
        if check not in self._streaming:
            return [await client.infer(request, None, headers)]
        return [response async for response in client.infer_stream(request, None, headers)]

    async def _judge(self, check: Check, responses: list[InferResponse]) -> Found:
        # A large reply takes time to evaluate; one at a time is enough.
        async with self._judging:
            return await asyncio.to_thread(judge, responses, self._payloads[check])

    async def _statistics(self, client: InferenceGRPCClient, check: Check) -> Counters | None:
        if self._page is not None:
            return await self._page.counters(check)
        if not self._has_statistics:
            return None
        target = self._target
        try:
            found = await client.model_statistics(
                check.model, check.version, target.timeout, target.headers
            )
        except grpc.aio.AioRpcError as error:
            reason, _ = _found(check, error)
            self._has_statistics = reason not in (Reason.UNIMPLEMENTED, Reason.DENIED)
            return None
        if not found:
            return None
        last = found[-1]
        return Counters(last.execution_count, last.success, last.fail, last.cache_hit)

    def _client(self) -> InferenceGRPCClient:
        target = self._target
        replaced = "grpc.max_receive_message_length"
        args = [(name, value) for name, value in channel_args(target) if name != replaced]
        return InferenceGRPCClient(
            target.url,
            use_ssl=parse_url(target.url, tls=target.tls).tls,
            root_certificates=target.root_certificates,
            private_key=target.private_key,
            certificate_chain=target.certificate_chain,
            channel_args=[*args, (replaced, self._max_reply_bytes)],
            retries=0,
            grpc_service=target.service,
        )


def _form(request: InferRequest) -> str:
    return ", ".join(f"{each.name} {each.datatype} {each.shape}" for each in request.inputs)


def _found(check: Check, error: grpc.aio.AioRpcError) -> Found:
    code, text = error.code(), error.details() or ""
    return classify(check, code, text), f"{code.name}: {text}"[:MAX_DETAIL]
