"""What `quoin` says about itself: help, version, completion, the man page, plan, exit codes."""

import json
import re
import shutil
import subprocess

import pytest

COMMANDS = ["matmul", "quantize", "verify", "bench", "plan", "devices", "completion", "man"]


def test_version(quoin):
    assert re.fullmatch(r"quoin \d+\.\d+\.\d+\n", quoin.succeeds("--version"))


def test_help_lists_every_command_and_exit_code(quoin):
    text = quoin.succeeds("--help")
    assert text == quoin.succeeds("-h")
    for command in COMMANDS:
        assert f"\n  {command} " in text
    for code in range(4):
        assert f"\n  {code}   " in text


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(quoin, command):
    text = quoin.succeeds(command, "--help")
    assert "Usage:\n  quoin " + command in text and "Examples:\n  " in text
    prose = text.split("Examples:")[0]
    assert max(map(len, prose.splitlines())) <= 80


def test_help_shows_values_and_defaults(quoin):
    text = " ".join(quoin.succeeds("matmul", "--help").split())
    assert "One of: float16, bfloat16, float32, int32. Default: float16." in text
    assert "portable" in text and "int8 [N, K]" in text


@pytest.mark.parametrize("arguments, why", [
    ([], "a command is needed"), (["frobnicate"], "no command 'frobnicate'"),
    (["--frobnicate"], "no option '--frobnicate'"),
    (["--threads", "2", "matmul"], "no option '--threads'"), (["plan", "1", "2"], "K is required"),
    (["plan", "1", "2", "-3"], "'-3' is not a size"), (["plan", "1", "2", "3x"], "'3x' is not"),
    (["plan", "1", "2", "99999999999999999999"], "is not a size"),
    (["plan", "1", "2", "3", "--format", "xml"], "xml not in {text,json}"),
    (["plan", "1", "2", "3", "--device", "abacus"], "abacus"),
    (["verify", "--shapes", "1x2"], "'1x2' is not a shape"),
    (["verify", "--shapes", "1x2x3,4x5x"], "'4x5x' is not a shape"),
    (["verify", "--shapes", "1x-2x3"], "is not a shape"),
    (["bench", "--threads", "1,0"], "'0' is not a number of threads"),
    (["bench", "--backend", "portable,abacus"], "abacus not in {"),
    # Lists are one argument: what follows is not taken into them.
    (["bench", "--threads", "2", "64", "4096", "4096"], "not expected: 4096 4096 64"),
    (["verify", "--backend", "portable", "64x64x64"], "not expected: 64x64x64"),
    (["bench", "--min-seconds", "0"], "is not a time in seconds"),
    (["completion", "cmd"], "cmd not in {bash,zsh,fish}"),
])
def test_bad_usage(quoin, arguments, why):
    message = quoin.fails(*arguments)
    assert why in message, message


@pytest.mark.parametrize("arguments", [["--help"], ["man"], ["completion", "bash"]])
def test_a_full_standard_output_is_a_failure(quoin, arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run([quoin.binary, *arguments], stdout=full, stderr=subprocess.PIPE,
                              text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("quoin: ") and "No space left" in done.stderr


def test_plan(quoin):
    text = quoin.succeeds("plan", 128, 2048, 2048, "--backend", "portable")
    assert "portable" in text
    plan = json.loads(quoin.succeeds("plan", 128, 2048, 2048, "--threads", 2, "--backend",
                                     "portable", "--format", "json"))
    assert (plan["m"], plan["n"], plan["k"], plan["threads"]) == (128, 2048, 2048, 2)
    assert plan["backend"] == "portable"
    assert all(("modelled_seconds" in c) != ("refused_because" in c) for c in plan["candidates"])


def test_devices(quoin):
    devices = json.loads(quoin.succeeds("devices", "--format", "json"))
    backends = {backend["name"]: backend for backend in devices["backends"]}
    assert backends["portable"]["available"]
    text = quoin.succeeds("devices")
    for name in backends:
        assert name in text


def options_of(quoin, command):
    return set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", quoin.succeeds(command, "--help"), re.M))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_valid_and_complete(quoin, shell, tmp_path):
    script = quoin.succeeds("completion", shell)
    for command in COMMANDS:
        assert command in script
        for option in options_of(quoin, command):
            assert (f"-l {option[2:]}" if shell == "fish" else option) in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", "script"], cwd=tmp_path, check=True)


def complete_in_bash(quoin, *words):
    """What bash offers for the last of `words`; "--flag=value" comes as three words."""
    quoted = " ".join(f"'{word}'" for word in words)
    script = (f"source <('{quoin.binary}' completion bash); COMP_WORDS=(quoin {quoted}); "
              f"COMP_CWORD={len(words)}; _quoin; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
    done = subprocess.run(["bash", "-c", script], cwd=quoin.directory, capture_output=True,
                          text=True, check=True)
    return done.stdout.split("\n")[:-1]


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not here")
def test_bash_completes(quoin, tmp_path):
    (tmp_path / "a b.npy").write_text("")
    assert complete_in_bash(quoin, "ma") == ["matmul", "man"]
    assert complete_in_bash(quoin, "matmul", "--out-t") == ["--out-type"]
    assert complete_in_bash(quoin, "matmul", "--out-type", "") == [
        "float16", "bfloat16", "float32", "int32"]
    assert complete_in_bash(quoin, "matmul", "--out-type", "=", "b") == ["bfloat16"]
    assert complete_in_bash(quoin, "matmul", "--out-type", "=") == [
        "float16", "bfloat16", "float32", "int32"]
    assert complete_in_bash(quoin, "matmul", "--dequant-factor", "") == [
        "both-absmax", "one-absmax", "true-scales"]
    assert complete_in_bash(quoin, "matmul", "--x", "a") == ["a b.npy"]
    assert complete_in_bash(quoin, "completion", "z") == ["zsh"]
    assert "--format" in complete_in_bash(quoin, "plan", "")


def test_man_page(quoin):
    page = quoin.succeeds("man")
    assert page == quoin.succeeds("man")
    for section in ["NAME", "SYNOPSIS", "OPTIONS", "COMMANDS", "EXIT STATUS", "ENVIRONMENT",
                    "EXAMPLES"]:
        assert f"\n.SH {section}\n" in page
    for command in COMMANDS:
        for option in options_of(quoin, command):
            assert option.replace("-", "\\-") in page
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tascii"], input=page,
                              capture_output=True, text=True, check=True)
        assert done.stderr == ""
