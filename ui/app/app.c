#include "ui/app/app.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "ui/app/app_find.h"
#include "ui/app/app_result.h"

const struct view *const views[APP_VIEWS] = {
    &view_data, &view_mapping, &view_significance, &view_similarity,
    &view_plan, &view_run,     &view_results,
};

enum { VIEW_SIMILARITY = 3, VIEW_RUN = 5, VIEW_RESULTS = 6 };

/* --- Life --- */

static int open_document(struct app *a, struct err *err)
{
    const struct app_options *o = a->options;
    int rc = app_document_init(&a->document, a, err);
    if (rc == 0)
        rc = app_document_init(&a->saved, a, err);
    if (rc == 0)
        rc = app_document_init(&a->written, a, err);
    if (rc < 0)
        return rc;
    a->document.settings = o->plan ? o->plan->settings : o->settings;
    a->plan_ours = o->plan;
    rc = o->plan ? app_keep_given(&a->document.settings, a, err) : 0;
    if (rc < 0)
        return rc;
    for (size_t l = 0; o->plan && l < o->plan->layers_count && l < o->trace->layers; l++)
        for (size_t e = 0; e < o->plan->experts && e < o->trace->experts; e++)
            if (o->plan->layers[l].experts[e].pinned)
                a->document.pins[l * o->trace->experts + e] =
                    (uint8_t)o->plan->layers[l].experts[e].bits;
    if (o->plan)
        app_budget_take(&a->document.budget, o->plan);
    if (a->document.budget.on) /* its channels are none of the rule's */
        a->document.settings.beta_ch = o->settings.beta_ch;
    if (!app_budget_keep(a, &a->document))
        app_say(a, STYLE_WARN, "MoQa's plan is shown: no losses are measured for the budget of %s",
                o->plan_path);
    app_document_copy(&a->saved, &a->document, a);
    return 0;
}

int app_new(struct app **out, const struct app_options *options, const struct style_look *look,
            struct err *err)
{
    struct app *a = mem_array(1, sizeof *a, err);
    *out = NULL;
    if (!a)
        return ERR_NOMEM;
    a->options = options;
    a->look = a->given_look = *look;
    a->own_analysis = !options->analysis;
    a->analysis = options->analysis;
    int rc = file_writer_new(&a->writer, err);
    if (rc == 0 && a->own_analysis)
        rc = analysis_new(&a->analysis, options->trace, err);
    if (rc == 0)
        rc = open_document(a, err);
    if (rc == 0)
        rc = analysis_update(a->analysis, &a->document.settings, err);
    if (rc < 0) {
        app_free(a);
        return rc;
    }
    app_recompute(a);
    app_restore_session(a);
    if (app_config_differs(a) && !(a->message[0] && a->message_colour == STYLE_ERROR))
        app_say(a, STYLE_WARN,
                "the trace was made with another config.json than this model's, of its shape");
    if (options->plan && !a->message[0])
        app_say(a, STYLE_TEXT_DIM, "settings and pins of %s; w writes there", options->plan_path);
    if (!a->message[0])
        app_say(a, STYLE_TEXT_DIM, "1-7 screens, Tab slider, arrows change it, ? help, q quit");
    app_tick(a);
    *out = a;
    return 0;
}

bool app_config_differs(const struct app *a)
{
    return a->options->config && !planner_has_config_of(a->options->trace, a->options->config);
}

static void release_documents(struct app_document *d, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(d[i].pins);
}

void app_free(struct app *a)
{
    if (!a)
        return;
    file_writer_free(a->writer);
    release_documents(a->undo, APP_UNDO_MAX);
    release_documents(a->redo, APP_UNDO_MAX);
    release_documents(&a->document, 1);
    release_documents(&a->saved, 1);
    release_documents(&a->written, 1);
    for (size_t i = 0; i < 2; i++) {
        release_documents(&a->snapshot[i].document, 1);
        free(a->snapshot[i].bits);
        free(a->snapshot[i].mean_bits);
        free(a->snapshot[i].linear);
    }
    app_budget_release(a);
    plan_release(&a->plan);
    if (a->own_analysis)
        analysis_free(a->analysis);
    app_find_release(a);
    str_release(&a->dry_run);
    str_release(&a->copy);
    free(a->run.expert);
    free(a);
}

const struct style_look *app_look(const struct app *a)
{
    return &a->look;
}

void app_ask_for_keys(struct app *a, bool (*key_waits)(void *context), void *context)
{
    a->key_waits = key_waits;
    a->key_context = context;
}

bool app_wants_mouse(const struct app *a)
{
    return a->mouse;
}

const char *app_take_copy(struct app *a)
{
    bool pending = a->copy_pending;
    a->copy_pending = false;
    return pending ? str_get(&a->copy) : NULL;
}

