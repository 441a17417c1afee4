"""BF16 elements from and to FP32, as raw little-endian bytes. Python's struct has no BF16.

A BF16 element is the upper half of an FP32 element: the sign, the exponent of
eight bits, and the upper seven bits of the fraction.
"""

import struct

# FP32's infinity as an integer, without the sign.
INFINITY = 0x7F800000


def from_fp32(raw: bytes) -> bytes:
    """Return FP32 elements as BF16, rounded to the nearest and halfway cases to even.

    Raises OverflowError if a finite element becomes infinite.
    """
    words = struct.unpack(f"<{len(raw) // 4}I", raw)
    return struct.pack(f"<{len(words)}H", *map(_rounded, words))


def _rounded(word: int) -> int:
    magnitude = word & 0x7FFFFFFF
    if magnitude > INFINITY:  # a NaN, which must not become an infinity
        return word >> 16 | 0x40
    half = (word + 0x7FFF + (word >> 16 & 1)) >> 16
    if half & 0x7FFF == INFINITY >> 16 and magnitude != INFINITY:
        raise OverflowError("too large for BF16")
    return half


def to_fp32(raw: bytes | bytearray | memoryview) -> bytearray:
    """Return BF16 elements as FP32, which is exact."""
    longer = bytearray(2 * len(raw))
    longer[2::4] = raw[0::2]
    longer[3::4] = raw[1::2]
    return longer
