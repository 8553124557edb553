#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/predict.h"
#include "data/base/mem.h"
#include "ui/app/app_state.h"

void app_say(struct app *a, uint16_t colour, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(a->message, sizeof a->message, format, args);
    va_end(args);
    a->message_colour = colour;
}

void app_say_err(struct app *a, const char *what, const struct err *err)
{
    char line[APP_TEXT_MAX];
    err_format(line, sizeof line, err);
    app_say(a, STYLE_ERROR, "%s%s", what, line);
}

static size_t pin_count(const struct app *a)
{
    return a->options->trace->layers * a->options->trace->experts;
}

int app_document_init(struct app_document *d, const struct app *a, struct err *err)
{
    settings_defaults(&d->settings);
    d->pins = mem_array(pin_count(a), 1, err);
    return d->pins ? 0 : ERR_NOMEM;
}

void app_document_copy(struct app_document *to, const struct app_document *from,
                       const struct app *a)
{
    to->settings = from->settings;
    to->budget = from->budget;
    memcpy(to->pins, from->pins, pin_count(a));
}

bool app_document_equal(const struct app_document *x, const struct app_document *y,
                        const struct app *a)
{
    return settings_equal(&x->settings, &y->settings) && app_budget_equal(&x->budget, &y->budget) &&
           memcmp(x->pins, y->pins, pin_count(a)) == 0;
}

static int make_plan(struct app *a, struct err *err)
{
    const char *slash = strrchr(a->options->trace_path, '/');
    struct planner_request request = {
        .method = "moqa",
        .pins = {a->document.pins},
        .trace_name = slash ? slash + 1 : a->options->trace_path,
        .trace_sha256 = a->options->trace_sha256,
    };
    struct plan next = {0};
    app_budget_prepare(a);
    int rc = a->document.budget.on
                 ? app_budget_plan(&next, a, &request, err)
                 : planner_make(&next, a->analysis, &request, a->options->config, err);
    if (rc < 0)
        return rc;
    plan_release(&a->plan);
    a->plan = next;
    a->loss_before = a->loss;
    a->loss = predict_plan_loss(&a->plan, a->options->config);
    if (!a->has_plan)
        a->loss_before = a->loss;
    a->has_plan = true;
    app_budget_judge(a);
    return 0;
}

/* What the trace alone tells of a plan. */
static int make_widths(struct app *a, struct err *err)
{
    struct planner_pins pins = {a->document.pins};
    struct plan next = {0};
    int rc = planner_widths(&next, a->analysis, &pins, err);
    if (rc < 0)
        return rc;
    plan_release(&a->plan);
    a->plan = next;
    a->has_widths = true;
    return 0;
}

bool app_recompute(struct app *a)
{
    struct err err = {0};
    int rc = analysis_update(a->analysis, &a->document.settings, &err);
    if (rc == 0) {
        a->result = analysis_result(a->analysis);
        rc = a->options->config ? make_plan(a, &err) : make_widths(a, &err);
    }
    if (rc < 0)
        app_say_err(a, "", &err);
    a->sound = rc == 0;
    return a->sound;
}

bool app_plan_ready(struct app *a)
{
    if (!a->options->config)
        app_say(a, STYLE_WARN, "a plan needs the model's shapes: start with --model DIR");
    else if (!a->sound && app_recompute(a)) /* says what is wrong */
        a->message[0] = '\0';
    return a->sound && a->has_plan;
}

/* Puts a copy of `d` on a stack; the oldest falls off a full one. */
static void push(struct app *a, struct app_document *stack, size_t *count,
                 const struct app_document *d)
{
    if (*count == APP_UNDO_MAX) {
        struct app_document oldest = stack[0];
        memmove(stack, stack + 1, (APP_UNDO_MAX - 1) * sizeof *stack);
        stack[APP_UNDO_MAX - 1] = oldest;
        (*count)--;
    }
    struct app_document *top = &stack[*count];
    if (!top->pins && app_document_init(top, a, NULL) < 0)
        return; /* without memory this step cannot be undone */
    app_document_copy(top, d, a);
    (*count)++;
}

/* After a change: the document as it was goes onto the undo stack, unless a drag has put it there
 * already. */
static void remember(struct app *a, const struct app_document *before)
{
    if (!a->dragging || !a->drag_changed) {
        push(a, a->undo, &a->undo_count, before);
        a->redo_count = 0;
    }
    a->drag_changed = a->dragging;
}

static void travel(struct app *a, struct app_document *from, size_t *from_count,
                   struct app_document *to, size_t *to_count, const char *word)
{
    if (*from_count == 0) {
        app_say(a, STYLE_WARN, "nothing to %s", word);
        return;
    }
    push(a, to, to_count, &a->document);
    app_document_copy(&a->document, &from[--*from_count], a);
    app_say(a, STYLE_TEXT_DIM, "%s: %zu more", word, *from_count);
    app_recompute(a);
}

void app_undo(struct app *a)
{
    travel(a, a->undo, &a->undo_count, a->redo, &a->redo_count, "undo");
}

void app_redo(struct app *a)
{
    travel(a, a->redo, &a->redo_count, a->undo, &a->undo_count, "redo");
}

const struct plan_expert *app_plan_expert(const struct app *a, size_t i)
{
    return &a->plan.layers[i / a->plan.experts].experts[i % a->plan.experts];
}

