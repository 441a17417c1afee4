"""One tensor: what it takes, as list, array or raw bytes, and what it gives back."""

import copy
import pickle
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from sidecar.client import InferenceError, InferInput, InferOutput, InferRequest, InvalidInput
from tests.support import untyped

ARRAYS = [
    ("BOOL", np.array([True, False])),
    ("INT8", np.array([-128, 127], "i1")),
    ("INT16", np.array([-3, 4], "i2")),
    ("INT32", np.array([-3, 4], "i4")),
    ("INT64", np.array([-3, 4], "i8")),
    ("UINT8", np.array([3, 4], "u1")),
    ("UINT16", np.array([3, 4], "u2")),
    ("UINT32", np.array([3, 4], "u4")),
    ("UINT64", np.array([3, 2**64 - 1], "u8")),
    ("FP16", np.array([1.5, -2], "f2")),
    ("FP32", np.array([1.5, -2], "f4")),
    ("FP64", np.array([1.5, -2], "f8")),
    ("BF16", np.array([1.5, -2], ml_dtypes.bfloat16)),
    ("BYTES", np.array([b"a\0", b""], object)),
]


def of(datatype, array, **options):
    tensor = InferInput("x", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, **options)
    return tensor


def assert_same(actual, expected):
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert actual.tolist() == expected.tolist()


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(("datatype", "array"), ARRAYS)
def test_an_array_comes_back_as_it_went_in(datatype, array, binary):
    tensor = of(datatype, array.reshape(2, 1), binary_data=binary)
    if datatype == "BYTES" and not binary:  # are text then
        array = np.array([element.decode() for element in array], object)
    assert_same(tensor.as_numpy(), array.reshape(2, 1))
    assert tensor.data == array.tolist()
    assert tensor.is_raw is (binary or datatype in ("FP16", "BF16"))


@pytest.mark.parametrize(("datatype", "array"), ARRAYS)
def test_an_array_may_be_given_as_data_and_becomes_a_list_or_raw_bytes(datatype, array):
    tensor = InferInput("x", [2], datatype, array)
    assert bytes(tensor.to_raw()) == bytes(of(datatype, array).to_raw())
    assert list(tensor.to_list()) == array.tolist()
    assert_same(tensor.as_numpy(), array)


def test_an_array_that_changes_later_does_not_change_the_tensor():
    array = np.zeros(2, "f4")
    tensor = of("FP32", array)
    array[0] = 1
    assert tensor.data == [0, 0]


def test_arrays_of_any_order_are_sent_row_by_row_and_little_endian():
    plain = np.arange(6, dtype="<i4").reshape(2, 3)
    for array in (
        np.asfortranarray(plain),
        plain.astype(">i4"),
        np.arange(12, dtype="<i4").reshape(2, 6)[:, ::2] // 2,
    ):
        tensor = of("INT32", array)
        assert bytes(tensor.to_raw()) == plain.tobytes()


def test_empty_and_scalar_arrays_are_arrays_too():
    for array in (np.zeros((0, 3), "f4"), np.array(1.5, "f4")):
        assert_same(of("FP32", array).as_numpy(), array)
    nothing = np.array([], object)
    assert_same(of("BYTES", nothing).as_numpy(), nothing)


@pytest.mark.parametrize(
    ("array", "elements"),
    [
        (np.array(["\u00e9", "b"]), [b"\xc3\xa9", b"b"]),
        (np.array([b"a", b"bc"]), [b"a", b"bc"]),
        (np.array(["a", b"b"], object), [b"a", b"b"]),
        (np.array([np.str_("a"), np.bytes_(b"b")], object), [b"a", b"b"]),
        (np.array(["2026-11-25", "NaT"], "M8[D]"), [b"2026-11-25", b"NaT"]),
    ],
)
def test_bytes_text_objects_and_moments_are_bytes_or_in_a_list_text(array, elements):
    assert of("BYTES", array).data == elements
    assert InferInput("x", [2], "BYTES", array).as_numpy().tolist() == elements
    text = [element.decode() for element in elements]
    assert of("BYTES", array, binary_data=False).data == text


