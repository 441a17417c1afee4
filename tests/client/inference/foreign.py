"""The messages as another package would have them: the same protocol in another pool."""

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from sidecar.oip.messages import DESCRIPTOR

_file = FileDescriptorProto.FromString(DESCRIPTOR.serialized_pb)
_text = _file.SerializeToString().replace(b".inference.", b".inferencf.")
_file = FileDescriptorProto.FromString(_text)
_file.package = "inferencf"
_pool = DescriptorPool()
_pool.AddSerializedFile(_file.SerializeToString())


def foreign(name: str) -> type[Message]:
    """The class of this message in the other package, `inferencf`."""
    return GetMessageClass(_pool.FindMessageTypeByName(f"inferencf.{name}"))
