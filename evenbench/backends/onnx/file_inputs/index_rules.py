"""Rules for inputs that select elements: indices, classes, lengths, counts of the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evenbench.backends.onnx.file_inputs.usage import Usage, between, whole

Rule = dict[str, Any] | None


def _of_axis(usage: Usage, default: int = 0) -> Rule:
    """Indices into an axis of the data, which is the node's first input."""
    data = usage.shape(0)
    if not data:
        return between(0, 0)
    return between(0, max(0, data[usage.attribute("axis", default)] - 1))


def _gather_nd(usage: Usage) -> Rule:
    """Tuples of indices into the first axes, behind common batch axes."""
    data, indices = usage.shape(0), usage.shape(1)
    if not data or not indices:
        return between(0, 0)
    first = usage.attribute("batch_dims", 0)
    sizes = data[first : first + indices[-1]]
    return between(0, max(0, min(sizes, default=1) - 1))


def _scatter_elements(usage: Usage) -> Rule:
    """Different indices along the axis: the result of equal indices has no fixed order."""
    data, axis = usage.shape(0), usage.attribute("axis", 0)
    if not data or list(usage.size) != usage.shape(1):
        return between(0, 0)
    rank = len(usage.size)
    inner = 1
    for size in usage.size[axis % rank + 1 :]:
        inner *= size
    length = usage.size[axis % rank]
    return whole([place // inner % length % data[axis] for place in range(usage.count)])


def _scatter_nd(usage: Usage) -> Rule:
    """Different tuples of indices, in ascending order."""
    import numpy as np

    data = usage.shape(0)
    if not data or not usage.size:
        return between(0, 0)
    depth = usage.size[-1]
    tuples = np.arange(usage.count // max(depth, 1))
    limits = data[:depth]
    tuples %= max(1, int(np.prod(limits)))
    return whole(np.stack(np.unravel_index(tuples, limits), -1).reshape(-1).tolist())


def _one_hot(usage: Usage) -> Rule:
    depth, result = usage.constant(1), usage.result()
    if depth is not None:
        return between(0, int(depth.reshape(-1)[0]) - 1)
    return between(0, (result[usage.attribute("axis", -1)] if result else 10) - 1)


def _depth(usage: Usage) -> Rule:
    result = usage.result()
    return whole([result[usage.attribute("axis", -1)] if result else 10])


def _top_k(usage: Usage) -> Rule:
    data, result, axis = usage.shape(0), usage.result(), usage.attribute("axis", -1)
    if result:
        return whole([result[axis]])
    return whole([min(5, data[axis]) if data else 1])


def _classes(usage: Usage) -> Rule:
    """Class numbers of a loss; the scores have classes along the second axis."""
    scores = usage.shape(0)
    return between(0, scores[1] - 1 if scores and len(scores) > 1 else 0)


def _lengths(axis: int) -> Callable[[Usage], Rule]:
    """Lengths of sequences: the whole length, valid in every runtime."""

    def rule(usage: Usage) -> Rule:
        data = usage.shape(0)
        return whole([data[axis]] if data else [1])

    return rule


def _recurrent(usage: Usage) -> Rule:
    layout = usage.attribute("layout", 0)
    return _lengths(1 if layout else 0)(usage)


def _keys(usage: Usage) -> Rule:
    """The number of valid keys of an attention: all of them."""
    keys = usage.shape(1)
    return whole([keys[-2] if len(keys) == 4 else keys[1]] if keys else [1])


def _reversed(usage: Usage) -> Rule:
    return _lengths(usage.attribute("time_axis", 0))(usage)


def _position(usage: Usage) -> Rule:
    return whole([0])


def _unpooled(usage: Usage) -> Rule:
    """Different places of the result, which is twice as large by default."""
    import numpy as np

    result = usage.result()
    if not result:
        return whole(np.arange(usage.count).tolist())
    step = max(1, int(np.prod(result)) // max(usage.count, 1))
    return whole((np.arange(usage.count) * step).tolist())


def _written(usage: Usage) -> Rule:
    return whole([0])


RULES: Mapping[tuple[str, int], Callable[[Usage], Rule]] = {
    ("Gather", 1): _of_axis,
    ("GatherElements", 1): _of_axis,
    ("GatherND", 1): _gather_nd,
    ("ArrayFeatureExtractor", 1): lambda usage: _of_axis(usage, -1),
    ("Scatter", 1): _scatter_elements,
    ("ScatterElements", 1): _scatter_elements,
    ("ScatterND", 1): _scatter_nd,
    ("TensorScatter", 2): _written,
    ("OneHot", 0): _one_hot,
    ("OneHot", 1): _depth,
    ("TopK", 1): _top_k,
    ("NegativeLogLikelihoodLoss", 1): _classes,
    ("SoftmaxCrossEntropyLoss", 1): _classes,
    ("RNN", 4): _recurrent,
    ("GRU", 4): _recurrent,
    ("LSTM", 4): _recurrent,
    ("ReverseSequence", 1): _reversed,
    ("Attention", 6): _keys,
    ("SequenceAt", 1): _position,
    ("SequenceErase", 1): _position,
    ("SequenceInsert", 2): _position,
    ("MaxUnpool", 1): _unpooled,
    ("RoiAlign", 2): lambda usage: between(0, max(0, (usage.shape(0) or [1])[0] - 1)),
    ("EmbedLayerNormalization", 0): lambda usage: between(0, (usage.shape(2) or [1])[0] - 1),
    ("EmbedLayerNormalization", 1): lambda usage: between(0, (usage.shape(4) or [1])[0] - 1),
    ("GatherBlockQuantized", 1): _of_axis,
}
"""By operator and place of the input."""
