# What people type. Each target installs what it needs (Debian packages, by name) and says so.
SHELL := /bin/bash
.PHONY: build demo run test test-rust test-e2e test-v2 test-microvms test-nested test-clients guest-images lint fuzz figures bench-check packages packages-test packages-guest-image clean

build: ## hearth, hearth-bench, hearth-shim and hearth-vmm (the last two static) in target/release, and what Java needs, if it can be compiled
	cargo build --release --locked -p hearth-cli -p hearth-benches --bin hearth --bin hearth-bench
	cargo xtask shim --release
	cargo xtask vmm --release
	cargo xtask java --release

demo: packages build ## start the platform, deploy an example, call it, stop
	examples/demo.sh

run: packages build ## keep the platform in the foreground
	target/release/hearth up

guest-images: packages-guest-image ## what microVMs boot from: kernels and runtime images, beside target/release/hearth
	cargo xtask guest-image
	cargo xtask guest-image --kernel-from-deb --share target/release/guest-images

test: packages-test build lint test-rust test-e2e test-v2 test-microvms ## everything that tests the project, but for `test-nested` and `fuzz`

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo xtask tidy

test-rust:
	cargo xtask shim
	cargo xtask java
	cargo test --workspace --locked --no-fail-fast

test-e2e: build
	.venv/bin/python -m pytest -q tests/e2e

test-v2: packages-test build ## cgroup version 2, in an emulated machine; skipped, and said so, where there is none
	tests/nested/cgroup-v2.sh

test-microvms: packages-test build ## some of `test-nested`, with guest images of its own, whose kernel is compiled once on a host
	tests/nested/microvms.sh -s

test-nested: packages-test build guest-images ## microVMs, in an emulated machine that has KVM; skipped, and said so, where there is none
	tests/nested/microvms.sh

test-clients: packages-test build ## AWS's runtime client for Node.js, which takes minutes to compile
	xtask/packages.sh clients
	.venv/bin/python -m pytest -q tests/e2e/test_clients.py

fuzz: packages-test ## each fuzz target of hearth-vmm and of the frontend for FUZZ_SECONDS (60); fails at a finding
	xtask/fuzz.sh microvm/vmm/fuzz
	xtask/fuzz.sh frontend/fuzz

figures: packages-test build ## the numbers of SPECIFICATION.md, each beside what it is compared with; reports in target/bench
	cargo rustc --release --locked -p echo-rust --bin bootstrap -- -C target-feature=+crt-static
	target/release/hearth-bench compare all

bench-check: ## micro-benches of this tree and of its merge base with origin/main (or REV=…), in turn; fails if one got 20 % slower
	cargo xtask bench-check $(REV)

packages:
	@xtask/packages.sh run

packages-test:
	@xtask/packages.sh test

packages-guest-image:
	@xtask/packages.sh guest-image

clean:
	cargo clean
	rm -rf .venv
