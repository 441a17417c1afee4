"""The Inference Health Sidecar: the map of this folder, along the path of one result.

cli/            the commands, their flags and exit codes
runtime.py      the composition root: builds every part, applies new settings, stops in order
doctor/         finds mistakes in manifests; imported only by its command
config/         every setting, where it comes from, its errors; watches the files
scheduler.py    when each check is probed, and how many at once
discovery.py    reads the server's repository index, and adds and removes models
canary_loop.py  runs the canaries of the current settings
canaries.py     decides when canaries are sent
ratelimit.py    the token bucket that limits consecutive rounds
probes/         how each kind of check is carried out, and the reason for a gRPC status
store.py        the current health, the only state that changes; notifies its observers
core/           derives health and verdicts from results: reasons, state machine, rules; pure
payloads/       the requests of canaries, and the evaluation of their replies
history.py      the last results of each check
outputs/        what the kubelet, Prometheus and people read
waiting.py      waits for the first of several
lifecycle.py    when the daemon ends, including the drain
blocking.py     blocking calls in daemon threads, with a deadline
demo/           a small inference server whose health follows a script
client/         the gRPC client, a library of its own, inference included
oip/            the messages of the Open Inference Protocol

docs/architecture.md describes the path of a result, and how to add to each part.
"""

__version__ = "0.1.0"

# The address of the documentation. There is no public repository yet.
DOCS = "https://git.example/inference-health-sidecar/blob/main/docs"
