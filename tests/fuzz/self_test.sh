#!/bin/bash
# self_test.sh BUILD [SECONDS] - plants bugs and sees whether the session fuzzer finds them.
# BUILD: a directory configured as `./dev fuzz` does (clang, -Dfuzz=true -Dplant=true). Prints a TAP line each.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${1:?usage: self_test.sh BUILD [SECONDS]}
seconds=${2:-60}
target=$build/tests/fuzz/fuzz_session
bugs=(WINDOW_EDGE RESET_LEAK REASSEMBLY_OVERLAP)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

for bug in "${bugs[@]}"; do
	mkdir -p "$scratch/$bug"
	if PLANTED_BUG=$bug "$target" -max_total_time="$seconds" -artifact_prefix="$scratch/$bug/" "$scratch/$bug" \
		"$here/corpus/session" >"$scratch/log" 2>&1; then
		echo "not ok - session fuzzer: bug $bug not found in $seconds s"
		failed=1
	elif why=$(grep -m1 -o 'internal error at .*\|ERROR: AddressSanitizer.*\|runtime error.*' "$scratch/log"); then
		echo "ok - session fuzzer: bug $bug found: $why"
	else
		tail -20 "$scratch/log" >&2
		echo "not ok - session fuzzer: bug $bug: the fuzzer failed in another way"
		failed=1
	fi
done
exit $failed
