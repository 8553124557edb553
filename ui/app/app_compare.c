/*
 * `c`: two plans side by side, snapshots and the one on the screen: settings that differ, sizes,
 * predicted loss, widths, and where the experts' widths differ.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "ui/app/compare_table.h"
#include "ui/app/view_parts.h"

enum { SIDES = 3, NOW = 2, LABEL = 24, WINDOW_WIDTH = 100 };

static const unsigned widths[] = {2, 3, 4, 8, 16};
enum { WIDTHS = sizeof widths / sizeof *widths };

static const char *const side_names[SIDES] = {"A", "B", "screen"};

/* One of the plans: a snapshot or what is on the screen. */
struct side {
    const struct app_document *document;
    double nominal_bits, effective_bits, loss;
    double rise; /* by measured losses; NaN: not known */
    uint64_t bytes;
    /* [layers][experts]; NULL: no model's configuration */
    const unsigned char *bits;
    const double *mean_bits; /* of a weight, channels at their own width */
    const uint8_t *linear;   /* [layers][experts][PLAN_LINEARS] */
};

struct pair {
    struct app *a;
    struct side left, right;
    size_t names[2];    /* in side_names */
    unsigned char *now; /* bits on the screen */
    double *now_mean;
    uint8_t *now_linear;
};

static bool has_side(const struct app *a, size_t side)
{
    return side == NOW || a->snapshot[side].taken;
}

/* The pair that compare_pair counts through: A-screen, B-screen, A-B. */
static void sides_of(const struct app *a, size_t names[2])
{
    static const size_t pairs[][2] = {{0, NOW}, {1, NOW}, {0, 1}};
    size_t at = a->compare.pair % 3;
    while (!has_side(a, pairs[at][0]) || !has_side(a, pairs[at][1]))
        at = (at + 1) % 3;
    names[0] = pairs[at][0];
    names[1] = pairs[at][1];
}

static struct side side_of(const struct pair *p, size_t which)
{
    const struct app *a = p->a;
    const struct app_snapshot *s = which == NOW ? NULL : &a->snapshot[which];
    struct side side;
    if (s)
        side = (struct side){&s->document, s->nominal_bits, s->effective_bits, s->loss,  s->rise,
                             s->bytes,     s->bits,         s->mean_bits,      s->linear};
    else
        side = (struct side){&a->document,
                             a->plan.summary.nominal_bits,
                             a->plan.summary.effective_bits,
                             a->loss,
                             a->front.known ? a->front.rise : NAN,
                             a->plan.summary.bytes_after,
                             p->now,
                             p->now_mean,
                             p->now_linear};
    if (!a->has_plan)
        side.bits = NULL, side.mean_bits = NULL;
    return side;
}

static bool differs(const struct pair *p, size_t i)
{
    return app_bits_differ(p->left.mean_bits[i], p->right.mean_bits[i]) ||
           memcmp(p->left.linear + i * PLAN_LINEARS, p->right.linear + i * PLAN_LINEARS,
                  PLAN_LINEARS) != 0;
}

static void pair_release(struct pair *p)
{
    free(p->now);
    free(p->now_mean);
    free(p->now_linear);
}

static bool pair_init(struct pair *p, struct app *a)
{
    size_t n = a->has_plan ? a->plan.layers_count * a->plan.experts : 0;
    *p = (struct pair){.a = a,
                       .now = mem_array(n, 1, NULL),
                       .now_mean = mem_array(n, sizeof *p->now_mean, NULL),
                       .now_linear = mem_array(n, PLAN_LINEARS, NULL)};
    if (!p->now || !p->now_mean || !p->now_linear) {
        pair_release(p);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        p->now[i] = (unsigned char)app_plan_expert(a, i)->bits;
        p->now_mean[i] = app_plan_mean_bits(a, i);
        app_plan_linears(p->now_linear + i * PLAN_LINEARS, a, i);
    }
    sides_of(a, p->names);
    p->left = side_of(p, p->names[0]);
    p->right = side_of(p, p->names[1]);
    return true;
}

/* --- The table --- */

