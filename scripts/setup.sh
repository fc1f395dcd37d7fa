#!/bin/sh
# Installs what building and testing need and is not there yet, on Debian and its relatives.
#
#   scripts/setup.sh build   compilers, CMake, Ninja and the libraries
#   scripts/setup.sh test    these, clang's sanitizer runtime, and NumPy, pytest and nanobind in
#                            build/venv
#   scripts/setup.sh torch   these, and PyTorch with what its tests use in build/venv-torch
#   scripts/setup.sh peers   these, and oneDNN to compare with
set -eu
cd "$(dirname "$0")/.."

packages="g++ cmake ninja-build pkg-config libcli11-dev nlohmann-json3-dev libfmt-dev"
python3 -m pip --version >/dev/null 2>&1 || packages="$packages python3-pip"  # the grammar
case "${1:-build}" in
  build) ;;
  test) packages="$packages libgtest-dev clang libomp-dev libclang-rt-14-dev python3-dev python3-venv" ;;
  torch) packages="$packages python3-dev python3-venv" ;;
  peers) packages="$packages libdnnl-dev" ;;
  *) echo "setup: build, test, torch or peers, not '$1'" >&2; exit 2 ;;
esac

missing=""
for package in $packages; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
    missing="$missing $package"
done
if [ -n "$missing" ]; then
  command -v apt-get >/dev/null || { echo "setup: install these by hand:$missing" >&2; exit 1; }
  root=""
  [ "$(id -u)" = 0 ] || root=sudo
  echo "setup: installing$missing"
  $root env DEBIAN_FRONTEND=noninteractive apt-get -qq update
  # shellcheck disable=SC2086
  $root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y $missing >/dev/null
fi

# An environment in build/, made anew when its requirements change.
environment() {
  cmp -s "$2" "build/$1/requirements.txt" && return
  echo "setup: Python packages into build/$1"
  python3 -m venv "build/$1"
  "build/$1/bin/python" -m pip install --quiet --requirement "$2"
  cp "$2" "build/$1/requirements.txt"
}
case "${1:-build}" in
  test) environment venv tests/requirements.txt ;;
  torch) environment venv-torch python/requirements-torch.txt ;;
esac
