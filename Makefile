# hailo-clip: `make demo` shows it, `make test` proves it, `make bench` measures it.

CARGO ?= cargo
PYTHON := /usr/bin/python3
VIT_B32 := target/vit-b-32
export HAILO_CLIP_VIT_B32 := $(CURDIR)/$(VIT_B32)
export HAILO_CLIP_AXE := $(CURDIR)/target/web/axe.min.js

# Tests may fail where they stand.
TESTS_MAY := -A clippy::unwrap_used -A clippy::cast_possible_truncation

# Clients from PyPI that the service is tested with.
CLIENTS := target/clients
export HAILO_CLIP_CLIENTS := $(CURDIR)/$(CLIENTS)

.PHONY: help demo test test-web test-clients test-openapi test-npu loom lint man completions deb apt-repo test-system test-system-kernel test-system-arm64 bench bench-npu npu-simulator npu-eval vit-b32 parquet-reader demo-eval demo-train clean

help:
	@echo "make demo        classify sample pictures through every door"
	@echo "make test        all tests"
	@echo "make lint        format, clippy, documentation, dependencies, debian/copyright"
	@echo "make test-web    the web page in headless Chromium; screenshots in target/web (part of make test)"
	@echo "make test-npu    the service's tests on simulated Hailo devices (part of make test)"
	@echo "make test-clients  OpenAI's client, Immich's and Frigate's requests on the service (part of make test)"
	@echo "make test-openapi  schemathesis on the service (part of make test)"
	@echo "make bench-pictures  decoding and pre-processing beside Pillow"
	@echo "make bench-overhead  what the service itself costs: cached texts over HTTP, as JSON"
	@echo "make bench-footprint  start-up and memory with CLIP ViT-B/32, as JSON"
	@echo "make bench-npu   how much of a simulated device's rate the service delivers"
	@echo "make npu-eval    accuracy on simulated devices beside the CPU"
	@echo "make man         man pages and shell completions"
	@echo "make docs        docs/configuration.md, from the same sources"
	@echo "make test-scale-out  two daemons behind HAProxy, in network namespaces (root; part of make test)"
	@echo "make deb         the Debian package (ARCH=arm64: for the Raspberry Pi)"
	@echo "make apt-repo    a signed apt repository of the packages that are built"
	@echo "make test-system the package on a booted Debian, bookworm and trixie; make test-system-kernel, -arm64"
	@echo "make bench       a report beside its peers, target/bench/report.html (half an hour; BENCH=--quick for a few minutes)"
	@echo "make demo-eval   accuracy of the bundled model"
	@echo "make int8        int8 bundles: accuracy, agreement, speed and memory beside fp32"
	@echo "make int8-arm64  int8 on emulated ARM processors, beside this machine"
	@echo "make demo-train  train the bundled model again (about half an hour)"

# Installs what packages.txt names for a target and the machine does not have.
packages-%:
	@./tools/install-packages build $*

demo: packages-demo
	$(CARGO) build --release
	./tools/demo target/release

test: packages-test $(CLIENTS)/installed vit-b32 npu-simulator parquet-reader
	$(CARGO) test --workspace --no-fail-fast
	$(MAKE) test-npu
	$(CARGO) test --test backend_parity --test clip_draft -- --ignored
	$(MAKE) -C crates/hailort-sys/sim check
	$(MAKE) test-scale-out

.PHONY: test-scale-out docs

# What docs/scale-out.md says. Without root it says loudly that it did nothing.
# The programs as the other tests have them: built alone, their dependencies have other features, and are built anew.
test-scale-out: packages-test
	$(CARGO) test --no-run --test layering
	./tests/scale-out target/debug

# axe-core finds what keeps people from using a page; the wheel of that name is its script and little else.
AXE := target/web/axe.min.js
test: $(AXE)
$(AXE): | packages-test
	mkdir -p target/web
	$(PYTHON) -m venv target/web/python
	target/web/python/bin/pip download --quiet --disable-pip-version-check --no-deps --dest target/web axe-core-python==0.1.0
	$(PYTHON) -m zipfile -e target/web/axe_core_python-0.1.0-py3-none-any.whl target/web/wheel
	mv target/web/wheel/axe_core_python/axe.min.js $@

# The web page with clicks, keys, files and errors.
test-web: packages-test $(AXE)
	$(CARGO) test --test web

