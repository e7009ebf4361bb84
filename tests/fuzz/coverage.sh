#!/bin/bash
# coverage.sh [CORPUS...] - which lines of src/tcp the session fuzzer's corpus runs.
# CORPUS: directories of inputs; none: the one in the tree. Builds into build-coverage/ with clang.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export LLVM_PROFILE_FILE=/dev/null
build=$root/build-coverage
target=$build/tests/fuzz/fuzz_session
corpora=("$@")
[[ $# -gt 0 ]] || corpora=("$root/tests/fuzz/corpus/session")

if [[ ! -f $build/build.ninja ]]; then
	CC=clang meson setup -Dbuildtype=debug -Db_lundef=false -Dfuzz=true -Dtests=false \
		-Dc_args="-fprofile-instr-generate -fcoverage-mapping" \
		-Dc_link_args=-fprofile-instr-generate "$build" "$root" >&2
fi
ninja -C "$build" tests/fuzz/fuzz_session >&2

mapfile -t inputs < <(find "${corpora[@]}" -type f)
LLVM_PROFILE_FILE=$build/session.profraw "$target" "${inputs[@]}" >/dev/null 2>&1
llvm-profdata merge -o "$build/session.profdata" "$build/session.profraw"
llvm-cov report "$target" -instr-profile="$build/session.profdata" 2>/dev/null | awk -v inputs="${#inputs[@]}" '
	$1 ~ /^src\/tcp\// && $8 > 0 {
		printf "%-22s %4d of %4d lines\n", $1, $8 - $9, $8
		lines += $8
		missed += $9
	}
	END { printf "src/tcp: %.1f%% of %d lines, %d inputs\n", 100 * (lines - missed) / lines, lines, inputs }'
