#!/bin/sh
# Instructions per operation, counted by callgrind: the same on a busy machine as on a quiet one.
# usage: benches/instructions.sh [operation ...]      (default: all)
set -eu
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null || { echo "valgrind is needed (Debian: apt install valgrind)" >&2; exit 1; }
cargo build -q --release -p benches --bin instructions
binary="$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/instructions"

count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$binary" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

"$binary" --list | while IFS="$(printf '\t')" read -r name stands_for; do
    [ $# -eq 0 ] || case " $* " in *" $name "*) ;; *) continue ;; esac
    # The difference of two runs leaves out start-up and preparation.
    few=$(count "$name" 4000) many=$(count "$name" 8000)
    printf '%-16s %8d  %s\n' "$name" $(((many - few) / 4000)) "$stands_for"
done
