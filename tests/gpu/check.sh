#!/usr/bin/env bash
# Everything that needs a GPU, in one command of less than ten minutes, with nothing from the network:
# builds the program and its CUDA module, holds every operation against the CPU's, quantizes the
# bundled sample on both, measures the stages of a layer and whole passes at the sizes of OLMoE-1B-7B
# and Qwen1.5-MoE-A2.7B on checkpoints that it makes, and prints a row for each as soon as it is known.
#
#   tests/gpu/check.sh [BUILD]          BUILD: folder for the build (build/gpu)
#
#   OUT=PATH           folder for check.txt (the rows so far) and check.log (BUILD)
#   MOQA_SYSROOT=PATH  Debian packages unpacked by tests/gpu/make_sysroot.sh, or a tar file of that
#                      folder, for a machine that lacks the -dev packages
#   MOQA_TRIALS=N      trials an operation (10)
#   MOQA_PARTS=LIST    of "operations sample stages olmoe qwen" (all), for two shorter commands
#   MOQA_SCRATCH=PATH  folder for the made checkpoints, 40 GB (a temporary one)
#   MOQA_SECONDS=N     seconds that all may take (575); what no time is left for is left out
#
# Exit status: 0 all agree, 1 something does not, or a device that is there cannot be used; 77 there is
# no nvcc or no GPU.
set -u
started=$(date +%s)
cd "$(dirname "$0")/../.." || exit 1
build=${1:-build/gpu}
mkdir -p "$build" "${OUT:-$build}" || exit 1
build=$(realpath "$build")
out=$(realpath "${OUT:-$build}")
parts=${MOQA_PARTS:-operations sample stages olmoe qwen}
log=$out/check.log
table=$out/check.txt
: >"$log"
: >"$table"
bad=0

skip() {
    echo "gpu check: skipped: $*"
    exit 77
}
# row STATE NAME TEXT
row() {
    printf '%-8s %-45s %s\n' "$1" "$2" "$3" | tee -a "$table"
    [ "$1" = FAILED ] && bad=1
    return 0
}
finish() {
    printf '\n%-8s %-45s %s\n' state check figures
    cat "$table"
    echo "$(($(date +%s) - started)) s; the build's and programs' words are in $log"
    exit $bad
}
trap 'row left "the rest" interrupted; finish' INT TERM

# limited SECONDS COMMAND...: at most so long, and not beyond the end; 124 or 137: no time. A program
# that waits for a device may not hear the first signal.
left() { echo $((${MOQA_SECONDS:-575} - ($(date +%s) - started))); }
limited() {
    local most=$1 rest
    rest=$(left)
    shift
    [ "$rest" -lt 5 ] && return 124
    timeout -k 5 $((rest < most ? rest : most)) "$@"
}
# failed NAME STATUS TEXT: a row for a command that failed, or for which no time was left
failed() {
    local cause="exit status $2"
    if [ "$2" -eq 124 ] || [ "$2" -eq 137 ]; then
        cause='no end within its limit'
        if [ "$(left)" -lt 5 ]; then
            row left "$1" 'no time was left for it'
            return
        fi
    fi
    row FAILED "$1" "$cause, $3"
}
# enough NAME SECONDS
enough() {
    [ "$(left)" -ge "$2" ] && return 0
    row left "$1" "$(left) s left, at least $2 are needed"
    return 1
}
wanted() {
    [[ " $parts " == *" $1 "* ]] || return 1
    enough "$1" "$2" && return 0
    echo "         MOQA_PARTS=$1 runs it alone"
    return 1
}

nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null) || skip 'there is no nvcc'
if ! ls /dev/nvidia[0-9]* >/dev/null 2>&1 && ! limited 20 nvidia-smi -L >/dev/null 2>&1; then
    skip 'there is no NVIDIA device'
fi
toolkit=$(dirname "$(dirname "$nvcc")")

