"""Makes torchvision importable with another build of torch than the one that it was compiled for."""

from __future__ import annotations

import threading

OPERATORS = ("nms", "qnms")
_declaring = threading.Lock()
_kept: list[object] = []


def patch_torchvision() -> None:
    """Call it before transformers or timm is imported: both import torchvision where it is installed.

    Its compiled operators load with one build of torch only. With another (often on a machine without a GPU: the
    public wheel is made for CUDA) its import fails because two operators are undeclared. No model here calls them, so
    their names are declared. Nothing happens where the import works, or where torchvision is not installed.
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
            _kept.append(library)  # the operators are removed with their library
        except ImportError:
            pass
