# The commands of a contributor: `just --list`. CI runs the same scripts.

# Everything that must hold
all:
    tests/run

# Format, lints and documentation
lint:
    tests/lint

# All tests, or those whose names contain the filter; it is an error if none does
test *filter:
    tests/suites {{ filter }}

# The tests of the library alone, in a minute
quick *filter:
    cargo test --locked --lib {{ filter }}

# Formats the code
fmt:
    cargo fmt --all
    rustfmt --edition 2024 src/probe/*.rs tests/new_kind/*.rs

# The image, as a release builds it
image:
    docker build --tag regionwatch .

# A benchmark: accuracy, cost, databases, image, rules, status_page, time_to_webhook
bench name *options:
    cargo bench --bench {{ name }} -- {{ options }}

# Years of deciding, simulated
simulate *options:
    cargo run --release --example simulation -- {{ options }}

# Fuzzes a target of fuzz/fuzz_targets, such as dns_answer, with options of libFuzzer
fuzz target *options:
    fuzz/run {{ target }} {{ options }}
