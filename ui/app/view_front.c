#include "ui/app/view_front.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- The chart --- */

static void draw_measuring(struct app *a, struct cells *c, struct rect r)
{
    enum { MARGIN = 4 };
    const struct app_losses *m = &a->measuring;
    struct rect at = rect_inset(r, MARGIN, r.h / 4, MARGIN, 0);
    char left[32] = "";
    if (rect_empty(at))
        return;
    cells_text(c, at.x, at.y, at.w, "Measuring losses", STYLE(STYLE_TITLE));
    view_seconds(left, sizeof left, m->seconds_left);
    if (at.h > 1)
        cells_textf(c, at.x, at.y + 1, at.w, STYLE(STYLE_DEFAULT), "%s%s%s%s", m->stage,
                    m->seconds_left >= 0 ? ", " : "", m->seconds_left >= 0 ? left : "",
                    m->seconds_left >= 0 ? " left" : "");
    if (at.h > 2)
        chart_meter(c, at.x, at.y + 2, at.w, &a->look, m->progress, STYLE(STYLE_ACCENT));
    cells_paragraph(c, rect_inset(at, 0, 4, 0, 0),
                    m->phase == APP_LOSSES_CANCELLING
                        ? "Cancelling at the next safe point; what was measured is kept."
                        : "All screens work meanwhile. Ctrl-C cancels; M goes on later.",
                    STYLE(STYLE_TEXT_DIM));
}

void view_front_draw(struct app *a, struct cells *c, struct rect r)
{
    struct figure f;
    a->other_map = (struct chart_map){0};
    if (app_budget_measuring(a)) {
        draw_measuring(a, c, r);
        return;
    }
    if (!a->front.losses) {
        app_draw_empty(a, c, r,
                       "What every expert loses at every width is not measured for these settings. "
                       "M measures it once, in the background, in the time of about four passes; "
                       "then b finds the best plan within a budget, and this chart shows all of "
                       "them. moqa losses does the same; open takes its file with --losses.");
        return;
    }
    if (!view_figure(&f, a, c, r, "front"))
        return;
    figure_draw(c, r, &a->look, &f, &a->other_map);
    figure_release(&f);
}

/* --- Facts --- */

static void losses_fact(struct view_facts *f)
{
    const struct app *a = f->a;
    const char *path = a->front.path ? a->front.path : "", *slash = strrchr(path, '/');
    if (app_budget_measuring(a))
        view_fact(f, "losses", STYLE_ACCENT, "measuring, %.0f %%", 100 * a->measuring.progress);
    else if (a->front.losses)
        view_fact(f, "losses", STYLE_DEFAULT, "%s", slash ? slash + 1 : path);
    if (a->front.differs && !app_budget_measuring(a))
        view_fact(f, "", STYLE_WARN, "of another calibration");
}

void view_front_facts(struct view_facts *f)
{
    const struct app_front *front = &f->a->front;
    double change = front->rise - front->rise_before;
    if (front->known && fabs(change) < 5e-6)
        view_fact(f, "predicted rise", STYLE_ACCENT, "%+.5f", front->rise);
    else if (front->known)
        view_fact(f, "predicted rise", change > 0 ? STYLE_WARN : STYLE_GOOD, "%+.5f (%+.2g)",
                  front->rise, change);
    if (front->known && f->a->document.budget.on) {
        if (isfinite(front->moqa.rise))
            view_fact(f, "MoQa here", STYLE_DEFAULT, "%.3f bits, %+.5f", front->moqa.bits,
                      front->moqa.rise);
    } else if (front->known) {
        double same = budget_front_bits(&front->curve, front->rise);
        view_fact(f, "a budget needs", STYLE_DEFAULT, "%.3f bits for that", same);
    }
    losses_fact(f);
}

void view_front_marks(struct view_facts *f)
{
    struct figure_mark mark[APP_MARKS_MAX];
    const struct app *a = f->a;
    size_t n = a->front.losses ? app_budget_marks(mark, a) : 0;
    if (!a->front.losses && !app_budget_measuring(a) && a->options->host.losses_start)
        view_fact(f, "losses", STYLE_TEXT_DIM, "M measures them, for budgets");
    if (a->front.differs && !app_budget_measuring(a) && a->options->host.losses_start)
        view_fact(f, "losses", STYLE_TEXT_DIM, "M measures them anew");
    if (n == 0)
        return;
    view_heading(f, "bits, predicted rise");
    for (size_t i = 0; i < n; i++) {
        char name[64];
        figures_mark_name(name, sizeof name, &mark[i]);
        view_fact(f, name, i == 0 ? STYLE_ACCENT : STYLE_DEFAULT, "%.3f, %+.5f", mark[i].bits,
                  mark[i].rise);
    }
}

/* --- Mouse --- */

/* To hundredths of a bit: a column is about as wide. */
static void move_to(struct app *a, double bits)
{
    bool was_on = a->document.budget.on;
    app_budget_move(a, round(bits * 100) / 100);
    if (!was_on && a->document.budget.on)
        a->slider[a->view] = 0;
}

bool view_front_mouse(struct app *a, const struct term_event *e)
{
    const struct chart_map *m = &a->other_map;
    bool inside = rect_contains(m->plot, e->x, e->y);
    double x, y;
    if (!a->front.losses || rect_empty(m->plot) || (!inside && !a->dragging))
        return false;
    if (e->mouse == TERM_MOUSE_WHEEL && e->wheel) {
        if (a->document.budget.on)
            app_budget_step(a, app_budget_find("budget"), -e->wheel);
        return true;
    }
    if (e->mouse == TERM_MOUSE_RELEASE) {
        a->dragging = false;
    } else if (e->button == 1 && e->mouse == TERM_MOUSE_PRESS) {
        a->dragging = true; /* all of its moves are one step of undo */
        a->drag_changed = false;
    } else if (e->mouse != TERM_MOUSE_DRAG || !a->dragging) {
        return inside;
    }
    int column = e->x < m->plot.x                ? m->plot.x
                 : e->x >= m->plot.x + m->plot.w ? m->plot.x + m->plot.w - 1
                                                 : e->x;
    if (a->dragging && chart_map_at(m, column, m->plot.y, &x, &y))
        move_to(a, x);
    return true;
}
