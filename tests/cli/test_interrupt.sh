#!/usr/bin/env bash
# A pass that is killed at random moments and resumed ends in the same bytes.
. "$(dirname "$0")/common.bash"
trace=$TEST_GOLDEN/tiny-olmoe/trace.h5
kills=${MOQA_KILLS:-4}
RANDOM=${MOQA_SEED:-20}

"$MOQA" plan "$trace" --model "$sample_model" --group-size 64 -o "$work/plan.json" >/dev/null
quantize=("$MOQA" quantize "$work/plan.json" --model "$sample_model" --calib "$trace" --samples 16 -o)
hashes() { (cd "$1" && find . -type f | sort | xargs sha256sum); }
# The configuration comes last but for the journal's removal: with a journal there is more to do.
unfinished() { [ ! -e "$1/config.json" ] || [ -e "$1/.moqa" ]; }
same_bytes() { diff <(hashes "$work/whole") <(hashes "$1"); }
begin=$(date +%s%N)
"${quantize[@]}" "$work/whole" 2>/dev/null
spent=$((($(date +%s%N) - begin) / 1000000))
check 'uninterrupted run' [ -e "$work/whole/config.json" ]

for i in $(seq "$kills"); do
    out=$work/killed-$i
    "${quantize[@]}" "$out" 2>/dev/null &
    pid=$!
    sleep "$(awk -v ms=$((RANDOM % (spent + 1))) 'BEGIN { print ms / 1000 }')"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    if unfinished "$out"; then
        expect "resume $i" 0 "wrote $out" "${quantize[@]}" "$out" --resume
    fi
    check "same bytes after kill $i" same_bytes "$out"
done

out=$work/signalled
"${quantize[@]}" "$out" >"$work/log" 2>&1 &
pid=$!
while [ ! -e "$out/model-00001-of-00007.safetensors" ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
kill -INT $pid
wait $pid
status=$?
if [ $status -eq 0 ]; then
    check 'the run was already done' [ ! -e "$out/.moqa" ]
else
    check 'SIGINT exits with 4' [ $status -eq 4 ]
    check 'it says how to go on' grep -q -- '--resume goes on' "$work/log"
    expect 'a run in progress is not overwritten' 2 'resume' "${quantize[@]}" "$out"
    "$MOQA" plan "$trace" --model "$sample_model" --group-size 64 --alpha 0.9 -o "$work/other.json" >/dev/null
    expect 'resume with another plan is refused' 2 'plan' "$MOQA" quantize "$work/other.json" \
        --model "$sample_model" --calib "$trace" --samples 16 -o "$out" --resume
    expect 'resume with other calibration is refused' 2 'calib' "$MOQA" quantize "$work/plan.json" \
        --model "$sample_model" --calib "$trace" --samples 8 -o "$out" --resume
    expect 'resume' 0 "wrote $out" "${quantize[@]}" "$out" --resume
fi
check 'same bytes after SIGINT' same_bytes "$out"
finish
