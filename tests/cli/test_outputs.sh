#!/usr/bin/env bash
# No command writes over a file that it reads.
. "$(dirname "$0")/common.bash"
mkdir "$work/here" && cd "$work/here" || exit 1
cp "$TEST_SAMPLE/trace.h5" in.h5
cp "$TEST_SAMPLE/losses.json" l.json
cp "${calibration[0]}" in.txt
cp -r "$sample_model" model
common=(--model model --group-size 64)
"$MOQA" plan in.h5 "${common[@]}" -o p.json >/dev/null
ln -s in.h5 link.h5
files() { find . -type f -exec sha256sum {} + | sort; }
unchanged() { files | cmp - "$work/before"; }

read='is read by this command and would be replaced'
of_model="belongs to the model's checkpoint"
plan() { "$MOQA" plan in.h5 "${common[@]}" "$@"; }
expect 'a plan over its trace' 2 "in.h5: $read" plan -o in.h5
expect 'by another spelling' 2 "$read" plan -o ../here/in.h5
expect 'by a link' 2 "$read" plan -o link.h5
expect 'over the losses' 2 "l.json: $read" plan --losses l.json --method budget --bits 2.5 -o l.json
expect 'over the configuration' 2 "$of_model" plan -o model/config.json
expect 'over weights' 2 "$of_model" plan -o ./model/model.safetensors
expect 'a trace over its text' 2 "in.txt: $read" "$MOQA" trace --model model --text in.txt -o in.txt
expect 'over one of several' 2 "in.txt: $read" "$MOQA" trace --model model --text l.json in.txt -o in.txt
expect 'losses over their calibration' 2 "in.h5: $read" "$MOQA" losses "${common[@]}" --calib in.h5 -o in.h5
expect 'also when they go on' 2 "in.txt: $read" "$MOQA" losses "${common[@]}" --calib in.txt -o in.txt --resume
cp in.h5 in.svg && cp p.json p.svg && cp in.txt t.svg && cp in.h5 in.html && cp p.json zipf.svg
files >"$work/before"
figure() { "$MOQA" figure in.h5 "${common[@]}" "$@"; }
expect 'a figure over its trace' 2 "in.svg: $read" "$MOQA" figure in.svg --figure zipf -o in.svg
expect 'over its plan' 2 "p.svg: $read" figure --plan p.svg --figure bits -o p.svg
expect 'by a pattern' 2 "zipf.svg: $read" figure --plan zipf.svg --figure utilization,zipf -o '{figure}.svg'
expect 'a report over its trace' 2 "in.html: $read" "$MOQA" report in.html -o in.html --force
expect 'a picture of a comparison over its text' 2 "t.svg: $read" \
    "$MOQA" compare in.h5 --model model --text t.svg -p t.svg
expect 'or its questions' 2 "t.svg: $read" \
    "$MOQA" compare in.h5 --model model --text in.txt --task arc_easy=t.svg -p t.svg
expect 'a picture of a screen' 2 "in.txt: $read" \
    "$MOQA" open in.h5 --model model --text in.txt --keys 1 --picture in.txt
check 'nothing has changed, nothing is left' unchanged
expect 'another file is replaced' 0 'bits a weight' plan -o p.json
expect 'also beside the checkpoint' 0 'bits a weight' plan -o model/moqa.plan.json
finish