# --- What the build needs: a line each for what is not there ---
need() { # WHAT COMMAND...
    "${@:2}" >/dev/null 2>&1 || row FAILED "needed: $1" 'not found'
}
one_of() {
    for name in "$@"; do
        command -v "$name" && return 0
    done
    return 1
}
cmake_is_new() { [ "$(printf '%s\n' 3.25 "$(cmake --version | sed -n 's/^cmake version //p')" | sort -V | head -n 1)" = 3.25 ]; }
in_toolkit() { # FILE: a header or library of the toolkit
    local root
    for root in "$toolkit" "$(dirname "$(dirname "$(realpath "$nvcc")")")" /usr; do
        for folder in "$root"/{include,lib,lib64,lib/*-linux-gnu,targets/*/include,targets/*/lib}; do
            [ -e "$folder/$1" ] && return 0
        done
    done
    return 1
}
need 'cmake 3.25 or newer' cmake_is_new
need 'a C compiler' one_of "${CC:-cc}" gcc clang
need 'a C++ compiler' one_of "${CXX:-c++}" g++ clang++
need 'ninja or make' one_of ninja make
need 'nvcc that runs' "$nvcc" --version
for file in cublas_v2.h cuda_runtime_api.h libcudart_static.a libcublas.so; do
    need "$file of the CUDA toolkit" in_toolkit $file
done

# --- Build ---
flags=(-DCMAKE_BUILD_TYPE=Release -DMOQA_CUDA=ON "-DCUDAToolkit_ROOT=$toolkit")
command -v ninja >/dev/null && flags+=(-G Ninja)
pkg_config=pkg-config
if [ -n "${MOQA_SYSROOT:-}" ]; then
    root=$(realpath "$MOQA_SYSROOT") || exit 1
    if [ -f "$root" ]; then
        mkdir -p "$build/sysroot"
        limited 120 tar -xf "$root" -C "$build/sysroot" || row FAILED 'needed: MOQA_SYSROOT' "$root cannot be unpacked"
        root=$build/sysroot
    fi
    lib=$root/usr/lib/x86_64-linux-gnu
    folders=("$lib" "$root/lib/x86_64-linux-gnu" "$lib/openblas-pthread" "$lib/hdf5/serial")
    export PKG_CONFIG_SYSROOT_DIR=$root
    export PKG_CONFIG_LIBDIR=$lib/pkgconfig:$lib/openblas-pthread/pkgconfig:$root/usr/share/pkgconfig
    if ! command -v pkg-config >/dev/null; then
        pkg_config=$build/pkg-config
        printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$lib" "$root/usr/bin/pkgconf" >"$build/pkg-config"
        chmod +x "$build/pkg-config"
        flags+=("-DPKG_CONFIG_EXECUTABLE=$build/pkg-config")
    fi
    link=-Wl,--disable-new-dtags # so that libraries of libraries are found there, too
    for folder in "${folders[@]}"; do
        link+=" -Wl,-rpath,$folder -Wl,-rpath-link,$folder"
    done
    flags+=("-DCMAKE_EXE_LINKER_FLAGS=$link" "-DCMAKE_MODULE_LINKER_FLAGS=$link"
        "-DCMAKE_LIBRARY_PATH=$lib")
fi
need pkg-config "$pkg_config" --version
for library in jansson libcrypto libutf8proc libpcre2-8 gsl hdf5 openblas ncursesw cairo cairo-svg cairo-pdf cairo-png cmocka; do
    need "$library (a -dev package, or MOQA_SYSROOT)" "$pkg_config" --exists $library
done
[ $bad -eq 0 ] || finish
compile() { # TARGETS...
    limited 420 cmake --build "$build" -j "$(nproc)" --target "$@" >>"$log" 2>&1
}
limited 120 cmake -S . -B "$build" "${flags[@]}" >>"$log" 2>&1 &&
    compile moqa moqa_cuda gpu_parity bench_gpu make_checkpoint
status=$?
if [ $status -ne 0 ]; then
    tail -n 30 "$log"
    failed build $status 'see above'
    finish
fi
compile bench_cusolver # where there is cuSOLVER
row ok build "$(($(date +%s) - started)) s"
moqa=$build/moqa
export MOQA_CUDA_MODULE=$build/libmoqa_cuda.so MOQA_PROGRESS=none
devices=$(limited 60 "$moqa" inspect --devices 2>&1)
status=$?
echo "$devices" | tee -a "$log"
if [ $status -ne 0 ]; then
    failed 'the device' $status "see $log"
    finish
elif grep -q '^no_gpu' <<<"$devices"; then
    # There is one: it was seen above.
    row FAILED 'the device' "$(sed -n 's/^no_gpu *//p' <<<"$devices")"
    finish
fi

if ! command -v readelf >/dev/null; then
    row left 'the program without CUDA' 'there is no readelf'
elif readelf -d "$moqa" | grep -qiE 'NEEDED.*(cuda|cublas)'; then
    row FAILED 'the program without CUDA' 'it needs a CUDA library'
else
    row ok 'the program without CUDA' 'no CUDA library is needed'
fi

# --- Every operation, with the products of tensor cores and with all bits of float32 ---
sanitizer=$(command -v compute-sanitizer || ls "$toolkit/bin/compute-sanitizer" 2>/dev/null)
figures() { awk '{ $1 = "worst " $1; $2 = "of " $2; $3 = "unequal " $3; $4 = "of " $4; print }'; }
# again SIZES PRODUCTS NAME: one that failed, by itself; errors are told where they happen
again() {
    local line file=$out/again.txt
    enough "$3, again" 60 || return
    CUDA_LAUNCH_BLOCKING=1 limited 40 "$build/tests/gpu_parity" "${MOQA_TRIALS:-10}" "$1" "$2" "$3" >"$file" 2>>"$log"
    line=$(grep -E '^.{37} (ok|FAILED) ' "$file" | cut -c39-)
    row again "$3 ($1, $2), launch by launch" "${line:-no answer}"
    [ -n "$sanitizer" ] && enough "$3, compute-sanitizer" 60 || return
    limited 50 "$sanitizer" "$build/tests/gpu_parity" 1 "$1" "$2" "$3" >"$file" 2>&1
    cat "$file" >>"$log"
    line=$(grep -m 1 -E '^========= +(Invalid|Program hit|Error|Race|.*uninit)' "$file" || grep -m 1 'ERROR SUMMARY' "$file")
    row again "$3 ($1, $2), compute-sanitizer" "${line:-no answer}"
}
operations() { # SIZES PRODUCTS
    local file=$out/parity.txt line name state status repeat=()
    MOQA_ROW_SECONDS=$((20 + ${MOQA_TRIALS:-10})) limited 90 "$build/tests/gpu_parity" "${MOQA_TRIALS:-10}" "$1" "$2" >"$file" 2>>"$log"
    status=$?
    cat "$file" >>"$log"
    while IFS= read -r line; do
        name=$(cut -c1-37 <<<"$line" | sed 's/ *$//')
        state=$(cut -c39-44 <<<"$line" | tr -d ' ')
        row "$state" "$name ($1, $2)" "$(cut -c46- <<<"$line" | figures)"
        [ "$state" = FAILED ] && repeat+=("$name")
    done < <(grep -E '^.{37} (ok|FAILED) ' "$file")
    [ $status -le 1 ] || failed "operations ($1, $2)" $status "see $log"
    for name in "${repeat[@]:0:2}"; do
        again "$1" "$2" "$name"
    done
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
milliseconds() { echo $((($(date +%s%N) - $1) / 1000000)); }
number() { sed -n "s/.*\"$1\":\([-0-9.eE+]*\).*/\1/p" "$2" | head -n 1; }
perplexity() { # BACKEND MODEL
    limited 60 "$moqa" eval "$2" --backend "$1" --text "${evaluation[@]}" --window 256 --json >"$work/json" 2>>"$log" &&
        number perplexity "$work/json"
}
# within NAME A B PART: two figures that must agree
within() {
    if { [ -z "$2" ] || [ -z "$3" ]; } && [ "$(left)" -lt 5 ]; then
        row left "$1" 'no time was left for it'
    elif awk -v a="$2" -v b="$3" -v r="$4" 'BEGIN { d = a - b; if (d < 0) d = -d; exit !(a > 0 && b > 0 && d <= r * b) }'; then
        row ok "$1" "$2 on the GPU, $3 on the CPU"
    else
        row FAILED "$1" "${2:-nothing} on the GPU, ${3:-nothing} on the CPU"
    fi
}
# quantized METHOD BACKEND
quantized() {
    local begin status
    begin=$(date +%s%N)
    limited 60 "$moqa" quantize "$work/plan.json" --model $model --calib $sample/trace.h5 --backend "$2" \
        -o "$work/$1-$2" >>"$log" 2>&1
    status=$?
    if [ $status -ne 0 ]; then
        failed "quantize $1, $2" $status "see $log"
    elif [ "$2" = cuda ] && grep -q '"note"' "$work/$1-$2/moqa_report.json"; then
        row FAILED "quantize $1, $2" 'not all layers were computed on the GPU'
    else
        row ok "quantize $1, $2" "$(milliseconds "$begin") ms"
    fi
    return $status
}
# compare METHOD PART: the sample quantized on both
compare() {
    local status
    limited 60 "$moqa" plan $sample/trace.h5 --model $model --group-size 64 --method "$1" -o "$work/plan.json" >>"$log" 2>&1
    status=$?
    if [ $status -ne 0 ]; then
        failed "plan $1" $status "see $log"
    elif quantized "$1" cpu && quantized "$1" cuda; then
        within "perplexity after $1" "$(perplexity cpu "$work/$1-cuda")" "$(perplexity cpu "$work/$1-cpu")" "$2"
    fi
}
if wanted sample 30; then
    within 'perplexity of the sample' "$(perplexity cuda $model)" "$(perplexity cpu $model)" 0.0005
    compare gptq-3 0.005
    # Its plan has linears of 2 bits, where one code more or less is worth more: on few tokens two ways of
    # adding on the same CPU are up to 0.6 % apart.
    compare moqa 0.01
fi

# --- Stages of a layer at the size of OLMoE-1B-7B ---
stages() { # PROGRAM ARGUMENTS...
    local file=$out/bench.json line stage status
    limited 120 "$@" >"$file" 2>>"$log"
    status=$?
    cat "$file" >>"$log"
    while IFS= read -r line; do
        stage=$(sed -n 's/.*"stage": "\([^"]*\)".*/\1/p' <<<"$line")
        row bench "$stage" "$(sed 's/.*"seconds"/"seconds"/; s/[{}"]//g; s/:/ /g; s/,/ /g' <<<"$line")"
    done <"$file"
    [ $status -eq 0 ] || failed "stages: $(basename "$1")" $status "see $log"
}
if wanted stages 30; then
    stages "$build/tests/bench/bench_gpu" cuda
    stages "$build/tests/bench/bench_gpu" cuda 65536 64 full # a quarter of the tokens
    [ -x "$build/tests/bench/bench_cusolver" ] && stages "$build/tests/bench/bench_cusolver"
fi

# --- Whole passes: 128 windows of 2,048 tokens, 4 bits, written and synced ---
cool() { # FOLDER: out of the page cache
    limited 120 sync -f "$1"
    for file in "$1"/*.safetensors; do
        limited 30 dd if="$file" of=/dev/null iflag=nocache count=0 status=none
    done
}
# pass NAME MODEL FLOOR: seconds of one pass over its floor
pass() {
    local begin seconds status state
    rm -rf "$work/out"
    begin=$(date +%s%N)
    limited 240 "$moqa" quantize "$work/plan.json" --model "$2" --calib "$work/text" --samples 128 \
        --window 2048 --backend cuda -o "$work/out" >>"$log" 2>&1
    status=$?
    if [ $status -ne 0 ]; then
        failed "$1" $status "after $(milliseconds "$begin") ms, see $log"
        return
    fi
    seconds=$(awk -v ms="$(milliseconds "$begin")" 'BEGIN { printf "%.2f", ms / 1e3 }')
    state=$(awk -v s="$seconds" -v f="$3" 'BEGIN { print s <= 3 * f ? "ok" : "slow" }')
    grep -q '"note"' "$work/out/moqa_report.json" && state=FAILED
    row "$state" "$1" "$seconds s, floor $3 s, ratio $(awk -v s="$seconds" -v f="$3" 'BEGIN { printf "%.2f", s / f }') (of 3)"
}
# passes NAME MODEL WARM-FLOOR COLD-FLOOR
passes() {
    local status
    for _ in $(seq 40); do cat $sample/text/*/*.txt; done >"$work/text"
    limited 120 "$moqa" trace --model "$2" --text "$work/text" --samples 2 --window 2048 --backend cuda \
        -o "$work/trace.h5" >>"$log" 2>&1 &&
        limited 60 "$moqa" plan "$work/trace.h5" --model "$2" --method gptq-4 -o "$work/plan.json" >>"$log" 2>&1
    status=$?
    if [ $status -ne 0 ]; then
        failed "$1" $status "no plan could be made, see $log"
        return
    fi
    limited 60 "$moqa" quantize "$work/plan.json" --model "$2" --calib "$work/text" --samples 128 \
        --window 2048 --backend cuda -o "$work/out" --dry-run 2>&1 | tee -a "$log" | grep -i memory
    cool "$2"
    enough "$1, cold" $((${4%.*} * 2)) && pass "$1, cold" "$2" "$4"
    enough "$1, warm" $((${4%.*} + ${3%.*} * 3)) || return # it is read once more before
    limited 120 cat "$2"/*.safetensors >/dev/null
    pass "$1, warm" "$2" "$3"
}
# model SHAPE LAYERS WARM-FLOOR COLD-FLOOR GIGABYTES
model() {
    local free status made=$work/$1 begin=$SECONDS
    free=$(df --output=avail -B1G "$work" | tail -n 1 | tr -d ' ')
    if [ "$free" -lt "$5" ]; then
        row left "$1" "$free GB free in $work, $5 are needed; MOQA_SCRATCH names another folder"
        return
    fi
    limited 150 "$build/tests/bench/make_checkpoint" "$1" "$2" "$made" $sample/tiny-olmoe >>"$log" 2>&1
    status=$?
    if [ $status -ne 0 ]; then
        failed "$1" $status "no checkpoint could be made, see $log"
    else
        row ok "$1, made" "$((SECONDS - begin)) s, $(du -sBG "$made" | cut -f1)"
        passes "$1" "$made" "$3" "$4"
    fi
    rm -rf "$made" "$work/out"
}
# Floors of one H100: docs/benchmarks.md, "One GPU". The seconds: a checkpoint is written, read by a trace
# and two passes, and synced, at 1 to 2 GB/s.
wanted olmoe 130 && model olmoe-1b-7b 16 2.5 8.8 20
wanted qwen 220 && model qwen1.5-moe-a2.7b 24 4.4 18.5 40
finish