static void number_row(struct compare_table *t, const char *name, double left, double right,
                       int digits)
{
    char x[32], y[32];
    snprintf(x, sizeof x, "%.*f", digits, left);
    snprintf(y, sizeof y, "%.*f", digits, right);
    if (strcmp(x, y) == 0)
        compare_table_row(t, name, x, y, "%s", "");
    else if (left > 0)
        compare_table_row(t, name, x, y, "%+.*f (%+.1f %%)", digits, right - left,
                          100 * (right - left) / left);
    else
        compare_table_row(t, name, x, y, "%+.*f", digits, right - left);
}

static void size_row(struct compare_table *t, const struct pair *p)
{
    char left[32], right[32], change[32];
    double difference = (double)p->right.bytes - (double)p->left.bytes;
    str_bytes(left, sizeof left, p->left.bytes);
    str_bytes(right, sizeof right, p->right.bytes);
    str_bytes(change, sizeof change, (uint64_t)fabs(difference));
    compare_table_row(t, "experts alone", left, right, "%s%s",
                      difference < 0   ? "-"
                      : difference > 0 ? "+"
                                       : "",
                      difference == 0 ? "" : change); /* no sign in front of nothing */
}

static size_t count_bits(const unsigned char *bits, size_t n, unsigned width)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += bits[i] == width;
    return count;
}

/* "129:2 63:4" */
static void widths_text(char *out, size_t size, const unsigned char *bits, size_t n)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t w = 0; w < WIDTHS && used < size; w++) {
        size_t count = count_bits(bits, n, widths[w]);
        if (count)
            used += (size_t)snprintf(out + used, size - used, "%s%zu:%u", used ? " " : "", count,
                                     widths[w]);
    }
}

/* Experts by width: in one row, or where that is too long, in one for each width. */
static void width_rows(struct compare_table *t, const struct pair *p, size_t n, size_t differ)
{
    char left[64], right[64];
    widths_text(left, sizeof left, p->left.bits, n);
    widths_text(right, sizeof right, p->right.bits, n);
    if ((int)strlen(left) < t->value && (int)strlen(right) < t->value) {
        compare_table_row(t, "experts:bits", left, right, "%zu of %zu differ", differ, n);
        return;
    }
    bool first = true;
    for (size_t w = 0; w < WIDTHS; w++) {
        size_t x = count_bits(p->left.bits, n, widths[w]);
        size_t y = count_bits(p->right.bits, n, widths[w]);
        char name[32];
        if (x + y == 0)
            continue;
        snprintf(name, sizeof name, "at %u bits", widths[w]);
        snprintf(left, sizeof left, "%zu", x);
        snprintf(right, sizeof right, "%zu", y);
        if (first)
            compare_table_row(t, name, left, right, "%zu of %zu differ", differ, n);
        else
            compare_table_row(t, name, left, right, "%s", "");
        first = false;
    }
}

static size_t count_pins(const struct side *s, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += s->document->pins[i] != 0;
    return count;
}

static void plan_rows(struct compare_table *t, const struct pair *p)
{
    const struct plan *plan = &p->a->plan;
    size_t n = plan->layers_count * plan->experts, differ = 0;
    char left[32], right[32];
    app_budget_text(left, sizeof left, &p->left.document->budget);
    app_budget_text(right, sizeof right, &p->right.document->budget);
    compare_table_row(t, "method", left, right, "%s", "");
    number_row(t, "nominal bits", p->left.nominal_bits, p->right.nominal_bits, 4);
    number_row(t, "effective bits", p->left.effective_bits, p->right.effective_bits, 4);
    size_row(t, p);
    if (isfinite(p->left.rise) && isfinite(p->right.rise))
        number_row(t, "predicted rise", p->left.rise, p->right.rise, 5);
    else
        number_row(t, "predicted loss", p->left.loss, p->right.loss, 4);
    for (size_t i = 0; i < n; i++)
        differ += differs(p, i);
    width_rows(t, p, n, differ);
    snprintf(left, sizeof left, "%zu", count_pins(&p->left, n));
    snprintf(right, sizeof right, "%zu", count_pins(&p->right, n));
    compare_table_row(t, "pins", left, right, "%s", "");
}

