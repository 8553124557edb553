#include "ui/app/app_budget.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "ui/app/app_state.h"

/* States that a solve within a frame may look at: about 3 ms at the size of OLMoE. */
enum { FRAME_STATES = 1 << 12, TICKS_OF_REST = 2 };

bool app_budget_equal(const struct app_budget *x, const struct app_budget *y)
{
    if (!x->on || !y->on)
        return x->on == y->on;
    return x->unit == y->unit && x->grain == y->grain &&
           (x->unit == APP_BITS ? x->bits == y->bits : x->bytes == y->bytes);
}

void app_budget_take(struct app_budget *b, const struct plan *plan)
{
    b->on = strcmp(plan->method, "budget") == 0;
    if (!b->on)
        return;
    *b = (struct app_budget){.on = true,
                             .chosen = true,
                             .bits = plan->summary.nominal_bits,
                             .bytes = plan->summary.bytes_after,
                             .grain = plan_is_mixed(plan) ? BUDGET_LINEARS : BUDGET_EXPERTS};
    if (plan_has_channels(plan))
        b->grain = BUDGET_CHANNELS;
}

/* --- Whether a plan can be made --- */

static const struct losses *losses_for(const struct app *a, const struct settings *s,
                                       const char **path)
{
    const struct app_host *h = &a->options->host;
    *path = NULL;
    return h->losses && a->options->config ? h->losses(h->context, s, path) : NULL;
}

static struct budget_options options_of(const struct app_document *d)
{
    struct budget_options o;
    budget_defaults(&o);
    o.grain = (enum budget_grain)d->budget.grain;
    o.bytes = d->budget.unit == APP_BYTES;
    o.pins = d->pins;
    return o;
}

/* Least bits on average with what is pinned. */
static double least_of(const struct budget *b)
{
    double sum = 0;
    for (size_t i = 0; i < b->problem.items; i++) {
        uint64_t least = UINT64_MAX;
        for (size_t c = 0; c < b->problem.choices; c++) {
            size_t at = i * b->problem.choices + c;
            if (b->allowed[at] && b->cost[at] < least)
                least = b->cost[at];
        }
        sum += (double)least;
    }
    return sum / b->weights;
}

static int check_least(const struct app *a, const struct app_document *d,
                       const struct losses *losses, struct err *err)
{
    struct budget_options o = options_of(d);
    struct plan shell = {.settings = d->settings};
    struct budget b;
    int rc = budget_init(&b, &shell, losses, a->options->config, &o, err);
    if (rc < 0)
        return rc;
    double least = least_of(&b), wanted = app_budget_bits(&d->budget, b.weights);
    if (floor(wanted * b.weights + 0.5) < floor(least * b.weights + 0.5)) {
        char found[32], expected[32];
        struct app_budget narrow = d->budget;
        app_budget_text(found, sizeof found, &d->budget);
        app_budget_hold(&narrow, least, b.weights);
        app_budget_text(expected, sizeof expected, &narrow);
        rc = err_set(err, ERR_USAGE, NULL,
                     "budget: found %s, expected at least %s, what the "
                     "narrowest widths take with what is pinned",
                     found, expected);
    } else if (wanted > 64) {
        rc =
            err_set(err, ERR_USAGE, NULL, "budget: that is %.4g bits a weight, expected at most %d",
                    wanted, APP_BITS_MAX);
    }
    budget_release(&b);
    return rc;
}

int app_budget_check(const struct app *a, const struct app_document *d, struct err *err)
{
    const char *path;
    const struct losses *losses = losses_for(a, &d->settings, &path);
    if (!a->options->config)
        return err_set(err, ERR_USAGE, NULL, "a plan needs the model: start with --model DIR");
    if (!losses)
        return err_set(err, ERR_USAGE, NULL,
                       "no losses are measured for this setting: on Plan, b leaves the budget, M "
                       "measures");
    return check_least(a, d, losses, err);
}

bool app_budget_keep(const struct app *a, struct app_document *d)
{
    if (!d->budget.on || app_budget_check(a, d, NULL) == 0)
        return true;
    d->budget.on = false;
    return false;
}

/* --- What the losses say --- */

static size_t pin_count(const struct app *a)
{
    return a->options->trace->layers * a->options->trace->experts;
}

static bool is_current(const struct app *a)
{
    const struct app_front *f = &a->front;
    const struct app_document *d = &a->document;
    return f->made_from == f->losses && f->unit == d->budget.unit && f->grain == d->budget.grain &&
           f->group_size == d->settings.group_size && memcmp(f->pins, d->pins, pin_count(a)) == 0;
}

