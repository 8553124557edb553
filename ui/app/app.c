#include "ui/app/app.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "ui/app/app_state.h"

const struct view *const views[APP_VIEWS] = {
    &view_data, &view_mapping, &view_significance, &view_similarity,
    &view_plan, &view_run,     &view_results,
};

enum { VIEW_SIMILARITY = 3, VIEW_RUN = 5, VIEW_RESULTS = 6, PANEL_WIDTH = 38, PANEL_MIN = 30 };

/* --- Life --- */

static int open_document(struct app *a, struct err *err)
{
    const struct app_options *o = a->options;
    int rc = app_document_init(&a->document, a, err);
    if (rc == 0)
        rc = app_document_init(&a->saved, a, err);
    if (rc < 0)
        return rc;
    a->document.settings = o->plan ? o->plan->settings : o->settings;
    for (size_t l = 0; o->plan && l < o->plan->layers_count && l < o->trace->layers; l++)
        for (size_t e = 0; e < o->plan->experts && e < o->trace->experts; e++)
            if (o->plan->layers[l].experts[e].pinned)
                a->document.pins[l * o->trace->experts + e] =
                    (uint8_t)o->plan->layers[l].experts[e].bits;
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
    a->look = *look;
    a->own_analysis = !options->analysis;
    a->analysis = options->analysis;
    int rc = a->own_analysis ? analysis_new(&a->analysis, options->trace, err) : 0;
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
    if (options->plan && !a->message[0])
        app_say(a, STYLE_TEXT_DIM, "settings and pins of %s; w writes there", options->plan_path);
    if (!a->message[0])
        app_say(a, STYLE_TEXT_DIM, "1-7 screens, Tab slider, arrows change it, ? help, q quit");
    app_tick(a);
    *out = a;
    return 0;
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
    release_documents(a->undo, APP_UNDO_MAX);
    release_documents(a->redo, APP_UNDO_MAX);
    release_documents(&a->document, 1);
    release_documents(&a->saved, 1);
    for (size_t i = 0; i < 2; i++) {
        release_documents(&a->snapshot[i].document, 1);
        free(a->snapshot[i].bits);
    }
    plan_release(&a->plan);
    if (a->own_analysis)
        analysis_free(a->analysis);
    str_release(&a->dry_run);
    str_release(&a->copy);
    free(a->run.expert);
    free(a);
}

const struct style_look *app_look(const struct app *a)
{
    return &a->look;
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

static bool run_is_active(const struct app *a)
{
    return a->run.phase == APP_RUN_RUNNING || a->run.phase == APP_RUN_CANCELLING;
}

static bool is_computing(const struct app *a)
{
    bool asked = a->mode == APP_CONFIRM_RUN && a->dry_run_phase == APP_ASK_WORKING;
    return asked || a->cosine_phase == APP_COSINE_RUNNING;
}

bool app_busy(const struct app *a)
{
    return run_is_active(a) || is_computing(a);
}

bool app_waiting(const struct app *a)
{
    const struct app_host *h = &a->options->host;
    return is_computing(a) ||
           (a->view == VIEW_RESULTS && h->results_pending && h->results_pending(h->context));
}

static void tell_end_of_run(struct app *a, enum app_run_phase before)
{
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
            tell_end_of_run(a, before);
    }
    return was_busy || app_busy(a);
}

void app_start_run(struct app *a, bool resume)
{
    const struct app_host *h = &a->options->host;
    struct err err = {0};
    if (!h->run_start || !a->has_plan) {
        app_say(a, STYLE_WARN, "a run needs the model: start with --model DIR");
        return;
    }
    if (h->run_start(h->context, &a->plan, resume, &err) < 0) {
        app_say_err(a, "not started: ", &err);
        return;
    }
    a->view = VIEW_RUN;
    app_say(a, STYLE_GOOD, "running; Ctrl-C cancels, all other screens work meanwhile");
    app_tick(a);
}

static void ask_run(struct app *a)
{
    const struct app_host *h = &a->options->host;
    if (!h->dry_run || !a->has_plan) {
        app_say(a, STYLE_WARN, "a run needs the model: start with --model DIR");
        return;
    }
    if (run_is_active(a)) {
        app_say(a, STYLE_WARN, "a run is under way; Ctrl-C cancels it");
        return;
    }
    app_prompt_begin(a, APP_CONFIRM_RUN, "");
    ask_dry_run(a, &a->plan);
}

/* --- Keys --- */

static void choose_view(struct app *a, size_t view)
{
    a->view = view;
    a->scroll = 0;
    a->dragging = false;
    a->map.plot = (struct rect){0};
    app_tick(a);
}

