"""The message classes of protos/open_inference.proto; `make protos` writes the two files beside.

open_inference.binpb  the compiled descriptors, loaded here
messages.pyi          the types that a checker and an editor see
"""

from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_files = FileDescriptorSet.FromString(Path(__file__).with_name("open_inference.binpb").read_bytes())
_pool = DescriptorPool()
for _file in _files.file:
    _pool.AddSerializedFile(_file.SerializeToString())

DESCRIPTOR = _pool.FindFileByName("open_inference.proto")
for _name, _descriptor in DESCRIPTOR.message_types_by_name.items():
    globals()[_name] = GetMessageClass(_descriptor)
    for _nested in _descriptor.nested_types:
        # Protobuf in pure Python leaves this to whoever makes the class.
        setattr(globals()[_name], _nested.name, GetMessageClass(_nested))
