# For the scripts of this folder: a scratch folder, and `expect` to check a command's outcome.
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME=$work/cache XDG_CONFIG_HOME=$work/config XDG_STATE_HOME=$work/state
export MOQA_PROGRESS=none LC_ALL=C.UTF-8
sample_model=$TEST_SAMPLE/tiny-olmoe
calibration=("$TEST_SAMPLE"/text/calibration/{encyclopedia-1,handbook-1,computing-1}.txt)
evaluation=("$TEST_SAMPLE"/text/evaluation/{encyclopedia-2,stories-1,letters-1}.txt)
passed=0
failed=0

# expect NAME STATUS PATTERN COMMAND...: exit status, and an extended regular expression that its
# output (both streams) must match. The output stays in $work/out.
expect() {
    local name=$1 status=$2 pattern=$3 found
    shift 3
    "$@" >"$work/out" 2>&1 </dev/null
    found=$?
    if [ "$found" -eq "$status" ] && grep -qE -- "$pattern" "$work/out"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $name: exit $found (expected $status), expected output: $pattern; found:"
        head -n 20 "$work/out"
    fi
}

# check NAME COMMAND...: the command succeeds.
check() {
    local name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
    fi
}

# within A B RELATIVE: |A - B| <= RELATIVE * B
within() {
    awk -v a="$1" -v b="$2" -v r="$3" 'BEGIN { d = a - b; if (d < 0) d = -d; exit !(d <= r * b) }'
}

# number KEY FILE: value of a key in compact JSON
number() {
    sed -n "s/.*\"$1\":\([-0-9.eE+]*\).*/\1/p" "$2" | head -n 1
}

finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