static void move_slider(struct app *a, int by)
{
    size_t count = 0;
    while (views[a->view]->sliders[count])
        count++;
    if (count)
        a->slider[a->view] = (a->slider[a->view] + count + (size_t)(by + (int)count)) % count;
}

static void move_layer(struct app *a, int by)
{
    size_t layers = a->result->layers;
    if ((by < 0 && a->layer == 0) || (by > 0 && a->layer + 1 == layers))
        return;
    a->layer = by < 0 ? a->layer - 1 : a->layer + 1;
}

static void cancel_or_quit(struct app *a)
{
    if (run_is_active(a)) {
        a->options->host.run_cancel(a->options->host.context);
        app_say(a, STYLE_WARN, "cancelling at the next safe point");
        app_tick(a);
    } else {
        app_say(a, STYLE_TEXT_DIM, "nothing runs; q quits");
    }
}

static bool quit(struct app *a)
{
    if (app_document_equal(&a->document, &a->saved, a) && !run_is_active(a))
        return false;
    app_prompt_begin(a, APP_CONFIRM_QUIT, "");
    return true;
}

static void cycle_look(struct app *a, uint32_t key)
{
    if (key == 't') {
        a->look.theme = (a->look.theme + 1) % STYLE_THEMES;
        app_say(a, STYLE_TEXT_DIM, "theme: %s", style_theme_name(a->look.theme));
    } else {
        a->look.glyphs = (a->look.glyphs + 1) % STYLE_GLYPHS;
        app_say(a, STYLE_TEXT_DIM, "glyphs: %s", style_glyphs_name(a->look.glyphs));
    }
}

/* Keys that edit the document or its history. */
static bool edit_key(struct app *a, uint32_t key)
{
    switch (key) {
    case TERM_KEY_LEFT:
        app_step_slider(a, -1);
        return true;
    case TERM_KEY_RIGHT:
        app_step_slider(a, 1);
        return true;
    case 'H':
    case TERM_KEY_SHIFT_LEFT:
        app_step_slider(a, -10);
        return true;
    case 'L':
    case TERM_KEY_SHIFT_RIGHT:
        app_step_slider(a, 10);
        return true;
    case '0':
        app_reset_slider(a);
        return true;
    case 'u':
        app_undo(a);
        return true;
    case 'U':
        app_redo(a);
        return true;
    case 'A':
    case 'B':
        app_take_snapshot(a, key - 'A');
        return true;
    case 'p':
        app_cycle_pin(a);
        return true;
    default:
        return false;
    }
}

/* Keys that change what is looked at. */
static bool look_key(struct app *a, uint32_t key)
{
    switch (key) {
    case TERM_KEY_TAB:
        move_slider(a, 1);
        return true;
    case TERM_KEY_BACKTAB:
        move_slider(a, -1);
        return true;
    case '[':
        move_layer(a, -1);
        return true;
    case ']':
        move_layer(a, 1);
        return true;
    case 'e':
        a->expanded = !a->expanded;
        return true;
    case 'l':
        app_change_axis(a);
        return true;
    case '+':
    case '=':
        app_zoom(a, 1);
        return true;
    case '-':
        app_zoom(a, -1);
        return true;
    case 't':
    case 'g':
        cycle_look(a, key);
        return true;
    case 'm':
        a->mouse = !a->mouse;
        app_say(a, STYLE_TEXT_DIM,
                a->mouse ? "mouse on; the terminal's own selection needs Shift"
                         : "mouse off: the terminal selects again");
        return true;
    default:
        return false;
    }
}

/* Keys that write, ask or start. */
static bool act_key(struct app *a, uint32_t key)
{
    const struct setting_info *info = app_slider(a);
    switch (key) {
    case TERM_KEY_ENTER:
        if (info)
            app_prompt_begin(a, APP_VALUE, "");
        return true;
    case '.':
        if (info)
            app_prompt_begin(a, APP_VALUE, "0.");
        return true;
    case '/':
        app_prompt_begin(a, APP_SEARCH, "");
        return true;
    case '?':
        app_prompt_begin(a, APP_HELP, "");
        return true;
    case 'w':
        app_write_plan(a);
        return true;
    case 'W':
        app_picture_ask(a);
        return true;
    case 'y':
        app_copy_command(a);
        return true;
    case 's':
        app_save_session(a);
        return true;
    case 'x':
        ask_run(a);
        return true;
    case TERM_KEY_CTRL_C:
        cancel_or_quit(a);
        return true;
    default:
        return false;
    }
}

