#!/usr/bin/env bash
# The main job from text to an evaluated checkpoint, against figures from transformers and numpy.
. "$(dirname "$0")/common.bash"
golden_trace=$TEST_GOLDEN/tiny-olmoe/trace.h5
qwen=$TEST_GOLDEN/tiny-qwen2moe/model

perplexity() { "$MOQA" eval "$@" --json >"$work/json" && number perplexity "$work/json"; }
check 'perplexity of tiny-olmoe, windows of 256' \
    within "$(perplexity "$sample_model" --text "${evaluation[@]}" --window 256)" 66.47088563420223 1e-4
check 'perplexity of tiny-olmoe, windows of 1024' \
    within "$(perplexity "$sample_model" --text "${evaluation[@]}" --window 1024)" 87.11584135317806 1e-4
check 'perplexity of tiny-qwen2moe, windows of 256' \
    within "$(perplexity "$qwen" --text "${evaluation[@]}" --window 256)" 69.64507887618669 1e-4
check 'perplexity of tiny-qwen2moe, windows of 1024' \
    within "$(perplexity "$qwen" --text "${evaluation[@]}" --window 1024)" 107.0824500340211 1e-4

expect 'trace' 0 'wrote .*16384 positions in 64 windows, 6 layers, 32 experts' \
    "$MOQA" trace --model "$sample_model" --text "${calibration[@]}" --window 256 --samples 64 -o "$work/t.h5"
expect 'inspect the trace' 0 '^dataset +encyclopedia-1.txt, handbook-1.txt, computing-1.txt' "$MOQA" inspect "$work/t.h5"
expect 'report' 0 'Zipf' "$MOQA" analyze "$work/t.h5"
expect 'open without a terminal prints the report' 0 'Zipf' "$MOQA" "$work/t.h5"

expect 'plan' 0 'moqa: 2\.9205 bits a weight nominal' \
    "$MOQA" plan "$golden_trace" --model "$sample_model" --group-size 64 -o "$work/moqa.json"
expect 'plan of a baseline' 0 'gptq-3: 3\.0000 bits' \
    "$MOQA" plan "$golden_trace" --model "$sample_model" --group-size 64 --method gptq-3 -o "$work/gptq3.json"
expect 'pin' 0 '1 x 16, ' "$MOQA" plan "$golden_trace" --model "$sample_model" --pin 0.17=16 --dry-run
expect 'inspect the plan' 0 '^nominal_bits +2\.92' "$MOQA" inspect "$work/moqa.json"

expect 'losses' 0 "wrote $work/losses.json" \
    "$MOQA" losses --model "$sample_model" --calib "$golden_trace" --group-size 64 --samples 16 -o "$work/losses.json"
expect 'inspect the losses' 0 '^predicted_rise_3_bits +0\.0[1-9]' "$MOQA" inspect "$work/losses.json"
expect 'losses are not overwritten' 2 'is there already; --resume goes on' \
    "$MOQA" losses --model "$sample_model" --calib "$golden_trace" --group-size 64 --samples 16 -o "$work/losses.json"
expect 'widths that cannot be measured' 2 '--widths: found "3,2"' \
    "$MOQA" losses --model "$sample_model" --calib "$golden_trace" --widths 3,2 -o "$work/no.json"
budget() {
    "$MOQA" plan "$golden_trace" --model "$sample_model" --group-size 64 --losses "$work/losses.json" "$@"
}
expect 'plan within a budget' 0 'ln perplexity rises by 0\.0' budget --method budget --bits 2.5 -o "$work/budget.json"
check 'it uses the budget' grep -qE '^budget: 2\.(49[0-9]*|5000) bits a weight nominal' "$work/out"
expect 'budget in bytes' 0 '^budget: ' budget --method budget --bytes 2000000 --dry-run
expect 'budget that nothing fits in' 2 'expected 2, what the narrowest widths take' budget --method budget --bits 1.5 --dry-run
expect 'losses of other settings' 2 'measured with damping = 0.01, the plan has 0.02' \
    budget --method budget --bits 3 --damping 0.02 --dry-run
for method in first-layers frequent outlier importance; do
    expect "plan by $method" 0 "^$method: 2\.5" budget --method $method --bits 2.5 --dry-run
done

# quantize PLAN OUT [OPTION...]
quantize() {
    local plan=$1 out=$2
    shift 2
    "$MOQA" quantize "$plan" --model "$sample_model" --calib "$golden_trace" -o "$out" "$@"
}
hashes() { (cd "$1" && find . -type f | sort | xargs sha256sum); }

expect 'dry run tells all weights from those of experts' 0 \
    '^checkpoint after  *3.77 MiB of weights, experts alone 1.97 MiB$' quantize "$work/moqa.json" "$work/dry" --dry-run
expect 'dry run writes nothing' 0 'free on disk' quantize "$work/moqa.json" "$work/dry" --dry-run
check 'no folder after a dry run' [ ! -e "$work/dry" ]
expect 'quantize' 0 "wrote $work/moqa" quantize "$work/moqa.json" "$work/moqa" --threads 1
expect 'again on two threads' 0 "wrote $work/moqa-2" quantize "$work/moqa.json" "$work/moqa-2" --threads 2
check 'the same bytes on one and two threads' [ "$(hashes "$work/moqa")" = "$(hashes "$work/moqa-2")" ]
expect 'an output that exists is refused' 2 'exists' quantize "$work/moqa.json" "$work/moqa"
expect 'inspect the checkpoint' 0 '^quantization +moqa' "$MOQA" inspect "$work/moqa"
check 'perplexity of the moqa plan as numpy found it' \
    within "$(perplexity "$work/moqa" --text "${evaluation[@]}" --window 256)" 67.60561907650654 0.01
expect 'and how far it is from the original' 0 'divergence 0\.0[0-9]+ ± 0\.00' \
    "$MOQA" eval "$work/moqa" --text "${evaluation[0]}" --window 256 --samples 8 --original "$sample_model"
expect 'as JSON, too' 0 '"divergence":0\.0[0-9]+,"divergence_error":0\.00' \
    "$MOQA" eval "$work/moqa" --text "${evaluation[0]}" --window 256 --samples 8 --original "$sample_model" --json
expect 'of a task there is none' 2 'original belongs to --text' \
    "$MOQA" eval "$work/moqa" --task piqa --data none.jsonl --original "$sample_model"

for format in gptq gptq_v2 hf; do
    expect "quantize to $format" 0 "wrote $work/$format" quantize "$work/gptq3.json" "$work/$format" --format $format
    check "perplexity of gptq-3 in $format as numpy found it" \
        within "$(perplexity "$work/$format" --text "${evaluation[@]}" --window 256)" 67.64280747995535 0.01
done
expect 'mixed channels do not fit the gptq format' 0 'channel' quantize "$work/moqa.json" "$work/mixed" --format gptq

expect 'a plan for another model' 3 'model_type|config' \
    "$MOQA" quantize "$work/moqa.json" --model "$qwen" --calib "$golden_trace" -o "$work/other"
expect 'a trace of another model' 3 'layers|experts' "$MOQA" plan "$golden_trace" --model "$qwen" -o "$work/x.json"
finish
