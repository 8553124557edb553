/* The charts of a screen as files: W. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ui/app/view_parts.h"
#include "ui/figure/paint.h"

enum { CHARTS = 2 };

/* By screen: the main chart and the other one. */
static const char *const charts[APP_VIEWS][CHARTS] = {
    {"zipf", "utilization"},     {"mapping", NULL},
    {"significance", "experts"}, {"similarity", "difference"},
    {"bits", "front"},           {NULL, NULL},
    {"results", NULL},
};

/* The one that is looked at, where only one of two fits. */
static const char *shown_chart(const struct app *a)
{
    const char *const *chart = charts[a->view];
    return a->other_chart[a->view] && chart[1] ? chart[1] : chart[0];
}

/* As it is on the screen; the picture leaves out what is pointed at. Borrows *runs. */
static struct figure_source picture_source(struct app *a, struct view_runs *runs)
{
    struct figure_source s = view_source(a);
    s.ascii = false;
    view_runs_take(runs, a, &s);
    return s;
}

static int make_charts(struct figure f[CHARTS], struct app *a, const char *const *name,
                       size_t count, struct err *err)
{
    struct view_runs runs;
    struct figure_source source = picture_source(a, &runs);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = figures_make(&f[i], name[i], &source, err);
    view_runs_release(&runs);
    return rc;
}

void app_picture_ask(struct app *a)
{
    const char *name = shown_chart(a);
    struct figure f[CHARTS] = {0};
    struct err err = {0};
    char path[64];
    if (!name) {
        app_say(a, STYLE_WARN, "this screen has no chart; W writes those of the others");
        return;
    }
    if (a->cosine_phase == APP_COSINE_RUNNING && charts[a->view][0] == charts[3][0]) {
        app_say(a, STYLE_WARN, "the similarity is not computed yet; W again when it is there");
        return;
    }
    int rc = make_charts(f, a, &name, 1, &err);
    figure_release(&f[0]);
    if (rc < 0) {
        app_say_err(a, "no picture: ", &err);
        return;
    }
    if (figures_find(name)->per_layer)
        snprintf(path, sizeof path, "moqa-%s-layer%zu.svg", name, view_layer(a)->layer);
    else
        snprintf(path, sizeof path, "moqa-%s.svg", name);
    app_prompt_begin(a, APP_PICTURE, path);
}

/* A PDF takes both charts of the screen. */
static int draw_charts(struct str *out, struct app *a, enum canvas_format format, struct err *err)
{
    struct figure f[CHARTS] = {0};
    const char *one = shown_chart(a);
    bool both = format == CANVAS_PDF && charts[a->view][1];
    size_t count = both ? CHARTS : 1;
    struct paint_options o = {.theme = CANVAS_AUTO, .with_title = true};
    int rc = make_charts(f, a, both ? charts[a->view] : &one, count, err);
    if (rc == 0)
        rc = paint_bytes(out, format, f, count, &o, err);
    for (size_t i = 0; i < CHARTS; i++)
        figure_release(&f[i]);
    return rc;
}

void app_picture_write(struct app *a, bool replace)
{
    enum canvas_format format;
    struct str bytes = {0};
    struct err err = {0};
    struct stat st;
    if (!a->typed[0])
        return;
    int rc = canvas_format_of(&format, a->typed, &err);
    if (rc == 0 && !replace && lstat(a->typed, &st) == 0 && !S_ISDIR(st.st_mode)) {
        a->mode = APP_CONFIRM_PICTURE;
        return;
    }
    if (rc == 0)
        rc = draw_charts(&bytes, a, format, &err);
    if (rc < 0)
        app_say_err(a, "not written: ", &err);
    else
        app_write(a, APP_FILE_PICTURE, a->typed, &bytes, "picture written to %s", a->typed);
    str_release(&bytes);
}
