"""The requests of canaries and the judgement of their replies. Pure: nothing is sent here.

given.py   a request and an expectation that the settings or a file give, in V2 JSON
build.py   a request from a model's metadata
judge.py   from a reply to a reason
"""
