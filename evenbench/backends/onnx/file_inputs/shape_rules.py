"""Rules for inputs that say shapes, axes, pads, slices and numbers of turns of a loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evenbench.backends.onnx.file_inputs.usage import Usage, whole

Rule = dict[str, Any] | None


def _product(sizes: list[int]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


def _reshape(usage: Usage) -> Rule:
    data, result = usage.shape(0), usage.result()
    if result is not None and len(result) == usage.count:
        return whole(result)
    return whole([1] * (usage.count - 1) + [_product(data) if data else -1][: usage.count])


def _result_or(default: int) -> Callable[[Usage], Rule]:
    """The shape of the result; equal sizes for an unknown size."""

    def rule(usage: Usage) -> Rule:
        result = usage.result()
        known = result is not None and len(result) == usage.count
        return whole(result if known and result is not None else [default] * usage.count)

    return rule


def _ratios(usage: Usage) -> Rule:
    """Repeats or scales: the result's sizes over those of the data."""
    data, result = usage.shape(0), usage.result()
    if not data or not result or len(data) != len(result) or len(data) != usage.count:
        return whole([1] * usage.count)
    real = usage.declared.dtype.startswith("float")
    return whole(
        [
            (new / old if real else new // old) if old else 1
            for new, old in zip(result, data, strict=True)
        ]
    )


def _axes_given(usage: Usage, place: int) -> list[int]:
    """The axes at another place, or the first axes."""
    axes, data = usage.constant(place), usage.shape(0) or []
    if axes is not None:
        return [int(axis) % max(len(data), 1) for axis in axes.reshape(-1)]
    return list(range(usage.count))


def _starts(usage: Usage) -> Rule:
    return whole([0] * usage.count)


def _ends(usage: Usage) -> Rule:
    data, result = usage.shape(0), usage.result()
    sizes = result if result and data and len(result) == len(data) else data
    axes = _axes_given(usage, 3)
    starts = usage.constant(1)
    begin = [0] * usage.count if starts is None else [int(start) for start in starts.reshape(-1)]
    if not sizes or not data or len(begin) != usage.count:
        return whole([1] * usage.count)
    return whole(
        [
            (start + data[axis] if start < 0 else start) + sizes[axis]
            for start, axis in zip(begin, axes, strict=True)
        ]
    )


def _first_axes(usage: Usage) -> Rule:
    return whole(list(range(usage.count)))


def _steps(usage: Usage) -> Rule:
    return whole([1] * usage.count)


def _pads(usage: Usage) -> Rule:
    """Pads at the ends that make the declared result; none where it is unknown."""
    data, result = usage.shape(0), usage.result()
    known = data and result and len(data) == len(result) and usage.count == 2 * len(data)
    if not known or not data or not result:
        return whole([0] * usage.count)
    ends = [new - old for new, old in zip(result, data, strict=True)]
    return whole([0] * len(data) + ends)


def _changed_axes(usage: Usage) -> Rule:
    """Axes of a reduction: those that the result lacks or has with size 1; else the last."""
    data, result = usage.shape(0), usage.result()
    if data and result is not None and len(result) == len(data):
        axes = [
            axis for axis, (old, new) in enumerate(zip(data, result, strict=True)) if old != new
        ]
        if len(axes) == usage.count:
            return whole(axes)
    if data and result is not None and len(result) == len(data) - usage.count:
        return whole(_missing(data, result)[: usage.count])
    rank = len(data) if data else usage.count
    return whole(list(range(max(0, rank - usage.count), rank)))


def _missing(longer: list[int], shorter: list[int]) -> list[int]:
    """The axes of the longer shape that the shorter shape lacks."""
    axes, at = [], 0
    for axis, size in enumerate(longer):
        if at < len(shorter) and size == shorter[at] and len(longer) - axis > 0:
            at += 1
        else:
            axes.append(axis)
    return axes


def _ones(usage: Usage) -> Rule:
    """The axes of size 1, for Squeeze."""
    data = usage.shape(0) or []
    axes = [axis for axis, size in enumerate(data) if size == 1]
    return whole(axes[: usage.count]) if len(axes) >= usage.count else whole([0] * usage.count)


def _new_axes(usage: Usage) -> Rule:
    data, result = usage.shape(0), usage.result()
    if data is not None and result is not None and len(result) == len(data) + usage.count:
        axes = _missing(result, data)
        if len(axes) == usage.count:
            return whole(axes)
    return whole(list(range(usage.count)))


def _axis(usage: Usage) -> Rule:
    return whole([0])


def _split(usage: Usage) -> Rule:
    """The sizes of the outputs along the axis, or equal parts."""
    axis, data = usage.attribute("axis", 0), usage.shape(0)
    results = [usage.result(place) for place in range(len(usage.node.output))]
    if len(results) == usage.count and all(results):
        return whole([shape[axis] for shape in results if shape])
    total = data[axis] if data else usage.count
    if not usage.size:  # the size of every part, for SplitToSequence
        return whole([max(1, total // 2)])
    parts = [total // usage.count] * usage.count
    parts[-1] += total - sum(parts)
    return whole(parts)


def _turns(usage: Usage) -> Rule:
    """The turns of a loop: as many as the declared size of a scan output, or 3."""
    for place in range(max(len(usage.node.input) - 2, 0), len(usage.node.output)):
        result = usage.result(place)
        if result:
            return whole([result[0]])
    return whole([3])


def _yes(usage: Usage) -> Rule:
    return whole([1])


def _no(usage: Usage) -> Rule:
    return whole([0])


def _limit(usage: Usage) -> Rule:
    """The end of a range, so that the result has its declared length, or 10 elements."""
    result = usage.result()
    start, delta = usage.constant(0), usage.constant(2)
    first = 0 if start is None else start.reshape(-1)[0].item()
    step = 1 if delta is None else delta.reshape(-1)[0].item()
    return whole([first + step * (result[0] if result else 10)])


def _fixed(*values: float) -> Callable[[Usage], Rule]:
    return lambda usage: whole(list(values) * (usage.count if len(values) == 1 else 1))


def _image_size(usage: Usage) -> Rule:
    """The sides of the image of Col2Im: the last sizes of the result."""
    result = usage.result()
    return whole(result[-usage.count :] if result else [1] * usage.count)


def _signal(usage: Usage) -> Rule:
    """The length of a transform: the declared size along the signal's axis, or the signal's."""
    result, data = usage.result(), usage.shape(0)
    axis = usage.attribute("axis", -2 if usage.graph.opset >= 20 else 1)
    sizes = result or data
    return whole([sizes[axis] if sizes else 16])


def _roi(usage: Usage) -> Rule:
    half = usage.count // 2
    return whole([0] * half + [1] * half)


def _grid(usage: Usage) -> Rule:
    """The size of an image for AffineGrid: N of theta, a channel, and the sides of the grid."""
    theta, result = usage.shape(0), usage.result()
    sides = result[1:-1] if result else [5] * (usage.count - 2)
    return whole([theta[0] if theta else 1, 1, *sides])


REDUCTIONS = ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")

RULES: Mapping[tuple[str, int], Callable[[Usage], Rule]] = {
    ("Reshape", 1): _reshape,
    ("Expand", 1): _result_or(1),
    ("ConstantOfShape", 0): _result_or(2),
    ("CenterCropPad", 1): _result_or(1),
    ("AffineGrid", 1): _grid,
    ("MaxUnpool", 2): _result_or(1),
    ("Tile", 1): _ratios,
    ("Upsample", 1): _ratios,
    ("Resize", 1): lambda usage: _roi(usage) if usage.graph.opset >= 11 else _ratios(usage),
    ("Resize", 2): _ratios,
    ("Resize", 3): _result_or(1),
    ("Slice", 1): _starts,
    ("Slice", 2): _ends,
    ("Slice", 3): _first_axes,
    ("Slice", 4): _steps,
    ("Pad", 1): _pads,
    ("Pad", 3): _first_axes,
    **{(f"Reduce{kind}", 1): _changed_axes for kind in REDUCTIONS},
    ("Squeeze", 1): _ones,
    ("Unsqueeze", 1): _new_axes,
    ("CumSum", 1): _axis,
    ("CumProd", 1): _axis,
    ("Split", 1): _split,
    ("SplitToSequence", 1): _split,
    ("Loop", 0): _turns,
    ("Loop", 1): _yes,
    ("If", 0): _yes,
    ("Dropout", 1): _fixed(0.25),
    ("Dropout", 2): _no,
    ("Range", 0): _fixed(0),
    ("Range", 1): _limit,
    ("Range", 2): _fixed(1),
    ("Trilu", 1): _fixed(0),
    ("Col2Im", 1): _image_size,
    ("Col2Im", 2): lambda usage: whole([1] * usage.count),
    ("DFT", 1): _signal,
    ("DFT", 2): _fixed(1),
    ("STFT", 1): _fixed(8),
    ("STFT", 3): _fixed(16),
    **{(f"{name}Window", 0): _fixed(10) for name in ("Hann", "Hamming", "Blackman")},
    ("MelWeightMatrix", 0): _fixed(8),
    ("MelWeightMatrix", 1): _fixed(16),
    ("MelWeightMatrix", 2): _fixed(8192),
    ("MelWeightMatrix", 3): _fixed(0),
    ("MelWeightMatrix", 4): _fixed(4096),
    ("NonMaxSuppression", 2): _fixed(3),
    ("NonMaxSuppression", 3): _fixed(0.5),
    ("NonMaxSuppression", 4): _fixed(0.0),
    ("Compress", 1): lambda usage: whole([place % 2 == 0 for place in range(usage.count)]),
}
"""By operator and place of the input."""
