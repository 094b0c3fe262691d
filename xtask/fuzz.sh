#!/usr/bin/env bash
# fuzz.sh DIRECTORY [TARGET…]: each fuzz target there (all by default) for FUZZ_SECONDS (60), from the seeds that are kept.
# Ends with 1 at a finding; what was found lies in artifacts/TARGET, and belongs into seeds/TARGET once it is mended.
set -euo pipefail
cd "${1:?usage: fuzz.sh DIRECTORY [TARGET…]}"
shift
seconds=${FUZZ_SECONDS:-60}
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz@0.13.2
# The instrumentation is asked for by flags that only a nightly takes unasked; the compiler is the one we have.
export RUSTC_BOOTSTRAP=1
[ $# -gt 0 ] || set -- seeds/*
for target in "${@##*/}"; do
  mkdir -p "corpus/$target"
  echo "fuzz: $target for $seconds s"
  cargo fuzz run --fuzz-dir . "$target" "corpus/$target" "seeds/$target" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 2>&1 |
    grep -E '^(stat::(number_of_executed|average_exec)|==|SUMMARY|thread|error|artifact|.*panicked)' || [ "${PIPESTATUS[0]}" = 0 ]
done
echo "fuzz: nothing found"
