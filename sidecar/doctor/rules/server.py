"""Mistakes with the flags and variables of inference servers: IHS040 to IHS045."""

from collections.abc import Iterator

from sidecar.doctor import servers
from sidecar.doctor.findings import ERROR, WARNING, Case, Edit, Found, in_container, in_pod, rule
from sidecar.doctor.rules.termination import SPARE_SECONDS
from sidecar.oip import SERVICE

SHORT_TIMEOUT = 5


def _is(case: Case, server: servers.Server) -> bool:
    return case.server.server is server


@rule(
    "IHS040",
    ERROR,
    "Triton waits for longer than the pod has to end",
    why="The flag --exit-timeout-secs says how long Triton ends requests in flight. The kubelet kills it at the end of the grace period, in the middle of them.",
    instead="Make terminationGracePeriodSeconds longer than the preStop and --exit-timeout-secs.",
)
def long_exit(case: Case) -> Iterator[Found]:
    """An exit timeout of Triton above the grace period."""
    given = case.server.flags("--exit-timeout-secs")
    if _is(case, servers.TRITON) and given and given[-1].isdigit() and case.pod.outer:
        seconds = int(given[-1])
        if seconds > case.pod.grace:
            message = f"--exit-timeout-secs is {seconds}, and terminationGracePeriodSeconds is {case.pod.grace:g}"
            needed = int(case.server.pre_stop or 0) + seconds + SPARE_SECONDS
            yield from in_pod(case.pod, message, (("terminationGracePeriodSeconds",), needed))


@rule(
    "IHS041",
    ERROR,
    "Triton is ready without its models",
    why="With --strict-readiness=false Triton is ready as soon as it answers, whether its models are loaded or not.",
    instead="Remove the flag, or let the sidecar check each model.",
)
def lax_readiness(case: Case) -> Iterator[Found]:
    """Triton with --strict-readiness=false."""
    given = case.server.flags("--strict-readiness")
    if _is(case, servers.TRITON) and given and given[-1].lower() in ("false", "0"):
        message = "--strict-readiness=false makes Triton ready before its models are"
        yield in_container(
            case.server, message, place=("args",) if "args" in case.server.raw else ("command",)
        )


@rule(
    "IHS042",
    WARNING,
    "Triton polls its repository, and its own readiness gates",
    why="In poll mode ServerReady is false while any model loads, and for good after one that failed: a broken upload of one model takes every"
    " pod out of the Service.",
    instead="Check the models by name, with the sidecar; or use explicit mode.",
)
def poll_mode(case: Case) -> Iterator[Found]:
    """Triton in poll mode with ServerReady as the gate."""
    given = case.server.flags("--model-control-mode")
    if not (_is(case, servers.TRITON) and given and given[-1] == "poll"):
        return
    probe = case.server.probe("readinessProbe")
    settings = case.settings
    gated = bool(probe and probe.http_path == "/v2/health/ready")
    if gated or (settings and settings.policy.require_server_ready):
        message = "in poll mode one broken model makes the whole server unready"
        yield in_container(
            case.server, message, place=("args",) if "args" in case.server.raw else ("command",)
        )


@rule(
    "IHS043",
    WARNING,
    "MLServer computes in the thread that answers",
    why="With MLSERVER_PARALLEL_WORKERS=0 MLServer answers nothing while it infers: busy looks like dead.",
    instead="Leave the workers on, or make the timeout longer than three times the longest inference: timeout_seconds: 16 and period_seconds: 17 for 5 seconds.",
)
def no_workers(case: Case) -> Iterator[Found]:
    """MLServer without workers, and a short timeout."""
    if (
        not _is(case, servers.MLSERVER)
        or case.server.variables.get("MLSERVER_PARALLEL_WORKERS") != "0"
    ):
        return
    probe = case.server.probe("livenessProbe")
    asks_itself = probe and not probe.asks_sidecar and probe.timeout < 3 * SHORT_TIMEOUT
    if asks_itself or (case.settings and case.settings.timeout_seconds < SHORT_TIMEOUT):
        seconds = case.settings.timeout_seconds if case.settings else probe.timeout if probe else 1
        message = (
            f"without workers it does not answer while it infers, and the timeout is {seconds:g} s"
        )
        yield in_container(case.server, message, place=("env",))


@rule(
    "IHS044",
    ERROR,
    "TorchServe does not speak the Open Inference Protocol as it is started",
    why="TorchServe serves it under inference.GRPCInferenceService only with TS_OPEN_INFERENCE_PROTOCOL=oip; `true` turns it off.",
    instead="Set TS_OPEN_INFERENCE_PROTOCOL to oip, or grpc_service of the sidecar to org.pytorch.serve.grpc.openinference.GRPCInferenceService.",
)
def without_protocol(case: Case) -> Iterator[Found]:
    """TorchServe beside our sidecar, without the protocol."""
    if not (_is(case, servers.TORCHSERVE) and case.sidecar and case.settings):
        return
    given = case.server.variables.get("TS_OPEN_INFERENCE_PROTOCOL", "")
    if given != "oip" and case.settings.grpc_service == SERVICE:
        env = list(case.server.raw.get("env") or [])
        env = [e for e in env if e.get("name") != "TS_OPEN_INFERENCE_PROTOCOL"]
        edit: Edit = (("env",), [*env, {"name": "TS_OPEN_INFERENCE_PROTOCOL", "value": "oip"}])
        yield in_container(
            case.server, "TS_OPEN_INFERENCE_PROTOCOL is not oip", edit, shown=("env",)
        )


@rule(
    "IHS045",
    WARNING,
    "One model that fails to load ends Triton",
    why="Without --exit-on-error=false Triton ends when any model fails to load: one broken model takes all others with it, in a loop of restarts.",
    instead="Add --exit-on-error=false. The pod then gets no traffic where a required model is missing, and stays.",
)
def exits_on_error(case: Case) -> Iterator[Found]:
    """Triton with several models that ends when one of them fails to load."""
    several = len(case.server.flags("--load-model")) > 1
    stays = case.server.flags("--exit-on-error")[-1:] == ["false"]
    if _is(case, servers.TRITON) and several and not stays:
        message = "one model that fails to load ends the server with all others"
        args = case.server.raw.get("args")
        edits: list[Edit] = []
        if isinstance(args, list):
            edits = [(("args",), [*args, "--exit-on-error=false"])]
        yield in_container(case.server, message, *edits, place=("args",) if args else ("command",))
