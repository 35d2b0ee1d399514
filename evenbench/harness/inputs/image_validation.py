"""Checks of image files before decoding: complete data, and at most 8 bits per level.

Decoders differ most on damaged files: some raise, some fill the rest with grey, some clip. A file
refused here is refused for all decoders, with the same message.
"""

from __future__ import annotations

import io

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
SCAN, END_OF_JPEG = b"\xff\xda", b"\xff\xd9"
"""Markers of ITU-T T.81, table B.1: start of scan and end of image.

Inside a scan, 0xff is followed by 0x00, so neither marker appears.
"""

END_OF_PNG = b"IEND"
PNG_BIT_DEPTH = 24
"""The offset of bits per sample in a PNG header (ISO/IEC 15948, 11.2.2)."""

DEEP = ("I", "F")
"""Prefixes of Pillow's modes with more than 8 bits per channel."""


def problem(encoded: bytes) -> str:
    """The reason an image file must not be decoded to 8 bits, or an empty string.

    Files without an image are left to the decoder's error.
    """
    if not encoded:
        return "the file is empty; give an image"
    if (
        encoded.startswith(JPEG)
        and SCAN in encoded
        and encoded.rfind(END_OF_JPEG) < encoded.rfind(SCAN)
    ):
        return (
            "the file ends in the middle of the image (a JPEG without its end marker); copy it "
            "again, whole"
        )
    if encoded.startswith(PNG) and END_OF_PNG not in encoded[-64:]:
        return (
            "the file ends in the middle of the image (a PNG without its last chunk); copy it "
            "again, whole"
        )
    if _bits(encoded) > 8:
        return (
            "this image has more than 8 bits per level, clipped to white by some decoders and "
            "shifted by others; "
            "convert the image to 8 bits first, as for training"
        )
    return ""


def _bits(encoded: bytes) -> int:
    """Bits per level: 16 stands for more than 8, and 8 also for files unknown to Pillow."""
    if encoded.startswith(PNG):
        return encoded[PNG_BIT_DEPTH] if len(encoded) > PNG_BIT_DEPTH else 8
    from PIL import Image as pillow

    try:
        with pillow.open(io.BytesIO(encoded)) as opened:
            return 16 if opened.mode.startswith(DEEP) else 8
    except Exception:  # Pillow has no common error for damaged files; the decoder reports these
        return 8
