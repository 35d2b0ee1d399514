"""Drawn weights made to behave on photographs: statistics of batch norms, and queries of DETR that
find a handful of objects.

A network as it is drawn finds nothing, or the same everywhere; without real weights there would be
nothing to compare.
"""

from typing import Any

from harness import Photograph, Recipe, preprocess
from harness.photographs import locate

QUERY_SPREAD = 3.0
"""The standard deviation of what tells queries apart, which transformers draws with 0.02 and DETR's
authors with 1.
"""

LOOK = 10.0
"""What the decoder's weights that ask for a place are multiplied by: as drawn, every query looks
everywhere alike.
"""

BOX_SPREAD, BOX_CENTRE = 1.0, (0.0, 0.0, -1.5, -1.5)
"""The boxes' logits over all queries and photographs, x, y, width and height: most boxes measure a
tenth to a third of the image.
"""

CLASS_SPREAD = 4.0
"""The same of the logits of each class: of 91 the best one then stands out in about half of the
queries.
"""

HANDFUL = (8, 24)
"""How many objects there are to be in all photographs together: at least and at most."""


def pictures(recipe: Recipe, photographs: tuple[Photograph, ...]) -> Any:
    """The photographs as the recipe makes them, as one tensor [photographs, 3, height, width]."""
    import numpy as np
    import torch

    return torch.from_numpy(
        np.stack([preprocess.apply(recipe, locate(photograph)) for photograph in photographs])
    )


def set_norms(module: Any, network: Any, images: Any) -> None:
    """Set the statistics of the module's batch norms to those of one pass of all `images` through
    `network`, which is part of it.
    """
    import torch

    norms = [child for child in module.modules() if isinstance(child, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain average, of one pass
        norm.reset_running_stats()
        norm.train()
    with torch.no_grad():
        network(images)
    module.eval()


def with_objects(module: Any, recipe: Recipe, photographs: tuple[Photograph, ...]) -> None:
    """Shape drawn weights so that queries differ, a handful of them has an object, and no score
    lies on the threshold.

    As transformers draws them, all queries have one box, one class and one score. So queries are
    drawn wider and look at few places each; the heads are scaled by what the photographs make of
    them; and the logit of none is put where it parts a handful of queries from the others by the
    widest margin.
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


def _scale(layer: Any, made: Any, spread: float, centre: Any) -> None:
    """Change the linear `layer`, which made `made` [..., outputs], so that each output has this
    mean and standard deviation in it.
    """
    values = made.flatten(0, -2)
    factor = spread / values.std(0)
    layer.weight.mul_(factor[:, None])
    layer.bias.copy_((layer.bias - values.mean(0)) * factor + centre)


def _logit_of_none(logits: Any) -> float:
    """The logit of none by which a handful of queries, of `logits` [photographs, queries, classes],
    scores above a half.

    A query does where its best class outweighs all others and none together: where none's logit is
    below log(best - others). Chosen is the middle of the widest gap between two such margins, among
    those that leave a photograph without any object while two have some.
    """
    best = logits.softmax(-1).amax(-1)
    margins = logits.logsumexp(-1) + (2 * best - 1).clamp(min=1e-12).log()
    ordered = margins.flatten().sort(descending=True).values
    found = []
    for many in range(HANDFUL[0], HANDFUL[1] + 1):
        level = float(ordered[many - 1] + ordered[many]) / 2
        filled = int((margins > level).any(-1).sum())
        found.append((2 <= filled < len(logits), float(ordered[many - 1] - ordered[many]), level))
    return max(found)[-1]