static int make_curve(struct app *a, struct err *err)
{
    struct app_front *f = &a->front;
    struct budget_options o = options_of(&a->document);
    struct plan shell = {.settings = a->document.settings};
    struct budget b = {0};
    struct budget_front curve = {0};
    if (!f->pins)
        f->pins = mem_array(pin_count(a), 1, err);
    int rc = f->pins ? budget_init(&b, &shell, f->losses, a->options->config, &o, err) : ERR_NOMEM;
    if (rc == 0)
        rc = budget_front_make(&curve, &b, f->losses, err);
    if (rc == 0) {
        budget_front_release(&f->curve);
        f->curve = curve;
        f->weights = b.weights;
        f->uniforms = figures_mark_uniform(f->uniform, &b, f->losses);
        f->made_from = f->losses;
        f->unit = a->document.budget.unit;
        f->grain = a->document.budget.grain;
        f->group_size = a->document.settings.group_size;
        memcpy(f->pins, a->document.pins, pin_count(a));
    }
    budget_release(&b);
    return rc;
}

void app_budget_prepare(struct app *a)
{
    const struct app_host *h = &a->options->host;
    struct app_front *f = &a->front;
    struct err err = {0};
    f->losses = losses_for(a, &a->document.settings, &f->path);
    f->differs = f->losses && h->losses_differ && h->losses_differ(h->context, f->losses);
    /* Others than a commit has asked for: of another session, or just measured. */
    if (f->losses && a->document.budget.grain == BUDGET_CHANNELS &&
        losses_check_channels(f->losses, f->path, &a->document.settings, &err) < 0) {
        a->document.budget.grain = BUDGET_LINEARS;
        if (a->document.budget.on)
            app_say_err(a, "the grain is linear: ", &err);
        err_clear(&err);
    }
    if (!f->losses || (f->made_from && is_current(a)))
        return;
    if (make_curve(a, &err) < 0) { /* a pin at a width that was not measured */
        f->losses = NULL;
        f->differs = false;
        f->made_from = NULL;
        app_say_err(a, "no front of budgets: ", &err);
    }
}

static struct figure_mark moqa_mark(const struct app *a)
{
    const struct app_front *f = &a->front;
    bool bytes = a->document.budget.unit == APP_BYTES;
    struct planner_request request = {.method = "moqa", .pins = {a->document.pins}};
    struct figure_mark mark = {.bits = NAN, .rise = NAN};
    struct plan moqa = {0};
    if (!a->document.budget.on)
        return figures_mark_plan("MoQa", "M", &a->plan, f->losses, a->options->config, bytes);
    if (planner_make(&moqa, a->analysis, &request, a->options->config, NULL) == 0)
        mark = figures_mark_plan("MoQa", "M", &moqa, f->losses, a->options->config, bytes);
    plan_release(&moqa);
    return mark;
}

void app_budget_judge(struct app *a)
{
    struct app_front *f = &a->front;
    bool was_known = f->known;
    if (!a->document.budget.on)
        f->provisional = false;
    f->rise_before = f->rise;
    f->known = f->losses && budget_predict(&f->rise, &a->plan, f->losses, a->options->config);
    if (!was_known)
        f->rise_before = f->rise;
    if (f->losses)
        f->moqa = moqa_mark(a);
}

static bool is_disturbed(void *app)
{
    struct app *a = app;
    a->front.disturbed = a->key_waits && a->key_waits(a->key_context);
    return a->front.disturbed;
}

int app_budget_plan(struct plan *out, struct app *a, const struct planner_request *request,
                    struct err *err)
{
    const struct app_budget *b = &a->document.budget;
    struct app_front *f = &a->front;
    struct allocate_result result = {0};
    struct planner_request r = *request;
    r.method = "budget";
    r.losses = f->losses;
    r.losses_path = f->path;
    r.budget = options_of(&a->document);
    r.budget.states_max = f->whole ? 0 : f->frame_states ? f->frame_states : FRAME_STATES;
    r.budget.stop = f->resting ? is_disturbed : NULL;
    r.budget.stop_context = a;
    r.average_bits = b->unit == APP_BITS ? b->bits : 0;
    r.budget_bytes = b->unit == APP_BYTES ? b->bytes : 0;
    r.allocated = &result;
    int rc = planner_make(out, a->analysis, &r, a->options->config, err);
    if (rc == 0)
        f->provisional = !result.exact && (!f->whole || f->disturbed);
    return rc;
}

static void solve_whole(struct app *a, bool resting)
{
    struct app_front *f = &a->front;
    double loss = a->loss_before, rise = f->rise_before;
    if (!f->provisional)
        return;
    f->rest = 0;
    f->whole = true;
    f->resting = resting;
    f->disturbed = false;
    app_recompute(a);
    f->whole = f->resting = false;
    f->provisional = f->disturbed;
    a->loss_before = loss; /* it is still the same change */
    f->rise_before = rise;
}

void app_budget_finish(struct app *a)
{
    solve_whole(a, false);
}

