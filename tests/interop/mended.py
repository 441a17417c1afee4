"""What is mended of KServe's client and types: each case passes on ours and fails on theirs.

Run by either's interpreter: prints a JSON object of the cases that failed and
why. Each case is a process of its own, because one of them aborts it.

    python mended.py PACKAGE ADDRESS      (PACKAGE is sidecar.client or kserve)
"""

import asyncio
import copy
import importlib
import inspect
import json
import logging
import os
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Any

import grpc
import numpy as np

api: Any = None
messages: Any = None
address = ""

FILE = __file__  # of any content; it is read, and no more


def use(package: str, server: str) -> None:
    """Makes the names of a package those of the cases."""
    global api, messages, address  # the cases have no arguments
    own = package == "sidecar.client"
    pb = "sidecar.oip.messages" if own else "kserve.protocol.grpc.grpc_predict_v2_pb2"
    api, messages, address = importlib.import_module(package), importlib.import_module(pb), server
    # KServe's has no public name for it.
    api.InvalidInput = (
        getattr(api, "InvalidInput", None)
        or importlib.import_module(f"{package}.errors").InvalidInput
    )


def client(url: str = "", **options: Any) -> Any:
    """A client of the echo server."""
    return api.InferenceGRPCClient(url or address, **options)


def one(datatype: str = "FP32", data: Any = (1.0,), **options: Any) -> Any:
    """A request with one input, `x`."""
    tensor = api.InferInput("x", [len(data)], datatype, list(data))
    return api.InferRequest("m", [tensor], **options)


def raw_input(name: str = "y") -> Any:
    """An input that is sent as raw bytes."""
    tensor = api.InferInput(name, [1], "FP32")
    tensor.set_data_from_numpy(np.array([2], "f4"))
    return tensor


def refuses(call: Any, *parts: str) -> None:
    """InvalidInput whose text has these parts."""
    text = ""
    try:
        call()
    except api.InvalidInput as error:
        text = str(error)
    assert text, "nothing was refused"
    assert all(part in text for part in parts), text


async def status(call: Any) -> str:
    """The status that a call ends with."""
    try:
        await call
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def response(**fields: Any) -> Any:
    """A response message."""
    return messages.ModelInferResponse(model_name="m", **fields)


def output(datatype: str, shape: list[int], **fields: Any) -> Any:
    """An output in a response message, `x`."""
    kind = messages.ModelInferResponse.InferOutputTensor
    return kind(name="x", datatype=datatype, shape=shape, **fields)


def case_key_without_chain_is_refused():
    refuses(lambda: client(use_ssl=True, private_key=FILE), "certificate_chain")


def case_chain_without_key_is_refused():
    refuses(lambda: client(use_ssl=True, certificate_chain=FILE), "private_key")


async def case_one_retry_means_none():
    assert await client(retries=1).is_server_live()


async def case_none_means_no_retry():
    assert await client(retries=None).is_server_live()


def case_more_than_five_retries_warn():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        client(retries=8)
    assert any("at most 5" in str(warning.message) for warning in caught)


async def case_an_url_may_have_a_scheme():
    for scheme in ("http", "grpc"):
        assert await client(f"{scheme}://{address}").is_server_live()


def case_https_means_tls():
    refuses(lambda: client(f"https://{address}", private_key=FILE), "certificate_chain")


async def case_a_port_out_of_range_is_refused():
    refuses(lambda: client("127.0.0.1:99999"), "99999")


async def case_an_ipv6_address_may_lack_a_port():
    # Nothing answers on either port; gRPC's text names the one that was tried.
    text = ""
    try:
        await client("[::1]", retries=0).is_server_live(timeout=5)
    except grpc.RpcError as error:
        text = str(error.details())
    assert ":80: " in text, text


async def case_channel_args_are_not_touched():
    args = [("grpc.primary_user_agent", "x")]
    client(channel_args=args)
    assert args == [("grpc.primary_user_agent", "x")]


async def case_channel_args_may_be_a_tuple():
    assert await client(channel_args=(("grpc.primary_user_agent", "x"),)).is_server_live()


async def case_message_sizes_stay_unlimited_with_channel_args():
    size = 2 * 2**20
    tensor = api.InferInput("x", [size], "FP32")
    tensor.set_data_from_numpy(np.zeros(size, "f4"))
    ours = client(channel_args=[("grpc.primary_user_agent", "x")])
    assert await status(ours.infer(api.InferRequest("m", [tensor]))) == "OK"


async def case_a_proxy_is_not_asked_for_loopback():
    os.environ["http_proxy"] = "http://127.0.0.1:9"
    assert await client(retries=0).is_server_live(timeout=5)


def case_made_outside_a_loop_and_used_in_several():
    ours = client()
    for _ in range(2):
        assert asyncio.run(ours.is_server_live(timeout=5))


