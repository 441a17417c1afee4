"""The core: what a server's answers prove. Pure: no clock, no I/O, no library.

checks.py          what is asked, and what came back
persistent_map.py  the states of all checks, immutable, of which a copy is cheap
reasons.py         what follows from each reason, in one table
state.py           the state machine: everything that can move a status
verdict.py         what Kubernetes is told
"""
