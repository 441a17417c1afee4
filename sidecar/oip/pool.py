"""Message classes from a compiled protocol, in a descriptor pool of its own."""

from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass


def load(protocol: str) -> tuple[FileDescriptor, dict[str, Any]]:
    """The descriptor of PROTOCOL.proto, and its message classes by name."""
    compiled = Path(__file__).with_name(f"{protocol}.binpb").read_bytes()
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(compiled).file:
        pool.AddSerializedFile(file.SerializeToString())
    descriptor = pool.FindFileByName(f"{protocol}.proto")
    classes = {}
    for name, message in descriptor.message_types_by_name.items():
        classes[name] = GetMessageClass(message)
        for nested in message.nested_types:
            # Protobuf in pure Python leaves this to the code that creates the class.
            setattr(classes[name], nested.name, GetMessageClass(nested))
    return descriptor, classes
