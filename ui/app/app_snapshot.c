/* The snapshots A and B: plans that later ones are compared with. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "ui/app/app_state.h"

static size_t pin_count(const struct app *a)
{
    return a->options->trace->layers * a->options->trace->experts;
}

bool app_snapshot_differs(const struct app_snapshot *s, const struct app *a, size_t i)
{
    uint8_t linear[PLAN_LINEARS];
    app_plan_linears(linear, a, i);
    return app_bits_differ(s->mean_bits[i], app_plan_mean_bits(a, i)) ||
           memcmp(linear, s->linear + i * PLAN_LINEARS, sizeof linear) != 0;
}

void app_take_snapshot(struct app *a, size_t which)
{
    struct app_snapshot *s = &a->snapshot[which];
    if (!a->sound && !app_recompute(a))
        return;
    app_budget_finish(a);
    if (!s->document.pins && app_document_init(&s->document, a, NULL) < 0)
        return;
    if (!s->bits)
        s->bits = mem_array(pin_count(a), 1, NULL);
    if (!s->mean_bits)
        s->mean_bits = mem_array(pin_count(a), sizeof *s->mean_bits, NULL);
    if (!s->linear)
        s->linear = mem_array(pin_count(a), PLAN_LINEARS, NULL);
    app_document_copy(&s->document, &a->document, a);
    s->taken = s->bits && s->mean_bits && s->linear;
    s->waits = NULL;
    for (size_t i = 0; a->has_plan && s->taken && i < pin_count(a); i++) {
        s->bits[i] = (unsigned char)app_plan_expert(a, i)->bits;
        s->mean_bits[i] = app_plan_mean_bits(a, i);
        app_plan_linears(s->linear + i * PLAN_LINEARS, a, i);
    }
    s->rise = a->front.known ? a->front.rise : NAN;
    s->nominal_bits = a->plan.summary.nominal_bits;
    s->effective_bits = a->plan.summary.effective_bits;
    s->bytes = a->plan.summary.bytes_after;
    s->loss = a->loss;
    app_say(a, STYLE_GOOD, "snapshot %c taken; c compares with it", "AB"[which]);
}

/* --- Of a session --- */

/* Its plan goes over the screen, whose document is put back by the caller. */
static void make_again(struct app *a, size_t which)
{
    struct app_snapshot *s = &a->snapshot[which];
    bool budget = s->document.budget.on;
    s->waits = !budget || a->options->config ? "measured losses" : "the model";
    if (budget && app_budget_check(a, &s->document, NULL) < 0)
        return;
    app_document_copy(&a->document, &s->document, a);
    /* Losses that do not know its grain would make another plan of it. */
    if (!app_recompute(a))
        s->waits = "other settings";
    else if (app_document_equal(&a->document, &s->document, a))
        app_take_snapshot(a, which);
}

int app_keep_snapshot(struct app *a, size_t which, const struct app_document *d, struct err *err)
{
    struct app_snapshot *s = &a->snapshot[which];
    int rc = s->document.pins ? 0 : app_document_init(&s->document, a, err);
    if (rc < 0)
        return rc;
    app_document_copy(&s->document, d, a);
    s->taken = false;
    s->waits = "its plan";
    return 0;
}

void app_retry_snapshots(struct app *a)
{
    struct app_document before;
    bool waits = a->snapshot[0].waits || a->snapshot[1].waits;
    if (!waits || app_document_init(&before, a, NULL) < 0)
        return;
    app_document_copy(&before, &a->document, a);
    for (size_t i = 0; i < 2; i++)
        if (a->snapshot[i].waits)
            make_again(a, i);
    app_document_copy(&a->document, &before, a);
    free(before.pins);
    app_recompute(a);
}

bool app_tell_waiting(struct app *a, const char *before)
{
    for (size_t i = 0; i < 2; i++)
        if (a->snapshot[i].waits) {
            app_say(a, STYLE_WARN, "%ssnapshot %c waits for %s", before, "AB"[i],
                    a -> snapshot[i].waits);
            return true;
        }
    return false;
}
