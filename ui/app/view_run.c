/* Screen 6: the quantization pass. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "ui/app/view_parts.h"

enum {
    LABEL = 24,
    HEAD_ROWS = 3,
    PLANNED_MIN = 4, /* two rows of its grid */
    GRID_HEAD_ROWS = 4,
    LOG_ROWS = 4,
    LOG_STEP = 5,
    TOKENS_ROWS = 8,
    TOKENS_MAX_ROWS = 14
};

static const struct {
    const char *word;
    uint16_t colour;
} phases[] = {
    [APP_RUN_IDLE] = {"not started", STYLE_TEXT_DIM},
    [APP_RUN_RUNNING] = {"running", STYLE_ACCENT},
    [APP_RUN_CANCELLING] = {"cancelling at the next safe point", STYLE_WARN},
    [APP_RUN_CANCELLED] = {"cancelled: r goes on where it stopped", STYLE_WARN},
    [APP_RUN_DONE] = {"done", STYLE_GOOD},
    [APP_RUN_FAILED] = {"failed: r tries again from the finished layers", STYLE_ERROR},
};

static double fraction_done(const struct app_run *run)
{
    return run->steps_total ? (double)run->steps_done / (double)run->steps_total : 0;
}

/* --- before it starts --- */

static void draw_idle(struct app *a, struct cells *c, struct rect r)
{
    char before[32], after[32], text[2048];
    const struct plan *p = &a->plan;
    str_bytes(before, sizeof before, p->summary.bytes_before);
    str_bytes(after, sizeof after, p->summary.bytes_after);
    int n = snprintf(text, sizeof text,
                     "The plan will be applied to %s: %zu MoE layers of %zu "
                     "experts, on average %.3f bits (%.3f with scales and channels): %s of "
                     "experts instead of %s.",
                     p->model_name[0] ? p->model_name : "the model", p->layers_count, p->experts,
                     p->summary.nominal_bits, p->summary.effective_bits, after, before);
    struct rect at = rect_inset(r, 2, 1, 2, 0);
    at.y += cells_paragraph(c, at, text, STYLE(STYLE_DEFAULT)) + 1;
    at.h = r.y + r.h - at.y;
    if (a->run.out[0] && n > 0 && at.h > 0) {
        snprintf(text, sizeof text, "Output folder: %s", a->run.out);
        at.y += cells_paragraph(c, at, text, STYLE(STYLE_DEFAULT)) + 1;
        at.h = r.y + r.h - at.y;
    }
    if (at.h > 0)
        at.y += cells_paragraph(c, at,
                                "x shows what would be done and every size, and asks before it "
                                "starts. Every finished layer is kept: a cancelled run can be "
                                "resumed.",
                                STYLE(STYLE_KEY)) +
                1;
    at = (struct rect){r.x, at.y, r.w, r.y + r.h - at.y};
    if (at.h >= PLANNED_MIN)
        view_bits(a, c, at);
}

/* --- its grid --- */

/* Loss as a part of what round-to-nearest would lose; NaN where that is unknown. */
static double loss_ratio(const struct app_run_expert *x)
{
    return x->done && x->loss_rtn > 0 ? x->loss / x->loss_rtn : NAN;
}

static void fill_tiles(const struct app *a, struct chart_tile *tile)
{
    const struct app_run *run = &a->run;
    for (size_t i = 0; i < run->layers * run->experts; i++) {
        const struct app_run_expert *x = &run->expert[i];
        bool current = !x->done && i / run->experts == run->layer && run->phase == APP_RUN_RUNNING;
        tile[i] = (struct chart_tile){.colour = STYLE_GRID};
        if (x->done) {
            snprintf(tile[i].text, sizeof tile[i].text, "%u%s", x->bits % 100, x->mixed ? "'" : "");
            tile[i].colour = x->fallback ? STYLE_WARN : (uint16_t)(STYLE_BITS + x->bits);
            tile[i].marked = x->fallback;
        } else {
            snprintf(tile[i].text, sizeof tile[i].text, "%s",
                     current ? view_word(a, "\u25cc", "o") : view_word(a, "\u00b7", "."));
            tile[i].colour = current ? STYLE_ACCENT : STYLE_GRID;
        }
    }
}

