"""`quoin matmul` and `quoin quantize` against the contract in NumPy, and how they fail."""

import io
import os
import resource

import numpy as np
import pytest

import contract

SEED = 20240501
M, N, K = 19, 37, 83


class Problem:
    """Operands on disk and in memory. Rows of scales span many binades, so results do too."""

    def __init__(self, directory, m=M, n=N, k=K, seed=SEED):
        random = np.random.default_rng(seed)
        self.x = random.integers(-128, 128, (m, k), dtype=np.int8)
        self.w = random.integers(-128, 128, (n, k), dtype=np.int8)
        self.sx = (random.random(m) * 10.0 ** random.integers(-3, 4, m)).astype(np.float32)
        self.sw = random.random(n).astype(np.float32)
        self.b = random.standard_normal(n).astype(np.float16)
        self.x_float = (random.standard_normal((m, k)) * 3).astype(np.float32)
        if m:
            self.x[0] = -128
        if n:
            self.w[0] = -128
        for name, value in vars(self).copy().items():
            np.save(directory / f"{name}.npy", value)
        self.directory = directory

    def y(self):
        return np.load(self.directory / "y.npy")


@pytest.fixture
def problem(tmp_path):
    return Problem(tmp_path)


CODES = ["matmul", "--x", "x.npy", "--scale-x", "sx.npy", "--weight", "w.npy", "--scale-w",
         "sw.npy", "--out", "y.npy"]
DYNAMIC = ["matmul", "--x", "x_float.npy", "--weight", "w.npy", "--scale-w", "sw.npy", "--out",
           "y.npy"]


