"""The examples run as they are."""

import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("quoin.torch", reason="quoin was built without PyTorch's operators")


def test_llama(request):
    script = request.config.rootpath / "examples" / "python" / "llama.py"
    run = subprocess.run(
        [sys.executable, script, "--layers", "2", "--hidden", "256", "--tokens", "4"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    assert "reloaded: the same bits" in run.stdout and "generated 4 tokens" in run.stdout