async def logged(level: int, call: Any) -> list[logging.LogRecord]:
    """What is logged while a call goes on, from this level on."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign,assignment]
    for name in ("kserve", "sidecar"):
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(level)
    await status(call)
    return records


async def case_a_failure_is_one_line_without_a_traceback():
    records = await logged(logging.DEBUG, client(retries=0).is_model_ready("missing"))
    text = "\n".join(logging.Formatter().format(record) for record in records)
    assert len(records) == 1, text
    assert len(text.splitlines()) == 1, text


async def case_a_failure_is_the_callers_to_log():
    assert not await logged(logging.WARNING, client(retries=0).is_model_ready("missing"))


async def case_verbose_shows_no_secret():
    headers = [("authorization", "Bearer s3cret"), ("x-bin", b"s3cret"), ("x-token", "s3cret")]
    records = await logged(logging.DEBUG, client(verbose=True).infer(one(), headers=headers))
    assert records
    assert not any("s3cret" in record.getMessage() for record in records)


async def case_verbose_shows_no_tensor():
    request = one("INT64", range(123_456, 124_456))
    records = await logged(logging.DEBUG, client(verbose=True).infer(request))
    assert records
    assert not any("123999" in record.getMessage() for record in records)


async def case_a_message_can_be_sent():
    message = one().to_grpc()
    answer = await client().infer(message)
    assert answer.outputs[0].as_numpy().tolist() == [1.0]


async def case_a_bad_header_is_refused_before_anything_is_sent():
    for headers in ([("Upper", "x")], [("a", "\u00e9")], [("a", 5)], {"a": 5}):
        try:
            await client().is_server_live(headers=headers)
        except api.InvalidInput:
            continue
        raise AssertionError(headers)


async def case_a_mapping_of_headers_is_sent():
    assert await client().is_server_live(headers={"x-a": "b"})


async def case_a_model_has_a_version():
    assert await client().is_model_ready("m", model_version="")


def case_raw_and_listed_inputs_are_one_legal_message():
    listed = one().inputs[0]
    message = api.InferRequest("m", [listed, raw_input()]).to_grpc()
    assert len(message.raw_input_contents) == len(message.inputs)
    assert not any(tensor.HasField("contents") for tensor in message.inputs)


def case_to_grpc_changes_no_input():
    tensor = api.InferInput("x", [1], "BYTES", ["text"])
    api.InferRequest("m", [tensor]).to_grpc()
    assert tensor.data == ["text"]


def case_no_size_is_sent_over_grpc():
    message = api.InferRequest("m", [raw_input()]).to_grpc()
    assert "binary_data_size" not in message.inputs[0].parameters


def case_more_raw_entries_than_tensors_are_refused():
    message = response(outputs=[output("FP32", [1])], raw_output_contents=[b"1234", b"1234"])
    refuses(lambda: api.InferResponse.from_grpc(message), "'x'")


def case_fewer_raw_entries_than_tensors_are_refused():
    outputs = [output("FP32", [1]), output("FP32", [1])]
    message = response(outputs=outputs, raw_output_contents=[b"1234"])
    refuses(lambda: api.InferResponse.from_grpc(message), "'x'")


def case_truncated_bytes_are_refused():
    message = response(outputs=[output("BYTES", [1])], raw_output_contents=[b"\x09\0\0\0a"])
    tensor = api.InferResponse.from_grpc(message).outputs[0]
    refuses(tensor.as_numpy, "'x'")


def case_raw_bytes_of_another_shape_are_refused():
    message = response(outputs=[output("FP32", [3])], raw_output_contents=[b"1234"])

    def read() -> object:
        return api.InferResponse.from_grpc(message).outputs[0].as_numpy()

    refuses(read, "'x'")


def case_a_list_of_another_shape_is_refused():
    refuses(
        lambda: api.InferRequest("m", [api.InferInput("x", [3], "FP32", [1.0])]).to_grpc(), "'x'"
    )


def case_a_value_out_of_range_is_refused():
    refuses(one("INT8", [300]).to_grpc, "'x'", "300")


def case_a_value_of_another_type_is_refused():
    refuses(one("INT32", ["5"]).to_grpc, "'x'")


def case_nothing_is_no_array_of_nan():
    refuses(api.InferInput("x", [1], "FP32").as_numpy, "'x'")


def case_lists_in_lists_are_sent():
    tensor = api.InferInput("x", [2, 1], "FP32", [[1.0], [2.0]])
    assert list(api.InferRequest("m", [tensor]).to_grpc().inputs[0].contents.fp32_contents) == [
        1,
        2,
    ]


def case_a_tuple_is_sent():
    tensor = api.InferInput("x", [1], "FP32", (1.0,))
    assert list(api.InferRequest("m", [tensor]).to_grpc().inputs[0].contents.fp32_contents) == [1]


def case_fp16_lists_are_sent():
    assert len(one("FP16", [1.5]).to_grpc().raw_input_contents) == 1


def case_bf16_is_sent_and_read():
    message = one("BF16", [1.5]).to_grpc()
    assert list(message.raw_input_contents) == [b"\xc0\x3f"]
    given = response(outputs=[output("BF16", [1])], raw_output_contents=[b"\xc0\x3f"])
    assert api.InferResponse.from_grpc(given).outputs[0].data == [1.5]


def case_an_unknown_datatype_spoils_only_its_own_tensor():
    outputs = [output("FP8", [1]), output("FP32", [1])]
    message = response(outputs=outputs, raw_output_contents=[b"1", np.ones(1, "f4").tobytes()])
    assert api.InferResponse.from_grpc(message).outputs[1].as_numpy().tolist() == [1.0]


def case_data_can_be_read_when_it_came_raw():
    raw = np.ones(1, "f4").tobytes()
    message = response(outputs=[output("FP32", [1])], raw_output_contents=[raw])
    assert list(api.InferResponse.from_grpc(message).outputs[0].data) == [1.0]


def case_contents_beside_raw_bytes_are_refused_by_name():
    contents = messages.InferTensorContents(fp32_contents=[1])
    outputs = [output("FP32", [1], contents=contents)]
    message = response(outputs=outputs, raw_output_contents=[b"1234"])
    refuses(lambda: api.InferResponse.from_grpc(message), "'x'")


def case_float_uint64_and_double_parameters_survive():
    given = {"half": 0.5, "big": 2**64 - 1, "small": -1}
    again = api.InferRequest.from_grpc(one(parameters=given).to_grpc())
    assert dict(again.parameters) == given


def case_parameters_of_a_response_are_plain():
    message = response(parameters={"a": messages.InferParameter(int64_param=1)})
    assert api.InferResponse.from_grpc(message).parameters == {"a": 1}


def case_parameters_of_an_output_are_plain():
    tensor = output("FP32", [0])
    tensor.parameters["a"].int64_param = 1
    assert api.InferResponse.from_grpc(response(outputs=[tensor])).outputs[0].parameters == {"a": 1}


def case_a_response_can_be_copied():
    tensor = output("FP32", [0])
    tensor.parameters["a"].int64_param = 1
    given = api.InferResponse.from_grpc(response(outputs=[tensor]))
    assert copy.deepcopy(given) == given


def case_arrays_can_be_compared():
    first, second = (api.InferInput("x", [2], "FP32", np.ones(2, "f4")) for _ in range(2))
    assert first == second


def case_requests_of_another_version_differ():
    assert one(model_version="1") != one(model_version="2")


def case_a_flat_list_is_read_as_text():
    assert api.InferInput("x", [2], "BYTES", [b"a", b"b"]).as_string() == ["a", "b"]


def case_text_arrays_are_sent():
    tensor = api.InferInput("x", [1], "BYTES")
    tensor.set_data_from_numpy(np.array(["a"]))


def case_big_endian_arrays_are_sent():
    tensor = api.InferInput("x", [1], "FP32")
    tensor.set_data_from_numpy(np.array([1], ">f4"))


async def case_a_long_status_text_keeps_its_code():
    asked = client(retries=0).is_model_ready("m" * 20_000)  # is named in the text
    assert await status(asked) == "NOT_FOUND"


def case_a_masked_array_is_refused():
    array: Any = np.ma.array([1, 2], "f4", mask=[False, True])
    refuses(lambda: api.InferInput("x", [2], "FP32").set_data_from_numpy(array), "masked")
    refuses(lambda: api.InferRequest("m", [api.InferInput("x", [2], "FP32", array)]).to_grpc())


def case_none_in_an_array_of_objects_is_refused():
    array: Any = np.array(["a", None], object)
    refuses(lambda: api.InferInput("x", [2], "BYTES").set_data_from_numpy(array), "None")


def case_a_parameter_that_is_null_in_json_is_left_out():
    document = {"id": "1", "model_name": "m", "outputs": [], "parameters": {"content_type": None}}
    assert not api.InferResponse.from_rest(document).to_grpc().parameters


def case_messages_as_parameters_are_equal_to_plain_ones():
    given = {"k": messages.InferParameter(int64_param=1)}
    assert one(parameters=given) == one(parameters={"k": 1})


async def case_a_stream_can_be_read():
    request = one("INT32", [7], parameters={"responses": 3})
    found = [r.outputs[0].data async for r in client().infer_stream(request)]
    assert found == [[7]] * 3


CASES = [name for name in list(globals()) if name.startswith("case_")]


def run(name: str) -> str:
    """Why a case failed in a process of its own; empty if it passed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report")
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                case = globals()[name]()
                if inspect.iscoroutine(case):
                    asyncio.run(asyncio.wait_for(case, 20))
                code = 0
            except BaseException:  # noqa: BLE001 # whatever it is, it is the answer
                report.write_text(traceback.format_exc())
            finally:
                os._exit(code)
        _, code = os.waitpid(pid, 0)
        if code == 0:
            return ""
        return report.read_text() if report.exists() else f"ended with status {code}"


if __name__ == "__main__":
    os.environ["GRPC_VERBOSITY"] = "NONE"
    use(*sys.argv[1:])
    failed = {name: why for name in CASES if (why := run(name))}
    sys.stdout.write("\n" + json.dumps(failed))
