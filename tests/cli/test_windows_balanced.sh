#!/usr/bin/env bash
# Calibration windows of a trace by `windows = balanced`, and of a text, which has no routing.
. "$(dirname "$0")/common.bash"
trace=$TEST_GOLDEN/tiny-olmoe/trace.h5

# least KIND [OPTION...]: fewest tokens of an expert in the report of a pass over 16 windows
least() {
    "$MOQA" plan "$trace" --model "$sample_model" --method rtn-8 --windows "$@" -o "$work/$1.json" >"$work/log" 2>&1
    "$MOQA" quantize "$work/$1.json" --model "$sample_model" --calib "$trace" --samples 16 -o "$work/$1" >"$work/log" 2>&1
    grep -o '"tokens": *[0-9]*' "$work/$1/moqa_report.json" | grep -o '[0-9]*$' | sort -n | head -n 1
}
order=$(least order)
balanced=$(least balanced)
check "the least served expert sees more tokens ($balanced) than in order ($order)" \
    [ "$balanced" -gt "$order" ]
expect 'the same windows again' 0 '' \
    "$MOQA" quantize "$work/balanced.json" --model "$sample_model" --calib "$trace" --samples 16 -o "$work/again"
check 'the same calibration' cmp <(grep -A5 '"calibration"' "$work/balanced/moqa_report.json") \
    <(grep -A5 '"calibration"' "$work/again/moqa_report.json")
expect 'a text has no routing' 2 'windows: found "balanced", expected order, random or weighted for a text' \
    "$MOQA" quantize "$work/balanced.json" --model "$sample_model" --calib "${calibration[@]}" -o "$work/none"
check 'nothing is written' [ ! -e "$work/none" ]
expect 'nor has it while it is traced' 2 'windows: found "balanced"' \
    "$MOQA" trace --model "$sample_model" --text "${calibration[@]}" --windows balanced -o "$work/t.h5"
expect 'no window of the length' 3 'trace.h5: holds no window of 200 tokens' \
    "$MOQA" quantize "$work/balanced.json" --model "$sample_model" --calib "$trace" --window 200 -o "$work/none"
finish
