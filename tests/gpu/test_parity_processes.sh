#!/usr/bin/env bash
# gpu_parity with a stand-in that breaks, crashes or hangs: one row fails, those behind it are run in a
# process of their own.
. "$(dirname "$0")/../cli/common.bash"
parity=$(dirname "$MOQA")/tests/gpu_parity
export MOQA_CUDA_MODULE=$FAKE_CUDA
rows() { tail -n +3 "$work/out"; }

expect 'all agree' 0 '^matmul  *ok' env FAKE_CUDA_COUNT="$work/count" "$parity" 1
count=$(rows | wc -l)
late=$(($(cat "$work/count") * 2 / 3)) # so late that the second process does not get there

for kind in device crash hang; do
    expect "$kind fails" 1 'FAILED' env FAKE_CUDA_FAIL=$kind@$late MOQA_ROW_SECONDS=20 "$parity" 1
    check "$kind: every row is there" [ "$(rows | wc -l)" = "$count" ]
    bad=$(rows | cut -c39-44 | grep -n FAILED | head -n 1 | cut -d: -f1)
    check "$kind: rows before it" [ "${bad:-0}" -gt 1 ]
    check "$kind: it is the only one" [ "$(rows | cut -c39-44 | grep -c ok)" = $((count - 1)) ]
    [ $kind = device ] && check 'with its reason' grep -q 'FAILED.*fell off the bus' "$work/out"
    [ $kind = crash ] && check 'with its signal' grep -q 'FAILED.*ended with signal 6' "$work/out"
    [ $kind = hang ] && check 'with the time' grep -q 'FAILED.*no end after 20 s' "$work/out"
done

expect 'one operation' 0 '^matmul  *ok' "$parity" 1 small tf32 matmul
check 'and no other' [ "$(rows | wc -l)" = 1 ]
expect 'one that fails' 1 '^matmul  *FAILED' env FAKE_CUDA_FAIL=device@1 "$parity" 1 small tf32 matmul
expect 'one that is not there' 2 'no operation "nonsense"' "$parity" 1 small tf32 nonsense
expect 'no device' 77 'skipped.*finds no device' env FAKE_CUDA_DEVICES=0 "$parity" 1
finish