@pytest.mark.parametrize(
    "element", [None, float("nan"), 3, True, np.datetime64("NaT"), ["a"], np.zeros(1), np.ma.masked]
)
@pytest.mark.parametrize("binary", [True, False])
def test_objects_that_are_neither_bytes_nor_text_are_refused_as_in_a_list(element, binary):
    array = np.array(["a", None], object)
    array[1] = element
    reason = "^tensor 'x': .*(BYTES takes bytes or text|is masked)"
    for data in (array, ["a", element]):
        tensor = InferInput("x", [2], "BYTES", data)
        for use in (tensor.to_raw, InferRequest("m", [tensor]).to_rest):
            with pytest.raises(InvalidInput, match=reason):
                use()
    with pytest.raises(InferenceError, match=reason) as caught:
        InferInput("x", [2], "BYTES").set_data_from_numpy(array, binary_data=binary)
    assert isinstance(caught.value, InvalidInput)


MASKED = [
    ("FP32", np.ma.array([1, 2], "f4", mask=[False, True])),
    ("FP32", np.ma.array([1, 2], "f4")),  # the next one may have a mask
    ("FP16", np.ma.array([1, 2], "f2", mask=True)),
    ("INT64", np.ma.array([1, 2], "i8", mask=[True, False])),
    ("BOOL", np.ma.array([True, False], mask=[True, False])),
    ("BYTES", np.ma.array([b"a", b"b"], mask=[True, False])),
    ("BYTES", np.ma.array(["a", "b"], object, mask=[True, False])),
    ("BF16", np.ma.array(np.ones(2, ml_dtypes.bfloat16), mask=[True, False])),
]


@pytest.mark.parametrize(("datatype", "array"), MASKED)
def test_a_masked_array_is_refused_however_it_is_given(datatype, array):
    reason = "^tensor 'x': a masked array cannot be sent; array.filled\\(value\\) can"
    tensor = InferInput("x", [2], datatype, array)
    for use in (tensor.to_raw, tensor.to_list, tensor.as_numpy):
        with pytest.raises(InvalidInput, match=reason):
            use()
    for binary in (True, False):
        with pytest.raises(InvalidInput, match=reason):
            InferInput("x", [2], datatype).set_data_from_numpy(array, binary_data=binary)


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "BF16", "INT8", "UINT64", "BOOL"])
@pytest.mark.parametrize(
    "element", [np.ma.masked, np.ma.array(1, mask=True), np.ma.array([1.5], mask=[True])]
)
def test_a_masked_element_of_a_list_is_refused_by_its_number(datatype, element):
    for data in ([1, element], [[1], [element]]):
        tensor = InferInput("x", [2], datatype, data)
        for use in (tensor.to_raw, tensor.as_numpy, InferRequest("m", [tensor]).to_grpc):
            with pytest.raises(InvalidInput, match=r"^tensor 'x': element 1 is masked, and"):
                use()


def test_a_masked_array_that_is_filled_is_none_any_more():
    assert of("FP32", MASKED[0][1].filled(0)).data == [1, 0]


def test_masked_arrays_can_be_compared():
    masked, again, plain = (InferInput("x", [2], "FP32", MASKED[n][1]) for n in (0, 0, 1))
    assert masked == again
    assert masked != plain


def test_bf16_is_uint16_where_ml_dtypes_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    bits = np.array([0x3F80, 0xC000], "u2")
    tensor = of("BF16", bits)
    assert_same(tensor.as_numpy(), bits)
    assert tensor.data == [1.0, -2.0]


@pytest.mark.parametrize("size", [9, 9000])
def test_an_array_that_was_not_raw_is_the_callers_own(size):
    given = np.zeros(size, "f4")
    for tensor in (
        InferInput("x", [size], "FP32", given),
        InferInput("x", [size], "FP32", given.tolist()),
    ):
        tensor.as_numpy()[:] = 1
    assert not given.any()


