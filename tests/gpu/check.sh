#!/usr/bin/env bash
# Everything that needs a GPU, in one command of less than ten minutes, with nothing from the network:
# builds the program and its CUDA module, holds every operation against the CPU's, quantizes the
# bundled sample on both, measures the stages of a layer and whole passes at the sizes of OLMoE-1B-7B
# and Qwen1.5-MoE-A2.7B on checkpoints that it makes, and prints one table.
#
#   tests/gpu/check.sh [BUILD]          BUILD: folder for the build (build/gpu)
#
#   MOQA_SYSROOT=PATH  Debian packages unpacked by tests/gpu/make_sysroot.sh, or a tar file of that
#                      folder, for a machine that lacks the -dev packages
#   MOQA_TRIALS=N      trials an operation (10)
#   MOQA_PARTS=LIST    of "operations sample stages olmoe qwen" (all), for two shorter commands
#   MOQA_SCRATCH=PATH  folder for the made checkpoints, 40 GB (a temporary one)
#   MOQA_SECONDS=N     seconds that all may take (590); what no time is left for is left out
#
# Exit status: 0 all agree, 1 something does not, 77 there is no nvcc or no GPU.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${1:-build/gpu}
started=$(date +%s)
parts=${MOQA_PARTS:-operations sample stages olmoe qwen}
mkdir -p "$build" || exit 1
log=$build/check.log
: >"$log"
rows=()
bad=0

skip() {
    echo "gpu check: skipped: $*"
    exit 77
}
# row STATE NAME TEXT
row() {
    rows+=("$(printf '%-8s %-45s %s' "$1" "$2" "$3")")
    [ "$1" = FAILED ] && bad=1
    return 0
}
finish() {
    echo
    printf '%-8s %-45s %s\n' state check figures
    printf '%s\n' "${rows[@]}"
    echo "$(($(date +%s) - started)) s; the build's and programs' words are in $log"
    exit $bad
}

# within_time SECONDS COMMAND...: at most so long, and not beyond the end; 124: no time
left() { echo $((${MOQA_SECONDS:-590} - ($(date +%s) - started))); }
within_time() {
    local most=$1 rest
    rest=$(left)
    shift
    [ "$rest" -lt 5 ] && return 124
    timeout $((rest < most ? rest : most)) "$@"
}
wanted() {
    [[ " $parts " == *" $1 "* ]] || return 1
    [ "$(left)" -ge "$2" ] && return 0
    row left "$1" "$(left) s left, at least $2 are needed; MOQA_PARTS=$1 runs it alone"
    return 1
}

nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null) || skip 'there is no nvcc'
if ! ls /dev/nvidia[0-9]* >/dev/null 2>&1 && ! nvidia-smi -L >/dev/null 2>&1; then
    skip 'there is no NVIDIA device'
fi

# --- Build ---
flags=(-DCMAKE_BUILD_TYPE=Release -DMOQA_CUDA=ON "-DCUDAToolkit_ROOT=$(dirname "$(dirname "$nvcc")")")
command -v ninja >/dev/null && flags+=(-G Ninja)
if [ -n "${MOQA_SYSROOT:-}" ]; then
    root=$(realpath "$MOQA_SYSROOT") || exit 1
    if [ -f "$root" ]; then
        mkdir -p "$build/sysroot" && tar -xf "$root" -C "$build/sysroot" || exit 1
        root=$(realpath "$build/sysroot")
    fi
    lib=$root/usr/lib/x86_64-linux-gnu
    folders=("$lib" "$root/lib/x86_64-linux-gnu" "$lib/openblas-pthread" "$lib/hdf5/serial")
    export PKG_CONFIG_SYSROOT_DIR=$root
    export PKG_CONFIG_LIBDIR=$lib/pkgconfig:$lib/openblas-pthread/pkgconfig:$root/usr/share/pkgconfig
    if ! command -v pkg-config >/dev/null; then
        printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$lib" "$root/usr/bin/pkgconf" >"$build/pkg-config"
        chmod +x "$build/pkg-config"
        flags+=("-DPKG_CONFIG_EXECUTABLE=$(realpath "$build")/pkg-config")
    fi
    link=-Wl,--disable-new-dtags # so that libraries of libraries are found there, too
    for folder in "${folders[@]}"; do
        link+=" -Wl,-rpath,$folder -Wl,-rpath-link,$folder"
    done
    flags+=("-DCMAKE_EXE_LINKER_FLAGS=$link" "-DCMAKE_MODULE_LINKER_FLAGS=$link"
        "-DCMAKE_LIBRARY_PATH=$lib")
