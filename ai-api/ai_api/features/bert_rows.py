"""BERT (Devlin et al., NAACL 2019) over single rows, layer by layer; faster there than transformers' BertModel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .onednn import packed_linear

if TYPE_CHECKING:
    from torch import Tensor


def is_plain_bert(model: Any) -> bool:
    """Whether BertRows computes what the model does: an encoder with absolute positions and the exact GELU."""
    config = model.config
    return (
        type(model).__name__ == "BertModel"
        and config.hidden_act == "gelu"
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
        and not config.is_decoder
    )


class BertRows:
    """The layers of a BertModel on a processor, each row by itself: no row is padded, no sum depends on another row."""

    def __init__(self, model: Any) -> None:
        self._embeddings = model.embeddings
        self._layers = [_Layer(layer, model.config.num_attention_heads) for layer in model.encoder.layer]

    def __call__(self, rows: Sequence[Tensor]) -> list[Tensor]:
        """The last layer of each row, (1, tokens, width), from its ids, (1, tokens).

        All rows go through a layer before the next one: its weights are then read from memory once, not once a row.
        """
        hidden: list[Tensor] = [self._embeddings(input_ids=ids) for ids in rows]
        for layer in self._layers:
            hidden = [layer(row) for row in hidden]
        return hidden


class _Layer:
    def __init__(self, layer: Any, heads: int) -> None:
        attention = layer.attention
        self._heads = heads
        parts = (attention.self.query, attention.self.key, attention.self.value)
        self._parts = [packed_linear(part) for part in parts]
        self._attended = packed_linear(attention.output.dense)
        self._norm_attended = attention.output.LayerNorm
        self._widened = packed_linear(layer.intermediate.dense, "gelu")
        self._narrowed = packed_linear(layer.output.dense)
        self._norm = layer.output.LayerNorm

    def __call__(self, row: Tensor) -> Tensor:
        row = self._norm_attended(self._attended(self._mixed(row)).add_(row))
        after: Tensor = self._norm(self._narrowed(self._widened(row)).add_(row))
        return after

    def _mixed(self, row: Tensor) -> Tensor:
        """Self-attention, without a mask since nothing is padded."""
        from torch.nn.functional import scaled_dot_product_attention

        shape = (1, row.shape[1], self._heads, -1)
        query, key, value = (part(row).view(shape).transpose(1, 2) for part in self._parts)
        return scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
