# Every target is safe to repeat. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The pinned nats-server comes first, cargo's default directory last.
export PATH := $(CURDIR)/.tools/bin:$(PATH):$(if $(CARGO_HOME),$(CARGO_HOME),$(HOME)/.cargo)/bin

TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
# Arguments for `order-router dev` (make run) and for the tests' filter (make test, make test-python).
ARGS ?=
# The seeds of make chaos, and how long each of its runs sends intents and injects faults.
SEEDS ?= 1 2
CHAOS_SECONDS ?= 10
# How long make soak lasts, and the longest run with one seed.
SECONDS ?= 600
ROUND ?= 600
# How long make soak fuzzes each target.
FUZZ_SECONDS ?= 180
# The sidecar that make property-test tests. It submits orders and changes the state.
URL ?= http://127.0.0.1:8100

.PHONY: help setup setup-browser run test test-python test-console console chaos chaos-cluster chaos-guards soak fuzz interleavings acceptance live-acceptance model bench bench-cancel bench-pure bench-state bench-scale bench-order-log property-test fmt lint

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 24

setup: ## install what is missing: nats-server, redis-server, Python packages
	@deploy/setup.sh

setup-browser: ## install the same, and a browser for the tests of the console where apt can
	@deploy/setup.sh --browser

run: setup ## build the release binary and start everything: make run ARGS='--workers 2'
	cargo build --release --locked
	exec $(TARGET)/release/order-router dev $(ARGS)

# Tests mostly wait for their servers: one more at a time than there are processors keeps these busy.
test: export RUST_TEST_THREADS ?= $(shell echo $$(( $$(nproc) + 1 )))
test: setup ## run every test against servers of its own: make test ARGS=name_of_a_test
	cargo test --workspace --locked $(ARGS)
	$(if $(strip $(ARGS)),,@$(MAKE) --no-print-directory chaos test-python test-console)

chaos: setup ## kill, cut and lose parts of a router under load for about a minute, with fixed seeds: make chaos SEEDS='1 2'
	cargo build --locked
	@for seed in $(SEEDS); do \
	    $(TARGET)/debug/order-router chaos --seed $$seed --seconds $(CHAOS_SECONDS) || exit 1; \
	done
	@$(TARGET)/debug/order-router chaos --seed 1 --seconds $(CHAOS_SECONDS) --broker live-venue
	@$(TARGET)/debug/order-router chaos --seed 1 --seconds $(CHAOS_SECONDS) --cluster

chaos-cluster: setup ## lose a node of a NATS cluster, and a Redis primary, and measure how long intake stops
	cargo test --locked --test integration -- --ignored --nocapture --test-threads 1 stop_of_intake

chaos-guards: setup ## turn off one guard at a time and show that the chaos harness finds it
	cargo test --locked --test integration -- --ignored --nocapture --test-threads 1 chaos_

fuzz: ## check random changes of the inputs in fuzz/corpus for SECONDS a target: make fuzz SECONDS=60 ARGS=intent
	FUZZ_SECONDS=$(SECONDS) $(if $(strip $(ARGS)),FUZZ_TARGET=$(ARGS),) \
	    cargo test --release --locked --test fuzz -- --ignored --nocapture as_long_as_asked

interleavings: ## explore the deep scenes of the model of the claim: minutes, and gigabytes of memory
	cargo test --release --locked --test claim -- --ignored --nocapture --test-threads 1

soak: setup ## fuzz each target for three minutes, then run the chaos harness for SECONDS with new seeds: make soak SECONDS=3600
	@$(MAKE) --no-print-directory fuzz SECONDS=$(FUZZ_SECONDS) ARGS=
	cargo build --release --locked
	@end=$$(( $$(date +%s) + $(SECONDS) )); seed=$$(date +%s); \
	while left=$$(( end - $$(date +%s) )); [ $$left -gt 0 ]; do \
	    round=$$(( left < $(ROUND) ? left : $(ROUND) )); \
	    for broker in paper live-venue; do \
	        $(TARGET)/release/order-router chaos --seed $$seed --seconds $$round --broker $$broker || exit 1; \
	    done; \
	    $(TARGET)/release/order-router chaos --seed $$seed --seconds $$round --cluster || exit 1; \
	    seed=$$(( seed + 1 )); \
	done

test-python: setup ## run the tests of clients/python against the built router: make test-python ARGS='-k halt'
	cargo build --locked
	ORDER_ROUTER_BIN=$(abspath $(TARGET))/debug/order-router .tools/venv/bin/python -m pytest clients/python $(ARGS)

test-console: setup-browser ## run the tests of the console in a real browser: make test-console ARGS='-k halt'
	cargo build --locked
	ORDER_ROUTER_BIN=$(abspath $(TARGET))/debug/order-router .tools/venv/bin/python -m pytest console/tests $(ARGS)

console: ## build console/dist, which is committed, from its sources with Node: make console, then build and test
	cd console && npm ci --ignore-scripts --no-fund --no-audit && npm run build

acceptance: setup ## run the long checks in release: ten thousand intents through each door
	cargo test --release --locked --test integration -- --ignored --nocapture acceptance

live-acceptance: setup ## send 20000 orders to the local exchange, 5 % faults of all kinds, ten kills, and Redis put back: ORDERS=500 for fewer
	cargo build --release --locked
	$(TARGET)/release/order-router chaos --broker live-venue --seed $(or $(SEED),1) --seconds 86400 --concurrency 32 \
	    --intents $$(( $(or $(ORDERS),20000) * 8 / 5 )) --at-least orders=$(or $(ORDERS),20000) --venue-fault-percent 5 \
	    --at-least worker_killed=10 --at-least redis_put_back=1 $(ARGS)

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

bench-scale: setup ## measure throughput and memory as workers, accounts, open orders and past orders grow: about half an hour
	cargo bench --locked --bench scale -- $(ARGS)

bench-order-log: setup ## measure the order log with a million orders: rebuild and every filter; ORDERS=100000 for fewer
	cargo test --release --locked --test integration -- --ignored --nocapture order_log_million

property-test: setup ## test a running sidecar against its OpenAPI document: make property-test URL=http://127.0.0.1:8100
	.tools/venv/bin/python tests/integration/rest_properties.py $(URL) $(ARGS)

fmt: ## format the sources
	cargo fmt --all

lint: ## check format and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