@pytest.mark.parametrize(
    "raw",
    [
        bytearray(b"abcd"),
        memoryview(b"abcd"),
        memoryview(b"abcd").cast("H"),
        untyped(memoryview)(np.frombuffer(b"abcd", ">u2")),
        untyped(memoryview)(np.frombuffer(b"a_b_c_d_", "u1")[::2]),
        untyped(memoryview)(np.frombuffer(b"abcd", "u4")[0]),
    ],
)
def test_raw_bytes_may_be_any_buffer(raw):
    tensor = InferInput("x", [4], "UINT8")
    tensor.set_raw(raw)
    assert bytes(tensor.to_raw()) == b"abcd"
    assert not tensor.as_numpy().flags.writeable


def test_raw_bytes_are_not_copied_and_cannot_be_written_through_the_array():
    raw = np.arange(4, dtype="f4").tobytes()
    tensor = InferOutput("x", [4], "FP32")
    tensor.set_raw(raw)
    array = tensor.as_numpy()
    assert np.shares_memory(array, np.frombuffer(raw, "f4"))
    assert not array.flags.writeable


def test_a_bool_that_is_neither_0_nor_1_is_true():
    tensor = InferOutput("x", [3], "BOOL")
    tensor.set_raw(b"\x00\x02\x01")
    assert tensor.data == [False, True, True]
    assert tensor.as_numpy().sum() == 2


def test_lists_may_be_flat_or_nested_and_text_is_kept_in_an_array():
    tensor = InferInput("x", [2, 2], "int8", [[1, 2], [3, 4]])
    assert tensor.datatype == "INT8"
    assert_same(tensor.as_numpy(), np.array([[1, 2], [3, 4]], "i1"))
    words = InferInput("x", [2], "BYTES", ["a", b"b"])
    assert words.as_numpy().tolist() == ["a", b"b"]


@pytest.mark.parametrize(
    "data",
    [["a", "b"], [b"a", b"b"], [["a"], [b"b"]], np.array(["a", "b"]), np.array([[b"a", b"b"]])],
)
def test_bytes_are_read_as_text_in_one_flat_list(data):
    shape = list(data.shape) if isinstance(data, np.ndarray) else [2]
    assert InferInput("x", shape, "BYTES", data).as_string() == ["a", "b"]


def test_raw_bytes_are_read_as_text_too():
    tensor = InferOutput("x", [2], "BYTES")
    tensor.set_raw(b"\x01\0\0\0a\x02\0\0\0\xc3\xa9")
    assert tensor.as_string() == ["a", "\u00e9"]


NESTED: list[object] = []
NESTED.append(NESTED)


def nested(levels):
    value: object = 1.0
    for _ in range(levels):
        value = [value]
    return value


def test_lists_may_be_nested_as_deeply_as_the_dimensions_of_an_array():
    assert InferInput("x", [1] * 64, "FP32", nested(64)).to_raw() == b"\0\0\x80?"
    with pytest.raises(InvalidInput, match="nested too deeply; allowed: 64 levels"):
        InferInput("x", [1] * 65, "FP32", nested(65)).to_raw()


def raw(datatype, shape, data):
    tensor = InferInput("x", shape, datatype)
    tensor._raw_data = data
    return tensor


