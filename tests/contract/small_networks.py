"""Networks of `benchmarks/large.py` with few layers or few pixels: what those are made of, in
seconds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks import detection, large, segmentation, text
from evenbench.harness import BATCH, Model, TensorSpec, seeded

SIDE, WIDTH = 64, 64
EFFICIENTDET_SIDE = 128


def vision_transformer() -> Any:
    """ViT with 2 layers of 64 numbers on 16 patches, the last layer drawn as the others are, as in
    `large.vit_b_16`.
    """
    import torch
    from torchvision.models import VisionTransformer

    made = VisionTransformer(
        image_size=SIDE,
        patch_size=16,
        num_layers=2,
        num_heads=4,
        hidden_dim=WIDTH,
        mlp_dim=2 * WIDTH,
    )
    torch.nn.init.normal_(made.heads.head.weight, std=0.02)
    return made


def bert() -> Any:
    """BERT with 2 layers of 64 numbers, pooled as `text.bert_base` is."""
    import transformers

    shape = {
        "num_hidden_layers": 2,
        "hidden_size": WIDTH,
        "num_attention_heads": 4,
        "intermediate_size": 2 * WIDTH,
    }
    return text.pooled(
        transformers.BertModel(transformers.BertConfig(**shape), add_pooling_layer=False)
    )


def efficientdet() -> Any:
    """EfficientDet-D0's heads, all of its layers, on small images."""
    return large.efficientdet_heads(EFFICIENTDET_SIDE)


VIT = Model(
    name="vit_of_two_layers",
    build=vision_transformer,
    inputs=(TensorSpec("image", (BATCH, 3, SIDE, SIDE)),),
    outputs=large.VIT.outputs,
    recipe=large.square(SIDE, large.NORMALISED),
    images=large.VIT.images,
    weights=seeded(0),
)

BERT = replace(
    text.MINILM[16],
    name="bert_of_two_layers",
    build=bert,
    outputs=(TensorSpec("sentence_embedding", (BATCH, WIDTH)),),
    weights=seeded(0),
)

DEEPLABV3_RESNET50 = segmentation.segmenter(
    segmentation.deeplabv3_resnet50,
    SIDE,
    large.square(SIDE, large.NORMALISED),
    "deeplabv3_resnet50_64",
)

EFFICIENTDET = large.efficientdet(efficientdet, EFFICIENTDET_SIDE, "efficientdet_d0_heads_128")

NETWORKS = (VIT, BERT, DEEPLABV3_RESNET50, detection.SSDLITE_HEADS, EFFICIENTDET)
