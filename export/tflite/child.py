"""Open a .tflite file in LiteRT, run it and write it as ONNX, as a script in a process of its own.

    python -I child.py FILE

Each line on stdin is a JSON list [inputs, outputs, model]: paths of a .npy file to read (or null), of an .npz file to
write (arrays `0`, `1` … for the outputs), and of an .onnx file to write, or null. Each is answered with a JSON line:
null, or an error message. Imports nothing of ours.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

OPSET = 18


def main(file: str) -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the converter prints is no answer
    interpreter: Any = None
    for line in sys.stdin:
        try:
            inputs, outputs, model = json.loads(line)
            if model is not None:
                import tf2onnx.convert

                tf2onnx.convert.from_tflite(file, opset=OPSET, output_path=model)
            if inputs is not None:
                interpreter = _opened(file) if interpreter is None else interpreter
                _run(interpreter, inputs, outputs)
            wrong = None
        except Exception as error:  # the parent makes one sentence of it
            lines = [text.strip() for text in str(error).splitlines() if text.strip()]
            wrong = f"{type(error).__name__}: {' '.join(lines[-1:] or ['no reason given'])[:300]}"
        print(json.dumps(wrong), file=answers, flush=True)


def _opened(file: str) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=file, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _run(interpreter: Any, inputs: str, outputs: str) -> None:
    """Run one input after another: most files take one at a time."""
    import numpy as np

    details = interpreter.get_input_details()
    if len(details) != 1:
        names = ", ".join(f"'{each['name']}' {each['shape'].tolist()}" for each in details)
        raise ValueError(f"it has the inputs {names}, but only one can be fed")
    rows = []
    for row in np.load(inputs, allow_pickle=False):
        interpreter.set_tensor(details[0]["index"], row[None].astype(details[0]["dtype"]))
        interpreter.invoke()
        rows.append([interpreter.get_tensor(each["index"]).copy() for each in interpreter.get_output_details()])
    joined = [np.concatenate(parts) for parts in zip(*rows, strict=True)]
    np.savez(outputs, **{str(number): values for number, values in enumerate(joined)})  # type: ignore[arg-type]


if __name__ == "__main__":
    os.environ.update(CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3", OMP_NUM_THREADS="1")
    main(sys.argv[1])
