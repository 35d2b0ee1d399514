"""Terms of recorded pipeline lines: the stages of a frame, and the modes of processing frames.

`harness.pipeline` writes these strings and `reports` reads them.
"""

from __future__ import annotations

DECODE = "decode"
STAGES = (DECODE, "preprocess", "infer", "postprocess", "draw")
"""The stages of a frame, in order. The frame source decodes when the next frame is requested."""

WHOLE, AFTER_DECODING, INFERENCE = "pipeline", "after_decoding", "inference"
"""Coverage of a measurement: every stage from the encoded to the drawn frame; every stage but
decoding; binding, inference and fetching alone. The last two also name modes."""

SEQUENTIAL, OVERLAPPED, PACED = "sequential", "overlapped", "paced"
"""Modes of whole pipelines: one frame at a time, several in flight, and at the target rate."""

PREDECODED, PREDECODED_PACED = "after_decoding_overlapped", "after_decoding_paced"
"""Overlapped and paced modes for frames decoded into memory before the clock starts. Programs
without a decoder are compared in these modes."""
