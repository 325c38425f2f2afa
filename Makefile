# Every target is safe to repeat. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The pinned nats-server comes first, cargo's default directory last.
export PATH := $(CURDIR)/.tools/bin:$(PATH):$(if $(CARGO_HOME),$(CARGO_HOME),$(HOME)/.cargo)/bin

TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
# Arguments for `order-router dev` (make run) and for the tests' filter (make test, make test-python).
ARGS ?=
# The sidecar that make property-test tests. It submits orders and changes the state.
URL ?= http://127.0.0.1:8100

.PHONY: help setup run test test-python acceptance model bench bench-cancel bench-pure bench-state bench-order-log property-test fmt lint

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 24

setup: ## install what is missing: nats-server, redis-server, Python packages
	@deploy/setup.sh

run: setup ## build the release binary and start everything: make run ARGS='--workers 2'
	cargo build --release --locked
	exec $(TARGET)/release/order-router dev $(ARGS)

test: setup ## run every test against servers of its own: make test ARGS=name_of_a_test
	cargo test --locked $(ARGS)
	$(if $(strip $(ARGS)),,@$(MAKE) --no-print-directory test-python)

test-python: setup ## run the tests of clients/python against the built router: make test-python ARGS='-k halt'
	cargo build --locked
	ORDER_ROUTER_BIN=$(abspath $(TARGET))/debug/order-router .tools/venv/bin/python -m pytest clients/python $(ARGS)

acceptance: setup ## run the long checks in release: ten thousand intents through each door
	cargo test --release --locked --test integration -- --ignored --nocapture acceptance

model: setup ## compare the shared sums with their model over 100000 random orders: make model MODEL_ORDERS=10000
	cargo test --release --locked --test integration -- --ignored --nocapture model_holds

bench: setup ## measure the floor under an order and the router beside it: make bench ARGS='--seconds 3 --runs 3'
	cargo bench --locked --bench floor -- $(ARGS)

bench-cancel: setup ## measure a cancel of ten thousand open orders and a halt with as many; ORDERS=1000 for fewer
	cargo test --release --locked --test integration -- --ignored --nocapture cancel_of_ten_thousand

bench-pure: setup ## measure the pure parts of an order with criterion
	cargo bench --locked --bench pure -- $(ARGS)

bench-state: setup ## measure latency beside 10 to 100000 holdings, and the bytes of Redis for each order, id and account
	cargo bench --locked --bench state -- $(ARGS)

bench-order-log: setup ## measure the order log with a million orders: rebuild and every filter; ORDERS=100000 for fewer
	cargo test --release --locked --test integration -- --ignored --nocapture order_log_million

property-test: setup ## test a running sidecar against its OpenAPI document: make property-test URL=http://127.0.0.1:8100
	.tools/venv/bin/python tests/integration/rest_properties.py $(URL) $(ARGS)

fmt: ## format the sources
	cargo fmt

lint: ## check format and lints
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
