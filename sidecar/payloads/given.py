"""A canary's configured request and expected reply: V2 JSON, as sent with curl."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sidecar.client.errors import InvalidInput
from sidecar.client.inference.json_form import objects, parse
from sidecar.client.inference.request import InferRequest

# JSON in bytes, or the same parsed from YAML.
Body = bytes | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Given:
    """A configured request, and its expected reply.

    body:       the request in V2 JSON.
    expected:   outputs in V2 JSON: for each its name, its `data` and, to compare
                them too, `shape` and `datatype`; None to check only the form.
    tolerance:  the allowed difference from an expected number: absolute, or as a
                fraction of it, whichever is larger.

    Raises ValueError if the request or the expected reply is not valid.
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
        """Return the request to this model, with a new id."""
        given = self._request
        return InferRequest(
            model,
            given.inputs,
            request_id=request_id,
            parameters=given.parameters,
            request_outputs=given.request_outputs,
            model_version=version,
        )
