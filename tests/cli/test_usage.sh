#!/usr/bin/env bash
# Help, wrong usage, precedence of settings.
. "$(dirname "$0")/common.bash"
trace=$TEST_GOLDEN/tiny-olmoe/trace.h5

expect 'help lists the commands' 0 '^  quantize +turn plan' "$MOQA" --help
expect 'version' 0 '^moqa [0-9]+\.[0-9]+\.[0-9]+$' "$MOQA" --version
expect 'no arguments' 2 '^Usage: moqa COMMAND' "$MOQA"
expect 'neither command nor file' 2 'moqa: "nonsense" is neither a command nor a file' "$MOQA" nonsense
for command in open trace analyze figure losses plan quantize eval inspect completion; do
    expect "help of $command has examples" 0 '^  moqa ' "$MOQA" $command --help
done
expect 'unknown option' 2 'unrecognized option' "$MOQA" analyze --no-such-thing "$trace"
expect 'missing argument' 2 'TRACE is missing' "$MOQA" analyze
expect 'missing option' 2 '--model DIR is missing' "$MOQA" plan "$trace" -o x
expect 'value out of range' 2 'alpha: found "7", expected a number from 0 to 2' "$MOQA" analyze "$trace" --alpha 7
expect 'unknown choice' 2 'reweight: found "steeper", expected one of inverse, product, steep, uniform' \
    "$MOQA" analyze "$trace" --reweight steeper
expect 'layer where none is taken' 2 'alpha: found "3:0.5", expected a value without a layer' \
    "$MOQA" analyze "$trace" --alpha 3:0.5
expect 'contradiction' 2 'bits_low \(8\) is larger than bits_high \(4\)' "$MOQA" analyze "$trace" --bits-low 8
expect 'too many arguments' 2 'unexpected argument "b"' "$MOQA" analyze "$trace" b
expect 'unknown method' 2 'method.*gptq-5' "$MOQA" plan "$trace" --model "$sample_model" --method gptq-5 -o "$work/p"
expect 'channels that no format holds' 2 'bits_channel: found 16, expected 2, 3, 4 or 8' \
    "$MOQA" plan "$trace" --model "$sample_model" --bits-channel 16 -o "$work/p"
expect 'bad pin' 2 'expected LAYER.EXPERT=BITS' "$MOQA" plan "$trace" --model "$sample_model" --pin 3 -o "$work/p"
plan() { "$MOQA" plan "$trace" --model "$sample_model" "$@" --dry-run; }
expect 'an average for a method without' 2 '--bits: method moqa takes no average' plan --bits 2.5
expect 'or with bits in its name' 2 '--bits: method gptq-3 takes no average' plan --method gptq-3 --bits 3
expect 'pins where nothing is quantized' 2 '--pin: method fp16 quantizes no expert' \
    plan --method fp16 --pin 0.1=4
expect 'bytes' 2 '--bytes belongs to --method budget, found moeptq-r' plan --method moeptq-r --bits 3 --bytes 1000
for option in 'grain expert' 'sensitivity 0.75' 'significance 0'; do
    # shellcheck disable=SC2086
    expect "$option without a budget" 2 "--${option% *} belongs to --method budget" plan --method gptq-3 --$option
done
expect 'averages that no method takes' 2 '--bits: each of the methods has bits of its own' \
    "$MOQA" compare "$trace" --model "$sample_model" --methods gptq-3 moeptq-r@2.5 --bits 3 --list
expect 'averages that one takes' 0 'moeptq-r' \
    "$MOQA" compare "$trace" --model "$sample_model" --methods gptq-3 moeptq-r --bits 3 --list
expect 'windows of a task' 2 '--samples belongs to --text' \
    "$MOQA" eval "$sample_model" --task arc_easy --data x --samples 3
"$MOQA" plan "$trace" --model "$sample_model" --alpha 1.5 -o "$work/alpha.json" >/dev/null
expect 'open without a terminal has the settings of a plan' 0 '^same$' bash -c \
    "'$MOQA' open '$trace' --plan '$work/alpha.json' >'$work/a'; '$MOQA' analyze '$trace' --alpha 1.5 >'$work/b'
    '$MOQA' analyze '$trace' | cmp -s - '$work/a' && exit 1; cmp '$work/a' '$work/b' && echo same"
