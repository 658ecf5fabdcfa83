# What people do here. Each target first puts on the machine what is missing (setup/prepare); where nothing is, that
# takes a fraction of a second and needs no network.

# More arguments for the program, for `cargo test` or for the comparison: make run ARGS="--listen 127.0.0.1:8888".
ARGS ?=

# For how long make fuzz tries each target.
SECONDS ?= 30

# A shell that was not logged in to may lack the folder that rustup put cargo in.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: help run test check queries check-openapi bench-check profile fuzz rivals build setup

help:
	@echo "make run     build in release and start the demo: Postgres, Redis, the origin and the edge"
	@echo "make test    every test, against a private Postgres and a private Redis"
	@echo "make check   format, lints and documentation, with warnings as errors"
	@echo "make queries whether the committed query data of the origin is current"
	@echo "make check-openapi whether the origin answers as it describes itself: schemathesis, about two minutes"
	@echo "make bench-check   instructions of a request on the main paths, against the baseline; ARGS=--update makes a new one"
	@echo "make profile where they go on a path, PATH_NAME=hit"
	@echo "make fuzz    arbitrary bytes against what reads messages, SECONDS=30 for each target"
	@echo "make rivals  beside nginx, HAProxy, Varnish and others; writes benches/RESULTS.md (ARGS=--help explains)"
	@echo "make build   the binary to deploy, target/dist/tidegate"
	@echo "make setup   only put what is missing on this machine"

run:
	@setup/prepare run
	@exec cargo run --release --locked --bin tidegate -- demo $(ARGS)

test:
	@setup/prepare test
	cargo test --workspace --locked --no-fail-fast $(ARGS)

check:
	@setup/prepare check
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

queries:
	@setup/prepare test
	origin/prepare-queries --check

# Needs Python and, the first time, a package index; ARGS for schemathesis: ARGS="--seed 1".
check-openapi:
	@setup/prepare test
	origin/check-openapi $(ARGS)

# In release, under callgrind: benches/instructions.
bench-check:
	@setup/prepare bench
	cargo run --release --locked -p tidegate-instructions -- $(ARGS)

profile:
	@setup/prepare bench
	cargo run --release --locked -p tidegate-instructions -- --profile $(or $(PATH_NAME),hit)

fuzz:
	@setup/prepare build
	@fuzz/run $(SECONDS)

rivals:
	@setup/prepare build
	@cargo build --quiet --profile dist --locked -p tidegate-rivals
	@exec cargo run --quiet --profile dist --locked -p tidegate-rivals -- $(ARGS)

build:
	@setup/prepare build
	cargo build --profile dist --locked --bin tidegate

setup:
	@setup/prepare test
