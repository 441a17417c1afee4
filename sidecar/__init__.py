"""The Inference Health Sidecar: the map of this folder, along the path of one result.

oip/              the messages of the Open Inference Protocol
client/           the gRPC client, a library of its own, inference included
prober.py         asks one check, and says what came back
classify.py       from a gRPC status and its text to a reason
addresses.py      the addresses of the server, where one name stands for several
poller.py         decides when to ask, whom, and how many at once
core/             what the answers prove; pure
store.py          the current health, and the observers that are notified of each change
history.py        the last answers of each check
poll_counter.py   counts the answers
metrics.py        the families of one scrape
logs.py           the log: transitions, formats, and where it is written
web.py            the endpoints
http_server.py    the port, its limits and timeouts
status.py         the JSON document
outputs/          http/page/ the status page
settings/         every setting, where it comes from, and its errors
certificates.py   what the TLS files hold
loading.py        the settings with what their files hold
reload.py         watches the files, and loads again
blocking.py       blocking calls in daemon threads, with a deadline
queued_stream.py  a stream whose write never blocks
runtime.py        what follows from the settings, and how new ones replace them
assembly.py       what the daemon and a single check have in common
daemon.py         the daemon: what is started in which order, and how it stops
check.py          the command that asks once, or until all is ready
terminal.py       standard output and error of a command
arguments.py      the command line's flags, and what is wrong with them
cli.py            the commands and their exit codes
demo.py           a toy server whose health is chosen
"""

__version__ = "0.1.0"
