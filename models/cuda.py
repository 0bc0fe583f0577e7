"""What CUDA needs, told to ONNX Runtime and looked for on this machine. Opens no session; see models/session.py."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

DEVICES = Path("/dev")
# A Linux driver's own; a Windows driver as seen by Linux inside it; an embedded board.
NVIDIA_NODES = ("nvidiactl", "dxg", "nvhost-gpu")


class Gpu(NamedTuple):
    """How a session uses a GPU.

    Attributes:
        device: which one, counted from 0.
        memory_mb: the most that a session's arena may take (ONNX Runtime adds what cuDNN needs besides); None: all.
        graph: whether runs of a shape seen before are replayed as a captured CUDA graph.
    """

    device: int = 0
    memory_mb: int | None = None
    graph: bool = True

    def options(self) -> dict[str, str]:
        """The options of ONNX Runtime's CUDA provider, as its documentation names them."""
        options = {
            "device_id": str(self.device),
            # Grow by what is asked for: the default doubles, and workers share the card.
            "arena_extend_strategy": "kSameAsRequested",
            # The default tries out every algorithm whenever a batch has a new size: seconds, in the middle of work.
            "cudnn_conv_algo_search": "HEURISTIC",
            # 10 bits of mantissa would give other probabilities than the same file gives on a CPU.
            "use_tf32": "0",
            "enable_cuda_graph": "1" if self.graph else "0",
        }
        if self.memory_mb is not None:
            options["gpu_mem_limit"] = str(self.memory_mb << 20)
        return options


def has_driver(devices: Path = DEVICES) -> bool:
    """Whether an NVIDIA driver is loaded; always true beyond Linux, where that can't be seen in a file."""
    return not sys.platform.startswith("linux") or any((devices / node).exists() for node in NVIDIA_NODES)


def gpu_count(devices: Path = DEVICES, visible: str | None = None) -> int:
    """How many GPUs processes of ours may use, without asking CUDA.

    Args:
        visible: CUDA_VISIBLE_DEVICES; None reads the environment.
    """
    if not has_driver(devices):
        return 0
    if visible is None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    # A card has a node of its own under a Linux driver; elsewhere it can't be told how many there are.
    cards = sum(re.fullmatch(r"nvidia\d+", node.name) is not None for node in devices.glob("nvidia*"))
    if visible is None:
        return max(1, cards)
    named = _named(visible.split(","))
    return min(named, cards) if cards else named


def _named(devices: Iterable[str]) -> int:
    """CUDA counts up to the first name that is none."""
    count = 0
    for device in devices:
        if device.strip() in ("", "-1", "NoDevFiles"):
            break
        count += 1
    return count
