"""Adjustment of random weights: batch-norm statistics, and DETR queries with a handful of objects.

Randomly initialised networks detect nothing, or the same object everywhere, and leave nothing to
compare.
"""

from typing import Any

from harness import Photograph, Recipe, preprocess
from harness.photographs import locate

QUERY_SPREAD = 3.0
"""The standard deviation of query embeddings. transformers uses 0.02, DETR's authors 1."""

LOOK = 10.0
"""The factor for the decoder's query projections. With initial weights, attention is uniform."""

BOX_SPREAD, BOX_CENTRE = 1.0, (0.0, 0.0, -1.5, -1.5)
"""The spread and centre of box logits (x, y, width, height) over all queries and photographs: most
boxes measure a tenth to a third of the image.
"""

CLASS_SPREAD = 4.0
"""The spread of the logits of each class: the best of 91 classes stands out in half of the queries.
"""

HANDFUL = (8, 24)
"""The minimum and the maximum number of objects in all photographs together."""


def pictures(recipe: Recipe, photographs: tuple[Photograph, ...]) -> Any:
    """The preprocessed photographs as a tensor [photographs, 3, height, width]."""
    import numpy as np
    import torch

    return torch.from_numpy(
        np.stack([preprocess.apply(recipe, locate(photograph)) for photograph in photographs])
    )


def set_norms(module: Any, network: Any, images: Any) -> None:
    """Set the batch-norm statistics of `module` from a pass of all `images` through `network`.

    `network` is a part of `module`.
    """
    import torch

    norms = [child for child in module.modules() if isinstance(child, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain average over a single pass
        norm.reset_running_stats()
        norm.train()
    with torch.no_grad():
        network(images)
    module.eval()


def with_objects(module: Any, recipe: Recipe, photographs: tuple[Photograph, ...]) -> None:
    """Adjust weights: queries differ, a handful detects objects, and no score is on the threshold.

    With transformers' initial weights, all queries have the same box, class and score. A larger
    spread makes queries differ, and focuses each on few places. Both heads are scaled by statistics
    over the photographs. The logit of "no object" separates a handful of queries from the others by
    the widest margin.
    """
    import torch

    detr = module.detr
    network, boxes, classes = detr.model, detr.bbox_predictor, detr.class_labels_classifier
    none = classes.out_features - 1
    images = pictures(recipe, photographs)
    with torch.no_grad():
        torch.nn.init.normal_(network.query_position_embeddings.weight, std=QUERY_SPREAD)
        for layer in network.decoder.layers:
            layer.encoder_attn.q_proj.weight.mul_(LOOK)
        set_norms(module, lambda pixels: network(pixel_values=pixels), images)
        hidden = network(pixel_values=images).last_hidden_state
        _scale(boxes.layers[-1], boxes(hidden), BOX_SPREAD, torch.tensor(BOX_CENTRE))
        _scale(classes, classes(hidden), CLASS_SPREAD, torch.zeros(none + 1))
        classes.weight[none] = 0.0
        classes.bias[none] = _logit_of_none(classes(hidden)[..., :none].double())


def _scale(layer: Any, outputs: Any, spread: float, centre: Any) -> None:
    """Rescale a linear layer to mean `centre` and standard deviation `spread` of each output.

    `outputs` [..., count] are the layer's current outputs.
    """
    values = outputs.flatten(0, -2)
    factor = spread / values.std(0)
    layer.weight.mul_(factor[:, None])
    layer.bias.copy_((layer.bias - values.mean(0)) * factor + centre)


def _logit_of_none(logits: Any) -> float:
    """The logit of "no object" with a handful of queries scoring above a half.

    `logits` has the shape [photographs, queries, classes]. A query scores above a half if the best
    class outweighs all other classes and "no object" together: if the logit of "no object" is below
    the margin log(best - others). The result is the middle of the widest gap between two margins.
    Preferred are gaps with at least two photographs with objects, and another without.
    """
    best = logits.softmax(-1).amax(-1)
    margins = logits.logsumexp(-1) + (2 * best - 1).clamp(min=1e-12).log()
    ordered = margins.flatten().sort(descending=True).values
    gaps = []
    for count in range(HANDFUL[0], HANDFUL[1] + 1):
        level = float(ordered[count - 1] + ordered[count]) / 2
        filled = int((margins > level).any(-1).sum())
        gaps.append((2 <= filled < len(logits), float(ordered[count - 1] - ordered[count]), level))
    return max(gaps)[-1]
