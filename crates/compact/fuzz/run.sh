#!/bin/sh
# Fuzzes the opener of artefacts with stable Rust and a C++ compiler.
#
#   run.sh [SECONDS]    new inputs go to target/corpus, a finding to target/corpus/crash-*
#   run.sh minimise     makes corpus/ 190 kB of the inputs, of both folders, that reach the most code
set -eu
cd "$(dirname "$0")"
target=$(rustc -vV | sed -n 's/^host: //p')
# What cargo-fuzz passes for coverage, without the sanitiser that needs a nightly compiler.
level="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
counters="-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
RUSTFLAGS="$level $counters -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing" \
    cargo build --quiet --release --locked --target "$target" --target-dir target
open=target/$target/release/open
limits="-max_len=8192 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=256"
# The system's memory, if it can be had as a folder, is the fastest place for a small file.
[ ! -d /dev/shm ] || export TMPDIR=/dev/shm
mkdir -p target/corpus
if [ "${1:-}" = minimise ]; then
    rm -rf target/minimised
    mkdir target/minimised
    # Edges alone: with counts there would be three times as many inputs.
    "$open" $limits -use_counters=0 -use_cmp=0 -set_cover_merge=1 \
        target/minimised corpus target/corpus
    rm -rf corpus
    mkdir corpus
    n_bytes=0
    # The first ones reach the most.
    for input in $(ls -tr target/minimised); do
        size=$(wc -c <"target/minimised/$input")
        [ $((n_bytes + size)) -le 190000 ] || continue
        n_bytes=$((n_bytes + size))
        cp "target/minimised/$input" corpus/
    done
else
    exec "$open" $limits -max_total_time="${1:-600}" -artifact_prefix=target/corpus/ target/corpus corpus
fi
