"""A request to run a model: its tensors and parameters, as a message and as V2 JSON."""

import uuid
from collections.abc import Iterable
from typing import Any, Self

from google.protobuf.message import Message

from sidecar.client import protobuf, wire
from sidecar.client.errors import InvalidInput
from sidecar.client.inference import grpc_form, json_form, parameters
from sidecar.client.inference.parameters import Parameters, WithParameters
from sidecar.client.inference.tensors import InferInput, checked
from sidecar.client.wire import Buffer
from sidecar.oip import messages

RAW = messages.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER


class RequestedOutput(WithParameters):
    """An output that a request asks for.

    name:        the output's name.
    parameters:  bool, int, float or str by name.

    Source: the Open Inference Protocol, ModelInferRequest.InferRequestedOutputTensor.
    """

    def __init__(self, name: str, parameters: Parameters | None = None) -> None:
        self.name = name
        self.parameters = parameters

    @property
    def binary_data(self) -> bool | None:
        """The parameter `binary_data`, or None; KServe's REST servers choose the format by it."""
        return (self.parameters or {}).get("binary_data")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RequestedOutput)
            and self.name == other.name
            and self._compared() == other._compared()
        )

    __hash__ = None  # type: ignore[assignment] # it is mutable

    def __repr__(self) -> str:
        return f"RequestedOutput(name={self.name!r}, parameters={self.parameters!r})"


