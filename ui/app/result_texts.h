/*
 * The texts that results were evaluated on: perplexities are listed, drawn and judged on one of
 * them at a time.
 */
#ifndef MOQA_UI_APP_RESULT_TEXTS_H
#define MOQA_UI_APP_RESULT_TEXTS_H

#include "ui/app/app_host.h"
#include "ui/figure/figures.h"

enum { RESULT_TEXT_LABEL = 112 };

struct result_text {
    const struct app_evaluation *one; /* any of its evaluations; borrowed from the results */
    size_t runs;                      /* that were measured on it, without the original */
    bool original;                    /* so was that */
    /* Its name, and what tells it from others of this name: "letters.txt", "letters.txt, windows of
     * 128", "letters.txt #1a2b3c". */
    char label[RESULT_TEXT_LABEL];
};

struct result_texts {
    struct result_text *text; /* [n] those of the session first, then those that most runs have */
    size_t n;
};

/* Borrows the results. */
ERR_CHECK int result_texts_make(struct result_texts *out, const struct app_result *list, size_t n,
                                struct err *err);
void result_texts_release(struct result_texts *t);

/* The evaluation of a run on the text and windows of another, or NULL. It may have no value yet. */
const struct app_evaluation *result_on(const struct app_result *x, const struct app_evaluation *as);
/* The same, but only with a value. */
const struct app_evaluation *result_measured(const struct app_result *x,
                                             const struct app_evaluation *as);
/* True where it is known which text it is, so that other perplexities can be comparable. */
bool result_is_known(const struct app_evaluation *e);

/* The results as figures take them, on each text; names are borrowed. */
struct result_figures {
    struct figure_results *on; /* [n] */
    size_t n;
    struct figure_run *run;
};
/* order: [count] places in the list, or NULL. Without a text there is one entry, of none. */
ERR_CHECK int result_figures_make(struct result_figures *out, const struct result_texts *texts,
                                  const struct app_result *list, const size_t *order, size_t count,
                                  struct err *err);
void result_figures_release(struct result_figures *f);

#endif