@pytest.mark.parametrize("out_type", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("bias", [None, "float16", "float32", "bfloat16"])
def test_matmul_gives_the_contracts_bits(quoin, problem, out_type, bias):
    arguments, values = [], None
    if bias == "bfloat16":
        bits = contract.to_bfloat16(problem.b.astype(np.float32))
        np.save(problem.directory / "b.npy", bits)
        values, arguments = contract.from_bfloat16(bits), ["--bias-type", "bfloat16"]
    elif bias:
        values = (problem.b.astype(np.float32) * np.float32(1.1)).astype(bias)
        np.save(problem.directory / "b.npy", values)
    if bias:
        arguments += ["--bias", "b.npy"]
    assert quoin.succeeds(*CODES, "--out-type", out_type, *arguments) == ""
    want = contract.linear(problem.x, problem.sx, problem.w, problem.sw, values, out_type)
    assert contract.same_bits(problem.y(), want)


def test_float16_is_the_default(quoin, problem):
    quoin.succeeds(*CODES)
    assert problem.y().dtype == np.float16


def test_matmul_int32_is_the_raw_sum(quoin, problem):
    quoin.succeeds("matmul", "--x", "x.npy", "--weight", "w.npy", "--out-type", "int32", "--out",
                   "y.npy")
    assert contract.same_bits(problem.y(), contract.accumulate(problem.x, problem.w))


@pytest.mark.parametrize("factor", ["both-absmax", "one-absmax", "true-scales", "0.0123", "-1e-3"])
def test_dequant_factor(quoin, problem, factor):
    quoin.succeeds(*CODES, "--dequant-factor", factor, "--out-type", "float32")
    number = factor if factor in contract.FACTORS else np.float32(factor)
    want = contract.linear(problem.x, problem.sx, problem.w, problem.sw, None, "float32", number)
    assert contract.same_bits(problem.y(), want)


@pytest.mark.parametrize("x_type", ["float32", "float16", "bfloat16"])
def test_a_float_x_is_quantised_on_the_way(quoin, problem, x_type):
    arguments = []
    if x_type == "bfloat16":
        bits = contract.to_bfloat16(problem.x_float)
        np.save(problem.directory / "x_float.npy", bits)
        values, arguments = contract.from_bfloat16(bits), ["--x-type", "bfloat16"]
    else:
        values = problem.x_float.astype(x_type)
        np.save(problem.directory / "x_float.npy", values)
    codes, scales = contract.quantize(values.astype(np.float32))
    quoin.succeeds(*DYNAMIC, "--bias", "b.npy", *arguments)
    want = contract.linear(codes, scales, problem.w, problem.sw, problem.b)
    assert contract.same_bits(problem.y(), want)

    quoin.succeeds("quantize", "--x", "x_float.npy", *arguments, "--out", "q.npy", "--out-scale",
                   "s.npy")
    assert contract.same_bits(np.load(problem.directory / "q.npy"), codes)
    assert contract.same_bits(np.load(problem.directory / "s.npy"), scales)


def test_quantize_rows_of_zeros_nan_and_infinity(quoin, problem):
    x = problem.x_float
    x[1], x[2, 5], x[3, 0], x[4, -1] = 0, np.nan, np.inf, -np.inf
    np.save(problem.directory / "x_float.npy", x)
    quoin.succeeds("quantize", "--x", "x_float.npy", "--out", "q.npy", "--out-scale", "s.npy")
    codes, scales = contract.quantize(x)
    assert contract.same_bits(np.load(problem.directory / "q.npy"), codes)
    got = np.load(problem.directory / "s.npy")
    assert np.isnan(got[2:5]).all() and got[1] == 0
    np.testing.assert_array_equal(got, scales)

    quoin.succeeds(*DYNAMIC)
    assert np.isnan(problem.y()[2:5]).all()
    assert contract.same_bits(problem.y(), contract.linear(codes, scales, problem.w, problem.sw))


def test_overflow_and_nan_are_stored_as_the_contract_says(quoin, problem):
    problem.sx[:3] = [1e30, np.inf, np.nan]
    np.save(problem.directory / "sx.npy", problem.sx)
    for out_type in ["float16", "bfloat16", "float32"]:
        quoin.succeeds(*CODES, "--out-type", out_type)
        want = contract.linear(problem.x, problem.sx, problem.w, problem.sw, None, out_type)
        assert contract.same_bits(problem.y(), want)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_any_number_of_threads_gives_the_same_bits(quoin, problem, threads):
    quoin.succeeds(*CODES, "--threads", threads)
    want = contract.linear(problem.x, problem.sx, problem.w, problem.sw)
    assert contract.same_bits(problem.y(), want)


def test_every_backend_gives_the_same_bits_or_is_not_available(quoin, problem):
    want = contract.linear(problem.x, problem.sx, problem.w, problem.sw, problem.b)
    for name in enumerated_backends(quoin):
        for arguments, env in [(["--backend", name], {}), ([], {"QUOIN_BACKEND": name})]:
            done = quoin(*CODES, "--bias", "b.npy", *arguments, env=env)
            assert done.returncode in (0, 3), done.stderr
            if done.returncode == 3:
                assert done.stderr.startswith("quoin: ") and name in done.stderr
                continue
            assert contract.same_bits(problem.y(), want)
            (problem.directory / "y.npy").unlink()


def enumerated_backends(quoin):
    script = quoin.succeeds("completion", "bash")
    line = next(line for line in script.splitlines() if '"matmul --backend"' in line)
    names = line.split('choices="')[1].split('"')[0].split()
    assert "portable" in names
    return names


def test_columns_serve_as_vectors(quoin, problem):
    for name in ["sx", "sw", "b"]:
        np.save(problem.directory / f"{name}.npy", getattr(problem, name)[:, None])
    quoin.succeeds(*CODES, "--bias", "b.npy")
    want = contract.linear(problem.x, problem.sx, problem.w, problem.sw, problem.b)
    assert contract.same_bits(problem.y(), want)


@pytest.mark.parametrize("m, n, k", [(0, 5, 7), (5, 0, 7), (5, 7, 0), (0, 0, 0), (1, 1, 1)])
def test_empty_sizes(quoin, tmp_path, m, n, k):
    problem = Problem(tmp_path, m, n, k)
    quoin.succeeds(*CODES, "--bias", "b.npy")
    want = contract.linear(problem.x, problem.sx, problem.w, problem.sw, problem.b)
    assert contract.same_bits(problem.y(), want)


def test_files_are_those_that_numpy_writes(quoin, problem):
    quoin.succeeds(*CODES)
    expected = io.BytesIO()
    np.save(expected, contract.linear(problem.x, problem.sx, problem.w, problem.sw))
    assert (problem.directory / "y.npy").read_bytes() == expected.getvalue()


# Failures: exit code 2, a message on stderr, nothing on stdout, no file made or changed.


def save_raw(path, header, data=b""):
    text = header.encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data)