@pytest.mark.parametrize(
    ("use", "reason"),
    [
        (lambda: InferInput("x", [1], untyped(None)), "datatype None is not a str"),
        (lambda: InferInput("x", [1], "FP32").as_numpy(), "it has no data"),
        (
            lambda: InferInput("x", [1], "FP32", untyped(5)).as_numpy(),
            "its data is of type builtins.int; a list or",
        ),
        (
            lambda: InferInput("x", [1], "FP32", "abc").to_list(),
            "its data is of type builtins.str; a list or",
        ),
        (lambda: InferInput("x", [2], "FP32", [1]).as_numpy(), "1 elements; shape \\[2\\] takes 2"),
        (lambda: InferInput("x", [2], "BYTES", ["a"]).as_numpy(), "1 elements; shape \\[2\\]"),
        (lambda: InferInput("x", [-1], "FP32", [1]).to_raw(), "shape \\[-1\\] is not a list of"),
        (
            lambda: InferInput("x", untyped(None), "FP32", np.zeros(1, "f4")).to_raw(),
            "shape None is not",
        ),
        (lambda: InferInput("x", [1], "FP8", [1]).as_numpy(), "datatype 'FP8' is unknown"),
        (lambda: raw("FP8", [1], b"1").data, "datatype 'FP8' is unknown"),
        (lambda: raw("FP32", [1], b"1").data, "not a whole number of elements"),
        (lambda: raw("BYTES", [3], b"\0\0\0\0").data, "1 elements; shape \\[3\\] takes 3"),
        (lambda: raw("FP32", [1] * 65, b"1234").as_numpy(), "is not valid in numpy"),
        (lambda: raw("FP32", [0, 2**62, 2**62], b"").as_numpy(), "is not valid in numpy"),
        (lambda: InferInput("x", [0, 2**63], "FP32", []).to_raw(), "is not a list of sizes from 0"),
        (lambda: InferInput("x", untyped(""), "FP32", [1]).to_raw(), "shape '' is not a list"),
        (
            lambda: InferInput("x", untyped({1: 1}), "FP32", [1]).to_raw(),
            "shape {1: 1} is not a list",
        ),
        (lambda: InferInput("x", [1], "INT64", [10**5000]).to_raw(), "element 0 is a int; INT64"),
        (lambda: InferInput("x", [2], "FP32", NESTED).to_raw(), "nested too deeply"),
        (
            lambda: InferInput("x", [1], "BYTES", np.array([["a", "b"]])).to_raw(),
            "shape \\[1, 2\\] where \\[1\\]",
        ),
        (lambda: raw("FP32", [1], b"1").as_numpy(), "1 raw bytes; FP32 of shape \\[1\\] takes 4"),
        (lambda: raw("BYTES", [1], b"1").as_numpy(), "cut short in element 0"),
        (lambda: raw("BYTES", [2], b"\0\0\0\0").as_numpy(), "1 elements; shape \\[2\\] takes 2"),
        (
            lambda: InferInput("x", [1], "FP32").set_raw(untyped("1234")),
            "raw data of type str is not bytes",
        ),
        (lambda: InferInput("x", [1], "FP32").set_raw(b""), "0 raw bytes; FP32 of shape"),
        (lambda: InferInput("x", [1], "FP32", [1]).as_string(), "as_string\\(\\) is for BYTES"),
        (lambda: InferInput("x", [1], "BYTES", [b"\xff"]).as_string(), "is not UTF-8"),
        (
            lambda: InferInput("x", [1], "INT8", np.zeros(1)).to_raw(),
            "array of float64 is not INT8",
        ),
        (
            lambda: InferInput("x", [2], "FP32", np.zeros(1, "f4")).to_raw(),
            "shape \\[1\\] where \\[2\\] is expected",
        ),
    ],
)
def test_what_is_wrong_is_invalid_input_with_the_tensors_name(use, reason):
    with pytest.raises(InvalidInput, match=f"^tensor 'x': .*{reason}"):
        use()


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        ([1.0], "list is not a numpy array"),
        (np.zeros(1), "an array of float64 is not FP32"),
        (np.zeros(1, complex), "an array of complex128 is not FP32"),
        (np.array(["1"]), "is not FP32"),
        (np.zeros((1, 1), "f4"), "an array of shape \\[1, 1\\] where \\[1\\] is expected"),
    ],
)
def test_an_array_that_does_not_fit_is_an_inference_error_and_changes_nothing(array, reason):
    tensor = InferInput("x", [1], "FP32", [2.0])
    with pytest.raises(InferenceError, match=f"^tensor 'x': .*{reason}"):
        tensor.set_data_from_numpy(array)
    assert tensor.data == [2.0]