class InferRequest(WithParameters):
    """A request to run a model. Names and arguments are those of KServe's class.

    model_name:       the model's name.
    infer_inputs:     its input tensors.
    request_id:       the server returns it in the response.
    raw_inputs:       raw bytes for each input, in order, which replace its data;
                      None as an entry leaves the data of that input.
    from_grpc:        whether the request was received over gRPC.
    parameters:       bool, int, float or str by name.
    request_outputs:  the outputs that the server returns; None for all.
    model_version:    None or empty lets the server choose a version.

    The constructor raises InvalidInput if the inputs are not tensors or
    `raw_inputs` do not fit them. Source: the Open Inference Protocol,
    ModelInferRequest.
    """

    def __init__(
        self,
        model_name: str,
        infer_inputs: Iterable[InferInput],
        request_id: str | None = None,
        raw_inputs: Iterable[Buffer | None] | None = None,
        from_grpc: bool = False,
        parameters: Parameters | None = None,
        request_outputs: Iterable[RequestedOutput] | None = None,
        model_version: str | None = None,
    ) -> None:
        self.id = request_id
        self.model_name = model_name
        self.inputs = infer_inputs if isinstance(infer_inputs, list) else checked(infer_inputs)
        self.parameters = parameters
        self.request_outputs = None if request_outputs is None else list(request_outputs)
        self.model_version = model_version
        # In KServe's class an attribute and a class method have this name.
        self.from_grpc = from_grpc  # type: ignore[method-assign,assignment]
        grpc_form.give_raw(self.inputs, raw_inputs)

    @property
    def use_binary_outputs(self) -> bool:
        """Whether the outputs are to be returned as raw bytes.

        For a request that was received over gRPC: whether it has raw inputs.
        For others: the parameter `binary_data_output`.
        """
        if vars(self)["from_grpc"]:
            return any(tensor.is_raw for tensor in self.inputs)
        return bool((self.parameters or {}).get("binary_data_output", False))

    def get_input_by_name(self, name: str) -> InferInput | None:
        """Return the input of this name, or None."""
        return next((tensor for tensor in self.inputs if tensor.name == name), None)

    def to_grpc(self) -> messages.ModelInferRequest:
        """Return the request as a message; the request is not changed.

        The protocol does not allow raw bytes and typed contents in one message:
        if one input is raw, all are sent as raw bytes. Raises InvalidInput,
        which names the tensor or field, if something is not valid.
        """
        message, raws = self._parts()
        message.raw_input_contents.extend(map(bytes, raws))
        return message

    def to_bytes(self) -> bytes:
        """Return the serialized message; raw bytes are copied once. Raises as `to_grpc` does."""
        message, raws = self._parts()
        return wire.join(message, RAW, raws)

    @classmethod
    def from_grpc(cls, request: Message | bytes) -> Self:
        """Return the request of a ModelInferRequest message.

        request:  a message of any package, or serialized bytes.

        Raises InvalidInput if it is another object, cannot be parsed, or has an
        invalid tensor.
        """
        message = protobuf.own(messages.ModelInferRequest, request)
        outputs = [
            RequestedOutput(output.name, parameters.read(output.parameters))
            for output in message.outputs
        ]
        return cls(
            message.model_name,
            grpc_form.read(InferInput, message.inputs, message.raw_input_contents),
            request_id=message.id,
            from_grpc=True,
            parameters=parameters.read(message.parameters),
            request_outputs=outputs or None,
            model_version=message.model_version,
        )

    def to_rest(self) -> tuple[dict[str, Any], None]:
        """Return the V2 JSON form as a dict for `json.dumps`, and None.

        A request without an id gets a new one. The second value, which is the
        length of the JSON in the binary extension, is always None. NaN and the
        infinities stay floats, which are written in Python's form and not in
        standard JSON. Raises InvalidInput if a tensor is not valid, or is FP16
        or BF16, which have no JSON form.
        """
        outputs = [
            {"name": output.name, **json_form.with_parameters(output.parameters)}
            for output in self.request_outputs or ()
        ]
        document = {
            "id": json_form.text(vars(self), "id") or str(uuid.uuid4()),
            "model_name": self.model_name,
            "inputs": json_form.write(self.inputs),
            **({"outputs": outputs} if outputs else {}),
            **json_form.with_parameters(self.parameters),
        }
        return document, None

    @classmethod
    def from_rest(
        cls, body: json_form.Body, model_name: str | None = None, model_version: str | None = None
    ) -> Self:
        """Return the request of a V2 JSON body.

        body:           JSON in bytes or str, or a parsed object.
        model_name, model_version:
                        the model; in REST they are in the path and not in the body.

        Raises InvalidInput if the body is not valid.
        """
        document = json_form.parse(body)
        outputs = [
            RequestedOutput(output["name"], json_form.read_parameters(output))
            for output in json_form.objects(document, "outputs")
        ]
        return cls(
            model_name or json_form.text(document, "model_name") or "",
            json_form.read(InferInput, document, "inputs"),
            request_id=json_form.text(document, "id"),
            parameters=json_form.read_parameters(document),
            request_outputs=outputs or None,
            model_version=model_version,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes that KServe's `to_dict` returns, by name."""
        return {
            "id": self.id,
            "model_name": self.model_name,
            "inputs": [tensor.to_dict() for tensor in self.inputs],
            "parameters": self.parameters,
            "from_grpc": self.from_grpc,
        }

    def _parts(self) -> tuple[messages.ModelInferRequest, list[Buffer]]:
        """Return the message without its raw bytes, and the raw bytes."""
        message = protobuf.build(
            messages.ModelInferRequest,
            model_name=self.model_name,
            model_version=self.model_version or "",
            id=self.id or "",
        )
        parameters.write(message.parameters, self.parameters)
        for output in self.request_outputs or ():
            if not isinstance(output, RequestedOutput):
                kind = type(output).__name__
                raise InvalidInput(f"given {kind} where a RequestedOutput is expected")
            entry = protobuf.add(message.outputs, name=output.name)
            parameters.write(entry.parameters, output.parameters)
        return message, grpc_form.write(message.inputs, self.inputs, raw=False)

    def _identity(self) -> tuple[Any, ...]:
        text = (self.id or "", self.model_name, self.model_version or "")
        return *text, self._compared(), list(self.inputs), list(self.request_outputs or ())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InferRequest) and self._identity() == other._identity()

    __hash__ = None  # type: ignore[assignment] # it is mutable

    def __repr__(self) -> str:
        about = f"model_name={self.model_name!r}, id={self.id!r}"
        return f"InferRequest({about}, inputs={self.inputs!r})"


def to_bytes(request: InferRequest | Message) -> bytes:
    """Return a request, or a ModelInferRequest message of any package, as serialized bytes.

    Raises InvalidInput for another object, or if the request is not valid.
    """
    if isinstance(request, InferRequest):
        return request.to_bytes()
    data = protobuf.serialized(messages.ModelInferRequest, request)
    if data is None:
        given = type(request).__name__
        raise InvalidInput(f"given {given}; allowed: InferRequest, ModelInferRequest message")
    return data
