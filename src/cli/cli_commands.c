#include "src/cli/cli.h"

const struct cli_command cli_commands[] = {
    {&cmd_open_spec, cmd_open, "open a trace (and a plan) in the workbench"},
    {&cmd_trace_spec, cmd_trace, "run a model over text and record its routing"},
    {&cmd_analyze_spec, cmd_analyze, "all numbers and charts of a trace"},
    {&cmd_figure_spec, cmd_figure, "the figures of the method as SVG, PDF or PNG"},
    {&cmd_losses_spec, cmd_losses, "measure what experts lose at every width"},
    {&cmd_report_spec, cmd_report, "all figures, tables and settings as one page, HTML or PDF"},
    {&cmd_plan_spec, cmd_plan, "decide the bits of every expert"},
    {&cmd_quantize_spec, cmd_quantize, "turn plan and checkpoint into a quantized checkpoint"},
    {&cmd_compare_spec, cmd_compare, "methods side by side: bits, size, perplexity, accuracy"},
    {&cmd_runs_spec, cmd_runs, "list, cancel and forget quantization runs"},
    {&cmd_eval_spec, cmd_eval, "perplexity of a model, plain or quantized"},
    {&cmd_inspect_spec, cmd_inspect, "what is in a trace, plan, tokenizer or checkpoint"},
    {&cmd_completion_spec, cmd_completion, "completion script for bash, zsh or fish"},
    {NULL, NULL, NULL},
};