def test_an_inference_error_shows_its_status():
    error = InferenceError("reason", "status", "details")
    assert (str(error), error.reason, error.debug_details) == (
        "[status] reason",
        "reason",
        "details",
    )


def test_new_data_replaces_raw_bytes():
    tensor = of("FP32", np.zeros(1, "f4"))
    tensor.data = [5.0]
    assert (tensor.data, tensor.is_raw) == ([5.0], False)


def test_tensors_are_equal_by_what_they_hold_however_they_came_by_it():
    listed = InferInput("x", [2], "FP32", [1, 2], {"a": 1})
    raw = InferInput("x", (2,), "fp32", parameters={"a": 1})
    raw.set_raw(np.array([1, 2], "f4").tobytes())
    assert listed == raw == InferInput("x", [2], "FP32", np.array([1, 2], "f4"), {"a": 1})
    for other in (
        InferInput("y", [2], "FP32", [1, 2], {"a": 1}),
        InferInput("x", [2, 1], "FP32", [1, 2], {"a": 1}),
        InferInput("x", [2], "FP64", [1, 2], {"a": 1}),
        InferInput("x", [2], "FP32", [1, 3], {"a": 1}),
        InferInput("x", [2], "FP32", [1, 2]),
        InferOutput("x", [2], "FP32", [1, 2], {"a": 1}),
        InferInput("x", [2], "FP32", [1], {"a": 1}),
        "x",
    ):
        assert listed != other
    assert InferInput("x", [2], "FP32", [1]) == InferInput("x", [2], "FP32", [1])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: InferInput("x", untyped(None), "FP32", [1.0]),
        lambda: InferInput("x", [2], "FP32", np.zeros(2)),
        lambda: InferInput("x", [2], "FP8", np.zeros(2)),
    ],
)
def test_what_cannot_be_sent_can_be_compared(wrong):
    assert wrong() == wrong()
    assert wrong() != InferInput("x", [2], "FP32", [0.0, 0.0])


def test_an_error_shows_no_whole_argument():
    many: list[object] = [0.5] * 100_000
    for use in (
        lambda: InferInput("x", untyped(many), "FP32", [1]).to_raw(),
        lambda: InferInput("x", [1], untyped(many), [1]),
        lambda: InferInput(untyped(many), [2], "FP32", [1]).to_raw(),
    ):
        with pytest.raises(InvalidInput) as caught:
            use()
        assert len(caught.value.reason) < 250
    assert len(repr(InferInput("x", [1] * 3000, "FP32"))) < 250


def test_a_tensor_can_be_copied_and_pickled():
    tensor = InferOutput("x", [4], "UINT8", parameters={"a": 1})
    tensor.set_raw(memoryview(b"1234"))
    assert copy.deepcopy(tensor) == tensor == pickle.loads(pickle.dumps(tensor))


def test_its_form_for_people_has_no_elements():
    tensor = InferInput("x", [2], "BYTES", ["secret", ""])
    assert repr(tensor) == "InferInput(name='x', datatype='BYTES', shape=[2])"


def test_everything_stands_in_the_dictionary():
    tensor = InferInput("x", [1], "FP32", parameters={"a": 1})
    tensor.set_data_from_numpy(np.array([1], "f4"))
    assert tensor.to_dict() == {
        "name": "x",
        "shape": [1],
        "datatype": "FP32",
        "data": [1.0],
        "parameters": {"a": 1},
    }


def test_without_numpy_lists_work_and_an_array_names_the_extra():
    code = """
import sys
sys.modules["numpy"] = None
from sidecar.client import InferInput, InferRequest, InferResponse
tensor = InferInput("x", [1], "FP16", [1.5])
assert InferRequest.from_grpc(InferRequest("m", [tensor]).to_bytes()).inputs[0].data == [1.5]
try:
    tensor.as_numpy()
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "arrays need numpy: pip install 'inference-health-sidecar[infer]'\n"