/* What the grid's tiles mean, in the row below them. */
static void draw_legend(struct app *a, struct cells *c, int x, int y, int w)
{
    const struct app_run *run = &a->run;
    int end = x + w;
    x += cells_text(c, x, y, end - x, "number: bits", STYLE(STYLE_TEXT_DIM));
    bool mixed = false;
    for (size_t i = 0; i < run->layers * run->experts; i++)
        mixed |= run->expert[i].done && run->expert[i].mixed;
    if (mixed)
        x += cells_text(c, x, y, end - x, ", ' linears differ", STYLE(STYLE_TEXT_DIM));
    if (run->fallbacks) {
        struct style marked = STYLE(STYLE_WARN);
        marked.attr = STYLE_BOLD | STYLE_UNDERLINE;
        x += cells_text(c, x, y, end - x, "  ", STYLE(STYLE_TEXT_DIM));
        x += cells_text(c, x, y, end - x, "4", marked);
        x += cells_text(c, x, y, end - x, " rounded", STYLE(STYLE_TEXT_DIM));
    }
    if (run->phase == APP_RUN_RUNNING)
        x += cells_textf(c, x, y, end - x, STYLE(STYLE_ACCENT), "  %s now",
                         view_word(a, "\u25cc", "o"));
    if (run->phase != APP_RUN_DONE)
        cells_textf(c, x, y, end - x, STYLE(STYLE_TEXT_DIM), "  %s later",
                    view_word(a, "\u00b7", "."));
}

static void draw_grid(struct app *a, struct cells *c, struct rect r)
{
    const struct app_run *run = &a->run;
    struct chart_tile *tile = NULL;
    char(*label)[LABEL] = NULL;
    const char **labels = NULL;
    if (!run->expert || run->layers == 0 || run->experts == 0)
        return;
    tile = mem_array(run->layers * run->experts, sizeof *tile, NULL);
    label = mem_array(run->layers, sizeof *label, NULL);
    labels = mem_array(run->layers, sizeof *labels, NULL);
    if (!tile || !label || !labels)
        goto cleanup;
    fill_tiles(a, tile);
    for (size_t l = 0; l < run->layers; l++) {
        snprintf(label[l], LABEL, "%zu", l < a->result->layers ? a->result->layer[l].layer : l);
        labels[l] = label[l];
    }
    struct chart_tiles chart = {.tile = tile,
                                .rows = run->layers,
                                .cols = run->experts,
                                .row_title = "layer",
                                .col_title = "expert",
                                .row_labels = labels,
                                .has_selected = true,
                                .selected_row = a->layer,
                                .selected_col = a->expert};
    struct rect clip = c->clip;
    c->clip = (struct rect){0};
    chart_tiles(c, r, &a->look, &chart, &a->map); /* only measures */
    c->clip = clip;
    chart.first_row =
        app_scroll_to(0, a->layer, chart.rows, (size_t)fmax(a->map.y.lo - a->map.y.hi, 1));
    chart.first_col =
        app_scroll_to(0, a->expert, chart.cols, (size_t)fmax(a->map.x.hi - a->map.x.lo, 1));
    chart_tiles(c, r, &a->look, &chart, &a->map);
    if ((size_t)r.h > run->layers + 2)
        draw_legend(a, c, r.x, r.y + (int)run->layers + 2, r.w);
cleanup:
    free(tile);
    free(label);
    free(labels);
}

/* --- its head and its words --- */

/* "1.2 s, 0.3 s left": of the part that runs, at the end of all; and what the pass took, where that
 * has room. */
static void draw_times(struct cells *c, int x, int y, int room, const struct app_run *run)
{
    char all[32], left[32], pass[32], text[96];
    bool knows_left = run->phase == APP_RUN_RUNNING && run->seconds_left >= 0;
    bool knows_pass = run->pass_seconds > 0 && (run->evaluating || run->phase == APP_RUN_DONE);
    view_seconds(all, sizeof all, run->seconds);
    view_seconds(left, sizeof left, run->seconds_left);
    view_seconds(pass, sizeof pass, run->pass_seconds);
    snprintf(text, sizeof text, "%s%s%s%s", all, knows_left ? ", " : "", knows_left ? left : "",
             knows_left ? " left" : "");
    int used = cells_text(c, x, y, room, text, STYLE(STYLE_DEFAULT));
    snprintf(text, sizeof text, "; pass %s", pass);
    if (knows_pass && used + cells_width(text) <= room)
        cells_text(c, x + used, y, room - used, text, STYLE(STYLE_TEXT_DIM));
}

