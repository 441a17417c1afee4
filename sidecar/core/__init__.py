"""The core: derives health and verdicts from results. Pure: no clock, no I/O, no library.

checks.py     what can be checked on a server, and one result of a check
reasons.py    one table with the effects of each reason
status.py     how one result changes the status of its check
canary.py     the rules for canaries
state.py      the state machine: every event that can change a status
snapshot.py   health, policy and time at one moment: which checks gate, which results are stale
restarts.py   whether failing canaries request a restart
rules.py      the verdict of each endpoint for a snapshot
target.py     the address and identity of the server
schedule.py   how often checks run, and how many at once
"""
