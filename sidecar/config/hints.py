"""Suggestions: settings that fit an inference server better than the current ones."""

from collections.abc import Iterator

from sidecar.config.schema import Settings
from sidecar.core.target import TORCHSERVE_SERVICE, Server

DEFAULT_METRICS_PORT = 8082  # MLServer's
SYNCHRONOUS = 16  # seconds: three inferences of 5 s


def service_hint(settings: Settings) -> str:
    """Return what to set if the server does not implement the service."""
    service = settings.grpc_service
    if service == TORCHSERVE_SERVICE:
        hint = "only TorchServe has it"
    else:
        hint = f"for TorchServe set grpc_service to {TORCHSERVE_SERVICE}"
    return f"the server does not implement {service}; {hint}"


def hints(settings: Settings, server: Server, *, has_canaries: bool) -> Iterator[str]:
    """Return suggestions for this server, each a sentence without its end."""
    is_listed = settings.models or settings.discover
    if server.name in ("triton", "pytriton") and not is_listed:
        yield "list the models: ServerReady is false while any model loads"
    if server.name == "kserve" and settings.timeout_seconds < SYNCHRONOUS:
        yield (
            "if predict is synchronous, set timeout_seconds to more than three times "
            "the longest inference, and period_seconds above that"
        )
    if server.name == "mlserver" and has_canaries and settings.progress_metrics_url is None:
        yield (
            "set progress_metrics_url to its metrics page "
            f"(port {DEFAULT_METRICS_PORT}), which shows that a busy model makes progress"
        )
