"""A canary's request and expectation as they are given: V2 JSON, as people send it with curl."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sidecar.client.errors import InvalidInput
from sidecar.client.inference.json_form import objects, parse
from sidecar.client.inference.request import InferRequest

# JSON in bytes, or what YAML has made of the same.
Body = bytes | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Given:
    """A request that was given, with what its reply has to be.

    body:       the request in V2 JSON.
    expected:   outputs in V2 JSON: each by its name, with its `data` and, if
                they are to be compared, its `shape` and `datatype`; None to judge
                the form alone.
    tolerance:  how far a number may be from the expected one: by so much, or by
                this share of it, whichever is more.

    ValueError when request or expectation is not valid.
    """

    body: Body
    expected: Body | None = None
    tolerance: float = 0.001
    _request: InferRequest = field(init=False, repr=False, compare=False)
    outputs: tuple[Mapping[str, Any], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            request = InferRequest.from_rest(self.body)
            request.to_bytes()
        except InvalidInput as error:
            raise ValueError(f"not a request in V2 JSON: {error}") from None
        if not request.inputs:
            raise ValueError("not a request in V2 JSON: it has no inputs")
        object.__setattr__(self, "_request", request)
        object.__setattr__(self, "outputs", tuple(self._expectation()))

    def _expectation(self) -> list[Mapping[str, Any]]:
        if self.expected is None:
            return []
        try:
            outputs = objects(parse(self.expected), "outputs")
        except InvalidInput as error:
            raise ValueError(f"not an expectation in V2 JSON: {error}") from None
        if not outputs:
            raise ValueError("not an expectation in V2 JSON: it has no outputs")
        without = [output["name"] for output in outputs if not isinstance(output.get("data"), list)]
        if without:
            raise ValueError(f"not an expectation in V2 JSON: no `data` in {', '.join(without)}")
        return outputs

    def request(self, model: str, version: str, request_id: str) -> InferRequest:
        """The request to this model, with an id of its own."""
        given = self._request
        return InferRequest(
            model,
            given.inputs,
            request_id=request_id,
            parameters=given.parameters,
            request_outputs=given.request_outputs,
            model_version=version,
        )
