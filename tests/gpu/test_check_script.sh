#!/usr/bin/env bash
# What check.sh makes of programs that hang, fail and are missing: stand-ins for all that it calls.
. "$(dirname "$0")/../cli/common.bash"
check=$(dirname "$0")/check.sh
bin=$work/bin
tools=$work/toolkit
build=$work/build
mkdir -p "$bin" "$tools"/{bin,include,lib64} "$build/tests/bench" "$work/result"
touch "$tools"/include/{cublas_v2,cuda_runtime_api}.h "$tools"/lib64/{libcudart_static.a,libcublas.so}

# stand_in PATH: its text from stdin
stand_in() {
    { echo '#!/usr/bin/env bash'; cat; } >"$1"
    chmod +x "$1"
}
echo ':' | stand_in "$tools/bin/nvcc"
echo 'echo "GPU 0: a stand-in"' | stand_in "$bin/nvidia-smi"
echo '[ "$1" = --version ] && echo "cmake version ${CMAKE_IS:-3.25.1}"; exit 0' | stand_in "$bin/cmake"
echo 'exit 0' | stand_in "$bin/pkg-config"
echo "[ -e '$work/late' ] && [ \"\$1\" = +%s ] && exec echo 9999999999; exec $(command -v date) \"\$@\"" | stand_in "$bin/date"
echo 'echo "========= Invalid __global__ write of size 4 bytes"' | stand_in "$tools/bin/compute-sanitizer"
echo 'echo "${DEVICES_ARE:-0 a stand-in}"' | stand_in "$build/moqa"
# TRIALS SIZES PRODUCTS [OPERATION]; PARITY: what it does
stand_in "$build/tests/gpu_parity" <<'STAND_IN'
line() { printf '%-37s %-6s %11s %11s %9s %9s  %s\n' "$1" "$2" 0.1 0.2 0% 0% "${3:-}"; }
echo parity
echo head
if [ $# -gt 3 ]; then
    line "$4" FAILED "alone, blocking: ${CUDA_LAUNCH_BLOCKING:-no}"
    exit 1
fi
line 'first, one' ok
[ "$PARITY" = good ] && exit 0
line second FAILED 'it broke'
[ "$PARITY" = bad ] && exit 1
touch "$LATE"
trap '' TERM
while :; do sleep 1; done
STAND_IN
# A limit of many seconds is one of two here; a program that does not hear gets one more.
echo "exec $(command -v timeout) -k 1 2 \"\${@:4}\"" | stand_in "$bin/timeout"

export PATH=$bin:$tools/bin:$PATH OUT=$work/result MOQA_PARTS=operations LATE=$work/late
run() { env "$@" bash "$check" "$build"; }

expect 'all good' 0 '^ok +first, one \(large, tf32\) +worst 0.1 of 0.2' run PARITY=good
check 'rows lie in OUT' grep -q '^ok  *first, one (small, full)' "$work/result/check.txt"
check 'the log as well' grep -q head "$work/result/check.log"
check 'rows are printed when they are known, and again at the end' \
    [ "$(grep -c 'first, one (small, tf32)' "$work/out")" = 2 ]

expect 'an operation fails' 1 '^FAILED +second \(small, tf32\) .*it broke' run PARITY=bad
cp "$work/result/check.txt" "$work/table"
check 'it is run by itself' grep -q 'again  *second (small, tf32), launch by launch .*alone, blocking: 1' "$work/table"
check 'and under the sanitizer' grep -q 'again  *second (small, full), compute-sanitizer .*Invalid __global__ write' "$work/table"
check 'what follows is run' grep -q '^FAILED  *second (large, tf32)' "$work/table"

expect 'a program that hangs without an end to the time' 1 \
    '^FAILED +operations \(small, tf32\) +no end within its limit' run PARITY=hang LATE=/dev/null
expect 'a program that hangs until time is over' 1 '^left +operations \(small, tf32\) +no time was left' \
    run PARITY=hang
check 'its rows are there' grep -q '^ok  *first, one (small, tf32)' "$work/result/check.txt"
check 'what follows is left out' grep -q '^left  *operations (large, tf32)' "$work/result/check.txt"
rm -f "$work/late"

expect 'a module that cannot be opened' 1 '^FAILED +the device +the CUDA module cannot be opened' \
    run DEVICES_ARE='no_gpu  the CUDA module cannot be opened: libcublas.so.13'
expect 'an old cmake' 1 '^FAILED +needed: cmake 3.25 or newer' run CMAKE_IS=3.22.6
rm "$tools/include/cublas_v2.h"
echo '[ "${*: -1}" != gsl ]' | stand_in "$bin/pkg-config"
expect 'a package that is missing' 1 '^FAILED +needed: gsl' run PARITY=good
ls /usr/include/cublas_v2.h /usr/local/cuda >/dev/null 2>&1 ||
    check 'and a header' grep -q 'needed: cublas_v2.h' "$work/result/check.txt"
echo 'exit 1' | stand_in "$bin/nvidia-smi"
ls /dev/nvidia[0-9]* >/dev/null 2>&1 || expect 'no device' 77 'no NVIDIA device' run PARITY=good
finish