BAD_FILES = {
    "absent": (lambda p: p.unlink(), "No such file"),
    "directory": (lambda p: (p.unlink(), p.mkdir()), "is a directory"),
    "empty": (lambda p: p.write_bytes(b""), "is empty"),
    "text": (lambda p: p.write_text("1 2 3\n"), "is no .npy file"),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:-1]), "is truncated"),
    "cut header": (lambda p: p.write_bytes(p.read_bytes()[:50]), "is truncated"),
    "trailing": (lambda p: p.write_bytes(p.read_bytes() + b"\0"), "1 bytes after"),
    "float64": (lambda p: np.save(p, np.load(p).astype(np.float64)),
                "<f8, but must be int8, float16 or float32 here: "
                "convert with x.astype(numpy.float32)"),
    "int64": (lambda p: np.save(p, np.load(p).astype(np.int64)), "x.astype(numpy.int8)"),
    "big-endian": (lambda p: np.save(p, np.load(p).astype(">f4")), "big-endian: x.astype('<f4')"),
    "uint16": (lambda p: np.save(p, np.load(p).astype(np.uint16)), "only where an option says so"),
    "Fortran": (lambda p: np.save(p, np.asfortranarray(np.load(p))), "numpy.ascontiguousarray"),
    "rank 3": (lambda p: np.save(p, np.load(p)[None]), "rank 3"),
    "rank 0": (lambda p: np.save(p, np.int8(1)), "rank 0"),
    "vector": (lambda p: np.save(p, np.load(p)[0]), "int8 [83], but must be a matrix"),
    "objects": (lambda p: np.save(p, np.array([[{}]], dtype=object)), "never loaded"),
    "records": (lambda p: np.save(p, np.zeros(3, dtype=[("a", "<f4")])), "records"),
    "huge header": (lambda p: p.write_bytes(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{"), "4294967295"),
    "overflow": (lambda p: save_raw(
        p, "{'descr': '|i1', 'fortran_order': False, 'shape': (4294967296, 4294967296), }"),
                 "more bytes than 64 bits"),
    "negative": (lambda p: save_raw(
        p, "{'descr': '|i1', 'fortran_order': False, 'shape': (-19, 83), }"), "dimension -19"),
    "archive": (lambda p: np.savez(p.open("wb"), np.zeros(3)), ".npz archive"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files(quoin, problem, case):
    spoil, why = BAD_FILES[case]
    spoil(problem.directory / "x.npy")
    (problem.directory / "y.npy").write_text("earlier")
    message = quoin.fails(*CODES)
    assert "x.npy" in message and why in message, message
    assert (problem.directory / "y.npy").read_text() == "earlier"


@pytest.mark.parametrize("name, value, why", [
    ("w", np.zeros((N, K + 1), np.int8), "w.npy: int8 [37, 84]"),
    ("w", np.zeros((N, K), np.float32), "`quoin quantize` makes int8 codes"),
    ("sx", np.zeros(M + 1, np.float32), "sx.npy: float32 [20]"),
    ("sx", np.zeros((1, M), np.float32), "sx.npy: float32 [1, 19]"),
    ("sx", np.zeros(M, np.float64), "sx.npy: has dtype <f8, but must be float32"),
    ("sw", np.zeros(N - 1, np.float32), "sw.npy: float32 [36]"),
    ("sw", np.zeros(N, np.float16), "sw.npy: has dtype <f2, but must be float32"),
    ("b", np.zeros(N + 1, np.float16), "b.npy: float16 [38]"),
    ("b", np.zeros(N, np.int32), "b.npy: has dtype <i4"),
])
def test_operands_that_do_not_fit(quoin, problem, name, value, why):
    np.save(problem.directory / f"{name}.npy", value)
    message = quoin.fails(*CODES, "--bias", "b.npy")
    assert why in message, message


def test_k_beyond_the_limit(quoin, tmp_path):
    Problem(tmp_path, 1, 1, 131072)
    assert "131" in quoin.fails(*CODES)


@pytest.mark.parametrize("arguments, why", [
    (["--x", "x.npy", "--scale-w", "sw.npy"], "x.npy: is int8 and so needs its scales"),
    (["--x", "x_float.npy", "--scale-w", "sw.npy", "--scale-x", "sx.npy"], "leave out --scale-x"),
    (["--x", "x_float.npy", "--scale-w", "sw.npy", "--scale-x", "sx.npy", "--x-type", "bfloat16"],
     "leave out --scale-x"),
    (["--x", "x_float.npy", "--scale-w", "sw.npy", "--x-type", "bfloat16"], "must be uint16"),
    (["--x", "x.npy", "--scale-x", "sx.npy"], "needs --scale-w"),
    (["--x", "x_float.npy", "--scale-w", "sw.npy", "--bias-type", "bfloat16"], "without --bias"),
    (["--x", "x_float.npy", "--out-type", "int32"], "`quoin quantize` makes int8 codes"),
    *[(["--x", "x.npy", "--out-type", "int32", flag, value], f"leave out {flag}")
      for flag, value in [("--scale-x", "sx.npy"), ("--scale-w", "sw.npy"), ("--bias", "b.npy"),
                          ("--dequant-factor", "1"), ("--x-type", "bfloat16")]],
    (["--x", "x.npy", "--out-type", "float64"], "float64 not in {float16,bfloat16,float32,int32}"),
    (["--x", "x.npy", "--backend", "abacus"], "abacus not in {"),
    (["--x", "x.npy", "--threads", "0"], "'0' is not a number of threads, 1 to 4096"),
    (["--x", "x.npy", "--threads", "2x"], "'2x' is not a number of threads"),
    (["--x", "x.npy", "--dequant-factor", "nan"], "'nan' is not a finite float32"),
    (["--x", "x.npy", "--dequant-factor", "1e39"], "'1e39' is not a finite float32"),
    (["--x", "x.npy", "--dequant-factor", "half"], "one of both-absmax"),
    (["--x", "x.npy", "--frobnicate"], "--frobnicate"),
    (["--scale-w", "sw.npy"], "--x is required"),
])
@pytest.mark.usefixtures("problem")
def test_flags_that_contradict(quoin, arguments, why):
    message = quoin.fails("matmul", *arguments, "--weight", "w.npy", "--out", "y.npy")
    assert why in message, message


@pytest.mark.parametrize("out, why", [
    ("absent/y.npy", "No such file or directory"), (".", "is a directory"),
    ("pipe", "no regular file"), ("", "empty")])
def test_outputs_that_cannot_be_written(quoin, problem, out, why):
    os.mkfifo(problem.directory / "pipe")
    message = quoin.fails(*CODES[:-1], out)
    assert why in message, message


def small_files_only():
    resource.setrlimit(resource.RLIMIT_FSIZE, (256, 256))


def test_a_full_disk_leaves_what_was_there(quoin, problem):
    (problem.directory / "y.npy").write_text("earlier")
    assert "y.npy: cannot write" in quoin.fails(*CODES, preexec_fn=small_files_only)
    assert (problem.directory / "y.npy").read_text() == "earlier"


def test_quantize_writes_both_files_or_neither(quoin, problem):
    (problem.directory / "q.npy").write_text("earlier")
    for scales in ["absent/s.npy", "q.npy", "./q.npy", "."]:
        quoin.fails("quantize", "--x", "x_float.npy", "--out", "q.npy", "--out-scale", scales)
        assert (problem.directory / "q.npy").read_text() == "earlier"


@pytest.mark.parametrize("spoil, why", [
    (lambda x: x.astype(np.int8), "must be float32 or float16"),
    (lambda x: x.astype(np.float64), "x.astype(numpy.float32)"),
    (lambda x: x[0], "float32 [83], but must be a matrix")])
def test_quantize_refuses(quoin, problem, spoil, why):
    np.save(problem.directory / "x_float.npy", spoil(problem.x_float))
    message = quoin.fails("quantize", "--x", "x_float.npy", "--out", "q.npy", "--out-scale",
                          "s.npy")
    assert why in message, message


def test_an_output_beyond_memory(quoin, tmp_path):
    header = "{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}"
    save_raw(tmp_path / "x.npy", header.format("|i1", "(1099511627776, 0)"))
    save_raw(tmp_path / "w.npy", header.format("|i1", "(1099511627776, 0)"))
    message = quoin.fails("matmul", "--x", "x.npy", "--weight", "w.npy", "--out-type", "int32",
                          "--out", "y.npy", code=1)
    assert "memory" in message, message


def test_an_output_may_replace_an_input(quoin, problem):
    os.symlink("x.npy", problem.directory / "y.npy")
    quoin.succeeds(*CODES)
    want = contract.linear(problem.x, problem.sx, problem.w, problem.sw)
    assert contract.same_bits(np.load(problem.directory / "x.npy"), want)