static void own_rule(char *out, size_t size, const struct settings *s, size_t layer)
{
    const struct setting_info *rule = settings_find("rule");
    snprintf(out, size, "%s",
             s->layer[layer].has_rule ? rule->choices[s->layer[layer].rule] : "as all");
}

static void own_threshold(char *out, size_t size, const struct settings *s, size_t layer)
{
    if (s->layer[layer].has_threshold)
        snprintf(out, size, "%.6g", s->layer[layer].threshold);
    else
        snprintf(out, size, "as all");
}

/* What the layers have of their own, where that differs. */
static void layer_rows(struct compare_table *t, const struct pair *p)
{
    static const struct {
        const char *name;
        void (*text)(char *out, size_t size, const struct settings *s, size_t layer);
    } own[] = {{"rule", own_rule}, {"T", own_threshold}};
    const struct analysis_result *r = p->a->result;
    for (size_t l = 0; l < SETTINGS_LAYERS_MAX && l < r->layers; l++)
        for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
            char name[32], left[64], right[64];
            own[i].text(left, sizeof left, &p->left.document->settings, l);
            own[i].text(right, sizeof right, &p->right.document->settings, l);
            if (strcmp(left, right) == 0)
                continue;
            snprintf(name, sizeof name, "layer %zu, %s", (size_t)r->layer[l].layer, own[i].name);
            compare_table_row(t, name, left, right, "%s", "");
        }
}

static void setting_rows(struct compare_table *t, const struct pair *p)
{
    size_t before = t->lines;
    for (size_t i = 0; i < settings_count(); i++) {
        const struct setting_info *info = settings_info(i);
        char left[64], right[64];
        settings_get(&p->left.document->settings, info, left, sizeof left);
        settings_get(&p->right.document->settings, info, right, sizeof right);
        if (strcmp(left, right) == 0)
            continue;
        compare_table_row(t, info->name, left, right, "%s", "");
    }
    layer_rows(t, p);
    if (t->lines == before)
        compare_table_row(t, "settings", "the same", "the same", "%s", "");
}

/* --- The grid --- */

static void fill_tile(struct chart_tile *tile, const struct pair *p, size_t i)
{
    const struct app *a = p->a;
    double left = p->left.mean_bits[i], right = p->right.mean_bits[i];
    snprintf(tile->text, sizeof tile->text, "%s", view_word(a, "\u00b7", "."));
    tile->colour = STYLE_GRID;
    if (!differs(p, i))
        return;
    if (!app_bits_differ(left, right)) {
        snprintf(tile->text, sizeof tile->text, "=");
        tile->colour = STYLE_ACCENT;
        tile->marked = true;
        return;
    }
    snprintf(tile->text, sizeof tile->text, "%s",
             right > left ? view_word(a, "\u25b2", "+") : view_word(a, "\u25bc", "-"));
    tile->colour = right > left ? STYLE_GOOD : STYLE_WARN;
    tile->marked = true;
}

