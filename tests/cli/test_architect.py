"""`quoin architect`: the answer's form, where it goes, and what bad input does."""

import json
import os
import pathlib
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/architect/int8_layer.md"
KEYS = [
    "worth_optimizing",
    "reason",
    "bottleneck",
    "optimisation method",
    "modification plan",
    "expected_speedup",
]


def quoin(*args, stdin=b""):
    return subprocess.run(
        [os.environ["QUOIN_BINARY"], "architect", *map(str, args)],
        input=stdin,
        capture_output=True,
        timeout=20,
    )


@pytest.fixture(scope="module", autouse=True)
def built_with_it():
    if quoin("--help").returncode != 0:
        pytest.skip("built without the architect")


def test_answer_is_json_alone():
    done = quoin(EXAMPLE)
    assert done.returncode == 0 and done.stderr == b""
    answer = json.loads(done.stdout)
    assert list(answer) == KEYS and all(isinstance(value, str) for value in answer.values())
    assert answer["worth_optimizing"] == "yes"
    assert "[N, K]" in answer["optimisation method"] and "int8" in answer["optimisation method"]


def test_standard_input_and_text():
    text = EXAMPLE.read_bytes()
    assert quoin("-", stdin=text).stdout == quoin(stdin=text).stdout == quoin(EXAMPLE).stdout
    assert quoin("--format", "text", EXAMPLE).stdout.startswith(b"Worth optimizing (")


def test_explain_goes_to_standard_error():
    done = quoin("--explain", EXAMPLE)
    json.loads(done.stdout)
    for word in (
        b"w8a8_kernel",
        b"grid 4 x 64",
        b"limit of this work",
        b"widened-int8",
        b"chosen",
        b"int8 alone",
        b"not understood",
    ):
        assert word in done.stderr, word


def test_model_out(tmp_path):
    out = tmp_path / "model.json"
    assert quoin("--model-out", out, EXAMPLE).returncode == 0
    model = json.loads(out.read_text())
    for key in (
        "device",
        "modelled_current_ms",
        "modelled_reference_ms",
        "modelled_limit_ms",
        "launches",
        "rules",
        "chosen",
        "not_understood",
    ):
        assert key in model, key
    assert model["chosen"] == "widened-int8" and model["device"] == "h100-sxm"
    for key in ("name", "line", "count", "grid", "flops", "dram_bytes", "ms"):
        assert key in model["launches"][0], key
    assert all(
        {"id", "category", "modelled_ms", "refused_because"} <= set(rule) for rule in model["rules"]
    )


def test_parts_as_files(tmp_path):
    blocks = EXAMPLE.read_text().split("```python\n")
    (tmp_path / "reference.py").write_text(blocks[1].split("```")[0])
    (tmp_path / "kernel.py").write_text(blocks[2].split("```")[0])
    done = quoin("--reference", tmp_path / "reference.py", "--kernel", tmp_path / "kernel.py")
    whole, parts = json.loads(quoin(EXAMPLE).stdout), json.loads(done.stdout)
    assert parts["expected_speedup"] == whole["expected_speedup"]


@pytest.mark.parametrize("device", ["a100-sxm-80", "h200", "l4", "rtx-4090", "b200", "mi300x"])
def test_every_device_answers(device):
    assert list(json.loads(quoin("--device", device, EXAMPLE).stdout)) == KEYS


BAD = {
    "empty": b"",
    "binary": bytes(range(256)) * 1000,
    "no kernel": b"# PyTorch Reference\n```python\nclass Model: pass\n```\n",
    "prose": b"Please make my kernel faster.\n",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(name):
    done = quoin(stdin=BAD[name])
    assert done.returncode == 2 and done.stdout == b"" and done.stderr.startswith(b"quoin: ")


@pytest.mark.parametrize(
    "args",
    [
        ["/nowhere/at/all.md"],
        ["--device", "abacus", EXAMPLE],
        ["--kernel", "/nowhere.py"],
        ["--reference", EXAMPLE],
        [EXAMPLE, "--kernel", EXAMPLE],
        [ROOT],
    ],
)
def test_bad_usage(args):
    done = quoin(*args)
    assert done.returncode == 2 and done.stdout == b""


HUGE = {
    "ten megabytes": b"# Current Triton Kernel\n```python\n" + b"x = 1\n" * 1_700_000 + b"```\n",
    "brackets": b"# Current Triton Kernel\n```python\nclass ModelNew:\n    def forward(self, x):\n        return "
    + b"(" * 100_000
    + b"\n```\n",
    "endless": b"# Current Triton Kernel\n```python\nclass ModelNew:\n    def forward(self, x):\n        while True:\n            x = x + 1\n        return x\n```\n",
}


@pytest.mark.parametrize("name", HUGE)
def test_two_seconds_at_most(name):
    start = time.monotonic()
    done = quoin(stdin=HUGE[name])
    assert time.monotonic() - start < 2
    assert (done.returncode == 2 and done.stdout == b"") or (
        done.returncode == 0 and list(json.loads(done.stdout)) == KEYS
    )


def test_memory_stays_small():
    binary = os.environ["QUOIN_BINARY"]
    if b"__asan_init" in pathlib.Path(binary).read_bytes():
        pytest.skip("a sanitizer's own memory")
    documents = sorted((ROOT / "tests/architect").glob("*/*.md"))
    huge = "\n".join("a = [1, 2, 3, (4, 5)]" for _ in range(11_000))
    largest = EXAMPLE.read_text().replace("import torch\n", f"import torch\n{huge}\n", 1)
    peaks = {}
    for name, text in [(d.name, d.read_text()) for d in documents] + [("largest", largest)]:
        process = subprocess.Popen([binary, "architect"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        process.stdin.write(text.encode())
        process.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        peaks[name] = usage.ru_maxrss / 1024
    name = max(peaks, key=peaks.get)
    print(f"{len(peaks)} documents, at most {peaks[name]:.0f} MB ({name})")
    assert peaks[name] < 100, name
