"""Layers with weights that are reordered once for oneDNN, for calls with a single row.

Otherwise every call reorders them, which takes a third of the time of ResNet-18 for one image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def packed_linear(layer: nn.Linear, activation: str = "none") -> Callable[[Tensor], Tensor]:
    """A function that computes the layer (to 1e-6), then "gelu" (the exact one) if given. For inference on a CPU."""
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
    """Replaces the convolutions of a network on a CPU by ones with reordered weights, for inference only."""
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

        def forward(self, images: Tensor) -> Tensor:
            call = torch.ops.mkldnn._convolution_pointwise
            found: Tensor = call(images, self.weight, self.bias, *self.shape, "none", [], "")
            return found

    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is torch.nn.Conv2d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
                setattr(parent, name, Packed(layer))
