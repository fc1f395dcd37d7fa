"""Runs the quoin program: its path is in the environment variable QUOIN_BINARY."""

import os
import subprocess

import pytest


class Quoin:
    def __init__(self, directory):
        self.binary = os.environ["QUOIN_BINARY"]
        self.directory = directory

    def __call__(self, *arguments, env=None, **options):
        """Runs `quoin arguments...` in the test's directory."""
        environment = {k: v for k, v in os.environ.items() if k != "QUOIN_BACKEND"}
        # A sanitizer's allocator then fails as the system's does, and quoin reports it.
        environment["ASAN_OPTIONS"] = "allocator_may_return_null=1:" + environment.get(
            "ASAN_OPTIONS", "")
        environment.update(env or {})
        return subprocess.run(
            [self.binary, *map(str, arguments)], cwd=self.directory, env=environment,
            capture_output=True, text=True, timeout=60, check=False, **options)

    def succeeds(self, *arguments, **options):
        done = self(*arguments, **options)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    def fails(self, *arguments, code=2, **options):
        """Expects exit code `code`, silence on stdout, and returns the message."""
        before = sorted(path.name for path in self.directory.iterdir())
        done = self(*arguments, **options)
        assert done.returncode == code, (done.returncode, done.stderr)
        assert done.stdout == ""
        assert done.stderr.startswith("quoin: ")
        assert before == sorted(path.name for path in self.directory.iterdir())
        return done.stderr


def pytest_configure(config):
    if "QUOIN_BINARY" not in os.environ:
        pytest.exit("set QUOIN_BINARY to the path of the quoin program", returncode=2)


@pytest.fixture
def quoin(tmp_path):
    return Quoin(tmp_path)
