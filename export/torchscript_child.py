"""Run as a script in a process of its own: opens a TorchScript file, answers inputs with it, writes it as ONNX.

    python -I torchscript_child.py FILE INPUTS.npz OUTPUTS.npz [MODEL.onnx]

Inputs are arrays `0`, `1`, …; outputs are arrays `0.0`, `0.1`, … (input, output). With a fourth argument the module is
written as ONNX, traced with the input `0`. Imports nothing of ours: a foreign file shares nothing with us here.
"""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np
import torch

INPUT, OPSET = "input", 18


def main(file: str, inputs: str, outputs: str, onnx: str | None = None) -> None:
    """Prints the number of outputs as JSON."""
    torch.set_num_threads(1)
    module = torch.jit.load(file, map_location="cpu").eval()  # type: ignore[no-untyped-call]
    with np.load(inputs, allow_pickle=False) as given:
        batches = [torch.from_numpy(given[str(number)]) for number in range(len(given.files))]
    with torch.inference_mode():
        answers = [_listed(module(batch)) for batch in batches]
    found = {f"{b}.{n}": value.numpy() for b, answer in enumerate(answers) for n, value in enumerate(answer)}
    np.savez(outputs, **found)  # type: ignore[arg-type]
    if onnx is not None:
        names = [f"output_{number}" for number in range(len(answers[0]))]
        axes = {name: {0: "batch"} for name in (INPUT, *names)}
        torch.onnx.export(
            module, (batches[0],), onnx, input_names=[INPUT], output_names=names, dynamic_axes=axes,
            opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    print(json.dumps(len(answers[0])))


def _listed(answer: object) -> list[torch.Tensor]:
    parts = list(answer) if isinstance(answer, (tuple, list)) else [answer]
    tensors = [part for part in parts if isinstance(part, torch.Tensor)]
    if not parts or len(tensors) < len(parts):
        raise TypeError(f"the module answers with {type(answer).__name__}, not with tensors")
    return tensors


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the exporter warns of its own deprecated calls
    try:
        main(*sys.argv[1:])
    except Exception as error:  # the parent makes one sentence of it
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        sys.exit(f"{type(error).__name__}: {' '.join(lines[-1:] or ['no reason given'])[:300]}")