static void draw_head(struct app *a, struct cells *c, struct rect r)
{
    const struct app_run *run = &a->run;
    double done = run->phase == APP_RUN_DONE ? 1 : fraction_done(run);
    int x = r.x + 1, end = r.x + r.w;
    const char *word = run->phase == APP_RUN_RUNNING ? app_run_part(run) : phases[run->phase].word;
    x += cells_text(c, x, r.y, end - x, word, STYLE(phases[run->phase].colour)) + 2;
    if (run->stage[0] && x < end &&
        (run->phase == APP_RUN_RUNNING || run->phase == APP_RUN_CANCELLING))
        cells_ends(c, (struct rect){x, r.y, end - x, 1}, run->stage, &a->look,
                   STYLE(STYLE_DEFAULT));
    if (r.h < 2)
        return;
    int meter = r.w > 50 ? 32 : r.w / 3;
    chart_meter(c, r.x + 1, r.y + 1, meter, &a->look, done, STYLE(phases[run->phase].colour));
    x = r.x + 2 + meter;
    x += cells_textf(c, x, r.y + 1, end - x, STYLE(STYLE_DEFAULT), "%3.0f %%  ", 100 * done);
    draw_times(c, x, r.y + 1, end - x, run);
}

static int message_rows(const struct app *a, struct rect r)
{
    int width = cells_width(a->run.message), rows = r.w > 2 ? (width + r.w - 3) / (r.w - 2) : 0;
    return rows > r.h / 3 ? r.h / 3 : rows;
}

struct sums {
    size_t done;
    double loss, rtn;
};

static struct sums sums_of(const struct app_run *run, size_t layer)
{
    struct sums s = {0};
    for (size_t e = 0; e < run->experts; e++) {
        const struct app_run_expert *x = &run->expert[layer * run->experts + e];
        if (!x->done)
            continue;
        s.done++;
        s.loss += x->loss;
        s.rtn += x->loss_rtn;
    }
    return s;
}

/* Lines of the log that can be hidden below the window. */
static size_t log_back_max(const struct app_run *run, size_t rows)
{
    return run->log_count > rows ? run->log_count - rows : 0;
}

/* The last lines that fit, or those before them that were scrolled to. */
static void draw_log(struct app *a, struct cells *c, struct rect r)
{
    const struct app_run *run = &a->run;
    if (rect_empty(r))
        return;
    size_t rows = (size_t)(r.h - 1), count = run->log_count < rows ? run->log_count : rows;
    size_t most = log_back_max(run, rows), back = a->log_back < most ? a->log_back : most;
    a->log_back = back;
    if (back)
        cells_textf(c, r.x, r.y, r.w, STYLE(STYLE_TEXT_DIM), "log, %zu newer lines below", back);
    else
        cells_text(c, r.x, r.y, r.w, "log", STYLE(STYLE_TEXT_DIM));
    for (size_t i = 0; i < count; i++) {
        struct rect line = {r.x + 1, r.y + 1 + (int)i, r.w - 1, 1};
        cells_label(c, line, CELLS_LEFT, run->log[run->log_count - back - count + i], &a->look,
                    STYLE(STYLE_DEFAULT));
    }
    if (run->log_count == 0)
        cells_text(c, r.x + 1, r.y + 1, r.w - 1, "nothing yet", STYLE(STYLE_TEXT_DIM));
}

/* Loss of each layer's finished experts as a part of what rounding would lose. */
static void draw_losses(struct app *a, struct cells *c, struct rect r)
{
    const struct app_run *run = &a->run;
    double *part = run->expert ? mem_array(run->layers, sizeof *part, NULL) : NULL;
    for (size_t l = 0; part && l < run->layers; l++) {
        struct sums s = sums_of(run, l);
        part[l] = s.rtn > 0 ? 100 * s.loss / s.rtn : NAN;
    }
    if (part)
        view_layer_bars(a, c, r, "loss in % of rounding's, by layer", part, run->layers);
    free(part);
}

