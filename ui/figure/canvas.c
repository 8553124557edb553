#include "ui/figure/canvas_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/base/atomic_file.h"
#include "data/base/mem.h"
#include "data/base/sanitize.h"

enum { TEXT_MAX = 1024, SIZE_MAX_POINTS = 14400 };

const char *const canvas_format_names[CANVAS_FORMATS] = {"svg", "pdf", "png"};

static const struct canvas_kind *const kinds[CANVAS_FORMATS] = {
    [CANVAS_SVG] = &canvas_svg_kind,
    [CANVAS_PDF] = &canvas_cairo_kind,
    [CANVAS_PNG] = &canvas_cairo_kind,
};

const struct canvas_corners canvas_corners[CANVAS_SHAPES] = {
    [CANVAS_SQUARE] = {4, {-0.9, 0.9, 0.9, -0.9}, {-0.9, -0.9, 0.9, 0.9}},
    [CANVAS_TRIANGLE] = {3, {0, 1.1, -1.1}, {-1.2, 0.8, 0.8}},
    [CANVAS_DIAMOND] = {4, {0, 1.2, 0, -1.2}, {-1.2, 0, 1.2, 0}},
    [CANVAS_CROSS] = {12,
                      {-1.1, -0.8, 0, 0.8, 1.1, 0.3, 1.1, 0.8, 0, -0.8, -1.1, -0.3},
                      {-0.8, -1.1, -0.3, -1.1, -0.8, 0, 0.8, 1.1, 0.3, 1.1, 0.8, 0}},
};

int canvas_format_of(enum canvas_format *out, const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    for (int i = 0; dot && dot > name && i < CANVAS_FORMATS; i++)
        if (strcasecmp(dot + 1, canvas_format_names[i]) == 0) {
            *out = (enum canvas_format)i;
            return 0;
        }
    return err_set(err, ERR_USAGE, path,
                   "not a kind of picture; expected a name that ends in .svg, .pdf or .png");
}

static int copy_text(char **out, const char *text, struct err *err)
{
    char line[TEXT_MAX];
    if (!text)
        return 0;
    sanitize(line, sizeof line, text, strlen(text));
    *out = strdup(line);
    return *out ? 0 : err_set(err, ERR_NOMEM, NULL, "no memory for the title of a picture");
}

static bool is_size(double points)
{
    return points >= 1 && points <= SIZE_MAX_POINTS;
}

int canvas_new(struct canvas **out, const struct canvas_options *options, struct err *err)
{
    *out = NULL;
    if (!is_size(options->width) || !is_size(options->height))
        return err_set(err, ERR_USAGE, NULL,
                       "a picture of %g x %g points: expected 1 to %d points each way",
                       options->width, options->height, SIZE_MAX_POINTS);
    struct canvas *c = mem_array(1, sizeof *c, err);
    if (!c)
        return ERR_NOMEM;
    c->options = *options;
    c->kind = kinds[options->format];
    int rc = copy_text(&c->title, options->title, err);
    if (rc == 0)
        rc = copy_text(&c->description, options->description, err);
    if (rc == 0)
        rc = c->kind->open(c, err);
    if (rc < 0) {
        canvas_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void canvas_free(struct canvas *c)
{
    if (!c)
        return;
    c->kind->close(c);
    free(c->title);
    free(c->description);
    free(c);
}

void canvas_page(struct canvas *c, double width, double height)
{
    canvas_unclip(c);
    c->kind->page(c, width, height);
}

void canvas_path(struct canvas *c, const double *x, const double *y, size_t n,
                 struct canvas_stroke s)
{
    for (size_t i = 0, begin; i < n; i++) {
        for (begin = i; i < n && isfinite(x[i]) && isfinite(y[i]); i++)
            ;
        if (i > begin + 1)
            c->kind->path(c, x + begin, y + begin, i - begin, s);
    }
}

void canvas_line(struct canvas *c, double x0, double y0, double x1, double y1,
                 struct canvas_stroke s)
{
    canvas_path(c, (double[]){x0, x1}, (double[]){y0, y1}, 2, s);
}

void canvas_frame(struct canvas *c, double x, double y, double w, double h, struct canvas_stroke s)
{
    canvas_path(c, (double[]){x, x + w, x + w, x, x}, (double[]){y, y, y + h, y + h, y}, 5, s);
}

void canvas_area(struct canvas *c, const double *x, const double *y, size_t n, uint16_t colour)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]) || !isfinite(y[i]))
            return;
    if (n > 2)
        c->kind->area(c, x, y, n, colour);
}

void canvas_fill(struct canvas *c, double x, double y, double w, double h, uint16_t colour)
{
    if (isfinite(x) && isfinite(y) && w > 0 && h > 0 && isfinite(w) && isfinite(h))
        c->kind->fill(c, x, y, w, h, colour);
}

void canvas_marks(struct canvas *c, const double *x, const double *y, size_t n,
                  struct canvas_mark m)
{
    if (n > 0)
        c->kind->marks(c, x, y, n, m);
}

void canvas_text(struct canvas *c, double x, double y, const char *text, struct canvas_font f)
{
    char line[TEXT_MAX];
    sanitize(line, sizeof line, text, strlen(text));
    if (line[0] && isfinite(x) && isfinite(y))
        c->kind->text(c, x, y, line, f);
}

double canvas_text_width(struct canvas *c, const char *text, struct canvas_font f)
{
    char line[TEXT_MAX];
    sanitize(line, sizeof line, text, strlen(text));
    return line[0] ? c->kind->text_width(c, line, f) : 0;
}

void canvas_clip(struct canvas *c, double x, double y, double w, double h)
{
    canvas_unclip(c);
    c->kind->clip(c, x, y, w > 0 ? w : 0, h > 0 ? h : 0);
    c->clipped = true;
}

void canvas_unclip(struct canvas *c)
{
    if (c->clipped)
        c->kind->unclip(c);
    c->clipped = false;
}

int canvas_finish(struct canvas *c, struct str *out, struct err *err)
{
    canvas_unclip(c);
    return c->kind->finish(c, out, err);
}

int canvas_finish_file(struct canvas *c, const char *path, struct err *err)
{
    struct str bytes = {0};
    int rc = canvas_finish(c, &bytes, err);
    if (rc == 0)
        rc = atomic_file_save(path, str_get(&bytes), bytes.length, err);
    str_release(&bytes);
    return rc;
}
