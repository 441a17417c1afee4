"""Requests that are built: what they hold, and that a strict server takes them."""

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.client.description import ModelMetadata, TensorMetadata
from sidecar.client.inference.datatypes import DATATYPES
from sidecar.oip import messages
from sidecar.payloads.build import MAX_BYTES, CannotBuild, build


def metadata(*inputs: TensorMetadata) -> ModelMetadata:
    return ModelMetadata("m", ("1",), "", inputs, ())


def sent(*inputs: TensorMetadata, seed: int = 0, **options: bool) -> messages.ModelInferRequest:
    chance = random.Random(seed).random
    return build(metadata(*inputs), "2", "one", chance, **options).to_grpc()


def elements(tensor: messages.ModelInferRequest.InferInputTensor) -> list[Any]:
    ((_, values),) = tensor.contents.ListFields()
    return list(values)


def test_free_dimensions_become_one():
    (tensor,) = sent(TensorMetadata("x", "FP32", (-1, 3, -1))).inputs
    assert list(tensor.shape) == [1, 3, 1]


@pytest.mark.parametrize("name", [n for n in DATATYPES if "INT" in n])
def test_integers_are_0_or_1(name):
    (tensor,) = sent(TensorMetadata("x", name, (50,))).inputs
    assert set(elements(tensor)) == {0, 1}


def test_bool_is_false_floats_are_from_0_to_1_and_text_is_short():
    flags, numbers, text = sent(
        TensorMetadata("b", "BOOL", (4,)),
        TensorMetadata("f", "FP64", (50,)),
        TensorMetadata("t", "BYTES", (4,)),
    ).inputs
    assert elements(flags) == [False] * 4
    assert all(0 <= number <= 1 for number in elements(numbers))
    assert all(len(one) == 8 for one in elements(text))


@pytest.mark.parametrize("name", [n for n in DATATYPES if n != "BOOL"])
def test_it_is_another_one_each_time(name):
    found = {
        sent(TensorMetadata("x", name, (16,)), seed=seed).SerializeToString() for seed in range(5)
    }
    assert len(found) == 5


def test_only_what_has_no_typed_form_is_raw():
    typed = sent(TensorMetadata("x", "FP32", (2,)))
    raw = sent(TensorMetadata("x", "FP16", (2,)))
    assert ([len(r) for r in typed.raw_input_contents], len(raw.raw_input_contents)) == ([], 1)


def test_a_sequence_begins_and_ends_with_it():
    parameters = sent(TensorMetadata("x", "FP32", (1,)), sequence=True).parameters
    assert parameters["sequence_start"].bool_param
    assert parameters["sequence_end"].bool_param
    assert parameters["sequence_id"].int64_param > 0


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ((), "the model's metadata declares no inputs"),
        ((TensorMetadata("x", "STRANGE", (1,)),), "input 'x' has the unknown datatype 'STRANGE'"),
        ((TensorMetadata("x", "FP32", (3, 512, 512)),), f"bytes, more than {MAX_BYTES}"),
        ((TensorMetadata("x", "BYTES", (2**40,)),), f"bytes, more than {MAX_BYTES}"),
    ],
)
def test_what_cannot_be_built_says_why(inputs, reason):
    with pytest.raises(CannotBuild, match=reason):
        sent(*inputs)


shapes = st.lists(st.sampled_from([-1, 1, 2, 3, 8]), max_size=5).map(tuple)
tensors = st.tuples(st.sampled_from(sorted(DATATYPES)), shapes)


def accept(request: messages.ModelInferRequest, declared: list[TensorMetadata]) -> None:
    """Checks a request as strictly as Triton does."""
    assert [tensor.name for tensor in request.inputs] == [tensor.name for tensor in declared]
    raws = list(request.raw_input_contents)
    assert len(raws) in (0, len(declared))
    for place, (tensor, want) in enumerate(zip(request.inputs, declared, strict=True)):
        assert tensor.datatype == want.datatype
        assert len(tensor.shape) == len(want.shape)
        for size, wanted in zip(tensor.shape, want.shape, strict=True):
            assert size == wanted or (wanted == -1 and size > 0)
        datatype, count = DATATYPES[tensor.datatype], math.prod(tensor.shape)
        if not raws:
            assert [field.name for field, _ in tensor.contents.ListFields()] == [datatype.field]
            assert len(elements(tensor)) == count
        elif datatype.size:
            assert len(raws[place]) == count * datatype.size
        else:
            assert len(raws[place]) == count * (4 + 8)


@settings(max_examples=200)
@given(st.lists(tensors, min_size=1, max_size=6), st.booleans())
def test_a_strict_server_takes_what_is_built_for_any_signature(inputs, batches):
    batch = (-1,) if batches else ()
    declared = [
        TensorMetadata(f"x{place}", datatype, (*batch, *shape))
        for place, (datatype, shape) in enumerate(inputs)
    ]
    try:
        request = sent(*declared)
    except CannotBuild:
        size = sum(
            math.prod(abs(n) for n in tensor.shape) * (DATATYPES[tensor.datatype].size or 8)
            for tensor in declared
        )
        assert size > MAX_BYTES
    else:
        accept(request, declared)