/* How much of the text each finished expert of the selected layer was calibrated on. */
static void draw_tokens(struct app *a, struct cells *c, struct rect r)
{
    const struct app_run *run = &a->run;
    double *tokens = NULL, *place = NULL, most = 0;
    char text[64];
    if (!run->expert || a->layer >= run->layers || a->expert >= run->experts)
        return;
    const struct app_run_expert *row = run->expert + a->layer * run->experts;
    tokens = mem_array(run->experts, sizeof *tokens, NULL);
    place = mem_array(run->experts, sizeof *place, NULL);
    snprintf(text, sizeof text, "expert %zu: %zu", a->expert, row[a->expert].tokens);
    size_t n = 0;
    for (size_t e = 0; tokens && place && e < run->experts; e++) {
        if (!row[e].done)
            continue;
        place[n] = (double)e;
        tokens[n++] = (double)row[e].tokens;
        most = fmax(most, (double)row[e].tokens);
    }
    cells_textf(c, r.x, r.y, r.w, STYLE(STYLE_TEXT_DIM),
                "calibration tokens by expert, layer %zu%s", view_layer(a)->layer,
                n ? "" : ": none is done yet");
    if (n)
        chart_xy(c, rect_inset(r, 0, 1, 0, 0), &a->look,
                 &(struct chart_xy){
                     .x = {.lo = -0.5, .hi = (double)run->experts - 0.5, .integer = true},
                     .y = {.lo = 0, .hi = fmax(1.1 * most, 1), .integer = true},
                     .series =
                         &(struct chart_series){
                             .x = place, .y = tokens, .n = n, .mark = CHART_POINTS, .big = true},
                     .count = 1,
                     .no_legend = true,
                     .cursor = {.shown = row[a->expert].done,
                                .x = (double)a->expert,
                                .y = (double)row[a->expert].tokens,
                                .text = text}},
                 NULL);
    free(tokens);
    free(place);
}

/* The tokens where they leave the log its rows; the rest of `r` is the log's. */
static void draw_rest(struct app *a, struct cells *c, struct rect r)
{
    int log = a->run.log_count ? LOG_ROWS + 1 : 0, tokens = r.h - log;
    if (tokens >= TOKENS_ROWS) {
        tokens = tokens < TOKENS_MAX_ROWS ? tokens : TOKENS_MAX_ROWS;
        draw_tokens(a, c, (struct rect){r.x, r.y, r.w, tokens});
        r = view_below(r, (size_t)tokens + 1);
    }
    if (a->run.log_count)
        draw_log(a, c, r);
}

/* The grid, the losses below it, the selected layer's tokens and the log below these; where there
 * is no room for all, `v` shows the log instead of the losses, or of the grid. */
static void draw_body(struct app *a, struct cells *c, struct rect r)
{
    struct rect rest = view_below(r, a->run.layers + GRID_HEAD_ROWS);
    struct rect below = view_below(rest, a->run.layers + 2); /* title, a bar a layer, a gap */
    bool all = below.h >= LOG_ROWS;
    if (!all && a->other_chart[a->view] && rest.h < LOG_ROWS) {
        draw_log(a, c, r);
        return;
    }
    draw_grid(a, c, r);
    if (all || !a->other_chart[a->view])
        draw_losses(a, c, rest);
    if (all)
        draw_rest(a, c, below);
    else if (a->other_chart[a->view])
        draw_log(a, c, rest);
}

static void draw_run(struct app *a, struct cells *c, struct rect r)
{
    uint16_t colour = a->run.phase == APP_RUN_FAILED ? STYLE_ERROR
                      : a->run.phase == APP_RUN_DONE ? STYLE_GOOD
                                                     : STYLE_TEXT_DIM;
    draw_head(a, c, r);
    r = rect_inset(r, 0, HEAD_ROWS, 0, 0);
    int rows = r.h > 0 && a->run.message[0] ? message_rows(a, r) : 0;
    if (rows > 0) {
        cells_paragraph(c, (struct rect){r.x + 1, r.y + r.h - rows, r.w - 2, rows}, a->run.message,
                        STYLE(colour));
        r.h -= rows + 1;
    }
    if (rect_empty(r))
        return;
    draw_body(a, c, r);
}

