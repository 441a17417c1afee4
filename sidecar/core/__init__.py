"""The core: what the results of checks prove. Pure: no clock, no I/O, no library.

checks.py     what can be asked of a server, and one result
reasons.py    what follows from each reason, in one table
status.py     what one result does to the status of its check
canary.py     the rules of canaries
state.py      the state machine: everything that can move a status
snapshot.py   health, policy and time of one moment: what counts, what is stale
restarts.py   whether a restart is asked for because of canaries
rules.py      the verdict of each endpoint on a snapshot
target.py     the server that is asked
schedule.py   how often, and how many at once
"""
