/*
 * Which methods a comparison runs, as words of a command line:
 *
 *     METHOD[@BITS][:NAME=VALUE[,NAME=VALUE]...]
 *
 * METHOD is one of planner_methods(), or a word for several: `gptq` and `rtn` (every width),
 * `heuristics`, `moqa-options` (MoQa with each option changed, one at a time), `standard` and
 * `all`. NAME is any setting (data/settings.h), over those of the command; for `budget` also grain,
 * sensitivity, significance and channels (the shares to measure for grain=channel). A piece without
 * `=` belongs to the value before it, so that `class_bits=2,3,4` needs no quotes; `best-rounding`
 * alone stands for settings_best_rounding.
 * @BITS is the average for this word alone, where the method takes one.
 */
#ifndef MOQA_SRC_COMPARE_COMPARE_METHODS_H
#define MOQA_SRC_COMPARE_COMPARE_METHODS_H

#include "analysis/planner.h"

enum { COMPARE_LABEL_MAX = 192 };

struct compare_method {
    const struct planner_method *info;
    char label[COMPARE_LABEL_MAX];  /* "budget:scale_search=on,shift=on", without bits */
    char family[COMPARE_LABEL_MAX]; /* what shares a colour in a picture: "gptq", "moqa, changed" */
    double bits;                    /* of this word alone; 0: those of the comparison */
    bool optional;                  /* left out where the trace has not what it needs */
    struct settings settings;
    struct budget_options budget;
    double shares[LOSSES_SHARES_MAX]; /* [shares_count] of channels, in the losses it needs */
    size_t shares_count;              /* 0: without */
};

struct compare_methods {
    struct compare_method *item;
    size_t count, capacity;
};

/*
 * Adds what the words stand for, in their order, each method once. base: the settings of the
 * command. ERR_USAGE names the word and what is known. Settings of the calibration (windows, seed)
 * are refused: they are the same for all methods.
 */
ERR_CHECK int compare_methods_add(struct compare_methods *m, const char *const *words, size_t count,
                                  const struct settings *base, struct err *err);
void compare_methods_release(struct compare_methods *m);

/* "2.25,2.5,3": each more than 0. *out is freed by free(). */
ERR_CHECK int compare_parse_bits(double **out, size_t *count, const char *text, struct err *err);

#endif