static void draw(struct app *a, struct cells *c, struct rect r)
{
    if (a->run.phase != APP_RUN_IDLE)
        draw_run(a, c, r);
    else if (!a->options->host.run_start || !a->has_plan)
        view_needs_model(a, c, rect_inset(r, 2, 1, 2, 0),
                         "No model was given, and a run quantizes its weights. It is calibrated "
                         "on the trace's own tokens, or on the texts of --calib.");
    else
        draw_idle(a, c, r);
}

/* --- facts --- */

static void expert_facts(struct view_facts *f)
{
    const struct app_run *run = &f->a->run;
    const struct app_run_expert *x = &run->expert[f->a->layer * run->experts + f->a->expert];
    char text[64];
    snprintf(text, sizeof text, "expert %zu of layer %zu", f->a->expert, view_layer(f->a)->layer);
    view_heading(f, text);
    if (!x->done) {
        view_fact(f, "state", STYLE_TEXT_DIM, "not done yet");
        return;
    }
    view_fact(f, "bits", (uint16_t)(STYLE_BITS + x->bits), "%u%s", x->bits,
              x->mixed ? ", linears differ" : "");
    view_fact(f, "calibration tokens", x->fallback ? STYLE_WARN : STYLE_DEFAULT, "%zu%s", x->tokens,
              x->fallback ? ", fallback" : "");
    if (isfinite(loss_ratio(x)))
        view_fact(f, "loss, of rounding's", STYLE_DEFAULT, "%.3g, %.1f %%", x->loss,
                  100 * loss_ratio(x));
    else
        view_fact(f, "loss", STYLE_DEFAULT, "%.4g", x->loss);
    if (x->damping > 0)
        view_fact(f, "damping", STYLE_DEFAULT, "%.4g", x->damping);
}

static void layer_facts(struct view_facts *f)
{
    const struct app_run *run = &f->a->run;
    view_heading(f, "layer: experts, loss, of rounding's");
    int rows = f->r.h - f->row;
    size_t first = rows > 0 ? app_scroll_to(0, f->a->layer, run->layers, (size_t)rows) : 0;
    for (size_t l = first; l < run->layers && f->row < f->r.h; l++) {
        struct sums s = sums_of(run, l);
        char name[32];
        snprintf(name, sizeof name, "%zu",
                 l < f->a->result->layers ? f->a->result->layer[l].layer : l);
        if (s.done == 0)
            view_fact(f, name, STYLE_TEXT_DIM, "-");
        else if (s.rtn > 0)
            view_fact(f, name, STYLE_DEFAULT, "%zu/%zu %8.4g %5.1f %%", s.done, run->experts,
                      s.loss, 100 * s.loss / s.rtn);
        else
            view_fact(f, name, STYLE_DEFAULT, "%zu/%zu  %.4g", s.done, run->experts, s.loss);
    }
}

/* Of what the pass still has to do, by the time it expects to need; embeddings and head count as
 * one layer more. */
static void speed_fact(struct view_facts *f)
{
    const struct app_run *run = &f->a->run;
    double left = run->steps_total > run->steps_done
                      ? (double)(run->steps_total - run->steps_done) / (double)run->steps_total
                      : 0;
    if (run->phase != APP_RUN_RUNNING || run->evaluating || run->seconds_left <= 0 || left <= 0)
        return;
    double rate = left * (double)((run->layers + 1) * run->experts) / run->seconds_left;
    if (rate >= 1)
        view_fact(f, "speed", STYLE_DEFAULT, "%.3g experts/s", rate);
    else
        view_fact(f, "speed", STYLE_DEFAULT, "%.3g experts/min", 60 * rate);
}

static int facts(struct app *a, struct cells *c, struct rect r)
{
    const struct app_run *run = &a->run;
    struct view_facts f = {a, c, r, 0};
    char text[32];
    if (run->phase == APP_RUN_IDLE) {
        if (a->has_plan)
            view_fact(&f, "plan", STYLE_DEFAULT, "%.3f bits nominal", a->plan.summary.nominal_bits);
        return f.row;
    }
    view_fact(&f, "layers done", STYLE_DEFAULT, "%zu of %zu", run->layers_done, run->layers);
    view_fact(&f, "fallbacks", run->fallbacks ? STYLE_WARN : STYLE_DEFAULT, "%zu", run->fallbacks);
    speed_fact(&f);
    str_bytes(text, sizeof text, run->memory);
    view_fact(&f, "memory", STYLE_DEFAULT, "%s", run->memory ? text : "not known");
    view_fact(&f, "output", STYLE_DEFAULT, "%s", run->out);
    if (run->expert && a->layer < run->layers && a->expert < run->experts) {
        expert_facts(&f);
        layer_facts(&f);
    }
    return f.row;
}

