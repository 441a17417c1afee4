"""The requests of canaries and the evaluation of their replies. Pure: nothing is sent here.

given.py   a configured request and its expected reply, in V2 JSON
build.py   a request generated from a model's metadata
judge.py   the reason for a reply
"""
