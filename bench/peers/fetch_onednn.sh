#!/bin/sh
# Fetches the newer oneDNN that the benchmark compares with into DIR/include and DIR/lib, through
# pip.
#
#     bench/peers/fetch_onednn.sh DIR
#
# The pinned package is the last one built for GNU OpenMP, oneDNN 3.2.0: it shares its thread pool
# with the benchmark and takes the thread count per call. Later packages (3.13.2 was tried) run on
# SYCL and TBB, need 1.8 GB of runtime, ignore OpenMP's thread count and carry the same library name
# as this one, so that a process holds only one of them. On one Zen 5 core, nine shapes (M 1, 16,
# 128; N x K 2048x2048, 4096x4096, 14336x4096), 3.13.2 was never the fastest: 2-60% behind the
# better of 2.6.3 and 3.2.0 (2026-11-20).
set -eu

version=2023.2.0
library=3.2

fail() { echo "fetch_onednn: $*" >&2; exit 1; }

[ $# -eq 1 ] && [ -n "$1" ] || fail "usage: fetch_onednn.sh DIR"
directory=$1
stamp=$directory/onednn-cpu-gomp-$version
[ -f "$stamp" ] && { echo "oneDNN $library is in $directory"; exit 0; }

python=${PYTHON:-python3}
"$python" -m pip --version >/dev/null 2>&1 || fail "$python has no pip (set PYTHON to one that has)"
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) ;;
  *) fail "the package exists for Linux on x86-64 alone" ;;
esac

mkdir -p "$directory" || fail "cannot make $directory"
work=$(mktemp -d "$directory/fetch.XXXXXX") || fail "cannot write to $directory"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

"$python" -m pip download --quiet --no-deps --only-binary :all: --dest "$work" \
    "onednn-cpu-gomp==$version" "onednn-devel-cpu-gomp==$version" ||
  fail "pip could not download onednn-cpu-gomp and onednn-devel-cpu-gomp $version"
for wheel in "$work"/*.whl; do
  "$python" -m zipfile -e "$wheel" "$work/unpacked" || fail "cannot unpack $wheel"
done

rm -rf "$directory/include" "$directory/lib"
mkdir "$directory/lib"
cp -R "$work"/unpacked/onednn_devel_cpu_gomp-*.data/data/include "$directory/include" ||
  fail "the package holds no headers"
cp "$work"/unpacked/onednn_cpu_gomp-*.data/data/lib/libdnnl.so.$library "$directory/lib/" ||
  fail "the package holds no library"
cp -R "$work"/unpacked/onednn_cpu_gomp-*.data/data/share/doc/onednn/LICENSE "$directory/LICENSE"
ln -s libdnnl.so.$library "$directory/lib/libdnnl.so.3"
ln -s libdnnl.so.3 "$directory/lib/libdnnl.so"
: > "$stamp"
echo "oneDNN $library is in $directory"
