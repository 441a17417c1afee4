"""The response of a model: its tensors and parameters, as a message and as V2 JSON."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

from google.protobuf.message import Message

from sidecar.client import protobuf, wire
from sidecar.client.errors import InvalidInput
from sidecar.client.inference import grpc_form, json_form, parameters
from sidecar.client.inference.parameters import Parameters, WithParameters
from sidecar.client.inference.request import RequestedOutput
from sidecar.client.inference.tensors import InferOutput, checked
from sidecar.client.wire import Buffer
from sidecar.oip import messages

RAW = messages.ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER

# For fewer bytes than this, protobuf's copies take less time than to avoid them.
WORTH_SPLITTING = 16 * 1024


class InferResponse(WithParameters):
    """The response of a model. Names and arguments are those of KServe's class.

    response_id:         the id of the request.
    model_name:          the model's name.
    infer_outputs:       its output tensors.
    model_version:       the version that ran, or empty if the server does not send it.
    raw_outputs:         raw bytes for each output, in order, which replace its
                         data; None as an entry leaves the data of that output.
    from_grpc:           whether the response was received over gRPC.
    parameters:          bool, int, float or str by name.
    use_binary_outputs:  send every output as raw bytes.
    requested_outputs:   the outputs in the JSON form, in this order; None for all.

    The constructor raises InvalidInput if the outputs are not tensors or
    `raw_outputs` do not fit them. Source: the Open Inference Protocol,
    ModelInferResponse.
    """

    def __init__(
        self,
        response_id: str | None,
        model_name: str,
        infer_outputs: Iterable[InferOutput],
        model_version: str | None = None,
        raw_outputs: Iterable[Buffer | None] | None = None,
        from_grpc: bool = False,
        parameters: Parameters | None = None,
        use_binary_outputs: bool = False,
        requested_outputs: Sequence[RequestedOutput] | None = None,
    ) -> None:
        self.id = response_id
        self.model_name = model_name
        self.model_version = model_version
        self.outputs = infer_outputs if isinstance(infer_outputs, list) else checked(infer_outputs)
        self.parameters = parameters
        self.use_binary_outputs = use_binary_outputs
        self.requested_outputs = requested_outputs
        # In KServe's class an attribute and a class method have this name.
        self.from_grpc = from_grpc  # type: ignore[method-assign,assignment]
        grpc_form.give_raw(self.outputs, raw_outputs)

    def get_output_by_name(self, name: str) -> InferOutput | None:
        """Return the output of this name, or None."""
        return next((tensor for tensor in self.outputs if tensor.name == name), None)

    def to_grpc(self) -> messages.ModelInferResponse:
        """Return the response as a message; the response is not changed.

        Raises InvalidInput, which names the tensor or field, if something is
        not valid.
        """
        message = protobuf.build(
            messages.ModelInferResponse,
            model_name=self.model_name,
            model_version=self.model_version or "",
            id=self.id or "",
        )
        parameters.write(message.parameters, self.parameters)
        raws = grpc_form.write(message.outputs, self.outputs, raw=self.use_binary_outputs)
        message.raw_output_contents.extend(map(bytes, raws))
        return message

    @classmethod
    def from_grpc(cls, response: Message | bytes | memoryview) -> Self:
        """Return the response of a ModelInferResponse message.

        response:  a message of any package, or serialized bytes. Raw outputs of
                   large bytes (16 KiB or more) are views that keep them alive.

        Raises InvalidInput if it is another object, cannot be parsed, or has an
        invalid tensor.
        """
        raws: Sequence[Buffer] = ()
        if isinstance(response, bytes | memoryview) and len(response) >= WORTH_SPLITTING:
            response, raws = wire.split(response, RAW)
        message = protobuf.own(messages.ModelInferResponse, response)
        raws = raws or message.raw_output_contents[:]
        return cls(
            message.id,
            message.model_name,
            grpc_form.read(InferOutput, message.outputs[:], raws),
            model_version=message.model_version,
            from_grpc=True,
            parameters=parameters.read(message.parameters),
            use_binary_outputs=bool(raws),
        )

    def to_rest(self) -> tuple[dict[str, Any], None]:
        """Return the V2 JSON form as a dict for `json.dumps`, and None.

        The second value, which is the length of the JSON in the binary
        extension, is always None. Raises InvalidInput if a tensor is not valid,
        is FP16 or BF16, which have no JSON form, or if a requested output is
        missing.
        """
        document = {
            "id": self.id,
            "model_name": self.model_name,
            "model_version": self.model_version,
            "outputs": json_form.write(self._selected()),
            **json_form.with_parameters(self.parameters),
        }
        return document, None

    @classmethod
    def from_rest(cls, body: json_form.Body) -> Self:
        """Return the response of a V2 JSON body.

        body:  JSON in bytes or str, or a parsed object.

        Raises InvalidInput if the body is not valid.
        """
        document = json_form.parse(body)
        return cls(
            json_form.text(document, "id"),
            json_form.text(document, "model_name") or "",
            json_form.read(InferOutput, document, "outputs"),
            model_version=json_form.text(document, "model_version"),
            parameters=json_form.read_parameters(document),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes that KServe's `to_dict` returns, and the version, by name."""
        return {
            "id": self.id,
            "model_name": self.model_name,
            "model_version": self.model_version,
            "outputs": [tensor.to_dict() for tensor in self.outputs],
            "parameters": self.parameters,
            "from_grpc": self.from_grpc,
        }

    def _selected(self) -> Sequence[InferOutput]:
        if not self.requested_outputs:
            return self.outputs
        selected = []
        for requested in self.requested_outputs:
            output = self.get_output_by_name(requested.name)
            if output is None:
                names = ", ".join(repr(output.name) for output in self.outputs)
                raise InvalidInput(f"output {requested.name!r} is not among {names}")
            selected.append(output)
        return selected

    def _identity(self) -> tuple[Any, ...]:
        text = (self.id or "", self.model_name, self.model_version or "")
        return *text, self._compared(), list(self.outputs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InferResponse) and self._identity() == other._identity()

    __hash__ = None  # type: ignore[assignment] # it is mutable

    def __repr__(self) -> str:
        about = f"model_name={self.model_name!r}, model_version={self.model_version!r}"
        return f"InferResponse({about}, id={self.id!r}, outputs={self.outputs!r})"
