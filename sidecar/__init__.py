"""The Inference Health Sidecar, in the order in which one answer flows through it.

oip/         the messages of the Open Inference Protocol
client/      the gRPC client, a library of its own, inference included
prober.py    asks one check, and says what came back
classify.py  from a gRPC status and its text to a reason
addresses.py the addresses of the server, where one name stands for several
poller.py    decides when to ask, whom, and how many at once
health/      the core: what the answers prove
board.py     keeps the current health and tells whoever listens
history.py   keeps the answers before the last one
poll_counter.py  counts the answers
metrics.py   shows both to Prometheus
logs.py      tells people what changed
web.py       answers the kubelet
listener.py  has the port, and sees to it that there is room for the kubelet
status.py    the one JSON document
page/        the status page
settings/    every knob, where it comes from, and every error in words
certificates.py  when the TLS files expire
blocking.py  blocking calls in daemon threads, with a deadline
queued_stream.py  a stream whose write never blocks
loading.py   the settings with what their files hold
assembly.py  what a daemon and a single check have in common
daemon.py    puts the rooms together, and stops them in order
check.py     asks once, or until all is ready, and leaves
terminal.py  standard output and error of a command
arguments.py the flags of each command, and what is wrong with those that were given
cli.py       the command line
demo.py      a toy server whose health is chosen
"""

__version__ = "0.1.0"
