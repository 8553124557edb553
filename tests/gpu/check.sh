#!/usr/bin/env bash
# Everything that needs a GPU, in one command of less than ten minutes, with nothing from the network:
# builds the program and its CUDA module, holds every operation against the CPU's, quantizes the
# bundled sample on both, measures the stages of a layer, and prints one table.
#
#   tests/gpu/check.sh [BUILD]          BUILD: folder for the build (build/gpu)
#
#   MOQA_SYSROOT=PATH  Debian packages unpacked by tests/gpu/make_sysroot.sh, or a tar file of that
#                      folder, for a machine that lacks the -dev packages
#   MOQA_TRIALS=N      trials an operation (10)
#
# Exit status: 0 all agree, 1 something does not, 77 there is no nvcc or no GPU.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${1:-build/gpu}
started=$(date +%s)
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
    cmake --build "$build" -j "$(nproc)" --target moqa moqa_cuda gpu_parity bench_gpu; } >>"$log" 2>&1; then
    tail -n 30 "$log"
    row FAILED build 'see above'
    finish
fi
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

# --- Every operation ---
for sizes in small large; do
    timeout 150 "$build/tests/gpu_parity" "${MOQA_TRIALS:-10}" $sizes >"$build/parity.txt" 2>>"$log"
    status=$?
    cat "$build/parity.txt" >>"$log"
    while IFS= read -r line; do
        name=$(cut -c1-37 <<<"$line" | sed 's/ *$//')
        state=$(cut -c39-44 <<<"$line" | tr -d ' ')
        row "$state" "$name ($sizes)" "$(cut -c46- <<<"$line" | awk '{ $1 = "worst " $1; $2 = "of " $2; $3 = "unequal " $3; $4 = "of " $4; print }')"
    done < <(tail -n +3 "$build/parity.txt")
    [ $status -eq 0 ] || row FAILED "operations ($sizes)" "exit status $status"
done

# --- The sample from end to end ---
work=$(mktemp -d)
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

# --- Stages of a layer at the size of OLMoE-1B-7B ---
timeout 200 "$build/tests/bench/bench_gpu" cuda >"$build/bench.json" 2>>"$log"
status=$?
cat "$build/bench.json" >>"$log"
while IFS= read -r line; do
    stage=$(sed -n 's/.*"stage": "\([^"]*\)".*/\1/p' <<<"$line")
    row bench "$stage" "$(sed 's/.*"seconds"/"seconds"/; s/[{}"]//g; s/:/ /g; s/,/ /g' <<<"$line")"
done <"$build/bench.json"
[ $status -eq 0 ] || row FAILED 'stages of a layer' "exit status $status"
finish
