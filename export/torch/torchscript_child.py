"""Open TorchScript or a program of torch.export, run it and write it as ONNX, as a script in a process of its own.

    python -I torchscript_child.py FILE

Each line on stdin is a JSON list [inputs, outputs, model]: paths of a .npy file to read (or null), of an .npz file to
write (arrays `0`, `1` … for the outputs), and of an .onnx file to write, traced with these inputs, or null. Each is
answered with a JSON line: null, or an error message. Imports nothing of ours, so that the foreign file shares nothing
with us.
"""

from __future__ import annotations

import io
import json
import os
import sys
import warnings
import zipfile
from typing import Any

import numpy as np
import torch

INPUT, OPSET = "input", 18


def main(file: str) -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the file or the exporter prints is no answer
    torch.set_num_threads(1)
    network: Any = None
    for line in sys.stdin:
        try:
            network = _opened(file) if network is None else network
            _answer(network, *json.loads(line))
            wrong = None
        except Exception as error:  # the parent makes one sentence of it
            lines = [text.strip() for text in str(error).splitlines() if text.strip()]
            wrong = f"{type(error).__name__}: {' '.join(lines[-1:] or ['no reason given'])[:300]}"
        print(json.dumps(wrong), file=answers, flush=True)


def _opened(file: str) -> Any:
    """The TorchScript module, or the program with its module."""
    with zipfile.ZipFile(file) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            return torch.jit.load(file, map_location="cpu").eval()  # type: ignore[no-untyped-call]
        pickled = {f"/{name}" for name in archive.namelist() if name.endswith(".pt")}
        for name in archive.namelist():
            if name.endswith("_config.json"):
                rows = json.loads(archive.read(name)).get("config", {}).values()
                pickled |= {f"/{row['path_name']}" for row in rows if row.get("use_pickle")}
        for name in archive.namelist():  # torch would open these with pickle, where this fails
            if any(f"/{name}".endswith(ending) for ending in pickled):
                torch.load(io.BytesIO(archive.read(name)), weights_only=True)
    return torch.export.load(file)


def _answer(network: Any, inputs: str | None, outputs: str, model: str | None) -> None:
    program = isinstance(network, torch.export.ExportedProgram)
    module = network.module() if program else network
    if program and model is not None:
        written = torch.onnx.export(network, dynamo=True, verbose=False, opset_version=OPSET)
        assert written is not None
        written.save(model)
        model = None
    if inputs is None:
        return
    batch = torch.from_numpy(np.load(inputs, allow_pickle=False))
    with torch.no_grad():
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
    answer = list(answer.values()) if isinstance(answer, dict) else answer
    parts = list(answer) if isinstance(answer, (tuple, list)) else [answer]
    tensors = [part for part in parts if isinstance(part, torch.Tensor)]
    if not parts or len(tensors) < len(parts):
        raise TypeError(f"the module answers with {type(answer).__name__}, not with tensors")
    return tensors


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the exporter warns of its own deprecated calls
    main(sys.argv[1])
