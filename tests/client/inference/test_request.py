"""A request as message, as bytes and as JSON, there and back."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.client import InferInput, InferRequest, InvalidInput, RequestedOutput
from sidecar.oip import messages
from tests.client.inference.foreign import foreign
from tests.client.inference.strategies import JSON, requests, stable
from tests.support import untyped

LISTED = InferInput("a", [2], "FP32", [1.5, 2])


def raw_input() -> InferInput:
    tensor = InferInput("b", [1], "INT64", parameters={"k": 1})
    tensor.set_data_from_numpy(np.array([7], "i8"))
    return tensor


def full() -> InferRequest:
    return InferRequest(
        "bert",
        [LISTED, InferInput("words", [1], "BYTES", ["x"], {"t": "y"})],
        request_id="17",
        parameters={"flag": True, "big": 2**64 - 1, "share": 0.5},
        request_outputs=[RequestedOutput("o", {"binary_data": False}), RequestedOutput("p")],
        model_version="3",
    )


def test_everything_has_its_place_in_the_message():
    message = full().to_grpc()
    assert (message.model_name, message.model_version, message.id) == ("bert", "3", "17")
    assert message.parameters["big"].uint64_param == 2**64 - 1
    assert message.parameters["share"].double_param == 0.5
    assert [(i.name, i.datatype, list(i.shape)) for i in message.inputs] == [
        ("a", "FP32", [2]),
        ("words", "BYTES", [1]),
    ]
    assert list(message.inputs[0].contents.fp32_contents) == [1.5, 2]
    assert list(message.inputs[1].contents.bytes_contents) == [b"x"]
    assert message.inputs[1].parameters["t"].string_param == "y"
    assert [output.name for output in message.outputs] == ["o", "p"]
    assert not message.outputs[0].parameters["binary_data"].bool_param
    assert not message.raw_input_contents


def test_what_is_left_out_is_empty_in_the_message():
    assert InferRequest("m", []).to_grpc() == messages.ModelInferRequest(model_name="m")


def test_raw_and_listed_inputs_together_are_all_sent_raw():
    message = InferRequest("m", [LISTED, raw_input()]).to_grpc()
    assert [i.HasField("contents") for i in message.inputs] == [False, False]
    assert list(message.raw_input_contents) == [
        np.array([1.5, 2], "f4").tobytes(),
        np.array([7], "i8").tobytes(),
    ]


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_what_has_no_typed_form_is_sent_raw(datatype):
    message = InferRequest("m", [InferInput("x", [1], datatype, [1])]).to_grpc()
    assert [len(raw) for raw in message.raw_input_contents] == [2]


def test_to_grpc_changes_nothing_and_adds_no_parameter():
    request = InferRequest("m", [InferInput("a", [1], "BYTES", ["text"]), raw_input()])
    before = request.to_dict()
    message = request.to_grpc()
    assert request.to_dict() == before
    assert [dict(i.parameters) for i in message.inputs] == [
        {},
        {"k": messages.InferParameter(int64_param=1)},
    ]


@given(requests())
def test_any_request_survives_the_wire(request):
    assert InferRequest.from_grpc(request.to_bytes()) == request
    assert InferRequest.from_grpc(request.to_grpc()) == request


@given(requests())
def test_the_bytes_are_the_messages(request):
    read = messages.ModelInferRequest.FromString(request.to_bytes())
    assert stable(read) == stable(request.to_grpc())


@given(requests(JSON))
def test_any_request_survives_json(request):
    document, length = request.to_rest()
    assert length is None
    again = InferRequest.from_rest(json.dumps(document), model_version=request.model_version)
    request.id = document["id"]
    assert again == request


@given(st.binary(max_size=80))
def test_any_bytes_are_a_request_or_refused(data):
    try:
        request = InferRequest.from_grpc(data)
        for tensor in request.inputs:
            assert tensor.data is not None
            tensor.as_numpy()
    except (InvalidInput, AssertionError):
        return
    assert InferRequest.from_grpc(request.to_bytes()) == request


@given(requests(), st.binary(max_size=8), st.integers(0, 200))
def test_a_request_with_damage_is_read_or_refused(request, damage, place):
    data = request.to_bytes()
    try:
        damaged = InferRequest.from_grpc(data[:place] + damage + data[place + len(damage) :])
        for tensor in damaged.inputs:
            tensor.as_numpy()
    except InvalidInput:
        pass


def test_a_message_of_another_package_is_read_and_what_comes_out_is_plain():
    request = InferRequest.from_grpc(foreign("ModelInferRequest").FromString(full().to_bytes()))
    assert request == full()
    assert untyped(request).from_grpc is True
    assert request.parameters == {"flag": True, "big": 2**64 - 1, "share": 0.5}
    assert type(request.parameters) is dict


@pytest.mark.parametrize("other", [messages.ModelReadyRequest(), "text", None, {}])
def test_anything_else_is_refused(other):
    with pytest.raises(InvalidInput, match="allowed: ModelInferRequest"):
        InferRequest.from_grpc(other)


def message(*tensors, raw=()):
    return messages.ModelInferRequest(inputs=tensors, raw_input_contents=raw)


FP32 = {"name": "x", "datatype": "FP32", "shape": [1]}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (message(FP32, raw=[b"1234", b"1234"]), "2 raw entries for 1 tensors \\('x'\\)"),
        (message(FP32, FP32, raw=[b"1234"]), "1 raw entries for 2 tensors \\('x', 'x'\\)"),
        (message(raw=[b"1"]), "1 raw entries for 0 tensors"),
        (message(FP32, raw=[b"123"]), "tensor 'x': 3 raw bytes; FP32 of shape \\[1\\] takes 4"),
        (message({**FP32, "shape": [-1]}, raw=[b""]), "tensor 'x': shape \\[-1\\] is not"),
        (
            message({**FP32, "contents": {"fp32_contents": [1, 2]}}),
            "tensor 'x': 2 elements; shape \\[1\\] takes 1",
        ),
        (
            message({**FP32, "contents": {"fp64_contents": [1]}}),
            "tensor 'x': its elements are in fp64_contents, where FP32 does not belong",
        ),
        (
            message({**FP32, "contents": {"fp32_contents": [1], "int_contents": [1]}}),
            "tensor 'x': its elements are in int_contents and fp32_contents, where FP32",
        ),
        (
            message({**FP32, "contents": {"fp32_contents": [1]}}, raw=[b"1234"]),
            "tensor 'x': it has contents, and raw bytes too",
        ),
    ],
)
def test_a_message_that_contradicts_itself_is_refused_by_the_tensors_name(given, reason):
    with pytest.raises(InvalidInput, match=reason):
        InferRequest.from_grpc(given)


def test_empty_contents_beside_raw_bytes_are_as_good_as_none():
    given = message({**FP32, "contents": {}}, raw=[np.array([2], "f4").tobytes()])
    assert InferRequest.from_grpc(given).inputs[0].data == [2.0]


def test_a_tensor_without_elements_is_empty_if_its_shape_says_so():
    given = message({**FP32, "shape": [0]}, FP32)
    assert [tensor.data for tensor in InferRequest.from_grpc(given).inputs] == [[], None]


def test_raw_inputs_belong_to_the_inputs_in_turn():
    inputs = [InferInput("x", [1], "UINT8"), InferInput("y", [2], "UINT8")]
    request = InferRequest("m", inputs, raw_inputs=[b"a", b"bc"])
    assert [tensor.data for tensor in request.inputs] == [[97], [98, 99]]
    with pytest.raises(InvalidInput, match="1 raw entries for 2 tensors"):
        InferRequest("m", inputs, raw_inputs=[b"a"])
    mixed = InferRequest("m", [LISTED, inputs[0]], raw_inputs=[None, b"z"])
    assert [tensor.data for tensor in mixed.inputs] == [[1.5, 2], [122]]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (InferRequest(untyped(5), []), "model_name 5 is not a str"),
        (InferRequest("\ud800", []), "model_name .* is not a str that can be written as UTF-8"),
        (InferRequest("m", [], request_id=untyped(5)), "id 5 is not a str"),
        (InferRequest("m", [untyped("x")]), "given str where a tensor is expected"),
        (
            InferRequest("m", [InferInput(untyped(None), [1], "FP32", [1])]),
            "tensor None: name None is not a str",
        ),
        (
            InferRequest("m", [], request_outputs=[untyped("y")]),
            "given str where a RequestedOutput is expected",
        ),
        (
            InferRequest("m", [], parameters=untyped([("a", 1)])),
            "parameters are list; a mapping is expected",
        ),
        (
            InferRequest("m", [InferInput(untyped(5), [1], "FP32", [1])]),
            "tensor 5: name 5 is not a str",
        ),
        (InferRequest("m", [LISTED], parameters={"p": None}), "parameter 'p': given NoneType"),
        (
            InferRequest("m", [InferInput("x", [1], "FP32", [1], {"p": []})]),
            "^tensor 'x': parameter 'p': given list",
        ),
        (
            InferRequest("m", [], request_outputs=[RequestedOutput(untyped(5))]),
            "name 5 is not a str",
        ),
        (InferRequest("m", [InferInput("x", [1], "INT8", [300])]), "tensor 'x': element 0 is 300"),
        (InferRequest("m", [InferInput("x", [1], "FP8", [1])]), "tensor 'x': datatype 'FP8' is"),
        (InferRequest("m", [InferInput("x", [1], "BYTES", [5])]), "tensor 'x': given 5; BYTES"),
        (
            InferRequest("m", [InferInput("x", [1], "BYTES")], raw_inputs=[b"\x09\0\0\0a"]),
            "^tensor 'x': raw BYTES are cut short in element 0",
        ),
        (
            InferRequest("m", [InferInput("x", [2], "BYTES")], raw_inputs=[b"\0\0\0\0"]),
            "^tensor 'x': 1 elements; shape \\[2\\] takes 2",
        ),
    ],
)
def test_what_cannot_be_sent_is_invalid_input_and_says_why(request_, reason):
    with pytest.raises(InvalidInput, match=reason):
        request_.to_grpc()


@pytest.mark.parametrize("inputs", [None, 5, LISTED])
def test_inputs_that_are_no_list_are_refused_at_once(inputs):
    with pytest.raises(InvalidInput, match="a list of tensors is expected"):
        InferRequest("m", untyped(inputs))


def test_inputs_and_outputs_may_be_any_iterable():
    request = InferRequest(
        "m", (t for t in [LISTED]), request_outputs=(RequestedOutput(n) for n in "ab")
    )
    for _ in range(2):
        message = request.to_grpc()
        assert (len(message.inputs), len(message.outputs)) == (1, 2)


@pytest.mark.parametrize(
    ("datatype", "given", "sent"),
    [("INT32", [True], [1]), ("BOOL", [1.0, 0], [True, False]), ("FP32", [np.array(1.5)], [1.5])],
)
def test_values_that_fit_but_are_of_another_type_are_sent(datatype, given, sent):
    tensor = InferInput("x", [len(given)], datatype, given)
    again = InferRequest.from_grpc(InferRequest("m", [tensor]).to_grpc())
    assert again.inputs[0].data == sent
    document, _ = InferRequest("m", [tensor]).to_rest()
    assert json.loads(json.dumps(document))["inputs"][0]["data"] == sent


def test_the_json_form_has_no_number_of_numpys():
    tensor = InferInput("x", [untyped(np.int64(1))], "INT8", [np.int8(5)])
    document, _ = InferRequest("m", [tensor]).to_rest()
    assert json.loads(json.dumps(document["inputs"])) == [
        {"name": "x", "shape": [1], "datatype": "INT8", "data": [5]}
    ]


def test_whether_raw_outputs_are_wanted():
    assert InferRequest.from_grpc(InferRequest("m", [raw_input()]).to_grpc()).use_binary_outputs
    assert not InferRequest.from_grpc(InferRequest("m", [LISTED]).to_grpc()).use_binary_outputs
    assert not InferRequest("m", [raw_input()]).use_binary_outputs
    assert InferRequest("m", [], parameters={"binary_data_output": True}).use_binary_outputs


def test_an_input_is_found_by_its_name():
    assert full().get_input_by_name("a") is LISTED
    assert full().get_input_by_name("z") is None


def test_requests_differ_by_anything_that_is_sent():
    assert full() == full()
    changes: dict[str, object] = {
        "id": "18",
        "model_name": "gpt",
        "model_version": None,
        "parameters": None,
        "inputs": [],
        "request_outputs": [RequestedOutput("o")],
    }
    for name, value in changes.items():
        other = full()
        setattr(other, name, value)
        assert other != full()
    assert full() != "full"
    assert RequestedOutput("o") != "o"


def test_its_form_for_people_has_no_elements_and_no_parameters():
    assert repr(InferRequest("m", [LISTED], request_id="1", parameters={"token": "x"})) == (
        "InferRequest(model_name='m', id='1',"
        " inputs=[InferInput(name='a', datatype='FP32', shape=[2])])"
    )
    assert repr(RequestedOutput("o")) == "RequestedOutput(name='o', parameters=None)"


def test_an_outputs_form_is_its_parameter():
    assert RequestedOutput("o", {"binary_data": True}).binary_data is True
    assert RequestedOutput("o").binary_data is None


def test_the_json_form_is_this():
    assert full().to_rest() == (
        {
            "id": "17",
            "model_name": "bert",
            "inputs": [
                {"name": "a", "shape": [2], "datatype": "FP32", "data": [1.5, 2]},
                {
                    "name": "words",
                    "shape": [1],
                    "datatype": "BYTES",
                    "parameters": {"t": "y"},
                    "data": ["x"],
                },
            ],
            "outputs": [{"name": "o", "parameters": {"binary_data": False}}, {"name": "p"}],
            "parameters": {"flag": True, "big": 2**64 - 1, "share": 0.5},
        },
        None,
    )


def test_a_request_without_an_id_gets_one_in_json():
    document, _ = InferRequest("m", [raw_input()]).to_rest()
    assert len(document["id"]) == 36
    assert document["inputs"][0]["data"] == [7]


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (InferInput("x", [1], "FP16", [1]), "tensor 'x': FP16 has no JSON form"),
        (InferInput("x", [1], "BYTES", [b"\xff"]), "tensor 'x': .* is not UTF-8"),
        (InferInput("x", [1], "UINT8", [256]), "tensor 'x': element 0 is 256"),
    ],
)
def test_what_has_no_json_form_is_refused(tensor, reason):
    with pytest.raises(InvalidInput, match=reason):
        InferRequest("m", [tensor]).to_rest()


ONE = {"name": "x", "shape": [1], "datatype": "INT8", "data": [1]}


def test_parameters_that_are_null_are_left_out_at_every_level():
    null = {"content_type": None, "k": 1}
    body = {
        "inputs": [{**ONE, "parameters": null}],
        "outputs": [{"name": "o", "parameters": null}],
        "parameters": null,
    }
    for form in (body, json.dumps(body)):
        request = InferRequest.from_rest(untyped(form), "m")
        owners = [request, *request.inputs, *untyped(request).request_outputs]
        assert [owner.parameters for owner in owners] == [{"k": 1}] * 3
        assert InferRequest.from_grpc(request.to_bytes()) == request
        document, _ = request.to_rest()
        request.id = document["id"]
        assert InferRequest.from_rest(document) == request
    assert null == {"content_type": None, "k": 1}


@pytest.mark.parametrize("parameters", [None, {}, {"content_type": None}])
def test_what_came_without_parameters_has_an_empty_mapping(parameters):
    absent = {} if parameters == {} else {"parameters": parameters}
    body = {"inputs": [ONE | absent], "outputs": [{"name": "o"} | absent]} | absent
    read = InferRequest.from_rest(body)
    for request in (read, InferRequest.from_grpc(read.to_bytes())):
        owners = [request, *request.inputs, *untyped(request).request_outputs]
        assert [owner.parameters for owner in owners] == [{}] * 3
        assert untyped(owners[0]).parameters is not owners[1].parameters


def test_json_may_be_parsed_already_and_nested_and_name_the_model_or_not():
    nested = {"inputs": [{**ONE, "shape": [1, 1], "data": [[1]]}], "model_name": "inside"}
    request = InferRequest.from_rest(nested)
    assert (request.model_name, list(request.inputs[0].to_list())) == ("inside", [1])
    request = InferRequest.from_rest({"inputs": []}, "outside", "2")
    assert (request.model_name, request.model_version) == ("outside", "2")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        ("[" * 100_000, "the body is not JSON"),
        ("[]", "given list; a JSON object is expected"),
        (5, "given int; a JSON object is expected"),
        ({"inputs": {}}, "inputs is not a list of objects"),
        ({"inputs": [5]}, "inputs is not a list of objects"),
        ({"inputs": [{}]}, "inputs has an object without a name"),
        ({"outputs": [{}]}, "outputs has an object without a name"),
        ({"inputs": [{"name": "x"}]}, "tensor 'x': datatype None is not a str"),
        ({"inputs": [{**ONE, "data": None}]}, "tensor 'x': it has no list `data`"),
        ({"inputs": [{**ONE, "shape": None}]}, "tensor 'x': shape None is not a list"),
        ({"inputs": [{**ONE, "data": [300]}]}, "tensor 'x': element 0 is 300"),
        ({"inputs": [{**ONE, "datatype": "FP8"}]}, "tensor 'x': datatype 'FP8' is unknown"),
        (
            {"inputs": [{**ONE, "parameters": 5}]},
            "tensor 'x': parameters are int, an object is expected",
        ),
        (
            {"inputs": [{**ONE, "parameters": {"binary_data_size": 4}}]},
            "tensor 'x': the binary extension",
        ),
        ({"id": 5}, "id is int, text is expected"),
        ({"parameters": []}, "parameters are list, an object is expected"),
    ],
)
def test_json_that_is_no_request_is_refused(body, reason):
    with pytest.raises(InvalidInput, match=reason):
        InferRequest.from_rest(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["inputs", "name", "shape", "datatype", "data", "id", "parameters"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_a_request_or_refused(document):
    with contextlib.suppress(InvalidInput):
        assert isinstance(InferRequest.from_rest(json.dumps(document)), InferRequest)
