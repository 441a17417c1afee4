"""Add the name of a tensor to the errors of its methods."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sidecar.client.errors import InvalidInput, shown


class Named(Protocol):
    """Anything with a name, such as a tensor."""

    @property
    def name(self) -> str:
        """The name."""
        ...


P = ParamSpec("P")
R = TypeVar("R")
N = TypeVar("N", bound=Named)


def naming(call: "Callable[Concatenate[N, P], R]") -> "Callable[Concatenate[N, P], R]":
    """Make every InvalidInput that a function raises name the tensor, its first argument."""

    @wraps(call)
    def named(tensor: N, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(tensor, *args, **kwargs)
        except InvalidInput as error:
            raise InvalidInput(f"tensor {shown(tensor.name)}: {error.reason}") from None

    return named
