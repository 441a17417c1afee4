"""Read one message of ModelStreamInfer, for which servers have two different formats."""

from sidecar.client import protobuf, wire
from sidecar.client.errors import InferenceError, Unreadable
from sidecar.client.inference.response import InferResponse
from sidecar.oip import messages

ERROR = messages.ModelStreamInferResponse.ERROR_MESSAGE_FIELD_NUMBER
RESPONSE = messages.ModelStreamInferResponse.INFER_RESPONSE_FIELD_NUMBER

# The response parameter that marks the last response of a request.
FINAL = "triton_final_response"


def read(data: bytes, model_name: str) -> InferResponse | None:
    """Return the response in a serialized message, or None for a final response without outputs.

    data:        the serialized message.
    model_name:  the name of the model in the request.

    Triton and OpenVINO Model Server send a ModelStreamInferResponse: field 1 is
    an error message, field 2 the response. MLServer sends a ModelInferResponse:
    field 1 is the model's name, field 2 its version, followed by id, parameters
    and outputs. So a message with any other field is a ModelInferResponse, and
    a message with field 2 alone is a ModelStreamInferResponse.

    A message with field 1 and at most field 2 is an error, unless field 1 is
    the name of the requested model or field 2 cannot be parsed as a response;
    then it is a ModelInferResponse without outputs. Two cases cannot be told
    apart: such a response with another model name and a version that can be
    parsed as a message, such as `00`; and an error whose text is the model's
    name.

    Raises InferenceError for an error message, Unreadable if the message cannot
    be parsed, and InvalidInput if a tensor is not valid.
    """
    fields = wire.fields(data)
    numbers = {number for number, _ in fields}
    parts = [content for number, content in fields if number == RESPONSE]
    # Concatenated parts of a message are one message; a single part is not copied.
    wrapped = parts[0] if len(parts) == 1 else b"".join(parts)
    if numbers == {RESPONSE}:
        response = InferResponse.from_grpc(wrapped)
        if response.outputs:
            return response
        return None if (response.parameters or {}).get(FINAL) is True else response
    if ERROR in numbers and numbers <= {ERROR, RESPONSE}:
        text = [str(content, "utf-8", "replace") for number, content in fields if number == ERROR]
        if text[-1] != model_name and _is_response(wrapped):
            raise InferenceError(text[-1])
    return InferResponse.from_grpc(data)


def _is_response(data: bytes | memoryview) -> bool:
    try:
        protobuf.parse(messages.ModelInferResponse, bytes(data))
    except Unreadable:
        return False
    return True