size_t app_budget_marks(struct figure_mark out[APP_MARKS_MAX], const struct app *a)
{
    const struct app_front *f = &a->front;
    bool bytes = a->document.budget.unit == APP_BYTES;
    size_t n = 0;
    if (a->document.budget.on && f->known)
        out[n++] = (struct figure_mark){
            "budget", NULL, bytes ? a->plan.summary.effective_bits : a->plan.summary.nominal_bits,
            f->rise};
    if (isfinite(f->moqa.rise))
        out[n++] = f->moqa;
    for (size_t i = 0; i < f->uniforms; i++)
        out[n++] = f->uniform[i];
    for (size_t i = 0; i < 2; i++) {
        static const char *const names[] = {"snapshot A", "snapshot B"}, *const letters[] = {"A",
                                                                                             "B"};
        const struct app_snapshot *s = &a->snapshot[i];
        if (s->taken && isfinite(s->rise))
            out[n++] = (struct figure_mark){names[i], letters[i],
                                            bytes ? s->effective_bits : s->nominal_bits, s->rise};
    }
    return n;
}

/* --- Acts --- */

void app_budget_switch(struct app *a)
{
    struct app_document next = a->document;
    if (!a->options->config) {
        app_say(a, STYLE_WARN, "a plan needs the model: start with --model DIR");
        return;
    }
    if (!a->document.budget.on && !a->front.losses) {
        app_say(a, STYLE_WARN,
                "a budget needs losses measured with these settings: M measures them");
        return;
    }
    next.budget.on = !next.budget.on;
    if (next.budget.on && !next.budget.chosen)
        app_budget_default(a, &next.budget);
    double before = a->front.rise;
    if (!app_commit(a, &next))
        return;
    a->slider[a->view] = 0;
    if (!next.budget.on)
        app_say(a, STYLE_TEXT_DIM, "the plan is MoQa's again; b goes back to the budget");
    else if (a->front.known && isfinite(before))
        app_say(a, STYLE_GOOD, "the best plan of %.4g bits: predicted +%.3g, MoQa's +%.3g",
                app_budget_bits(&a->document.budget, a->front.weights), a->front.rise, before);
}

bool app_budget_measuring(const struct app *a)
{
    return a->measuring.phase == APP_LOSSES_RUNNING || a->measuring.phase == APP_LOSSES_CANCELLING;
}

void app_budget_measure(struct app *a)
{
    const struct app_host *h = &a->options->host;
    struct err err = {0};
    if (!h->losses_start)
        app_say(a, STYLE_WARN, "measuring needs the model: start with --model DIR");
    else if (app_budget_measuring(a))
        app_say(a, STYLE_WARN, "losses are being measured; Ctrl-C cancels that");
    else if (a->front.losses && !a->front.differs)
        app_say(a, STYLE_TEXT_DIM, "measured for these settings already: %s", a->front.path);
    else if (app_run_is_active(a))
        app_say(a, STYLE_WARN, "a run is under way; M again when it has ended");
    else if (h->losses_start(h->context, &a->document.settings, &err) < 0)
        app_say_err(a, "not measured: ", &err);
    else {
        h->losses_poll(h->context, &a->measuring);
        app_say(a, STYLE_GOOD, "measuring losses; all screens work meanwhile, Ctrl-C cancels");
    }
}

bool app_budget_cancel(struct app *a)
{
    const struct app_host *h = &a->options->host;
    if (!app_budget_measuring(a) || !h->losses_cancel)
        return false;
    h->losses_cancel(h->context);
    h->losses_poll(h->context, &a->measuring);
    app_say(a, STYLE_WARN, "cancelling at the next safe point; M goes on with what was measured");
    return true;
}

static void tell_end(struct app *a)
{
    const struct app_losses *m = &a->measuring;
    if (m->phase == APP_LOSSES_DONE) {
        app_recompute(a);
        app_retry_snapshots(a);
        app_say(a, STYLE_GOOD, "losses are measured: %s; on Plan, b plans within a budget",
                m->path);
    } else if (m->phase == APP_LOSSES_FAILED) {
        app_say(a, STYLE_ERROR, "measuring losses failed: %s", m->message);
    } else if (m->phase == APP_LOSSES_CANCELLED) {
        app_say(a, STYLE_WARN, "measuring is cancelled; M on Plan goes on where it stopped");
    }
}

void app_budget_tick(struct app *a)
{
    const struct app_host *h = &a->options->host;
    bool before = app_budget_measuring(a);
    if (h->losses_poll)
        h->losses_poll(h->context, &a->measuring);
    if (before && !app_budget_measuring(a))
        tell_end(a);
    if (a->front.provisional && ++a->front.rest > TICKS_OF_REST)
        solve_whole(a, true);
}

void app_budget_release(struct app *a)
{
    budget_front_release(&a->front.curve);
    free(a->front.pins);
}
