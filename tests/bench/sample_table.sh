#!/usr/bin/env bash
# The methods side by side on the bundled sample: bits, size, perplexity, time of the pass.
#   tests/bench/sample_table.sh build/release/moqa
set -eu
moqa=$(realpath "$1")
cd "$(dirname "$0")/../.."
sample=data/sample
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
evaluation=("$sample"/text/evaluation/{encyclopedia-2,stories-1,letters-1}.txt)
export MOQA_PROGRESS=none

number() { sed -n "s/.*\"$1\":\([-0-9.eE+]*\).*/\1/p" | head -n 1; }
perplexity() { "$moqa" eval "$1" --text "${evaluation[@]}" --window 256 --json | number perplexity; }
mib() { du -cb "$1"/*.safetensors | awk 'END { printf "%.2f", $1 / 1048576 }'; }

echo '| method | nominal bits | bits in the file | MiB | perplexity | pass, s |'
echo '|---|---|---|---|---|---|'
printf '| original (bf16) | 16 | 16 | %s | %.3f | |\n' "$(mib $sample/tiny-olmoe)" "$(perplexity $sample/tiny-olmoe)"
for run in gptq-4 gptq-3 gptq-2 rtn-4 rtn-3 moqa 'moeptq-r --bits 2.86 --seed 1'; do
    # shellcheck disable=SC2086
    summary=$("$moqa" plan $sample/trace.h5 --model $sample/tiny-olmoe --group-size 64 --json \
        -o "$work/plan.json" --method $run)
    rm -rf "$work/out"
    begin=$(date +%s%N)
    "$moqa" quantize "$work/plan.json" --model $sample/tiny-olmoe --calib $sample/trace.h5 -o "$work/out" 2>/dev/null
    spent=$(($(date +%s%N) - begin))
    printf '| %s | %.3f | %.3f | %s | %.3f | %.2f |\n' "${run%% *}" "$(number nominal_bits <<<"$summary")" \
        "$(number effective_bits <<<"$summary")" "$(mib "$work/out")" "$(perplexity "$work/out")" "${spent}e-9"
done