static void draw_grid(struct pair *p, struct cells *c, struct rect r)
{
    struct app *a = p->a;
    const struct plan *plan = &a->plan;
    size_t n = plan->layers_count * plan->experts, at = a->layer * plan->experts + a->expert;
    struct chart_tile *tile = mem_array(n, sizeof *tile, NULL);
    char(*label)[LABEL] = mem_array(plan->layers_count, sizeof *label, NULL), cursor[96];
    const char **labels = mem_array(plan->layers_count, sizeof *labels, NULL);
    if (!tile || !label || !labels)
        goto cleanup;
    for (size_t i = 0; i < n; i++)
        fill_tile(&tile[i], p, i);
    for (size_t l = 0; l < plan->layers_count; l++) {
        snprintf(label[l], LABEL, "%zu", plan->layers[l].layer);
        labels[l] = label[l];
    }
    snprintf(cursor, sizeof cursor, "layer %zu, expert %zu: %.4g %s %.4g bits",
             plan->layers[a->layer].layer, a->expert, p->left.mean_bits[at],
             view_word(a, "\u2192", "->"), p->right.mean_bits[at]);
    struct chart_tiles chart = {.tile = tile,
                                .rows = plan->layers_count,
                                .cols = plan->experts,
                                .row_title = "layer",
                                .col_title = "expert",
                                .row_labels = labels,
                                .has_selected = true,
                                .selected_row = a->layer,
                                .selected_col = a->expert,
                                .cursor_text = cursor};
    struct chart_map map;
    struct rect clip = c->clip;
    c->clip = (struct rect){0};
    chart_tiles(c, r, &a->look, &chart, &map); /* only measures */
    c->clip = clip;
    chart.first_row = app_scroll_to(0, a->layer, chart.rows, (size_t)fmax(map.y.lo - map.y.hi, 1));
    chart.first_col = app_scroll_to(0, a->expert, chart.cols, (size_t)fmax(map.x.hi - map.x.lo, 1));
    chart_tiles(c, r, &a->look, &chart, &map);
cleanup:
    free(tile);
    free(label);
    free(labels);
}

static void draw_legend(const struct app *a, struct cells *c, int x, int y, int end)
{
    x += cells_textf(c, x, y, end - x, STYLE(STYLE_GOOD), "%s",
                     view_word(a, "\u25b2 more bits", "+ more bits"));
    x += 2 + cells_textf(c, x + 2, y, end - x - 2, STYLE(STYLE_WARN), "%s",
                         view_word(a, "\u25bc fewer bits", "- fewer bits"));
    x += 2 + cells_textf(c, x + 2, y, end - x - 2, STYLE(STYLE_TEXT_DIM), "%s",
                         view_word(a, "\u00b7 the same", ". the same"));
    if (a->document.budget.on)
        cells_text(c, x + 2, y, end - x - 2, "= as many, otherwise spread", STYLE(STYLE_ACCENT));
}

/* Table and grid; a long table leaves the grid some rows only. */
static void draw_pair(struct pair *p, struct cells *c, struct rect r, const struct compare_table *t)
{
    enum { TABLE_MIN = 10, GRID_HEAD = 2, GRID_MIN = 5, AROUND = 2 }; /* a gap and the legend */
    struct app *a = p->a;
    int grid = a->has_plan ? (int)a->plan.layers_count + GRID_HEAD : 0;
    int most = r.h - TABLE_MIN - 1, left = r.h - (int)t->lines - 1 - AROUND;
    grid = grid > most ? most : grid;
    if (grid > left && grid >= GRID_MIN)
        grid = left > GRID_MIN ? left : GRID_MIN;
    bool drawn = a->has_plan && grid >= GRID_MIN;
    int rows = compare_table_draw(t, a, c, rect_inset(r, 0, 0, 0, drawn ? grid + AROUND : 0));
    if (drawn) {
        int y = r.y + rows + 1;
        draw_grid(p, c, (struct rect){r.x, y, r.w, grid});
        draw_legend(a, c, r.x, y + grid, r.x + r.w);
    }
}

void app_compare_draw(struct app *a, struct cells *c)
{
    enum { FOOT = 2 };
    struct pair p;
    struct compare_table t;
    struct rect r = app_window(a, c, WINDOW_WIDTH, c->h - (c->h > 30 ? 4 : 0), "Compare plans");
    bool ready = pair_init(&p, a);
    if (ready && compare_table_init(&t, r.w, side_names[p.names[0]], side_names[p.names[1]]) < 0) {
        pair_release(&p);
        ready = false;
    }
    if (!ready) {
        cells_text(c, r.x, r.y, r.w, "no memory to compare", STYLE(STYLE_ERROR));
        return;
    }
    if (a->has_plan)
        plan_rows(&t, &p);
    setting_rows(&t, &p);
    draw_pair(&p, c, rect_inset(r, 0, 0, 0, FOOT), &t);
    cells_text(c, r.x, r.y + r.h - FOOT, r.w, a->message, STYLE(a->message_colour));
    cells_text(c, r.x, r.y + r.h - 1, r.w,
               "Tab other pair  n N differences  a b take over  arrows  Esc closes",
               STYLE(STYLE_TEXT_DIM));
    compare_table_release(&t);
    pair_release(&p);
}

