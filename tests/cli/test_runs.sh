#!/usr/bin/env bash
# Passes that outlive the screen: started, found again, cut, resumed, cancelled, listed.
. "$(dirname "$0")/common.bash"
trace=$TEST_SAMPLE/trace.h5
cd "$work" || exit 1
open() { "$MOQA" open "$trace" --model "$sample_model" --group-size 64 "$@"; }
hashes() { (cd "$1" && find . -type f ! -name moqa_report.json | sort | xargs sha256sum); }
same_bytes() { diff <(hashes "$1") <(hashes "$2"); }
until_exists() { for ((i = 0; i < 3000; i++)); do [ -e "$1" ] && return; sleep 0.01; done; }
until_phase() {
    for ((i = 0; i < 600; i++)); do
        "$MOQA" runs | grep -q "^$1 .*/$2" && return
        sleep 0.05
    done
    echo "$2 is not $1; all runs, and what they printed:"
    "$MOQA" runs
    tail "$XDG_STATE_HOME"/moqa/runs/*.log
}

expect 'nothing has run yet' 0 '^no runs yet$' "$MOQA" runs
"$MOQA" plan "$trace" --model "$sample_model" --group-size 64 -o plan.json >/dev/null
quantize=("$MOQA" quantize plan.json --model "$sample_model" --calib "$trace" -o)
"${quantize[@]}" whole 2>/dev/null
expect 'a command is listed, too' 0 '^done +100 % .*/whole$' "$MOQA" runs

# The screen starts a pass and is gone before it ends.
open --keys 'x y' >/dev/null
until_phase done moqa-runs/
run=$(echo moqa-runs/moqa-*)
check 'a pass ends without its screen' [ -e "$run/config.json" ]
check 'with the bytes of a command' same_bytes whole "$run"
check 'and leaves nothing unfinished' [ ! -e "$run/.moqa" ]
expect 'a screen that comes later is not bothered by what is done' 0 'The plan will be applied' open --keys 6

# One that is cancelled before its process listens.
expect 'a run cancelled at once is cancelled' 0 'cancelled' open --runs hasty --keys 'x y Ctrl-C wait'
expect 'and gone on with' 0 'the run is done: hasty/' open --runs hasty --keys '6 r wait'
expect 'in one screen, too' 0 'the run is done: hasted/' open --runs hasted --keys 'x y Ctrl-C wait r wait'

# A pass whose process is killed.
"${quantize[@]}" cut 2>/dev/null &
pid=$!
until_exists cut/model-00001-of-00007.safetensors
kill -9 $pid
wait $pid 2>/dev/null
if [ -e cut/.moqa ]; then
    expect 'a killed pass is told from a running one' 0 '^cut .*/cut$' "$MOQA" runs
    expect 'the screen shows it' 0 'its process was killed' open --keys '6'
    expect 'and goes on with it' 0 'the run is done: cut' open --keys '6 r wait'
fi
check 'to the same bytes' same_bytes whole cut

# A pass that is cancelled from another terminal.
"${quantize[@]}" stopped 2>log &
pid=$!
until_exists stopped/model-00001-of-00007.safetensors
"$MOQA" runs --cancel stopped 2>/dev/null
cancelled=$?
wait $pid
status=$?
if [ $status -ne 0 ]; then
    check 'a running pass can be cancelled' [ $cancelled -eq 0 ]
    check 'as by Ctrl-C' [ $status -eq 4 ]
    expect 'and says so' 0 '^cancelled .*/stopped$' "$MOQA" runs
    expect 'it can be resumed' 0 'wrote stopped' "${quantize[@]}" stopped --resume
fi
check 'with the same bytes' same_bytes whole stopped
expect 'what does not run cannot be cancelled' 2 'stopped: nothing runs there' "$MOQA" runs --cancel stopped

expect 'a pass may be evaluated' 0 'perplexity [0-9.]+ ' "${quantize[@]}" judged --text "${evaluation[@]}"
expect 'the record keeps it' 0 '/judged: perplexity [0-9.]+ ' "$MOQA" runs
expect 'the time of the pass, too' 0 '/judged: perplexity .*; the pass took [0-9.]+ s' "$MOQA" runs
expect 'the list as JSON' 0 '^\{"schema":"moqa.runs","schema_version":1,"runs":\[\{"out":"/' "$MOQA" runs --json
json_of() { tr '{' '\n' <out | grep '/judged"' | sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p"; }
check 'with the time of the pass apart from that of all' awk "BEGIN { exit !(0 < $(json_of pass_seconds) && $(json_of pass_seconds) < $(json_of seconds)) }"
pass=$(json_of pass_seconds)
"${quantize[@]}" judged --resume --text "${evaluation[0]}" 2>/dev/null
expect 'another evaluation leaves that time as it was' 0 "\"pass_seconds\":$pass" "$MOQA" runs --json
expect 'a refused pass leaves the record alone' 2 'exists' "${quantize[@]}" judged
expect 'as it was' 0 '^done .*/judged: perplexity' "$MOQA" runs
check 'a record can be forgotten' "$MOQA" runs --forget judged
check 'and is gone' [ "$("$MOQA" runs | grep -c judged)" = 0 ]
check 'its folder is not' [ -e judged/config.json ]
expect 'but only once' 2 'no run of it is known' "$MOQA" runs --forget judged

# Names of older systems: no UTF-8.
mkdir $'n\xe4mes'
cp plan.json $'n\xe4mes/pl\xe4n.json'
cp "${calibration[0]}" $'n\xe4mes/t\xe9xt.txt'
cd $'n\xe4mes' || exit 1
expect 'a run with names that are no UTF-8' 0 'wrote \\xF6ut' "$MOQA" quantize $'pl\xe4n.json' --model "$sample_model" \
    --calib $'t\xe9xt.txt' --samples 4 --window 64 -o $'\xf6ut'
check 'no byte of them reaches the terminal' iconv -f UTF-8 -t UTF-8 -o /dev/null ../out
expect 'it is listed' 0 '^done .*/n\\xE4mes/\\xF6ut$' "$MOQA" runs
expect 'as JSON, too' 0 '"out":"/[^"]*/n\\\\xE4mes/\\\\xF6ut"' "$MOQA" runs --json
check 'with all its arguments' grep -qF '"t\\xE9xt.txt"' "$XDG_STATE_HOME"/moqa/runs/*.json
cd ..

for text in '' '{' '[]' '{"schema":"moqa.run","schema_version":2}' \
    '{"schema":"moqa.run","schema_version":1,"out":"\u001b[31m"}'; do
    printf '%s' "$text" >"$XDG_STATE_HOME/moqa/runs/0123456789abcdef.json"
    expect "a damaged record is passed over: $text" 0 'warning: .*0123456789abcdef.json' "$MOQA" runs
    expect 'the others are listed' 0 '/whole$' "$MOQA" runs
    expect 'the screen works' 0 'Run' open --keys 6
done
finish
