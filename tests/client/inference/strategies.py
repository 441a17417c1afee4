"""What hypothesis makes of the protocol: elements, tensors, requests and responses."""

import math
import struct
from typing import Any

from google.protobuf.message import Message
from hypothesis import strategies as st

from sidecar.client import InferInput, InferOutput, InferRequest, InferResponse, RequestedOutput

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def bf16(word: int) -> float:
    """The number of these sixteen bits."""
    value: float = struct.unpack("<f", bytes(2) + word.to_bytes(2, "little"))[0]
    return value


def one_nan(value: float) -> float:
    """The number, with the one NaN for all: protobuf in pure Python knows no other."""
    return math.nan if math.isnan(value) else value


def stable(message: Message) -> bytes:
    """What two equal messages have in common even where they hold a NaN, which equals nothing."""
    return message.SerializeToString(deterministic=True)


def lists(elements: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Lists of up to six."""
    return st.lists(elements, max_size=6)


ELEMENTS: dict[str, st.SearchStrategy[list[Any]]] = {
    "BOOL": lists(st.booleans()),
    **{f"INT{b}": lists(st.integers(-(2 ** (b - 1)), 2 ** (b - 1) - 1)) for b in (8, 16, 32, 64)},
    **{f"UINT{b}": lists(st.integers(0, 2**b - 1)) for b in (8, 16, 32, 64)},
    "FP16": lists(st.floats(width=16).map(one_nan)),
    "BF16": lists(st.builds(bf16, st.integers(0, 2**16 - 1)).map(one_nan)),
    "FP32": lists(st.floats(width=32).map(one_nan)),
    "FP64": lists(st.floats().map(one_nan)),
    "BYTES": lists(st.binary(max_size=8)),
}
# What has a JSON form: no bytes that are no text, and no bits of a NaN.
JSON = ELEMENTS | {
    "BYTES": lists(text),
    "FP32": lists(st.floats(width=32, allow_nan=False)),
    "FP64": lists(st.floats(allow_nan=False)),
}
del JSON["FP16"], JSON["BF16"]

values = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), text
)
parameters = st.none() | st.dictionaries(text, values, min_size=1, max_size=3)


@st.composite
def tensors(draw, kind, by_datatype):
    """A tensor whose elements are a list or came as raw bytes."""
    datatype = draw(st.sampled_from(sorted(by_datatype)))
    elements = draw(by_datatype[datatype])
    shape = draw(st.sampled_from([[len(elements)], [1, len(elements)], [len(elements), 1, 1]]))
    tensor = kind(draw(text), shape, datatype, elements, draw(parameters))
    if draw(st.booleans()):
        tensor.set_raw(bytes(tensor.to_raw()))
    return tensor


def requests(by_datatype=ELEMENTS) -> st.SearchStrategy[InferRequest]:
    """Requests of up to three inputs."""
    return st.builds(
        InferRequest,
        text,
        st.lists(tensors(InferInput, by_datatype), max_size=3),
        request_id=text,
        parameters=parameters,
        request_outputs=st.lists(st.builds(RequestedOutput, text, parameters), max_size=2),
        model_version=text,
    )


def responses(by_datatype=ELEMENTS) -> st.SearchStrategy[InferResponse]:
    """Responses of up to three outputs."""
    return st.builds(
        InferResponse,
        text,
        text,
        st.lists(tensors(InferOutput, by_datatype), max_size=3),
        model_version=text,
        parameters=parameters,
        use_binary_outputs=st.booleans(),
    )
