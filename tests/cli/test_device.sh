#!/usr/bin/env bash
# A GPU on the command line: the module is tests/gpu/fake_cuda, which computes on the CPU.
. "$(dirname "$0")/common.bash"
golden_trace=$TEST_GOLDEN/tiny-olmoe/trace.h5
export MOQA_CUDA_MODULE=$FAKE_CUDA
escape=$(printf '\033')

needs_no_cuda() { ! readelf -d "$MOQA" | grep -iE 'NEEDED.*(cuda|cublas|nvidia)'; }
check 'the program needs no CUDA library' needs_no_cuda

expect 'the devices are listed' 0 '^cpu +[0-9]+ thread' "$MOQA" inspect --devices
check 'with their names' grep -q 'Fake' "$work/out"
check 'without what would steer the terminal' bash -c "! grep -q '$escape' '$work/out'"
expect 'a device that cannot be used says why' 0 'usable +compute capability 3.0' \
    env FAKE_CUDA_DEVICES=3 "$MOQA" inspect --devices
expect 'no device says why' 0 'no_gpu +the CUDA driver finds no device' \
    env FAKE_CUDA_DEVICES=0 "$MOQA" inspect --devices
expect 'as JSON' 0 '"gpus":\{"0":\{' "$MOQA" inspect --devices --json
expect 'not a file as well' 2 'stands alone' "$MOQA" inspect --devices "$golden_trace"
expect 'a file or the devices' 2 'FILE.DIR is missing' "$MOQA" inspect

short=(--text "${evaluation[2]}" --window 128 --samples 4)
expect 'a device is named' 0 'computing on fake device 1' \
    env FAKE_CUDA_DEVICES=2 "$MOQA" eval "$sample_model" "${short[@]}" --device 1
expect 'a number that is not there' 2 'device: found 4, expected 0 to 0' \
    "$MOQA" eval "$sample_model" "${short[@]}" --device 4
expect 'memory that is no number' 2 'device-memory: found "40G", expected GiB' \
    "$MOQA" eval "$sample_model" "${short[@]}" --device-memory 40G
expect 'a number for the CPU' 2 '--device is for a GPU' \
    "$MOQA" eval "$sample_model" "${short[@]}" --backend cpu --device 0
expect 'auto falls back' 0 'computing on the CPU: the CUDA driver finds no device' \
    env FAKE_CUDA_DEVICES=0 "$MOQA" eval "$sample_model" "${short[@]}"

perplexity() { "$MOQA" eval "$sample_model" "${short[@]}" --json "$@" 2>"$work/log" >"$work/json" && number perplexity "$work/json"; }
want=$(perplexity --backend cpu)
check 'an evaluation goes on after a failure' [ "$(FAKE_CUDA_FAIL=device@100 perplexity)" = "$want" ]
check 'and says so' grep -q 'the GPU failed; on the CPU from here on' "$work/log"

traced() { "$MOQA" trace --model "$sample_model" "${short[@]}" -o "$1" "${@:2}"; }
expect 'a trace on the CPU' 0 'wrote' traced "$work/cpu.h5" --backend cpu
expect 'a trace goes on after a failure' 0 'the GPU failed' env FAKE_CUDA_FAIL=device@60 \
    "$MOQA" trace --model "$sample_model" "${short[@]}" -o "$work/gpu.h5"
report() { "$MOQA" analyze "$1" --group-size 64 --json | sed 's/"created":"[^"]*"//; s/gpu\.h5/cpu.h5/g'; }
check 'with the same routing' [ "$(report "$work/gpu.h5")" = "$(report "$work/cpu.h5")" ]

expect 'plan' 0 'bits' "$MOQA" plan "$golden_trace" --model "$sample_model" --group-size 64 -o "$work/p.json"
quantize() { "$MOQA" quantize "$work/p.json" --model "$sample_model" --calib "$golden_trace" --samples 4 "$@"; }
expect 'a dry run names device and memory' 0 '^device memory  *about' quantize -o "$work/dry" --dry-run
check 'and the device' grep -qE '^device +cuda: fake device 0' "$work/out"
expect 'quantize on the CPU' 0 'wrote' quantize -o "$work/cpu" --backend cpu
export FAKE_CUDA_FAIL=device@2000
expect 'quantize with a device that fails' 0 'on the CPU from here on' quantize -o "$work/gpu"
shards() { (cd "$1" && sha256sum *.safetensors); }
check 'the same bytes' [ "$(shards "$work/cpu")" = "$(shards "$work/gpu")" ]
check 'the report says where' grep -q '"note"' "$work/gpu/moqa_report.json"
finish