double app_plan_mean_bits(const struct app *a, size_t i)
{
    return plan_expert_mean_bits(&a->plan, app_plan_expert(a, i), a->options->config);
}

bool app_bits_differ(double left, double right)
{
    return fabs(left - right) > 1e-9;
}

void app_plan_linears(uint8_t out[PLAN_LINEARS], const struct app *a, size_t i)
{
    for (int k = 0; k < PLAN_LINEARS; k++)
        out[k] = (uint8_t)plan_expert_bits(app_plan_expert(a, i), (enum plan_linear)k);
}

uint8_t app_pin(const struct app *a, size_t layer, size_t expert)
{
    return a->document.pins[layer * a->options->trace->experts + expert];
}

static bool set_pin(struct app *a, uint8_t bits)
{
    struct app_document next = {0};
    struct err err = {0};
    bool done = false;
    if (app_document_init(&next, a, &err) < 0) {
        app_say_err(a, "", &err);
    } else {
        app_document_copy(&next, &a->document, a);
        next.pins[a->layer * a->options->trace->experts + a->expert] = bits;
        done = app_commit(a, &next);
    }
    free(next.pins);
    return done;
}

void app_cycle_pin(struct app *a)
{
    static const uint8_t order[] = {0, 2, 3, 4, 8, 16};
    uint8_t pin = app_pin(a, a->layer, a->expert);
    size_t i = 0;
    while (i + 1 < sizeof order && order[i] != pin)
        i++;
    pin = order[(i + 1) % sizeof order];
    if (!set_pin(a, pin)) { /* a budget has no room for that, nor for more */
        char message[APP_TEXT_MAX];
        memcpy(message, a->message, sizeof message);
        if (set_pin(a, 0))
            memcpy(a->message, message, sizeof message);
        return;
    }
    if (pin)
        app_say(a, STYLE_PIN, "layer %zu, expert %zu pinned to %u bits",
                (size_t)a->result->layer[a->layer].layer, a->expert, pin);
    else
        app_say(a, STYLE_TEXT_DIM, "layer %zu, expert %zu no longer pinned",
                (size_t)a->result->layer[a->layer].layer, a->expert);
}

/* The document as it was before a change; the message stays. */
static void take_back(struct app *a, const struct app_document *before)
{
    char message[APP_TEXT_MAX];
    memcpy(message, a->message, sizeof message);
    app_document_copy(&a->document, before, a);
    app_recompute(a);
    memcpy(a->message, message, sizeof message);
}

/* Puts another document on the screen; false where its plan cannot be made. */
static bool change(struct app *a, const struct app_document *next)
{
    if (next->pins != a->document.pins)
        memcpy(a->document.pins, next->pins, pin_count(a));
    a->document.settings = next->settings;
    a->document.budget = next->budget;
    a->message[0] = '\0';
    return app_recompute(a);
}

bool app_commit(struct app *a, const struct app_document *next)
{
    struct err err = {0};
    struct app_document before = {0};
    bool was_sound = a->sound;
    if (app_document_equal(next, &a->document, a))
        return false;
    int rc = settings_check(&next->settings, &err);
    if (rc == 0 && next->budget.on)
        rc = app_budget_check(a, next, &err);
    if (rc == 0)
        rc = app_document_init(&before, a, &err);
    if (rc < 0) {
        app_say_err(a, "", &err);
        return false;
    }
    app_document_copy(&before, &a->document, a);
    bool made = change(a, next);
    if (made || !was_sound) /* else nobody could get out of what is wrong by more than one step */
        remember(a, &before);
    else
        take_back(a, &before);
    free(before.pins);
    return made;
}

/* --- How the charts are looked at --- */

void app_change_axis(struct app *a)
{
    static const struct view *const with[] = {&view_data, &view_mapping, &view_plan, &view_results};
    for (size_t i = 0; i < sizeof with / sizeof *with; i++)
        if (views[a->view] == with[i] && (with[i] != &view_plan || a->front.losses)) {
            a->linear_axis = !a->linear_axis;
            app_say(a, STYLE_TEXT_DIM, "%s axes", a->linear_axis ? "linear" : "logarithmic");
            return;
        }
    app_say(a, STYLE_TEXT_DIM, "no logarithmic axis here; Data, Mapping and Results have one");
}

void app_zoom(struct app *a, int by)
{
    int to = a->zoom + by;
    if (views[a->view] == &view_run)
        app_say(a, STYLE_TEXT_DIM, "nothing to zoom here; all other screens can");
    else if (to < 0 || to > APP_ZOOM_MAX)
        app_say(a, STYLE_TEXT_DIM,
                to < 0 ? "all is shown; + zooms in" : "no closer than this; - zooms out");
    else {
        a->zoom = to;
        app_say(a, STYLE_TEXT_DIM, "zoom %d of %d", a->zoom, APP_ZOOM_MAX);
    }
}

void app_copy_command(struct app *a)
{
    const struct app_host *h = &a->options->host;
    struct plan bare = {.settings = a->document.settings};
    if (!h->command_line)
        return;
    str_clear(&a->copy);
    h->command_line(h->context, a->has_plan ? &a->plan : &bare, a->has_plan ? "plan" : "analyze",
                    a->document.budget.on ? &a->document.budget : NULL, &a->copy);
    a->copy_pending = true;
    a->mode = APP_COPIED;
    app_say(a, STYLE_GOOD, "copied: %s", str_get(&a->copy));
}
