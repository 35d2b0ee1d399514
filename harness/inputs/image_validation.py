"""What the bytes of an image file tell before they are decoded: whether they are whole, and whether
8 bits hold a level.

Decoders differ most where a file is not what it should be: one raises, another fills the rest with
grey, a third clips. A file that is refused here is refused for all of them, in the same words.
"""

from __future__ import annotations

import io

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
SCAN, END_OF_JPEG = b"\xff\xda", b"\xff\xd9"
"""Markers of ITU-T T.81, table B.1: start of scan and end of image. Inside a scan 0xff is followed
by 0x00, and looks like neither.
"""

END_OF_PNG = b"IEND"
PNG_BIT_DEPTH = 24
"""Where a PNG's header has its bits per sample (ISO/IEC 15948, 11.2.2)."""

DEEP = ("I", "F")
"""How Pillow's modes begin that hold more than 8 bits per channel."""


def problem(encoded: bytes) -> str:
    """Why an image file with this content must not be decoded to 8 bits, in words; empty where
    nothing speaks against it.

    What is no image at all is left to the decoder, which says so.
    """
    if not encoded:
        return "the file is empty; give an image"
    if (
        encoded.startswith(JPEG)
        and SCAN in encoded
        and encoded.rfind(END_OF_JPEG) < encoded.rfind(SCAN)
    ):
        return "the file ends in the middle of the image (a JPEG without its end marker); copy it again, whole"
    if encoded.startswith(PNG) and END_OF_PNG not in encoded[-64:]:
        return "the file ends in the middle of the image (a PNG without its last chunk); copy it again, whole"
    if _bits(encoded) > 8:
        return (
            "a level of this image has more than 8 bits, which some decoders clip to white and others shift; "
            "convert it to 8 bits first, as it was for training"
        )
    return ""


def _bits(encoded: bytes) -> int:
    """Bits per level: 16 stands for more than 8, 8 also for what Pillow does not know."""
    if encoded.startswith(PNG):
        return encoded[PNG_BIT_DEPTH] if len(encoded) > PNG_BIT_DEPTH else 8
    from PIL import Image as pillow

    try:
        with pillow.open(io.BytesIO(encoded)) as opened:
            return 16 if opened.mode.startswith(DEEP) else 8
    except Exception:  # what Pillow raises on damaged files has no common class; whoever decodes it says what is wrong
        return 8
