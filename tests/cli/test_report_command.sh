#!/usr/bin/env bash
# moqa report: everything on one page.
. "$(dirname "$0")/common.bash"
trace=$TEST_SAMPLE/trace.h5
cd "$work" || exit 1
report() { "$MOQA" report "$trace" --model "$sample_model" --group-size 64 "$@"; }

expect 'a page' 0 'wrote r.html' report -o r.html
check 'names the command that repeats it' grep -q 'moqa analyze .*trace.h5 --model .* --group-size 64' r.html
check 'and the one of the plan' grep -q 'moqa plan .*trace.h5' r.html
check 'has the plan' grep -q 'Bits of the experts' r.html
check 'and the similarity' grep -q 'Similarity of experts' r.html
expect 'what is there stays' 2 'r.html: is there already; --force replaces it' report -o r.html
expect 'unless it is asked for' 0 'wrote r.html' report -o r.html --force --title 'My "model"'
check 'with a title' grep -q '<title>My &quot;model&quot;</title>' r.html
expect 'a document' 0 'wrote r.pdf' report -o r.pdf
check 'as PDF' [ "$(head -c 5 r.pdf)" = '%PDF-' ]
expect 'another ending' 2 'expected a name that ends in .html or .pdf' report -o r.txt
expect 'a trace alone' 0 'wrote t.html' "$MOQA" report "$trace" -o t.html
check 'without what needs a model' [ "$(grep -c 'Similarity of experts\|Bits of the experts' t.html)" = 0 ]
expect 'without similarity' 0 'wrote n.html' report --no-cosine -o n.html
check 'which is left out' [ "$(grep -c 'Similarity of experts' n.html)" = 0 ]
"$MOQA" plan "$trace" --model "$sample_model" --group-size 64 --pin 0.3=8 -o p.json >/dev/null
expect 'a plan that is given' 0 'wrote p.html' report --plan p.json -o p.html
check 'is that one' grep -q -- '--pin 0.3=8' p.html
expect 'a plan needs its model' 2 'needs --model' "$MOQA" report "$trace" --plan p.json -o q.html
expect 'no folder to write to' 1 'none/r.html' report -o none/r.html
check 'and nothing is left' [ ! -e none ]
finish
