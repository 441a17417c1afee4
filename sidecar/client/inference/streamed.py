"""One message of ModelStreamInfer as a response: servers differ in what they send there."""

from sidecar.client import wire
from sidecar.client.errors import InferenceError, Unreadable
from sidecar.client.inference.response import InferResponse
from sidecar.oip import messages

ERROR = messages.ModelStreamInferResponse.ERROR_MESSAGE_FIELD_NUMBER
RESPONSE = messages.ModelStreamInferResponse.INFER_RESPONSE_FIELD_NUMBER

# Says of a response that it is the last one of its request.
FINAL = "triton_final_response"


def read(data: bytes, model_name: str) -> InferResponse | None:
    """The response in a message's bytes; None for a final one that has no outputs.

    Triton and OpenVINO Model Server wrap each response: field 1 is an error
    message, field 2 the response. MLServer sends the response itself: field 1
    is the model's name, field 2 its version, and id, parameters and outputs
    come behind. So a message with another field than these two is a bare
    response, and one with field 2 alone is a wrapped one.

    What has field 1 and nothing but field 2 is an error, and raises
    InferenceError, unless it can only be a bare response that holds nothing
    more: its field 1 is the name of the model that was asked, or its field 2 is
    no message. Not told apart is such a response of another name whose version
    happens to be a message, such as `00`, and an error whose text is the
    model's name.
    """
    fields = wire.fields(data)
    numbers = {number for number, _ in fields}
    parts = [content for number, content in fields if number == RESPONSE]
    # The parts of a message are one message in a row; one alone is not copied.
    wrapped = parts[0] if len(parts) == 1 else b"".join(parts)
    if numbers == {RESPONSE}:
        response = InferResponse.from_grpc(wrapped)
        final = (response.parameters or {}).get(FINAL) is True
        return None if final and not response.outputs else response
    if ERROR in numbers and numbers <= {ERROR, RESPONSE}:
        text = [str(content, "utf-8", "replace") for number, content in fields if number == ERROR]
        if text[-1] != model_name and _is_response(wrapped):
            raise InferenceError(text[-1])
    return InferResponse.from_grpc(data)


def _is_response(data: bytes | memoryview) -> bool:
    try:
        wire.parse(messages.ModelInferResponse, bytes(data))
    except Unreadable:
        return False
    return True
