/*
 * The command line. Each subcommand describes its options in a table; argp does the parsing, the
 * settings of the method (data/settings.h) become flags by themselves.
 *
 * Precedence: flag > environment (MOQA_ALPHA=0.5) > ./moqa.json >
 * $XDG_CONFIG_HOME/moqa/config.json. These files are JSON objects of setting names; they are read,
 * never written.
 */
#ifndef MOQA_SRC_CLI_CLI_H
#define MOQA_SRC_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "data/base/err.h"
#include "data/settings.h"

/* Values of an option that takes several: `--text A B --text C`. Items are borrowed from argv. */
struct cli_list {
    const char **items;
    size_t count;
    size_t capacity;
};

enum cli_type {
    CLI_FLAG,  /* bool */
    CLI_TEXT,  /* const char * */
    CLI_LIST,  /* struct cli_list; plain arguments right after the option belong to it */
    CLI_COUNT, /* struct cli_count */
    CLI_REAL,  /* struct cli_real */
    CLI_END
};

struct cli_count {
    bool given;
    size_t value;
};

struct cli_real {
    bool given;
    double value;
};

struct cli_option {
    const char *name;  /* "model"; for a positional argument its name in the usage, "TRACE" */
    int key;           /* 'o' for -o, or 0 */
    const char *value; /* name of the value in the help, NULL for a flag */
    enum cli_type type;
    size_t offset; /* in the command's own struct */
    bool required;
    const char *help;
};

struct cli_spec {
    const char *command;                /* "analyze" */
    const char *summary;                /* first paragraph of --help */
    const char *examples;               /* last paragraph of --help */
    const struct cli_option *options;   /* ends with CLI_END */
    const struct cli_option *arguments; /* positional, ends with CLI_END; CLI_TEXT only */
    bool settings;                      /* takes the settings of the method */
};

struct cli_command {
    const struct cli_spec *spec;
    int (*run)(int argc, char **argv, struct err *err);
    const char *summary; /* one line for `moqa --help` */
};

/*
 * Parses argv[1..] into `values` (zeroed or with defaults already set) and, where the command
 * takes them, `settings`. --help prints to stdout and ends the process, as does a wrong usage
 * that argp itself finds (exit 2).
 */
ERR_CHECK int cli_parse(const struct cli_spec *spec, int argc, char **argv, void *values,
                        struct settings *settings, struct err *err);
void cli_list_release(struct cli_list *list);

/* What the command line itself named, not a file or the environment, over settings from elsewhere,
 * such as a plan's. */
ERR_CHECK int cli_settings_over(struct settings *s, struct err *err);

/* --threads, else MOQA_THREADS, else 0 (all). */
ERR_CHECK int cli_threads(size_t *out, const struct cli_count *flag, struct err *err);

/* A flag of every command with settings, for those of settings_best_rounding. */
#define CLI_BEST_ROUNDING "best-rounding"
#define CLI_BEST_ROUNDING_HELP                                                                  \
    "the rounding that loses least at 2 to 4 bits: scale_search = on, shift = on, refine = 2; " \
    "settings after it change it"

/* "min_count" -> "min-count", as a flag is written; returns `out`. */
enum { CLI_FLAG_MAX = 40 };
const char *cli_setting_flag(char out[CLI_FLAG_MAX], const char *name);

/* What a command without flags has: defaults, the user's and the folder's files, environment. */
ERR_CHECK int cli_bare_settings(struct settings *s, struct err *err);

/* Data to stdout, and whether it got there. */
ERR_CHECK int cli_print(const char *text, struct err *err);

extern const struct cli_command cli_commands[]; /* ends with a NULL spec; in cli_commands.c */

extern const struct cli_spec cmd_open_spec;
int cmd_open(int argc, char **argv, struct err *err);
extern const struct cli_spec cmd_trace_spec;
int cmd_trace(int argc, char **argv, struct err *err);
extern const struct cli_spec cmd_analyze_spec;
int cmd_analyze(int argc, char **argv, struct err *err);
extern const struct cli_spec cmd_figure_spec;
int cmd_figure(int argc, char **argv, struct err *err);
extern const struct cli_spec cmd_losses_spec;
int cmd_losses(int argc, char **argv, struct err *err);
extern const struct cli_spec cmd_report_spec;
int cmd_report(int argc, char **argv, struct err *err);
extern const struct cli_spec cmd_plan_spec;
int cmd_plan(int argc, char **argv, struct err *err);
extern const struct cli_spec cmd_quantize_spec;
int cmd_quantize(int argc, char **argv, struct err *err);
extern const struct cli_spec cmd_compare_spec;
int cmd_compare(int argc, char **argv, struct err *err);
extern const struct cli_spec cmd_runs_spec;
int cmd_runs(int argc, char **argv, struct err *err);
extern const struct cli_spec cmd_eval_spec;
int cmd_eval(int argc, char **argv, struct err *err);
extern const struct cli_spec cmd_inspect_spec;
int cmd_inspect(int argc, char **argv, struct err *err);
extern const struct cli_spec cmd_completion_spec;
int cmd_completion(int argc, char **argv, struct err *err);

#endif