fi
if ! { cmake -S . -B "$build" "${flags[@]}" &&
    cmake --build "$build" -j "$(nproc)" --target moqa moqa_cuda gpu_parity bench_gpu make_checkpoint; } >>"$log" 2>&1; then
    tail -n 30 "$log"
    row FAILED build 'see above'
    finish
fi
cmake --build "$build" -j "$(nproc)" --target bench_cusolver >>"$log" 2>&1 # where there is cuSOLVER
row ok build "$(($(date +%s) - started)) s"
moqa=$build/moqa
export MOQA_CUDA_MODULE=$PWD/$build/libmoqa_cuda.so MOQA_PROGRESS=none
[ "${build#/}" = "$build" ] || MOQA_CUDA_MODULE=$build/libmoqa_cuda.so
devices=$("$moqa" inspect --devices 2>&1)
echo "$devices" | tee -a "$log"
grep -q '^no_gpu' <<<"$devices" && skip "$(sed -n 's/^no_gpu *//p' <<<"$devices")"

if readelf -d "$moqa" 2>/dev/null | grep -qiE 'NEEDED.*(cuda|cublas)'; then
    row FAILED 'the program without CUDA' 'it needs a CUDA library'
else
    row ok 'the program without CUDA' 'no CUDA library is needed'
fi

# --- Every operation, with the products of tensor cores and with all bits of float32 ---
operations() { # SIZES PRODUCTS
    within_time 90 "$build/tests/gpu_parity" "${MOQA_TRIALS:-10}" "$1" "$2" >"$build/parity.txt" 2>>"$log"
    local status=$?
    cat "$build/parity.txt" >>"$log"
    while IFS= read -r line; do
        name=$(cut -c1-37 <<<"$line" | sed 's/ *$//')
        state=$(cut -c39-44 <<<"$line" | tr -d ' ')
        row "$state" "$name ($1, $2)" "$(cut -c46- <<<"$line" | awk '{ $1 = "worst " $1; $2 = "of " $2; $3 = "unequal " $3; $4 = "of " $4; print }')"
    done < <(tail -n +3 "$build/parity.txt")
    [ $status -eq 0 ] || row FAILED "operations ($1, $2)" "exit status $status"
}
if wanted operations 60; then
    operations small tf32
    operations small full
    operations large tf32
fi

# --- The sample from end to end ---
work=$(mktemp -d ${MOQA_SCRATCH:+-p "$MOQA_SCRATCH"})
trap 'rm -rf "$work"' EXIT
export XDG_STATE_HOME=$work/state XDG_CACHE_HOME=$work/cache
sample=data/sample
model=$sample/tiny-olmoe
evaluation=("$sample"/text/evaluation/{encyclopedia-2,stories-1,letters-1}.txt)
number() { sed -n "s/.*\"$1\":\([-0-9.eE+]*\).*/\1/p" "$2" | head -n 1; }
perplexity() { # BACKEND MODEL
    "$moqa" eval "$2" --backend "$1" --text "${evaluation[@]}" --window 256 --json >"$work/json" 2>>"$log" &&
        number perplexity "$work/json"
}
# within NAME A B PART: two figures that must agree
within() {
    if awk -v a="$2" -v b="$3" -v r="$4" 'BEGIN { d = a - b; if (d < 0) d = -d; exit !(a > 0 && b > 0 && d <= r * b) }'; then
        row ok "$1" "$2 on the GPU, $3 on the CPU"
    else
        row FAILED "$1" "${2:-nothing} on the GPU, ${3:-nothing} on the CPU"
    fi
}
run_sample() {
    within 'perplexity of the sample' "$(perplexity cuda $model)" "$(perplexity cpu $model)" 0.0005
    for method in gptq-3 moqa; do
        "$moqa" plan $sample/trace.h5 --model $model --group-size 64 --method $method -o "$work/plan.json" >>"$log" 2>&1
        for backend in cpu cuda; do
            begin=$(date +%s%N)
            "$moqa" quantize "$work/plan.json" --model $model --calib $sample/trace.h5 --backend $backend \
                -o "$work/$method-$backend" >>"$log" 2>&1 || row FAILED "quantize $method, $backend" "see $log"
            row ok "quantize $method, $backend" "$((($(date +%s%N) - begin) / 1000000)) ms"
            if [ $backend = cuda ] && grep -q '"note"' "$work/$method-cuda/moqa_report.json"; then
                row FAILED "quantize $method, cuda" 'not all layers were computed on the GPU'
            fi
        done
        within "perplexity after $method" "$(perplexity cpu "$work/$method-cuda")" \
            "$(perplexity cpu "$work/$method-cpu")" 0.005
    done
}
wanted sample 30 && run_sample

