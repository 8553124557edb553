#!/usr/bin/env bash
# Excess loss (mean negative log-likelihood above the original's) of plans within a budget beside
# uniform GPTQ, on a model and its texts: the mean over the seeds of the calibration, one column a
# text and their mean.
#
#   bench_budget.sh MOQA MODEL TRACE CALIBRATION... -- TEXT...
#
# A TEXT may be several files, joined by commas.
# SEEDS (1 2 3), WINDOW (256), SAMPLES (64 calibration windows), LIMIT (0: all windows of a text),
# GROUP (64), BITS (2.25 2.4 2.5 3 3.3 3.5) can be set in the environment.
set -eu
moqa=$1 model=$2 trace=$3
shift 3
calibration=()
while [ "$1" != -- ]; do
    calibration+=("$1")
    shift
done
shift
texts=("$@")
seeds=${SEEDS:-1 2 3} window=${WINDOW:-256} samples=${SAMPLES:-64} limit=${LIMIT:-0}
group=${GROUP:-64} bits=${BITS:-2.25 2.4 2.5 3 3.3 3.5}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export MOQA_PROGRESS=none
rounding=(--scale-search on)
calib=(--calib "${calibration[@]}" --samples "$samples" --window "$window")

nll() { # MODEL TEXT
    local count=() files
    [ "$limit" = 0 ] || count=(--samples "$limit")
    IFS=, read -ra files <<<"$2"
    "$moqa" eval "$1" --text "${files[@]}" --window "$window" "${count[@]}" --json |
        sed -n 's/.*"perplexity":\([-0-9.eE+]*\).*/\1/p' | awk '{ printf "%.10f\n", log($1) }'
}

# excess SEED OPTION...: a line with the excess on every text
excess() {
    local seed=$1 i=0
    shift
    rm -rf "$work/out"
    "$moqa" plan "$trace" --model "$model" --group-size "$group" --windows random --seed "$seed" "$@" \
        -o "$work/plan.json" >"$work/log"
    "$moqa" quantize "$work/plan.json" --model "$model" "${calib[@]}" -o "$work/out" 2>>"$work/log"
    for text in "${texts[@]}"; do
        awk -v a="$(nll "$work/out" "$text")" -v b="${original[i]}" 'BEGIN { printf "%.6f ", a - b }'
        i=$((i + 1))
    done
    echo
}

# row NAME OPTION...: @LOSSES stands for the seed's own losses
row() {
    local name=$1
    shift
    for seed in $seeds; do
        excess "$seed" "${@/@LOSSES/$work/losses-$seed.json}"
    done | awk -v name="$name" '{
        for (i = 1; i <= NF; i++) { sum[i] += $i; all += $i }
        fields = NF
    } END {
        printf "| %-22s", name
        for (i = 1; i <= fields; i++) printf " | %7.4f", sum[i] / NR
        printf " | %7.4f |\n", all / NR / fields
    }'
}

original=()
for text in "${texts[@]}"; do
    original+=("$(nll "$model" "$text")")
done
for seed in $seeds; do
    "$moqa" losses --model "$model" "${calib[@]}" --windows random --seed "$seed" --group-size "$group" \
        "${rounding[@]}" -o "$work/losses-$seed.json" 2>"$work/log"
done
for b in 2 3 4; do
    row "gptq-$b" --method "gptq-$b"
done
for b in 2 3 4; do
    row "gptq-$b, search, shift" --method "gptq-$b" "${rounding[@]}" --shift on
done
for b in $bits; do
    row "budget $b" --method budget --bits "$b" --losses @LOSSES "${rounding[@]}" --shift on
done