"$MOQA" plan "$trace" --model "$sample_model" --alpha 1.5 --rule threshold --rule 1:jenks -o "$work/rules.json" >/dev/null
expect "a layer's rule stands above a plan, whose others stay" 0 '--rule threshold --rule 1:jenks --rule 3:jenks -o' \
    "$MOQA" open "$trace" --model "$sample_model" --plan "$work/rules.json" --rule 3:jenks --keys y --size 200x30
expect 'a plan that is not there' 3 'none.json' "$MOQA" open "$trace" --plan "$work/none.json"
for option in losses text calib runs; do
    expect "--$option without a terminal" 0 "this is the report; --$option is for the screen" \
        "$MOQA" open "$trace" --model "$sample_model" --$option x
done
root=$TEST_SAMPLE/../..
start=$(sed -n '/exec .*moqa open/,/[^\\]$/p' "$root/run")
expect 'what ./run starts prints the report without a terminal' 0 'Zipf' bash -c \
    "cd '$root' && ${start/build\/release\/moqa/$MOQA}"
check 'and all of it' grep -q 'layer 5' "$work/out"
for option in 'size 100x40' 'look mono' session; do
    # shellcheck disable=SC2086
    expect "--$option without keys" 2 "--${option% *} belongs to --keys or --picture" "$MOQA" open "$trace" --$option
done
expect 'a rule of no layer' 2 'rule: there is no layer 99, expected 0 to [0-9]' plan --rule 99:jenks
expect 'a threshold of no layer' 2 'threshold: there is no layer 200' "$MOQA" analyze "$trace" --threshold 200:0.3
expect 'typed on the screen' 0 'there is no layer 99' \
    "$MOQA" open "$trace" --keys "3 Tab*7 Enter '99:0.2' Enter" --size 120x40
expect 'it is no step to undo' 0 'nothing to undo' \
    "$MOQA" open "$trace" --keys "3 Tab*7 Enter '99:0.2' Enter u" --size 120x40
expect 'cosine without a model' 2 '--cosine needs --model' "$MOQA" analyze "$trace" --cosine
expect 'device that is not there' 1 '/nowhere/module.so: cannot be read; MOQA_CUDA_MODULE names it' \
    env MOQA_CUDA_MODULE=/nowhere/module.so "$MOQA" eval "$sample_model" --text "${evaluation[0]}" --backend cuda
expect 'unknown progress' 2 'expected auto, bar, plain, json or none' \
    "$MOQA" eval "$sample_model" --text "${evaluation[0]}" --progress loud

alpha() { "$MOQA" analyze "$trace" --json "$@" >"$work/json" && number alpha "$work/json"; }
mkdir -p "$work/config/moqa" "$work/here"
cd "$work/here" || exit 1
check 'default' [ "$(alpha)" = 0.29999999999999999 ]
echo '{"alpha": 0.25}' >"$work/config/moqa/config.json"
check 'user file over default' [ "$(alpha)" = 0.25 ]
echo '{"alpha": 0.5}' >moqa.json
check 'project file over user file' [ "$(alpha)" = 0.5 ]
check 'environment over project file' [ "$(MOQA_ALPHA=0.75 alpha)" = 0.75 ]
check 'flag over environment' [ "$(MOQA_ALPHA=0.75 alpha --alpha 1)" = 1.0 ]
expect 'bad environment' 2 'environment variable MOQA_ALPHA: alpha: found "x"' env MOQA_ALPHA=x "$MOQA" analyze "$trace"
echo '{"alhpa": 0.5}' >moqa.json
expect 'unknown name in a file' 3 'moqa.json: settings: no setting is called "alhpa"' "$MOQA" analyze "$trace"
rm moqa.json

expect 'the best rounding in one flag' 0 '' "$MOQA" plan "$trace" --model "$sample_model" --refine 7 --best-rounding --shift off \
    -o "$work/best.json"
for pair in '"refine": *2' '"scale_search": *"on"' '"shift": *"off"'; do
    check "a later flag wins: $pair" grep -qE "$pair" "$work/best.json"
done

for shell in bash zsh fish; do
    expect "completion for $shell" 0 'group-size' "$MOQA" completion $shell
done
check 'the bash completion is valid' bash -n <("$MOQA" completion bash)
expect 'completion for another shell' 2 'expected bash, zsh or fish' "$MOQA" completion csh
finish
