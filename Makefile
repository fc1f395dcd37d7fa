# make demo    install what is missing, build, and run the seed layer on every backend
# make test    the same, then every test: release, address+undefined, thread sanitizer
# make test-torch   the Python package with PyTorch, in build/venv-torch (PyPI's PyTorch: gigabytes),
#              or in an environment of your own: make test-torch PYTHON=python3 [CUDA=ON]
# make bench   quoin against oneDNN on this machine, into bench/results/ (about 10 minutes)
# make fuzz    libFuzzer on the .npy reader and on documents, FUZZ_SECONDS each (instrumented code
#              is many times slower: the limit of 10 s for a document stands for about one)
# make format  clang-format over the sources; make tidy  clang-tidy
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 600
RESULT ?= bench/results/linear-$(shell date -u +%Y-%m-%d).json

CUDA ?= OFF

.PHONY: demo build test test-release test-asan test-tsan test-torch bench fuzz format tidy clean

demo: build
	@scripts/setup.sh peers
	@cmake --preset release >/dev/null
	@cmake --build build --target quoin_demo peer_onednn_distro -j $(JOBS) >build/demo-build.log || { cat build/demo-build.log; false; }
	@build/quoin_demo build/bench/peers/peer_onednn_distro.so
	@echo; echo "And what the architect says of a slow kernel, examples/architect/int8_layer.md:"; echo
	@build/quoin architect --format text examples/architect/int8_layer.md

build:
	@scripts/setup.sh build
	@cmake --preset release -DQUOIN_TESTS=OFF
	@cmake --build build -j $(JOBS)

test: demo test-release test-asan test-tsan

test-release:
	@scripts/setup.sh test
	cmake --preset release -DQUOIN_TESTS=ON -DQUOIN_TEST_PYTHON=$(CURDIR)/build/venv/bin/python \
	  -DQUOIN_PYTHON=ON -DPython_EXECUTABLE=$(CURDIR)/build/venv/bin/python
	cmake --build build -j $(JOBS)
	ctest --test-dir build --output-on-failure

# The operator alone, for time; the whole tree: cmake --preset asan-ubsan, without the two options.
test-asan: test-release
	cmake --preset asan-ubsan -DQUOIN_CLI=OFF -DQUOIN_ARCHITECT=OFF
	cmake --build --preset asan-ubsan -j $(JOBS)
	ctest --preset asan-ubsan --output-on-failure

test-tsan: test-release
	cmake --preset tsan
	cmake --build --preset tsan -j $(JOBS)
	ctest --preset tsan --output-on-failure

test-torch:
ifdef PYTHON
	cmake -G Ninja -B build/torch -DCMAKE_BUILD_TYPE=Release -DQUOIN_PYTHON=ON -DQUOIN_CUDA=$(CUDA) \
	  -DQUOIN_CLI=OFF -DQUOIN_TESTS=OFF -DPython_EXECUTABLE=$$(command -v $(PYTHON))
	cmake --build build/torch --target quoin_python quoin_torch -j $(JOBS)
	PYTHONPATH=build/torch/python$${PYTHONPATH:+:$$PYTHONPATH} $(PYTHON) -m pytest -p no:cacheprovider python/tests
else
	@scripts/setup.sh torch
	build/venv-torch/bin/python -m pip install --quiet --no-build-isolation \
	  -C cmake.define.QUOIN_CUDA=$(CUDA) .
	build/venv-torch/bin/python -m pytest -p no:cacheprovider python/tests
endif

bench: build
	@scripts/setup.sh peers
	bench/peers/fetch_onednn.sh $(CURDIR)/build/onednn
	cmake --preset release -DQUOIN_ONEDNN_DIR=$(CURDIR)/build/onednn >/dev/null
	cmake --build build --target quoin_linear peers -j $(JOBS)
	OMP_PROC_BIND=true build/quoin_bench_linear --out $(RESULT) --peer build/bench/peers/peer_onednn_distro.so build/bench/peers/peer_onednn_pypi.so

fuzz:
	@scripts/setup.sh test
	cmake --preset fuzz
	cmake --build --preset fuzz --target npy_fuzz architect_fuzz -j $(JOBS)
	mkdir -p build/fuzz/found
	build/fuzz/npy_fuzz -max_total_time=$(FUZZ_SECONDS) build/fuzz/found tests/fuzz/corpus/npy
	mkdir -p build/fuzz/found_documents
	build/fuzz/architect_fuzz -max_total_time=$(FUZZ_SECONDS) -timeout=10 build/fuzz/found_documents tests/fuzz/corpus/architect tests/architect/cases

format:
	git ls-files '*.cpp' '*.h' | xargs clang-format -i

tidy: build
	git ls-files 'src/*.cpp' 'cli/*.cpp' 'bench/*.cpp' | grep -v kernels/cuda | xargs clang-tidy -p build --quiet

clean:
	rm -rf build
