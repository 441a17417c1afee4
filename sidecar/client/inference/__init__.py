"""Inference: what is asked of a model and what it answers, in every form.

request.py, response.py      the two, with their tensors
streamed.py                  one message of a stream as a response
grpc_form.py, json_form.py   tensors as messages, and as JSON
tensors.py                   one tensor
arrays.py                    tensors as numpy arrays; nothing else knows numpy
datatypes.py                 the protocol's datatypes: values to raw bytes and back
parameters.py                plain values for parameters
"""
