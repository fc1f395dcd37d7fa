#!/usr/bin/env python3
"""Times every document of this folder on the GPU at hand; prints the lines of h200.json."""
import importlib.util
import json
import pathlib
import re
import sys
import tempfile
import time

import torch

HERE = pathlib.Path(__file__).resolve().parent
torch.set_default_device("cuda")
FLUSH = torch.empty(1 << 28, dtype=torch.uint8)


def load(name, text, folder):
    path = pathlib.Path(folder) / f"{name}.py"
    path.write_text(text)  # Triton reads kernels from their file
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def milliseconds(call):
    call(), call()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    times, began = [], time.monotonic()
    while len(times) < 25 and (len(times) < 5 or time.monotonic() - began < 0.6):
        FLUSH.zero_()
        torch.cuda.synchronize()
        start.record(), call(), end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return sorted(times)[len(times) // 2]


def measure(document, folder):
    reference, kernel = re.findall(r"```python\n(.*?)```", document.read_text(), re.S)
    name = document.stem.replace("-", "_")
    modules = [load(f"{name}_reference", reference, folder), load(f"{name}_kernel", kernel, folder)]
    inputs, init = modules[0].get_inputs(), modules[0].get_init_inputs()
    models = []
    for module, kind in zip(modules, ("Model", "ModelNew")):
        torch.manual_seed(0)
        models.append(getattr(module, kind)(*init).cuda().eval())
    shapes = [model(*inputs).shape for model in models]
    assert shapes[0] == shapes[1], shapes
    reference_ms, current_ms = (round(milliseconds(lambda: m(*inputs)), 4) for m in models)
    return {"name": document.stem, "current_ms": current_ms, "reference_ms": reference_ms}


def main():
    known = {row["name"]: row for row in json.loads((HERE / "h200.json").read_text())}
    rows = []
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        for document in sorted(HERE.glob("*.md")):
            if document.stem in known:
                rows.append(known[document.stem] | measure(document, folder))
    print("[\n" + ",\n".join(" " + json.dumps(row) for row in rows) + "\n]")


if __name__ == "__main__":
    main()
