"""A request: what is asked of a model, and its forms on the wire and in JSON."""

import uuid
from collections.abc import Iterable
from typing import Any, Self

from google.protobuf.message import Message

from sidecar.client import wire
from sidecar.client.errors import InvalidInput
from sidecar.client.inference import grpc_form, json_form, parameters
from sidecar.client.inference.parameters import Parameters, WithParameters
from sidecar.client.inference.tensors import InferInput, checked
from sidecar.client.wire import Buffer
from sidecar.oip import messages

RAW = messages.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER


class RequestedOutput(WithParameters):
    """An output that a request asks for by its name; without any the server sends them all."""

    def __init__(self, name: str, parameters: Parameters | None = None) -> None:
        self.name = name
        self.parameters = parameters

    @property
    def binary_data(self) -> bool | None:
        """The parameter of this name, or None; KServe's REST servers choose the form by it."""
        return (self.parameters or {}).get("binary_data")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RequestedOutput)
            and self.name == other.name
            and self._compared() == other._compared()
        )

    __hash__ = None  # type: ignore[assignment] # it can change

    def __repr__(self) -> str:
        return f"RequestedOutput(name={self.name!r}, parameters={self.parameters!r})"


class InferRequest(WithParameters):
    """What is asked of a model, with KServe's names for everything.

    model_name:       the model's name.
    infer_inputs:     its input tensors.
    request_id:       comes back in the response.
    raw_inputs:       raw bytes for each input in turn, instead of its data.
    from_grpc:        whether it came over gRPC.
    parameters:       bool, int, float or str by name.
    request_outputs:  the outputs to send back; without any the server sends them all.
    model_version:    None or empty lets the server choose.

    Source: the Open Inference Protocol, ModelInferRequest.
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
        # KServe has an attribute and a class method of this one name.
        self.from_grpc = from_grpc  # type: ignore[method-assign,assignment]
        grpc_form.give_raw(self.inputs, raw_inputs)

    @property
    def use_binary_outputs(self) -> bool:
        """Whether the asker wants raw bytes back: it sent some, or its parameters say so."""
        if vars(self)["from_grpc"]:
            return any(tensor.is_raw for tensor in self.inputs)
        return bool((self.parameters or {}).get("binary_data_output", False))

    def get_input_by_name(self, name: str) -> InferInput | None:
        """The input of this name, or None."""
        return next((tensor for tensor in self.inputs if tensor.name == name), None)

    def to_grpc(self) -> messages.ModelInferRequest:
        """The message; this request stays as it is. InvalidInput names what cannot be sent.

        Raw bytes and typed data may not stand in one message: as soon as one
        input is raw, all are sent so.
        """
        message, raws = self._parts()
        message.raw_input_contents.extend(map(bytes, raws))
        return message

    def to_bytes(self) -> bytes:
        """The message as it goes over the wire; the bytes of a raw input are copied once."""
        message, raws = self._parts()
        return wire.join(message, RAW, raws)

    @classmethod
    def from_grpc(cls, request: Message | bytes) -> Self:
        """The request of a ModelInferRequest, of any package's or in bytes; or InvalidInput."""
        message = wire.own(messages.ModelInferRequest, request)
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
        """The V2 JSON form, ready for `json.dumps`, with a new id if it has none.

        The second value is always None: with the binary extension it would be
        the length of the JSON. FP16 and BF16 have no JSON form, and NaN and the
        infinities none that is more than Python's own.
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
        """The request of a V2 JSON body, parsed or not; or InvalidInput.

        In REST the model's name and version stand in the path: they are given here.
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
        """Everything that KServe's has in it, by name."""
        return {
            "id": self.id,
            "model_name": self.model_name,
            "inputs": [tensor.to_dict() for tensor in self.inputs],
            "parameters": self.parameters,
            "from_grpc": self.from_grpc,
        }

    def _parts(self) -> tuple[messages.ModelInferRequest, list[Buffer]]:
        """The message without its raw bytes, and those."""
        message = wire.build(
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
            entry = wire.add(message.outputs, name=output.name)
            parameters.write(entry.parameters, output.parameters)
        return message, grpc_form.write(message.inputs, self.inputs, raw=False)

    def _identity(self) -> tuple[Any, ...]:
        text = (self.id or "", self.model_name, self.model_version or "")
        return *text, self._compared(), list(self.inputs), list(self.request_outputs or ())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InferRequest) and self._identity() == other._identity()

    __hash__ = None  # type: ignore[assignment] # it can change

    def __repr__(self) -> str:
        about = f"model_name={self.model_name!r}, id={self.id!r}"
        return f"InferRequest({about}, inputs={self.inputs!r})"


def to_bytes(request: InferRequest | Message) -> bytes:
    """A request as it goes over the wire; a ModelInferRequest message of any package is one too."""
    if isinstance(request, InferRequest):
        return request.to_bytes()
    data = wire.serialized(messages.ModelInferRequest, request)
    if data is None:
        given = type(request).__name__
        raise InvalidInput(f"given {given}; allowed: InferRequest, ModelInferRequest message")
    return data
