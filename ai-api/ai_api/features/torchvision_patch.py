"""Makes torchvision importable beside another build of torch than the one it was compiled for."""

from __future__ import annotations

import threading

OPERATORS = ("nms", "qnms")
_declaring = threading.Lock()
_kept: list[object] = []


def patch_torchvision() -> None:
    """Call it before transformers or timm is imported: both import torchvision where it is installed.

    Its compiled operators load beside one build of torch only. Beside another (often on a machine without a GPU: the
    public wheel is made for CUDA) its import fails over the names of two of them, which no model here calls. So the
    names are declared. Nothing happens where torchvision is whole, or missing.
    """
    try:
        import torch
    except ImportError:
        return
    with _declaring:
        try:
            import torchvision  # noqa: F401
        except RuntimeError:
            library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
            for operator in OPERATORS:
                schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                library.define(schema)  # type: ignore[no-untyped-call]
            _kept.append(library)  # an operator lives as long as its library
        except ImportError:
            pass
