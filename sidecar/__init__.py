"""The Inference Health Sidecar: the map of this folder, along the path of one result.

cli/            the commands, their flags and exit codes
runtime.py      the composition root: builds every part, applies new settings, stops in order
doctor/         finds mistakes in manifests; imported only by its command
config/         every setting, where it comes from, its errors; watches the files
scheduler.py    when each check is probed, and how many at once
discovery.py    when the server's repository is looked into
canary_loop.py  the canaries of the settings in force
canaries.py     when canaries are sent
ratelimit.py    the token bucket that limits rounds in a row
probes/         how each kind of check is asked, and from a gRPC status to a reason
store.py        the current health, the one thing that changes; notifies its observers
core/           what the results prove: reasons, state machine, rules; pure
payloads/       the requests of canaries, and the judgement of their replies
history.py      the last results of each check
outputs/        what the kubelet, Prometheus and people see
waiting.py      waiting for whichever comes first
lifecycle.py    how long the daemon works, the drain included
blocking.py     blocking calls in daemon threads, with a deadline
demo/           a small inference server whose health follows a script
client/         the gRPC client, a library of its own, inference included
oip/            the messages of the Open Inference Protocol

docs/architecture.md says how a result travels, and how to add to each part.
"""

__version__ = "0.1.0"

# Where the pages are. There is no public repository yet.
DOCS = "https://git.example/inference-health-sidecar/blob/main/docs"