# The hand-over between HailoRT's callbacks and their waiters, under every interleaving.
loom: packages-build
	RUSTFLAGS="--cfg loom" $(CARGO) test -p hailort --lib --target-dir target/loom

lint: packages-build packages-lint
	shellcheck tools/hailo-clip-build-shim
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace -- -D warnings
	$(CARGO) clippy --workspace --all-targets -- -D warnings $(TESTS_MAY)
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --workspace --no-deps --document-private-items
	./tools/cargo-deny
	./tools/copyright --check

# One program writes both: target/man/*.gz and target/completions/.
man: packages-build
	rm -rf target/man target/completions
	$(CARGO) run --release -p manual -- target/man target/completions
	gzip -9n target/man/*

completions: man

# The pages of docs/ that are made of what the programs are made of.
docs: packages-build
	$(CARGO) run -p manual -- --docs docs

# target/debian/hailo-clip_VERSION_ARCH.deb. ARCH is this machine's, amd64 or arm64.
ARCH ?= $(shell dpkg --print-architecture)
deb: packages-deb man
ifeq ($(ARCH),$(shell dpkg --print-architecture))
	$(CARGO) build --release --bins
else
	./tools/install-packages deb-cross
	./tools/cargo-arm64 build --release --bins
endif
	./tools/build-deb --arch $(ARCH)
	lintian --fail-on error,warning target/debian/hailo-clip_*_$(ARCH).deb

# target/apt-repo, signed by APT_REPO_KEY or a key made for it.
apt-repo: packages-deb
	./tools/apt-repo target/apt-repo target/debian/*.deb

test-system: deb packages-system
	./tests/system/run

# What only Debian's own kernel enforces, on an emulated machine: AppArmor, networks, devices.
test-system-kernel: deb packages-system packages-system-kernel
	./tests/system/run --backend tcg --only '^(15|20|22|74|77|99)'

# The arm64 package on an emulated machine: ten minutes and more.
test-system-arm64: packages-system
	$(MAKE) deb ARCH=arm64
	./tools/install-packages system-arm64
	./tests/system/run-arm64

# The report, target/bench/report.html and .json. BENCH="--quick", BENCH="--sections clients,memory": less of it.
bench: packages-bench vit-b32 npu-models target/int8/vit-b-32-int8/model.yaml
	$(CARGO) build --release
	./benches/run $(BENCH)

# ViT-B/32 for simulated NPUs.
NPU_MODELS := target/hailort-sim/vit
.PHONY: npu-models
npu-models: vit-b32 npu-simulator
	@test -e $(NPU_MODELS)/vit-b-32/model.yaml || $(PYTHON) crates/hailort-sys/sim/make-hef --no-network $(VIT_B32) $(NPU_MODELS)/vit-b-32

# Decoding and pre-processing beside Pillow; figures also in target/bench/pictures.json.
.PHONY: bench-pictures
bench-pictures: packages-bench vit-b32
	$(PYTHON) benches/pictures.py --bundle models/demo --bundle $(VIT_B32) --worker "$$($(CARGO) bench --bench picture \
	    --no-run --message-format=json | jq -r 'select(.target.name == "picture" and .executable != null).executable')"

.PHONY: bench-overhead bench-footprint
bench-overhead: packages-test vit-b32
	$(CARGO) bench --bench overhead

# Beside ONNX Runtime, if `make bench` has fetched it.
bench-footprint: packages-test vit-b32
	$(CARGO) bench --bench footprint

# How much of a simulated NPU's own rate the service delivers.
bench-npu: npu-models
	HAILO_CLIP_NPU_MODELS=$(CURDIR)/$(NPU_MODELS) $(CARGO) bench --bench npu

# The simulated HailoRT for Hailo-8 and 8L (4.23.0) and for Hailo-10H (5.2.0), and the bundled model for both.
npu-simulator: packages-test
	$(MAKE) --no-print-directory -C crates/hailort-sys/sim VERSION=4.23.0 shim
	$(MAKE) --no-print-directory -C crates/hailort-sys/sim VERSION=5.2.0 shim
	$(MAKE) --no-print-directory -C crates/hailort-sys/sim models

# The service's tests once more, on each simulated device.
test-npu: npu-simulator $(CLIENTS)/installed
	@set -e; for device in hailo8 hailo8l hailo10h; do echo "--- on a simulated $$device"; \
	    HAILO_CLIP_TEST_DEVICE=$$device $(CARGO) test --no-fail-fast --test service --test dbus_tools --test cli_daemon; done

# Accuracy and agreement of the bundled model on simulated devices, beside the CPU.
npu-eval: packages-model npu-simulator
	$(CARGO) build --release
	$(PYTHON) models/demo/train/evaluate.py --write target/npu-accuracy
	./tools/npu-accuracy target/npu-accuracy target/hailort-sim

$(CLIENTS)/installed: tests/clients/requirements.txt | packages-test
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# The service as other programs' clients meet it.
test-clients: $(CLIENTS)/installed
	$(CARGO) test --test service -- immich:: llama_cpp:: openai::

# The service held against its own description.
test-openapi: $(CLIENTS)/installed
	$(CARGO) test --test service -- openapi::

vit-b32: packages-test
	@test -e $(VIT_B32)/model.yaml || $(PYTHON) benches/export_vit_b32.py $(VIT_B32)

# pyarrow, which reads what we write; the test that needs it says so if it is not there.
PARQUET := target/parquet-reader
parquet-reader: $(PARQUET)/bin/python
$(PARQUET)/bin/python: | packages-test
	$(PYTHON) -m venv $(PARQUET).new
	$(PARQUET).new/bin/pip install --quiet --disable-pip-version-check pyarrow==26.0.1
	mv $(PARQUET).new $(PARQUET)

# ONNX Runtime for the evaluation, in an environment of its own.
EVAL := target/demo-eval/python
$(EVAL)/bin/python: models/demo/train/requirements.txt | packages-model
	$(PYTHON) -m venv $(EVAL)
	$(EVAL)/bin/pip install --quiet --disable-pip-version-check -r $<

demo-eval: $(EVAL)/bin/python
	$(EVAL)/bin/python models/demo/train/evaluate.py
	$(EVAL)/bin/python models/demo/train/samples.py --check

# int8 bundles, of the bundled model and of the benchmarks' one: what they lose, and what they gain.
INT8 := target/int8
$(INT8)/python/installed: models/int8/requirements.txt | packages-model
	$(PYTHON) -m venv $(INT8)/python
	$(INT8)/python/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(INT8)/demo-int8/model.yaml: models/demo/model.yaml models/int8/quantize.py $(INT8)/python/installed
	rm -rf $(INT8)/demo-int8
	$(INT8)/python/bin/python models/int8/quantize.py models/demo $(INT8)/demo-int8

$(INT8)/vit-b-32-int8/model.yaml: models/int8/quantize.py $(INT8)/python/installed | vit-b32
	rm -rf $(INT8)/vit-b-32-int8
	$(INT8)/python/bin/python models/int8/quantize.py $(VIT_B32) $(INT8)/vit-b-32-int8

$(INT8)/pictures/set.json: models/demo/train/evaluate.py | packages-model
	$(PYTHON) models/demo/train/evaluate.py --write $(INT8)/pictures

.PHONY: int8 int8-arm64
# int8 on emulated ARM processors, with and without their instructions for it, beside this machine.
EMBED := release/examples/embed
int8-arm64: packages-build $(INT8)/demo-int8/model.yaml
	./tools/install-packages deb-cross system-arm64
	$(CARGO) build --release -p mapped --example embed
	CARGO_TARGET_DIR=$(INT8)/arm64 ./tools/cargo-arm64 build --release -p mapped --example embed
	./tools/int8-arm64 target/$(EMBED) $(INT8)/arm64/aarch64-unknown-linux-gnu/$(EMBED) \
	    $(INT8)/demo-int8/image.onnx $(INT8)/demo-int8/text.onnx tests/fixtures/onnx/image-int8.onnx \
	    tests/fixtures/onnx/text-int8.onnx

int8: packages-bench $(INT8)/demo-int8/model.yaml $(INT8)/vit-b-32-int8/model.yaml $(INT8)/pictures/set.json
	$(INT8)/python/bin/python models/int8/compare.py --pictures $(INT8)/pictures \
	    --demo models/demo $(INT8)/demo-int8 --speed $(VIT_B32) $(INT8)/vit-b-32-int8 --worker \
	    "$$($(CARGO) bench --bench cpu_backend --no-run --message-format=json | \
	        jq -r 'select(.target.name == "cpu_backend" and .executable != null).executable')"

demo-train: packages-model
	$(PYTHON) models/demo/train/train.py --work target/demo-train
	$(PYTHON) models/demo/train/export.py --work target/demo-train

clean:
	$(CARGO) clean