/* --- What happens in the background --- */

bool app_run_is_active(const struct app *a)
{
    return a->run.phase == APP_RUN_RUNNING || a->run.phase == APP_RUN_CANCELLING;
}

const char *app_run_part(const struct app_run *run)
{
    return run->evaluating ? "evaluation" : "pass";
}

static bool is_computing(const struct app *a)
{
    bool asked = a->mode == APP_CONFIRM_RUN && a->dry_run_phase == APP_ASK_WORKING;
    return asked || a->cosine_phase == APP_COSINE_RUNNING || a->front.provisional || app_writing(a);
}

static bool is_measuring_original(const struct app *a)
{
    const struct app_host *h = &a->options->host;
    const struct app_result *list = NULL;
    size_t n = h->results ? h->results(h->context, &list) : 0;
    for (size_t i = 0; i < n; i++)
        if (list[i].original && list[i].measure == APP_MEASURE_WORKING)
            return true;
    return false;
}

bool app_can_cancel(const struct app *a)
{
    return app_run_is_active(a) || app_budget_measuring(a) ||
           (a->view == VIEW_RESULTS && is_measuring_original(a));
}

bool app_busy(const struct app *a)
{
    return app_run_is_active(a) || app_budget_measuring(a) || is_computing(a);
}

bool app_waiting(const struct app *a)
{
    const struct app_host *h = &a->options->host;
    bool lists = a->view == VIEW_RESULTS || a->find.pane == APP_PANE_EXPERT; /* its last loss */
    return is_computing(a) || (lists && h->results_pending && h->results_pending(h->context));
}

static void tell_change_of_run(struct app *a, enum app_run_phase before)
{
    if (before == APP_RUN_IDLE && a->run.phase == APP_RUN_RUNNING)
        app_say(a, STYLE_GOOD, "a run is under way, found again: 6 shows it");
    else if (before == APP_RUN_IDLE)
        app_say(a, STYLE_TEXT_DIM, "the last run is not finished: 6 shows it, r goes on");
    if (before != APP_RUN_RUNNING && before != APP_RUN_CANCELLING)
        return;
    if (a->run.phase == APP_RUN_DONE)
        app_say(a, STYLE_GOOD, "the run is done: %s%s%s", a->run.out, a->run.message[0] ? ", " : "",
                a->run.message);
    else if (a->run.phase == APP_RUN_CANCELLED)
        app_say(a, STYLE_WARN, "cancelled; finished layers are kept: 6, then r goes on");
    else if (a->run.phase == APP_RUN_FAILED)
        app_say(a, STYLE_ERROR, "the run failed: %s", a->run.message);
}

/* Looks whether the dry run's text is there; `plan`: asks for it. */
static void ask_dry_run(struct app *a, const struct plan *plan)
{
    const struct app_host *h = &a->options->host;
    const char *text;
    a->dry_run_phase = h->dry_run(h->context, plan, &text);
    str_clear(&a->dry_run);
    str_append(&a->dry_run, text);
    if (a->dry_run_phase != APP_ASK_FAILED)
        return;
    a->mode = APP_NORMAL;
    app_say(a, STYLE_ERROR, "cannot run: %s", text);
}

bool app_tick(struct app *a)
{
    const struct app_host *h = &a->options->host;
    bool was_busy = app_busy(a);
    if (a->mode == APP_CONFIRM_RUN && a->dry_run_phase == APP_ASK_WORKING)
        ask_dry_run(a, NULL);
    if (h->cosine && (a->view == VIEW_SIMILARITY || a->cosine_phase == APP_COSINE_RUNNING) &&
        a->cosine_phase != APP_COSINE_READY)
        a->cosine_phase =
            h->cosine(h->context, &a->cosine, &a->cosine_progress, &a->cosine_message);
    if (h->run_poll) {
        enum app_run_phase before = a->run.phase;
        h->run_poll(h->context, &a->run);
        if (a->run.phase != before)
            tell_change_of_run(a, before);
    }
    app_budget_tick(a);
    app_write_tick(a);
    return was_busy || app_busy(a);
}

void app_start_run(struct app *a, bool resume)
{
    const struct app_host *h = &a->options->host;
    struct err err = {0};
    app_budget_finish(a);
    if (!h->run_start) {
        app_say(a, STYLE_WARN, "a run needs the model: start with --model DIR");
        return;
    }
    if (!app_plan_ready(a))
        return;
    if (h->run_start(h->context, &a->plan, resume, &err) < 0) {
        app_say_err(a, "not started: ", &err);
        return;
    }
    a->view = VIEW_RUN;
    app_tick(a);
    app_say(a, STYLE_GOOD, "running, also when the screen is closed; Ctrl-C cancels");
}

