"""Inference requests and responses: as Python objects, as protobuf messages and as V2 JSON.

request.py, response.py      a request and a response, with their tensors
streamed.py                  one message of a stream, as a response
grpc_form.py, json_form.py   tensors in messages, and in JSON
tensors.py                   one tensor
arrays.py                    numpy arrays; the only module that imports numpy
elements.py                  Python values to raw bytes and back
bfloat16.py                  BF16 elements from and to FP32
shapes.py                    the number of elements of a shape
datatypes.py                 the protocol's datatypes
naming.py                    errors that name the tensor
parameters.py                the parameters of requests, responses and tensors
"""
