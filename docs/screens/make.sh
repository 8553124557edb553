#!/usr/bin/env bash
# Makes the pictures of this folder again from the bundled sample, by pressing keys in the
# workbench itself and with `moqa figure`. After a change: run it, look at the pictures, commit
# them.
#
#     docs/screens/make.sh [MOQA [FOLDER]]        build/release/moqa, this folder
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
moqa=$(realpath "${1:-$root/build/release/moqa}")
out=$(realpath "${2:-$root/docs/screens}")
cd "$root/data/sample"

shot() { "$moqa" open trace.h5 --model tiny-olmoe --group-size 64 --size 110x32 --picture "$out/$1.svg" --keys "$2"; }

shot data '1 Down*6'
shot mapping '2 ]*2'
shot significance '3 ]*2'
shot similarity '4 ]*2'
shot plan '5 A Tab*3 L*3 Down > > p'
"$moqa" open trace.h5 --model tiny-olmoe --group-size 64 --losses losses.json --size 110x38 \
    --picture "$out/budget.svg" --keys "5 b Enter '2.5' Enter"
shot card "1 / 'the' Enter Down Enter ]*2"
shot help '5 ?'

# Figures of `moqa figure`, which follow the page they stand on.
"$moqa" figure trace.h5 --group-size 64 --theme auto --layer 2 \
    --figure significance,mapping -o "$out/figure-{figure}.svg"