void app_ask_run(struct app *a)
{
    const struct app_host *h = &a->options->host;
    if (!h->dry_run) {
        app_say(a, STYLE_WARN, "a run needs the model: start with --model DIR");
        return;
    }
    if (!app_plan_ready(a))
        return;
    if (app_run_is_active(a)) {
        app_say(a, STYLE_WARN, "a run is under way; Ctrl-C cancels it");
        return;
    }
    if (app_budget_measuring(a)) {
        app_say(a, STYLE_WARN, "losses are being measured; Ctrl-C stops that, M goes on later");
        return;
    }
    app_budget_finish(a);
    app_prompt_begin(a, APP_CONFIRM_RUN, "");
    ask_dry_run(a, &a->plan);
}

/* --- Events --- */

void app_choose_view(struct app *a, size_t view)
{
    if (view == a->view)
        app_say(a, STYLE_TEXT_DIM, "this is the %s screen", views[view]->name);
    app_find_leave(a);
    a->view = view;
    a->scroll = 0;
    a->dragging = false;
    a->map.plot = (struct rect){0};
    app_tick(a);
}

void app_move_layer(struct app *a, long by)
{
    long to = (long)a->layer + by, last = (long)a->result->layers - 1;
    to = to < 0 ? 0 : to > last ? last : to;
    if (to == (long)a->layer)
        app_say(a, STYLE_TEXT_DIM, "this is the %s layer", by < 0 ? "first" : "last");
    a->layer = (size_t)to;
}

void app_cancel_run(struct app *a)
{
    if (app_run_is_active(a)) {
        a->options->host.run_cancel(a->options->host.context);
        app_say(a, STYLE_WARN, "cancelling at the next safe point");
        app_tick(a);
    } else if (!app_budget_cancel(a) && !app_results_cancel(a)) {
        app_say(a, STYLE_TEXT_DIM, "%s",
                a->cosine_phase == APP_COSINE_RUNNING
                    ? "similarity is being computed and ends with the screen; q quits"
                    : "nothing runs; q quits");
    }
}

void app_quit(struct app *a)
{
    if (!app_write_finish(a))
        return; /* what is not written is told; leaving is asked for once more */
    if (app_document_equal(&a->document, &a->saved, a))
        a->leaving = true;
    else
        app_prompt_begin(a, APP_CONFIRM_QUIT, "");
}

static bool mouse_on_frame(struct app *a, const struct term_event *e)
{
    for (size_t i = 0; i < APP_VIEWS; i++)
        if (e->mouse == TERM_MOUSE_PRESS && rect_contains(a->tabs[i], e->x, e->y)) {
            app_choose_view(a, i);
            return true;
        }
    if (!rect_contains(a->slider_rows, e->x, e->y))
        return false;
    if (e->mouse == TERM_MOUSE_PRESS || e->mouse == TERM_MOUSE_WHEEL)
        a->slider[a->view] = (size_t)(e->y - a->slider_rows.y);
    if (e->mouse == TERM_MOUSE_WHEEL)
        app_step_slider(a, -e->wheel);
    return true;
}

/* Every key does something that can be seen, or says why not. */
static void press(struct app *a, uint32_t code)
{
    int argument = 0;
    char name[24];
    const struct app_key *key = app_keys_find(a, code, &argument);
    a->message[0] = '\0';
    a->dragging = false; /* a terminal may keep the release of the mouse to itself */
    if (key) {
        key->act(a, argument);
        return;
    }
    app_keys_name(name, sizeof name, code, STYLE_ASCII);
    app_say(a, STYLE_TEXT_DIM, "%s does nothing here; ? lists the keys", name);
}

static void on_mouse(struct app *a, const struct term_event *e)
{
    const struct view *v = views[a->view];
    if (e->mouse == TERM_MOUSE_PRESS)
        a->message[0] = '\0';
    bool taken = !a->dragging && (mouse_on_frame(a, e) || app_find_mouse(a, e));
    if (!taken && v->mouse)
        v->mouse(a, e);
}

bool app_event(struct app *a, const struct term_event *event)
{
    if (event->key == TERM_KEY_QUIT) {
        app_save_session(a);
        return false;
    }
    if (event->key == TERM_KEY_RESIZE || event->key == TERM_KEY_NONE)
        return true;
    a->front.rest = 0;
    if (a->mode != APP_NORMAL)
        return app_prompt_event(a, event);
    if (event->key == TERM_KEY_MOUSE)
        on_mouse(a, event);
    else
        press(a, event->key);
    bool stays = !a->leaving;
    a->leaving = false;
    return stays;
}
