/*
 * A question about a plan, answered in a thread of its own while the screen goes on. The newest
 * question wins: an answer to an older one is never shown.
 */
#ifndef MOQA_SRC_WORKBENCH_ASK_H
#define MOQA_SRC_WORKBENCH_ASK_H

#include "data/base/str.h"
#include "data/plan.h"
#include "ui/app/app_host.h"

struct ask;

typedef int (*ask_answer)(void *context, const struct plan *plan, struct str *text,
                          struct err *err);

ERR_CHECK int ask_new(struct ask **out, ask_answer answer, void *context, struct err *err);
/* Waits for the answer that is in work. */
void ask_free(struct ask *a);

/* plan: the new question, copied; NULL: how far the last one is. *text: the answer, or the error;
 * borrowed until the next call. */
enum app_ask ask_put(struct ask *a, const struct plan *plan, const char **text);

#endif
