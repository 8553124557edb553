#include "ui/figure/paint.h"

#include <math.h>

#include "ui/figure/paint_parts.h"

enum { WIDTH = 480, HEIGHT = 300, HEIGHT_MAX = 2000, MARGIN = 10 };

static void draw_xy(struct canvas *c, struct paint_box box, const struct figure *f)
{
    paint_xy(c, box, &f->xy);
}

static void draw_histogram(struct canvas *c, struct paint_box box, const struct figure *f)
{
    paint_histogram(c, box, &f->histogram);
}

static void draw_bars(struct canvas *c, struct paint_box box, const struct figure *f)
{
    paint_bars(c, box, &f->bars);
}

static void draw_intervals(struct canvas *c, struct paint_box box, const struct figure *f)
{
    paint_intervals(c, box, &f->intervals);
}

static void draw_heat(struct canvas *c, struct paint_box box, const struct figure *f)
{
    paint_heat(c, box, &f->heat);
}

static void draw_tiles(struct canvas *c, struct paint_box box, const struct figure *f)
{
    paint_tiles(c, box, &f->tiles);
}

/* --- Heights that show everything --- */

static double plain_height(const struct figure *f, double width)
{
    (void)f;
    (void)width;
    return HEIGHT;
}

static double bars_height(const struct figure *f, double width)
{
    (void)width;
    return 50 + 10.0 * (double)f->bars.n;
}

static double intervals_height(const struct figure *f, double width)
{
    (void)width;
    return 90 + 10.0 * (double)f->intervals.n;
}

static double heat_height(const struct figure *f, double width)
{
    double cols = f->heat.cols > 0 ? (double)f->heat.cols : 1;
    return 64 + (width - 128) * (double)f->heat.rows / cols;
}

/* Tiles as high as they are wide, between what can be read and what looks like a plan. */
static double tiles_height(const struct figure *f, double width)
{
    double cols = f->tiles.cols > 0 ? (double)f->tiles.cols : 1;
    double side = fmin(fmax((width - 60) / cols, 9), 20);
    return 80 + side * (double)f->tiles.rows;
}

static const struct {
    void (*draw)(struct canvas *c, struct paint_box box, const struct figure *f);
    double (*height)(const struct figure *f, double width);
    double lowest;
} kinds[FIGURE_KINDS] = {
    [FIGURE_XY] = {draw_xy, plain_height, HEIGHT},
    [FIGURE_HISTOGRAM] = {draw_histogram, plain_height, HEIGHT},
    [FIGURE_BARS] = {draw_bars, bars_height, 90},
    [FIGURE_INTERVALS] = {draw_intervals, intervals_height, 120},
    [FIGURE_HEAT] = {draw_heat, heat_height, 120},
    [FIGURE_TILES] = {draw_tiles, tiles_height, 120},
};

void paint_size(double *width, double *height, const struct figure *f,
                const struct paint_options *options)
{
    *width = options->width > 0 ? options->width : WIDTH;
    double wanted = kinds[f->kind].height(f, *width);
    *height = options->height > 0 ? options->height
                                  : round(fmin(fmax(wanted, kinds[f->kind].lowest), HEIGHT_MAX));
}

void paint_figure(struct canvas *c, struct paint_box box, const struct figure *f, bool with_title)
{
    if (with_title) {
        struct canvas_font font = paint_font(PAINT_TITLE, STYLE_TITLE, CANVAS_START);
        font.bold = true;
        paint_text_in(c, box.x, box.y + PAINT_TITLE, box.w, f->title, font);
        box.y += PAINT_TITLE + 7;
        box.h -= PAINT_TITLE + 7;
    }
    kinds[f->kind].draw(c, box, f);
}

/* --- Files --- */

static int begin(struct canvas **out, enum canvas_format format, const struct figure *f,
                 const struct paint_options *options, struct err *err)
{
    struct canvas_options o = {.format = format,
                               .theme = options->theme,
                               .scale = options->scale,
                               .title = f->title,
                               .description = f->caption};
    if (format != CANVAS_SVG && o.theme == CANVAS_AUTO)
        o.theme = CANVAS_LIGHT;
    paint_size(&o.width, &o.height, f, options);
    return canvas_new(out, &o, err);
}

static void draw_page(struct canvas *c, const struct figure *f, const struct paint_options *options)
{
    double w, h;
    paint_size(&w, &h, f, options);
    paint_figure(c, (struct paint_box){MARGIN, MARGIN, w - 2 * MARGIN, h - 2 * MARGIN}, f,
                 options->with_title);
}

static int paint(struct canvas **out, enum canvas_format format, const struct figure *figures,
                 size_t count, const struct paint_options *options, struct err *err)
{
    int rc = begin(out, format, &figures[0], options, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        double w, h;
        paint_size(&w, &h, &figures[i], options);
        if (i > 0)
            canvas_page(*out, w, h);
        draw_page(*out, &figures[i], options);
    }
    return rc;
}

static int paint_to(const char *path, enum canvas_format format, const struct figure *figures,
                    size_t count, const struct paint_options *options, struct err *err)
{
    struct canvas *c = NULL;
    int rc = paint(&c, format, figures, count, options, err);
    if (rc == 0)
        rc = canvas_finish_file(c, path, err);
    canvas_free(c);
    return rc;
}

int paint_file(const char *path, const struct figure *f, const struct paint_options *options,
               struct err *err)
{
    enum canvas_format format;
    int rc = canvas_format_of(&format, path, err);
    return rc == 0 ? paint_to(path, format, f, 1, options, err) : rc;
}

int paint_pages(const char *path, const struct figure *figures, size_t count,
                const struct paint_options *options, struct err *err)
{
    return paint_to(path, CANVAS_PDF, figures, count, options, err);
}

int paint_bytes(struct str *out, enum canvas_format format, const struct figure *figures,
                size_t count, const struct paint_options *options, struct err *err)
{
    struct canvas *c = NULL;
    int rc = paint(&c, format, figures, count, options, err);
    if (rc == 0)
        rc = canvas_finish(c, out, err);
    canvas_free(c);
    return rc;
}