# --- Stages of a layer at the size of OLMoE-1B-7B ---
stages() { # PROGRAM ARGUMENTS...
    within_time 120 "$@" >"$build/bench.json" 2>>"$log"
    local status=$?
    cat "$build/bench.json" >>"$log"
    while IFS= read -r line; do
        stage=$(sed -n 's/.*"stage": "\([^"]*\)".*/\1/p' <<<"$line")
        row bench "$stage" "$(sed 's/.*"seconds"/"seconds"/; s/[{}"]//g; s/:/ /g; s/,/ /g' <<<"$line")"
    done <"$build/bench.json"
    [ $status -eq 0 ] || row FAILED "stages: $(basename "$1")" "exit status $status"
}
if wanted stages 30; then
    stages "$build/tests/bench/bench_gpu" cuda
    stages "$build/tests/bench/bench_gpu" cuda 65536 64 full # a quarter of the tokens
    [ -x "$build/tests/bench/bench_cusolver" ] && stages "$build/tests/bench/bench_cusolver"
fi

# --- Whole passes: 128 windows of 2,048 tokens, 4 bits, written and synced ---
cool() { # FOLDER: out of the page cache
    sync -f "$1"
    for file in "$1"/*.safetensors; do
        dd if="$file" of=/dev/null iflag=nocache count=0 status=none
    done
}
# pass NAME MODEL FLOOR: seconds of one pass over its floor
pass() {
    local begin seconds
    rm -rf "$work/out"
    begin=$(date +%s%N)
    if ! within_time 240 "$moqa" quantize "$work/plan.json" --model "$2" --calib "$work/text" --samples 128 \
        --window 2048 --backend cuda -o "$work/out" >>"$log" 2>&1; then
        row FAILED "$1" "after $((($(date +%s%N) - begin) / 1000000)) ms, see $log"
        return
    fi
    seconds=$(awk -v ns=$(($(date +%s%N) - begin)) 'BEGIN { printf "%.2f", ns / 1e9 }')
    state=$(awk -v s="$seconds" -v f="$3" 'BEGIN { print s <= 3 * f ? "ok" : "slow" }')
    grep -q '"note"' "$work/out/moqa_report.json" && state=FAILED && bad=1
    row "$state" "$1" "$seconds s, floor $3 s, ratio $(awk -v s="$seconds" -v f="$3" 'BEGIN { printf "%.2f", s / f }') (of 3)"
}
# model SHAPE LAYERS WARM-FLOOR COLD-FLOOR GIGABYTES
model() {
    local free made=$work/$1 begin=$SECONDS
    free=$(df --output=avail -B1G "$work" | tail -n 1 | tr -d ' ')
    if [ "$free" -lt "$5" ]; then
        row left "$1" "$free GB free in $work, $5 are needed; MOQA_SCRATCH names another folder"
        return
    fi
    if ! within_time 150 "$build/tests/bench/make_checkpoint" "$1" "$2" "$made" $sample/tiny-olmoe >>"$log" 2>&1; then
        row FAILED "$1" "no checkpoint could be made, see $log"
        rm -rf "$made"
        return
    fi
    row ok "$1, made" "$((SECONDS - begin)) s, $(du -sBG "$made" | cut -f1)"
    for _ in $(seq 40); do cat $sample/text/*/*.txt; done >"$work/text"
    within_time 120 "$moqa" trace --model "$made" --text "$work/text" --samples 2 --window 2048 \
        --backend cuda -o "$work/trace.h5" >>"$log" 2>&1
    if ! "$moqa" plan "$work/trace.h5" --model "$made" --method gptq-4 -o "$work/plan.json" >>"$log" 2>&1; then
        row FAILED "$1" "no plan could be made, see $log"
    else
        "$moqa" quantize "$work/plan.json" --model "$made" --calib "$work/text" --samples 128 \
            --window 2048 --backend cuda -o "$work/out" --dry-run 2>&1 | tee -a "$log" | grep -i memory
        cool "$made"
        pass "$1, cold" "$made" "$4"
        cat "$made"/*.safetensors >/dev/null
        pass "$1, warm" "$made" "$3"
    fi
    rm -rf "$made" "$work/out"
}
# Floors of one H100: docs/benchmarks.md, "One GPU".
wanted olmoe 90 && model olmoe-1b-7b 16 2.5 8.8 20
wanted qwen 150 && model qwen1.5-moe-a2.7b 24 4.4 18.5 40
finish
