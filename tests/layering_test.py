"""Which folder may include what. Python 3 alone: python3 layering_test.py <repository>

    public headers -> nothing of quoin's but public headers, and the standard library
    src/cost       -> cost                       src/device -> device, cost
    kernels, quantize -> epilogue, the kernels' interface, quoin/tensor.h: nothing of planning
    src/linear/plan   -> the table of backends, cost, device: no kernel, no run
    src/linear        -> run.cpp and, for a GPU, gpu_cuda.cpp and gpu_device alone include plan/
    src               -> never cli, bench, tests, nor CLI11

Files that are compiled for one instruction set include no standard header whose inline functions
could be shared with the rest of the program. Runs its own test first: a tree with one violation per
rule, each of which must be found.
"""

import pathlib
import re
import sys
import tempfile

SOURCES = (".h", ".cpp", ".cu", ".cuh")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)

KERNEL = ("linear/epilogue.h", "quoin/tensor.h")
CPU = (*KERNEL, "linear/kernels/cpu/", "linear/quantize/quantize.h")

# The first row whose prefix fits a file says which quoted includes it may have.
QUOTED = [
    ("include/quoin/", ("quoin/",)),
    ("src/cost/", ("cost/",)),
    ("src/device/", ("device/", "cost/")),
    ("src/linear/kernels/cpu/", CPU),
    ("src/linear/kernels/cuda/", (*KERNEL, "linear/kernels/cuda/")),
    ("src/linear/quantize/cuda", (*KERNEL, "linear/quantize/", "linear/kernels/cuda/")),
    ("src/linear/quantize/",
     (*KERNEL, "linear/quantize/quantize.h", "linear/kernels/cpu/unroll.h")),
    ("src/linear/plan/cuda_", ("cost/", "linear/plan/cuda_", "linear/kernels/cuda/sm90a_config",
                               "linear/kernels/cuda/start.h")),
    ("src/linear/plan/", ("quoin/", "cost/", "device/", "linear/plan/", "linear/backends.h",
                          "linear/check.h", "linear/errors.h", "linear/layer.h", "linear/pack.h",
                          "linear/select.h")),
    ("src/linear/run.cpp", ("quoin/", "cost/", "device/", "linear/")),
    ("src/linear/oracle", ("quoin/tensor.h", "linear/oracle.h")),  # independent of all it judges
    ("src/linear/", ("quoin/", "device/", "linear/")),
    ("src/", ("quoin/", "cost/", "device/", "linear/", "architect/")),
    ("cli/", ("quoin/", "cost/", "device/", "linear/", "architect/", "bench/", "cli/")),
    ("examples/", ("quoin/",)),
    ("python/torch_ops.cpp", ("quoin/",)),
    ("python/", ("quoin/", "architect/", "cost/")),
]
# On top of these: (files, includes that they may not have, files that may all the same).
FORBIDDEN = [
    ("src/linear/", "linear/plan/",
     ("src/linear/run.cpp", "src/linear/gpu_cuda.cpp", "src/linear/gpu_device",
      "src/linear/plan/")),
    ("src/linear/", "linear/oracle.h", ("src/linear/oracle",)),
    ("src/linear/", "linear/kernels/cpu/avx", ("src/linear/kernels/cpu/",)),
]
# Libraries and where they may be used.
LIBRARIES = [
    ("CLI/", ("cli/", "bench/")),  # programs, never the library
    ("nlohmann/", ("cli/", "bench/", "src/architect/", "tests/")),
    ("gtest/", ("tests/",)),
    ("nanobind/", ("python/core.cpp",)),
    ("torch/", ("python/torch_ops.cpp",)),
    ("omp.h", ("src/linear/parallel.h", "src/device/limits.cpp", "bench/", "tests/")),
    ("immintrin.h", ("src/linear/kernels/cpu/", "src/linear/quantize/", "bench/")),
    ("iostream", ("cli/", "bench/", "examples/", "tests/")),  # the library never prints
    ("cstdio", ("cli/", "bench/", "examples/", "tests/", "src/architect/dump.cpp")),
]
ONE_ISA = re.compile(r"src/linear/(kernels/cpu/(avx\w*\.cpp|avx\w*\.h|vnni_tile\.h|unroll\.h)|"
                     r"quantize/avx\w*\.cpp)$")
ONE_ISA_STANDARD = {"cstdint", "cstring", "immintrin.h"}
UNROLL_STANDARD = {"type_traits", "utility"}


def starts(text, prefixes):
    return any(text.startswith(prefix) for prefix in prefixes)


def check_quoted(path, name):
    for prefix, allowed in QUOTED:
        if path.startswith(prefix):
            if not starts(name, allowed):
                yield f'{path} includes "{name}"; only {", ".join(allowed)} may be'
            break
    for prefix, forbidden, exempt in FORBIDDEN:
        if path.startswith(prefix) and name.startswith(forbidden) and not starts(path, exempt):
            yield f"{path} includes \"{name}\", which is not for {prefix}"