static void resume(struct app *a, int argument)
{
    (void)argument;
    if (a->run.phase == APP_RUN_CANCELLED || a->run.phase == APP_RUN_FAILED)
        app_start_run(a, true);
    else
        app_say(a, STYLE_TEXT_DIM,
                "r goes on with a run that was cancelled or failed; x starts one");
}

static void switch_log(struct app *a, int argument)
{
    (void)argument;
    a->other_chart[a->view] = !a->other_chart[a->view];
    app_say(a, STYLE_TEXT_DIM,
            a->other_chart[a->view] ? "the log, where not all has room"
                                    : "the losses, where not all has room");
}

static void scroll_log(struct app *a, int by)
{
    size_t most = log_back_max(&a->run, 1), step = LOG_STEP;
    if (most == 0)
        app_say(a, STYLE_TEXT_DIM, "the log has nothing to scroll");
    else if (by == APP_BACK)
        a->log_back = a->log_back + step < most ? a->log_back + step : most;
    else
        a->log_back -= a->log_back < step ? a->log_back : step;
}

/* The settings of best rounding in `from`: all on, or as they are in `before`. */
static struct settings best_rounding(const struct settings *from, const struct settings *before)
{
    char value[APP_TEXT_MAX];
    struct settings s = *from;
    for (const struct setting_value *v = settings_best_rounding; v->name; v++) {
        if (before)
            settings_get(before, settings_find(v->name), value, sizeof value);
        (void)!settings_set(&s, v->name, before ? value : v->value, NULL); /* legal by a test */
    }
    return s;
}

static void switch_best_rounding(struct app *a, int argument)
{
    (void)argument;
    struct app_document next = a->document;
    struct settings before = a->document.settings, defaults;
    settings_defaults(&defaults);
    next.settings = best_rounding(&before, NULL);
    bool on = !settings_equal(&next.settings, &before);
    if (!on)
        next.settings =
            best_rounding(&before, a->has_rounding_before ? &a->rounding_before : &defaults);
    if (!app_commit(a, &next))
        return;
    if (on) {
        a->rounding_before = before;
        a->has_rounding_before = true;
    }
    app_say(a, STYLE_TEXT_DIM,
            on ? "best rounding: scale_search, shift and refine; the pass takes longer"
               : "best rounding is off");
}

static const struct app_key keys[] = {
    {{{'b', 0}},
     "best",
     "best rounding: the slow options that leave the least loss, on or off",
     switch_best_rounding},
    {{{'r', 0}}, "resume", "go on with a cancelled or failed run", resume},
    {{{'v', 0}}, "log", "losses or log, where only one has room", switch_log},
    {{{'{', APP_BACK}, {'}', APP_ON}}, NULL, "scroll the log back, on", scroll_log},
    VIEW_KEY_LAYER,
    VIEW_KEY_EXPERT(APP_KEYS_ACROSS),
    {{{0, 0}}, NULL, NULL, NULL},
};

static const uint32_t first[] = {'x',          TERM_KEY_CTRL_C, 'r', 'b', 'v',
                                 TERM_KEY_TAB, TERM_KEY_LEFT,   '<', 0};

static bool offers(const struct app *a, uint32_t code)
{
    enum app_run_phase phase = a->run.phase;
    if (code == 'x')
        return a->options->host.run_start && !app_run_is_active(a);
    if (code == 'r')
        return phase == APP_RUN_CANCELLED || phase == APP_RUN_FAILED;
    return code != 'v' || phase != APP_RUN_IDLE; /* there is a log */
}

static const char *const sliders[] = {
    "order",   "grid",   "scale_search",   "refine",      "shift",         "learn",
    "damping", "shrink", "hessian_weight", "propagation", "channel_score", "bits_attention",
    NULL};

const struct view view_run = {
    .name = "Run",
    .sliders = sliders,
    .keys = keys,
    .first = first,
    .offers = offers,
    .draw = draw,
    .facts = facts,
    .mouse = view_grid_mouse,
};
