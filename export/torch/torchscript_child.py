"""Open a TorchScript file, run it on inputs and write it as ONNX, as a script in a process of its own.

    python -I torchscript_child.py FILE

Each line on stdin is a JSON list [inputs, outputs, model]: paths of a .npy file to read, of an .npz file to write
(arrays `0`, `1` … for the outputs), and of an .onnx file to write, traced with these inputs, or null. Each is answered
with a JSON line: null, or an error message. Imports nothing of ours, so the foreign file shares nothing with us.
"""

from __future__ import annotations

import json
import os
import sys
import warnings

import numpy as np
import torch

INPUT, OPSET = "input", 18


def main(file: str) -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the file or the exporter prints is no answer
    torch.set_num_threads(1)
    module: torch.nn.Module | None = None
    for line in sys.stdin:
        try:
            if module is None:
                module = torch.jit.load(file, map_location="cpu").eval()  # type: ignore[no-untyped-call]
            _answer(module, *json.loads(line))
            wrong = None
        except Exception as error:  # the parent makes one sentence of it
            lines = [text.strip() for text in str(error).splitlines() if text.strip()]
            wrong = f"{type(error).__name__}: {' '.join(lines[-1:] or ['no reason given'])[:300]}"
        print(json.dumps(wrong), file=answers, flush=True)


def _answer(module: torch.nn.Module, inputs: str, outputs: str, model: str | None) -> None:
    batch = torch.from_numpy(np.load(inputs, allow_pickle=False))
    with torch.inference_mode():
        found = _listed(module(batch))
    np.savez(outputs, **{str(n): tensor.numpy() for n, tensor in enumerate(found)})  # type: ignore[arg-type]
    if model is not None:
        names = [f"output_{number}" for number in range(len(found))]
        axes = {name: {0: "batch"} for name in (INPUT, *names)}
        torch.onnx.export(
            module, (batch,), model, input_names=[INPUT], output_names=names, dynamic_axes=axes, opset_version=OPSET,
            dynamo=False,
        )  # fmt: skip


def _listed(answer: object) -> list[torch.Tensor]:
    parts = list(answer) if isinstance(answer, (tuple, list)) else [answer]
    tensors = [part for part in parts if isinstance(part, torch.Tensor)]
    if not parts or len(tensors) < len(parts):
        raise TypeError(f"the module answers with {type(answer).__name__}, not with tensors")
    return tensors


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the exporter warns of its own deprecated calls
    main(sys.argv[1])