def check_angled(path, name):
    for library, users in LIBRARIES:
        if name.startswith(library) and not starts(path, users):
            yield f"{path} includes <{name}>, which is for {', '.join(users)} alone"
    if path.startswith("include/quoin/") and not re.fullmatch(r"[a-z_]+", name):
        yield f"{path} includes <{name}>: public headers take the standard library alone"
    if ONE_ISA.fullmatch(path):
        allowed = ONE_ISA_STANDARD | (UNROLL_STANDARD if path.endswith("unroll.h") else set())
        if name not in allowed:
            yield (f"{path} is compiled for one instruction set and includes <{name}>, whose "
                   "inline functions other files may share")


def check(root):
    """Every violation in the tree under `root`, as a line of text."""
    found = []
    for folder in ("include", "src", "cli", "bench", "examples", "tests"):
        for file in sorted((root / folder).rglob("*")):
            path = file.relative_to(root).as_posix()
            if file.suffix not in SOURCES or path.startswith("bench/cuda/"):  # peers' headers
                continue
            text = file.read_text(encoding="utf-8")
            if file.suffix in (".h", ".cuh") and "#pragma once" not in text:
                found.append(f"{path} has no #pragma once")
            for kind, name in INCLUDE.findall(text):
                if kind == "<":
                    found += check_angled(path, name)
                    continue
                found += check_quoted(path, name)
                places = (root / "src", root / "include", root, file.parent)
                if not any((place / name).is_file() for place in places):
                    found.append(f"{path} includes \"{name}\", which does not exist")
    return found


PLANTED = [
    ("include/quoin/a.h", '#include "linear/pack.h"'),
    ("include/quoin/a.h", "#include <fmt/format.h>"),
    ("src/cost/a.cpp", '#include "device/cpu.h"'),
    ("src/device/a.cpp", '#include "linear/pack.h"'),
    ("src/linear/kernels/cpu/a.cpp", '#include "linear/plan/split.h"'),
    ("src/linear/kernels/cpu/a.cpp", '#include "linear/backends.h"'),
    ("src/linear/kernels/cuda/a.cu", '#include "linear/plan/split.h"'),
    ("src/linear/quantize/a.cpp", '#include "linear/pack.h"'),
    ("src/linear/plan/a.cpp", '#include "linear/kernels/cpu/kernels.h"'),
    ("src/linear/plan/a.cpp", '#include "linear/quantize/quantize.h"'),
    ("src/linear/pack.cpp", '#include "linear/plan/split.h"'),
    ("src/linear/run.cpp", '#include "linear/oracle.h"'),
    ("src/linear/oracle.cpp", '#include "linear/epilogue.h"'),
    ("src/linear/run.cpp", '#include "cli/command.h"'),
    ("src/linear/run.cpp", "#include <CLI/CLI.hpp>"),
    ("src/linear/run.cpp", "#include <iostream>"),
    ("src/linear/run.cpp", "#include <omp.h>"),
    ("bench/a.cpp", "#include <gtest/gtest.h>"),
    ("examples/a.cpp", '#include "linear/pack.h"'),
    ("src/linear/kernels/cpu/avx9.cpp", "#include <algorithm>"),
    ("src/linear/kernels/cpu/avx9.cpp", "#include <utility>"),
    ("src/linear/quantize/avx9.cpp", "#include <cmath>"),
    ("src/linear/pack.cpp", '#include "linear/pakc.h"'),
    ("src/linear/pack.h", ""),
]
ALLOWED = {
    "include/quoin/tensor.h": "#pragma once\n#include <array>\n",
    "src/device/cpu.h": "#pragma once\n",
    "src/cost/units.h": "#pragma once\n",
    "src/linear/epilogue.h": "#pragma once\n",
    "src/linear/oracle.h": "#pragma once\n",
    "src/linear/pack.h": '#pragma once\n#include "quoin/tensor.h"\n',
    "src/linear/backends.h": '#pragma once\n#include "device/cpu.h"\n',
    "src/linear/quantize/quantize.h": "#pragma once\n",
    "src/linear/plan/split.h": '#pragma once\n#include "linear/backends.h"\n',
    "src/linear/run.cpp": '#include "linear/plan/split.h"\n',
    "src/linear/kernels/cpu/kernels.h": '#pragma once\n#include "quoin/tensor.h"\n',
    "src/linear/kernels/cpu/unroll.h": "#pragma once\n#include <utility>\n",
    "src/linear/kernels/cpu/avx9.cpp": '#include <immintrin.h>\n#include "linear/epilogue.h"\n',
    "cli/command.h": "#pragma once\n#include <CLI/CLI.hpp>\n",
}


def write_tree(root, files):
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def self_test():
    """Plants one violation at a time in a small correct tree; returns what went unseen."""
    unseen = []
    for path, line in [("", ""), *PLANTED]:
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            write_tree(root, {**ALLOWED, path: line + "\n"} if path else ALLOWED)
            found = [message for message in check(root)
                     if not message.endswith("pragma once") or line == ""]
            if path and not any(message.startswith(path) for message in found):
                unseen.append(f"self-test: {line or 'a missing pragma'} in {path} went unseen")
            if not path and found:
                unseen.append(f"self-test: the correct tree is refused: {found}")
    return unseen


def main():
    if len(sys.argv) != 2 or not (pathlib.Path(sys.argv[1]) / "src").is_dir():
        print("usage: layering_test.py <repository>", file=sys.stderr)
        return 2
    problems = self_test() + check(pathlib.Path(sys.argv[1]))
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems; {len(PLANTED)} planted ones looked for")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
