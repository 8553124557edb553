#!/usr/bin/env bash
# The walk of docs/guide.md on the bundled sample, from a fresh start to figures for a paper: the
# keys of each step, and a picture of the screen behind them. The pass is a real one (a second or
# two), so that times differ from walk to walk.
#
#     docs/screens/walk.sh FOLDER [MOQA [SIZE [ENDING]]]    build/release/moqa, 120x40, svg
#
# FOLDER gets the pictures, the plan, the run, the figures and a report.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
moqa=$(realpath "${2:-$root/build/release/moqa}")
size=${3:-120x40}
ending=${4:-svg}
sample=$root/data/sample
mkdir -p "$1"
cd "$1"
export XDG_STATE_HOME=$PWD/state

# NAME KEYS, in turn.
steps=(
    01-fresh-start 1
    02-trace-loaded 'Down*6 Up'
    03-alpha "3 Enter '0.6' Enter"
    04-threshold "Tab*7 Enter '0.2' Enter"
    05-snapshot-a '5 A'
    06-two-pins '> > p p p Down > p p p p'
    07-snapshot-b B
    08-compared c
    09-plan-written 'Esc w'
    10-dry-run x
    11-pass-run 'y wait'
    12-result '7 Down'
    13-expert "3 / 'E17' Enter"
    14-figure-asked 'Esc W'
    15-figure-written Enter
)
keys=
for ((i = 0; i < ${#steps[@]}; i += 2)); do
    keys+="${steps[i + 1]} shot:${steps[i]}.$ending "
done
"$moqa" open "$sample/trace.h5" --model "$sample/tiny-olmoe" --text "$sample"/text/evaluation/*.txt \
    --group-size 64 --plan walk.plan.json --runs runs --size "$size" --keys "$keys" >/dev/null
"$moqa" figure "$sample/trace.h5" --model "$sample/tiny-olmoe" --plan walk.plan.json --runs runs \
    --layer 0 --figure all -o figures.pdf
"$moqa" report "$sample/trace.h5" --model "$sample/tiny-olmoe" --plan walk.plan.json --runs runs \
    -o report.html
