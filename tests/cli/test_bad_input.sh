#!/usr/bin/env bash
# Bad files: one clear sentence and exit 3; nothing is written.
. "$(dirname "$0")/common.bash"
trace=$TEST_GOLDEN/tiny-olmoe/trace.h5

head -c 700000 "$trace" >"$work/truncated.h5"
expect 'truncated trace' 3 'truncated.h5: ' "$MOQA" analyze "$work/truncated.h5"
check 'one line' [ "$(wc -l <"$work/out")" = 1 ]
echo 'no trace at all' >"$work/text.h5"
expect 'text as a trace' 3 'text.h5: ' "$MOQA" "$work/text.h5"
expect 'missing file' 3 'No such file' "$MOQA" analyze "$work/missing.h5"
expect 'folder as a trace' 3 'moqa: ' "$MOQA" analyze "$work"

# A checkpoint folder that shares the sample's files, with one of them replaced.
broken() {
    rm -rf "$work/model"
    mkdir "$work/model"
    cp "$sample_model/config.json" "$sample_model/tokenizer.json" "$work/model/"
}
# safetensors HEADER BYTES-OF-DATA
safetensors() {
    local length=${#1} i
    for i in 0 8 16 24 32 40 48 56; do
        printf "\\x$(printf %02x $(((length >> i) & 255)))"
    done
    printf '%s' "$1"
    head -c "$2" /dev/zero
}
broken
safetensors '{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[4],"data_offsets":[8,24]}}' 24 \
    >"$work/model/model.safetensors"
expect 'overlapping tensors' 3 'model.safetensors: .*(b|a).*overlap' "$MOQA" inspect "$work/model"
safetensors '{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}' 12 >"$work/model/model.safetensors"
expect 'data cut off' 3 'model.safetensors: ' "$MOQA" inspect "$work/model"
broken
echo '{"metadata":{},"weight_map":{"lm_head.weight":"../model.safetensors"}}' >"$work/model/model.safetensors.index.json"
expect 'shard outside the folder' 3 'index.json: .*\.\./model.safetensors' "$MOQA" inspect "$work/model"
broken
cp "$sample_model/model.safetensors" "$work/model/"
sed 's/"olmoe"/"llama"/' "$sample_model/config.json" >"$work/model/config.json"
expect 'unsupported model type' 3 'config.json: .*llama.*olmoe' "$MOQA" eval "$work/model" --text "${evaluation[0]}"
sed 's/"hidden_size": 128/"hidden_size": 136/' "$sample_model/config.json" >"$work/model/config.json"
expect 'shape that does not fit' 3 'tensor model.embed_tokens.weight .*2048 x 128, config.json asks for 2048 x 136' "$MOQA" eval "$work/model" --text "${evaluation[0]}" --window 256
echo '{"model_type": "olmoe",' >"$work/model/config.json"
expect 'broken config' 3 'config.json: at byte .*not valid JSON' "$MOQA" inspect "$work/model"

"$MOQA" plan "$trace" --model "$sample_model" -o "$work/plan.json" >/dev/null
sed 's/"bits": 4,/"bits": 5,/' "$work/plan.json" >"$work/bad-bits.json"
expect 'plan with other bits' 3 'bad-bits.json: layers\[.*bits: found 5' "$MOQA" inspect "$work/bad-bits.json"
head -c 5000 "$work/plan.json" >"$work/cut.json"
expect 'plan cut off' 3 'cut.json: at byte .*not valid JSON' \
    "$MOQA" quantize "$work/cut.json" --model "$sample_model" --calib "$trace" -o "$work/out-dir"
sed 's/"schema_version": 1/"schema_version": 99/' "$work/plan.json" >"$work/new.json"
expect 'plan of a later version' 3 'schema_version: found 99, expected 3' "$MOQA" inspect "$work/new.json"
expect 'two traces to calibrate on' 3 'trace.h5: is an HDF5 file, expected a text' \
    "$MOQA" quantize "$work/plan.json" --model "$sample_model" --calib "$trace" "$trace" -o "$work/out-dir"
expect 'trace to evaluate on' 3 'trace.h5: is an HDF5 file, expected a text' \
    "$MOQA" eval "$sample_model" --text "$trace"
check 'nothing was written' [ ! -e "$work/out-dir" ]
printf 'bad \033[2J name' >"$work/"$'evil\033[2J.h5'
expect 'no escape reaches the terminal' 3 'evil\\x1B\[2J\.h5' "$MOQA" analyze "$work/"$'evil\033[2J.h5'
check 'no control byte in the message' [ -z "$(LC_ALL=C tr -d '\n -~' <"$work/out")" ]
# What cannot be written is told before a device is opened, which there is none of.
early() {
    expect "$1 that cannot be written" 1 'nowhere/.*: cannot create: No such file' \
        env MOQA_CUDA_MODULE=/dev/null "${@:2}" --backend cuda
}
early 'a trace' "$MOQA" trace --model "$sample_model" --text "${calibration[0]}" --samples 2 --window 64 -o "$work/nowhere/t.h5"
early 'a picture' "$MOQA" compare "$trace" --model "$sample_model" --text "${evaluation[0]}" --methods gptq-4 \
    --runs "$work/none" --picture "$work/nowhere/p.svg"
expect 'losses that cannot be written' 1 'nowhere/.*: cannot create: No such file' \
    "$MOQA" losses --model "$sample_model" --calib "$trace" --samples 1 -o "$work/nowhere/losses.json"
check 'no run is made' [ ! -e "$work/none" ]
finish