static bool mouse_on_frame(struct app *a, const struct term_event *e)
{
    for (size_t i = 0; i < APP_VIEWS; i++)
        if (e->mouse == TERM_MOUSE_PRESS && rect_contains(a->tabs[i], e->x, e->y)) {
            choose_view(a, i);
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

bool app_event(struct app *a, const struct term_event *event)
{
    const struct view *v = views[a->view];
    if (event->key == TERM_KEY_QUIT) {
        app_save_session(a);
        return false;
    }
    if (a->mode != APP_NORMAL)
        return app_prompt_event(a, event);
    if (event->key == 'q')
        return quit(a);
    if (event->key == TERM_KEY_MOUSE && !a->dragging && mouse_on_frame(a, event))
        return true;
    if (event->key >= '1' && event->key < '1' + APP_VIEWS)
        choose_view(a, event->key - '1');
    else if (!(v->event && v->event(a, event)) && !edit_key(a, event->key) &&
             !look_key(a, event->key) && !act_key(a, event->key) && event->key > ' ' &&
             event->key < 127)
        app_say(a, STYLE_TEXT_DIM, "%c does nothing here; ? lists the keys", (int)event->key);
    return true;
}

/* --- The frame --- */

static void draw_title(struct app *a, struct cells *c, struct rect r)
{
    const char *slash = strrchr(a->options->trace_path, '/');
    char right[APP_TEXT_MAX] = "";
    size_t used = 0;
    struct style bar = {.fg = STYLE_TITLE, .bg = STYLE_BAR, .attr = STYLE_BOLD};
    cells_fill(c, r, " ", bar);
    used += (size_t)snprintf(right, sizeof right, "layer %zu (%zu of %zu)",
                             a->result->layer[a->layer].layer, a->layer + 1, a->result->layers);
    if (a->has_plan)
        used += (size_t)snprintf(right + used, sizeof right - used, "  %.3f bits",
                                 a->plan.summary.nominal_bits);
    if (run_is_active(a))
        used += (size_t)snprintf(right + used, sizeof right - used, "  running %.0f %%",
                                 a->run.steps_total ? 100.0 * (double)a->run.steps_done /
                                                          (double)a->run.steps_total
                                                    : 0);
    if (!app_document_equal(&a->document, &a->saved, a))
        snprintf(right + used, sizeof right - used, "  plan not written");
    int right_width = cells_width(right);
    cells_textf(c, r.x + 1, r.y, r.w - right_width - 4, bar, "moqa  %s",
                slash ? slash + 1 : a->options->trace_path);
    if (right_width + 2 < r.w)
        cells_text(c, r.x + r.w - right_width - 1, r.y, -1, right, bar);
}

static void draw_tabs(struct app *a, struct cells *c, struct rect r)
{
    int full = 0, x = r.x + 1;
    for (size_t i = 0; i < APP_VIEWS; i++)
        full += cells_width(views[i]->name) + 4;
    bool names = full <= r.w;
    for (size_t i = 0; i < APP_VIEWS; i++) {
        bool on = i == a->view;
        struct style key = {.fg = STYLE_KEY, .attr = on ? STYLE_BOLD | STYLE_REVERSE : 0};
        struct style text = {.fg = on ? STYLE_ACCENT : STYLE_DEFAULT,
                             .attr = on ? STYLE_BOLD | STYLE_REVERSE : 0};
        int begin = x;
        x += cells_textf(c, x, r.y, r.x + r.w - x, key, " %zu", i + 1);
        if (names || on)
            x += cells_textf(c, x, r.y, r.x + r.w - x, text, " %s ", views[i]->name);
        else
            x += cells_text(c, x, r.y, r.x + r.w - x, " ", text);
        a->tabs[i] = (struct rect){begin, r.y, x - begin, 1};
    }
}

/* "key what  key what": keys in colour; whole hints only, `?` always. */
static void draw_hints(struct app *a, struct cells *c, struct rect r)
{
    static const char *const sliders[] = {
        [true] = "Tab slider  <-> change  Enter value  ",
        [false] = "Tab slider  \xe2\x86\x90\xe2\x86\x92 change  Enter value  "};
    const char *hints = views[a->view]->hints;
    bool has_sliders = views[a->view]->sliders[0] != NULL;
    char all[512];
    struct style text = {.fg = STYLE_TEXT_DIM, .bg = STYLE_BAR},
                 key = {.fg = STYLE_KEY, .bg = STYLE_BAR, .attr = STYLE_BOLD};
    cells_fill(c, r, " ", text);
    snprintf(all, sizeof all, "%s%s%su undo  [ ] layer  / find  y copy  t theme",
             hints ? hints : "", hints ? "  " : "",
             has_sliders ? sliders[a->look.glyphs == STYLE_ASCII] : "");
    int x = r.x + 1, end = r.x + r.w - 15;
    for (char *hint = all, *next; hint && *hint; hint = next) {
        next = strstr(hint, "  ");
        if (next) {
            *next = '\0';
            next += 2;
        }
        if (x + cells_width(hint) > end)
            break;
        char *space = strchr(hint, ' ');
        while (space && space[1] && (space[2] == ' ')) /* "< > expert": both are keys */
            space += 2;
        if (space)
            *space = '\0';
        x += cells_text(c, x, r.y, -1, hint, key);
        if (space)
            x += cells_textf(c, x, r.y, -1, text, " %s", space + 1);
        x += 2;
    }
    x = cells_text(c, r.x + r.w - 14, r.y, -1, "?", key) + r.x + r.w - 14;
    x += cells_text(c, x, r.y, -1, " help ", text);
    x += cells_text(c, x, r.y, -1, " q", key);
    cells_text(c, x, r.y, -1, " quit", text);
}

static void draw_panel(struct app *a, struct cells *c, struct rect r)
{
    int row = 0;
    cells_fill(c, (struct rect){r.x, r.y, 1, r.h}, style_glyph(&a->look, STYLE_G_VLINE),
               STYLE(STYLE_BORDER));
    struct rect inner = rect_inset(r, 2, 0, 1, 0);
    int facts_min = r.h > 12 ? 6 : 2;
    struct rect sliders = inner;
    sliders.h = r.h - facts_min;
    row = app_draw_sliders(a, c, sliders);
    if (row > 0 && row < r.h) {
        cells_fill(c, (struct rect){inner.x, inner.y + row, inner.w, 1},
                   style_glyph(&a->look, STYLE_G_HLINE), STYLE(STYLE_BORDER));
        row++;
    }
    if (views[a->view]->facts && row < r.h)
        views[a->view]->facts(a, c, rect_inset(inner, 0, row, 0, 0));
}

/* The question of `q` is asked here, too: it must work at any size. */
static void draw_too_small(const struct app *a, struct cells *c)
{
    cells_paragraph(c, cells_area(c),
                    a->mode == APP_CONFIRM_QUIT
                        ? "y quits and drops what is not written; any other key stays."
                        : "moqa needs 40 x 10 cells. q quits.",
                    STYLE(STYLE_WARN));
}

void app_draw(struct app *a, struct cells *c)
{
    struct rect rows[5], columns[2];
    cells_clear(c);
    a->slider_rows = (struct rect){0};
    memset(a->tabs, 0, sizeof a->tabs);
    if (c->w < APP_MIN_WIDTH || c->h < APP_MIN_HEIGHT) {
        draw_too_small(a, c);
        return;
    }
    const struct layout_item row_items[] = {{.want = 1, .min = 1, .priority = 9},
                                            {.want = 1, .min = 1, .priority = 5},
                                            {.weight = 1, .min = 5, .priority = 10},
                                            {.want = 1, .min = 1, .priority = 7},
                                            {.want = 1, .min = 1, .priority = 8}};
    layout_rows(rows, cells_area(c), row_items, 5, 0);
    bool panel = !a->expanded && (views[a->view]->sliders[0] || views[a->view]->facts);
    const struct layout_item column_items[] = {{.weight = 3, .want = 38, .min = 38, .priority = 10},
                                               {.weight = panel ? 1 : 0,
                                                .want = panel ? PANEL_WIDTH : 0,
                                                .min = panel ? PANEL_MIN : 1,
                                                .max = 56,
                                                .priority = 1}};
    columns[1] = (struct rect){0};
    if (panel)
        layout_columns(columns, rows[2], column_items, 2, 1);
    else
        columns[0] = rows[2];
    draw_title(a, c, rows[0]);
    draw_tabs(a, c, rows[1]);
    a->map = (struct chart_map){0};
    c->clip = columns[0];
    views[a->view]->draw(a, c, columns[0]);
    c->clip = columns[1];
    if (!rect_empty(columns[1]))
        draw_panel(a, c, columns[1]);
    c->clip = cells_area(c);
    cells_text(c, rows[3].x + 1, rows[3].y, rows[3].w - 2, a->message, STYLE(a->message_colour));
    draw_hints(a, c, rows[4]);
    if (a->mode != APP_NORMAL)
        app_prompt_draw(a, c);
}
