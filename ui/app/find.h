/* What the user may type after `/`: an expert, a layer, or a token, and the tokens that match. */
#ifndef MOQA_UI_APP_FIND_H
#define MOQA_UI_APP_FIND_H

#include "analysis/analysis.h"
#include "data/trace.h"

enum { FIND_TEXT_MAX = 128 };

enum find_kind {
    FIND_NONE,   /* names no place: a text */
    FIND_LAYER,  /* "L3" */
    FIND_EXPERT, /* "17", "E17" of the layer in view; "3.17", "L3 E17", in any case */
    FIND_ABSENT  /* a place that this trace does not have; `absent` says so */
};

struct find_place {
    enum find_kind kind;
    size_t layer, expert; /* layer: index among the MoE layers; numbers typed are the model's own */
    bool bare;            /* only digits, which may be the text of a token as well */
    char absent[128];
};

/* layer: the one in view. */
struct find_place find_place(const struct analysis_result *r, size_t layer, const char *text);

struct find_tokens {
    size_t *rank; /* the whole text first, then beginnings, then anywhere; each by rank */
    size_t count;
    size_t whole, beginning; /* how many of them are the first and the second */
    bool any_case;           /* nothing has the text in the case that was typed */
    bool no_texts;           /* the trace has no vocabulary: only "#ID" finds one */
};

/*
 * Tokens of the trace that match: "#262" by its id, "rank 12" by its rank, else by its text, which
 * may stand in double quotes. A leading space of a token need not be typed. What the screen shows
 * as \n or \xHH may be typed like that. `out` is released by find_tokens_release().
 */
ERR_CHECK int find_tokens(struct find_tokens *out, const struct trace *t, const struct analysis *a,
                          const char *text, struct err *err);
void find_tokens_release(struct find_tokens *f);

#endif
