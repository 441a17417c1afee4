"""Evaluates a reply: its form, and whether it is the expected one."""

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from sidecar.client.errors import InvalidInput
from sidecar.client.inference.elements import to_text
from sidecar.client.inference.response import InferResponse
from sidecar.client.inference.shapes import flatten
from sidecar.client.inference.tensors import InferOutput
from sidecar.core.reasons import Reason
from sidecar.payloads.given import Given

Judgement = tuple[Reason, str]


def judge(responses: Sequence[InferResponse], given: Given | None) -> Judgement:
    """Return the reason for a reply, and its text.

    responses:  one, or all of a stream in order. The last one with outputs is
                compared with the expected reply.

    Without an expected reply, the outputs must be of valid form.
    """
    whole = [response for response in responses if response.outputs]
    if not whole:
        return Reason.ERROR, "the reply has no outputs"
    try:
        for output in chain.from_iterable(response.outputs for response in whole):
            _check_form(output)
    except InvalidInput as error:
        return Reason.ERROR, f"the reply is malformed: {error}"
    if given is None:
        return Reason.OK, ""
    for expected in given.outputs:
        wrong = _difference(whole[-1], expected, given.tolerance)
        if wrong:
            return Reason.WRONG_OUTPUT, f"output {expected['name']!r}: {wrong}"
    return Reason.OK, ""


def _check_form(output: InferOutput) -> None:
    """Raise InvalidInput if the number of elements does not fit the shape.

    Raw elements of fixed size were checked when they were read.
    """
    if not output.is_raw or output.datatype == "BYTES":
        output.to_list()


def _difference(response: InferResponse, expected: Mapping[str, Any], tolerance: float) -> str:
    """Return how an output differs; empty if it does not."""
    output = response.get_output_by_name(expected["name"])
    if output is None:
        return "it is missing"
    for name, found in (("shape", list(output.shape)), ("datatype", output.datatype)):
        if name in expected and found != expected[name]:
            return f"its {name} is {found}, expected {expected[name]}"
    try:
        values = output.to_list()
        found_values = to_text(values) if output.datatype == "BYTES" else values
    except InvalidInput as error:
        return str(error)
    wanted = flatten(expected["data"])
    if len(found_values) != len(wanted):
        return f"it has {len(found_values)} elements, expected {len(wanted)}"
    for place, (value, want) in enumerate(zip(found_values, wanted, strict=True)):
        if not _is_as_expected(value, want, tolerance):
            return f"element {place} is {value!r}, expected {want!r}"
    return ""


def _is_as_expected(value: Any, want: Any, tolerance: float) -> bool:
    if isinstance(value, float) and isinstance(want, int | float):
        return math.isclose(value, want, rel_tol=tolerance, abs_tol=tolerance)
    return bool(value == want)