/* --- Keys --- */

/* To the next expert (or the one before) whose widths differ. */
static void jump(struct app *a, bool back)
{
    struct pair p;
    if (!a->has_plan || !pair_init(&p, a))
        return;
    size_t n = a->plan.layers_count * a->plan.experts;
    size_t at = a->layer * a->plan.experts + a->expert, i = 1;
    for (; i <= n; i++) {
        size_t to = (back ? at + n - i : at + i) % n;
        if (!differs(&p, to))
            continue;
        a->layer = to / a->plan.experts;
        a->expert = to % a->plan.experts;
        break;
    }
    if (i > n)
        app_say(a, STYLE_TEXT_DIM, "no expert's bits differ");
    pair_release(&p);
}

static void take_over(struct app *a, size_t which)
{
    if (!a->snapshot[which].taken) {
        if (a->snapshot[which].waits)
            app_say(a, STYLE_WARN, "snapshot %s waits for %s", side_names[which],
                    a->snapshot[which].waits);
        else
            app_say(a, STYLE_WARN, "there is no snapshot %s", side_names[which]);
        return;
    }
    if (app_document_equal(&a->snapshot[which].document, &a->document, a))
        app_say(a, STYLE_TEXT_DIM, "the screen stands as in snapshot %s", side_names[which]);
    else if (app_commit(a, &a->snapshot[which].document))
        app_say(a, STYLE_GOOD, "settings and pins of snapshot %s; u takes that back",
                side_names[which]);
}

static void next_pair(struct app *a)
{
    size_t before[2], now[2];
    sides_of(a, before);
    for (int i = 0; i < SIDES; i++) {
        a->compare.pair = (a->compare.pair + 1) % 3;
        sides_of(a, now);
        if (now[0] != before[0] || now[1] != before[1])
            return;
    }
    app_say(a, STYLE_TEXT_DIM, "A and B take snapshots: there is no other pair yet");
}

void app_compare_begin(struct app *a)
{
    if (!a->snapshot[0].taken && !a->snapshot[1].taken) {
        if (!app_tell_waiting(a, "nothing to compare with: "))
            app_say(a, STYLE_WARN, "nothing to compare with: A and B take snapshots of the plan");
        return;
    }
    bool both = a->snapshot[0].taken && a->snapshot[1].taken;
    a->compare.pair = both ? 2 : 0;
    app_prompt_begin(a, APP_COMPARE, "");
}

/* As many rows as the smallest screen shows; drawing stops it at the end. */
static void scroll(struct app *a, bool back)
{
    enum { ROWS = 4 };
    size_t at = a->prompt_scroll;
    a->prompt_scroll = !back ? at + ROWS : at > ROWS ? at - ROWS : 0;
}

void app_compare_event(struct app *a, uint32_t key)
{
    size_t n = a->result->experts;
    a->message[0] = '\0';
    if (key == TERM_KEY_TAB)
        next_pair(a);
    else if (key == 'n' || key == 'N')
        jump(a, key == 'N');
    else if (key == 'a' || key == 'b')
        take_over(a, key - 'a');
    else if (key == 'u' || key == 'U')
        key == 'u' ? app_undo(a) : app_redo(a);
    else if (key == TERM_KEY_LEFT || key == TERM_KEY_RIGHT)
        a->expert = app_keys_move(a->expert, n, key == TERM_KEY_LEFT ? APP_BACK : APP_ON, 1);
    else if (key == TERM_KEY_UP || key == TERM_KEY_DOWN)
        a->layer =
            app_keys_move(a->layer, a->result->layers, key == TERM_KEY_UP ? APP_BACK : APP_ON, 1);
    else if (key == TERM_KEY_PAGE_UP || key == TERM_KEY_PAGE_DOWN)
        scroll(a, key == TERM_KEY_PAGE_UP);
    else if (key != TERM_KEY_MOUSE)
        a->mode = APP_NORMAL;
}
