#!/usr/bin/env bash
# The walk of the guide from a fresh start to exported figures, as docs/screens/walk.sh records it:
# every step must show what it is for.
. "$(dirname "$0")/../cli/common.bash"
root=$(cd "$(dirname "$0")/../.." && pwd)

# shows STEP PATTERN...: the picture of that step, and what must be on it.
shows() {
    local step=$1 pattern
    shift
    for pattern in "$@"; do
        grep -qE -- "$pattern" "$work"/walk/"$step"-*.txt ||
            { echo "no \"$pattern\" in" "$work"/walk/"$step"-*.txt; cat "$work"/walk/"$step"-*.txt; return 1; }
    done
}

check 'the walk goes through' bash "$root/docs/screens/walk.sh" "$work/walk" "$MOQA" 120x40 txt
cd "$work/walk" || exit 1
check 'it has a picture of every step' [ "$(echo [0-9]*.txt | wc -w)" = 15 ]
check 'each of the size that was asked for' [ "$(cat [0-9]*.txt | wc -l)" = $((15 * 40)) ]
check 'a fresh start shows the trace' shows 01 'trace\.h5 .*2\.920 bits' 'positions, types'
check 'a token of it is pointed at' shows 02 'rank 5: 288'
check 'alpha is tuned' shows 03 'alpha +0\.6 ' 'plan not written' '10 of 32 experts'
check 'the threshold is tuned' shows 04 '▸threshold +0\.2 ' 'threshold T +0\.20000' '7 of 32 experts'
check 'A is taken' shows 05 'snapshot A taken'
check 'two experts are pinned' shows 06 'pinned +2$' 'expert 3 pinned to 8 bits' '2 of 192 experts differ'
check 'B is taken' shows 07 'snapshot B taken'
check 'A and B are compared' shows 08 'Compare plans' 'pins +0 +2' '2 of 192 differ' 'predicted loss +[0-9.]+ +[0-9.]+ +-'
check 'the plan is written' shows 09 'plan written to walk\.plan\.json'
check 'a dry run comes before the pass' shows 10 'y runs it, any other key does not' 'peak memory'
check 'the pass is run' shows 11 ' 100 %' 'layers done +6 of 6' 'perplexity [0-9]+\.'
check 'its result is set beside the original' shows 12 '^tiny-olmoe +original' '^moqa-[^ ]+ [^ ]+ moqa' 'against original +\+[0-9.]+, \+[0-9.]+ %' 'pins +2 experts'
check 'an expert tells its loss in it' shows 13 'Expert 17 of layer 1' 'Last run: moqa-' '^.*loss +[0-9.]+'
check 'the picture of a chart is asked for' shows 14 'picture .*moqa-significance-layer1\.svg'
check 'and written' shows 15 'picture written to moqa-significance-layer1\.svg'
check 'as a picture' grep -q '^</svg>$' moqa-significance-layer1.svg
check 'the plan has the pins' [ "$(grep -c '"pinned": true' walk.plan.json)" = 2 ]
check 'the run has the plan' cmp walk.plan.json runs/moqa-*/moqa_plan.json
check 'all figures are in one file' [ "$(head -c 4 figures.pdf)" = %PDF ]
check 'and in a report' grep -q 'Bits against perplexity' report.html
finish
