"""Layers whose weights are laid out once for oneDNN, for calls with a single row.

Every other call lays them out anew, which takes a third of the time of one picture through ResNet-18.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def packed_linear(layer: nn.Linear, activation: str = "none") -> Callable[[Tensor], Tensor]:
    """What the layer computes, to 1e-6, with "gelu" (the exact one) after it if asked. For inference on a processor."""
    import torch

    operations = torch.ops.mkldnn
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return torch.nn.Sequential(layer, torch.nn.GELU()) if activation == "gelu" else layer
    weight, bias = operations._reorder_linear_weight(layer.weight.detach(), None), layer.bias.detach()

    def call(inputs: Tensor) -> Tensor:
        found: Tensor = operations._linear_pointwise(inputs, weight, bias, activation, [], "none")
        return found

    return call


def pack_convolutions(network: nn.Module) -> None:
    """Lays out the weights of the convolutions in a network on a processor, which from then on only infers."""
    import torch

    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return

    class Packed(torch.nn.Module):
        def __init__(self, layer: nn.Conv2d) -> None:
            super().__init__()
            shape = (layer.padding, layer.stride, layer.dilation, layer.groups)
            weight = layer.weight.detach().to_mkldnn()
            self.weight = torch._C._nn.mkldnn_reorder_conv2d_weight(weight, *shape)  # type: ignore[arg-type]
            self.bias = None if layer.bias is None else layer.bias.detach()
            self.shape = [list(part) if isinstance(part, tuple) else part for part in shape]

        def forward(self, pictures: Tensor) -> Tensor:
            call = torch.ops.mkldnn._convolution_pointwise
            found: Tensor = call(pictures, self.weight, self.bias, *self.shape, "none", [], "")
            return found

    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is torch.nn.Conv2d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
                setattr(parent, name, Packed(layer))
