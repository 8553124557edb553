#include <cairo-pdf.h>
#include <cairo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "ui/figure/canvas_parts.h"

enum { PIXELS_MAX = 20000 };

struct page {
    struct str bytes; /* of a PDF, as it comes */
    cairo_surface_t *surface;
    cairo_t *cairo;
};

static cairo_t *cairo_of(const struct canvas *c)
{
    return ((const struct page *)c->own)->cairo;
}

static void set_colour(const struct canvas *c, uint16_t colour)
{
    unsigned rgb = canvas_colour(colour, c->options.theme == CANVAS_DARK);
    cairo_set_source_rgb(cairo_of(c), (rgb >> 16 & 255) / 255.0, (rgb >> 8 & 255) / 255.0,
                         (rgb & 255) / 255.0);
}

static cairo_status_t take_bytes(void *closure, const unsigned char *data, unsigned int length)
{
    struct str *out = closure;
    str_append_bytes(out, data, length);
    return out->failed ? CAIRO_STATUS_NO_MEMORY : CAIRO_STATUS_SUCCESS;
}

static int check(cairo_status_t status, struct err *err)
{
    if (status == CAIRO_STATUS_SUCCESS)
        return 0;
    return err_set(err, status == CAIRO_STATUS_NO_MEMORY ? ERR_NOMEM : ERR_IO, NULL,
                   "cannot draw the picture: %s", cairo_status_to_string(status));
}

static void paint_paper(const struct canvas *c)
{
    if (c->options.transparent)
        return;
    set_colour(c, CANVAS_PAPER);
    cairo_paint(cairo_of(c));
}

/* --- Opening --- */

static double scale_of(const struct canvas *c)
{
    return c->options.scale > 0 ? c->options.scale : 2;
}

static int open_pdf(struct canvas *c)
{
    struct page *p = c->own;
    p->surface = cairo_pdf_surface_create_for_stream(take_bytes, &p->bytes, c->options.width,
                                                     c->options.height);
    /* No date: the same figure gives the same bytes. */
    cairo_pdf_surface_set_metadata(p->surface, CAIRO_PDF_METADATA_CREATE_DATE, NULL);
    cairo_pdf_surface_set_metadata(p->surface, CAIRO_PDF_METADATA_CREATOR, "moqa");
    if (c->title)
        cairo_pdf_surface_set_metadata(p->surface, CAIRO_PDF_METADATA_TITLE, c->title);
    if (c->description)
        cairo_pdf_surface_set_metadata(p->surface, CAIRO_PDF_METADATA_SUBJECT, c->description);
    return 0;
}

static int open_png(struct canvas *c, struct err *err)
{
    struct page *p = c->own;
    double scale = scale_of(c);
    double w = ceil(c->options.width * scale - 1e-6), h = ceil(c->options.height * scale - 1e-6);
    if (!(w >= 1 && h >= 1 && w <= PIXELS_MAX && h <= PIXELS_MAX))
        return err_set(err, ERR_USAGE, NULL,
                       "a picture of %g x %g pixels: expected 1 to %d each way", w, h, PIXELS_MAX);
    p->surface = cairo_image_surface_create(
        c->options.transparent ? CAIRO_FORMAT_ARGB32 : CAIRO_FORMAT_RGB24, (int)w, (int)h);
    return 0;
}

static int page_open(struct canvas *c, struct err *err)
{
    struct page *p = mem_array(1, sizeof *p, err);
    c->own = p;
    if (!p)
        return ERR_NOMEM;
    int rc = c->options.format == CANVAS_PDF ? open_pdf(c) : open_png(c, err);
    if (rc < 0)
        return rc;
    p->cairo = cairo_create(p->surface);
    if (c->options.format == CANVAS_PNG)
        cairo_scale(p->cairo, scale_of(c), scale_of(c));
    /* Letters stand where they are measured, at any size. */
    cairo_font_options_t *options = cairo_font_options_create();
    cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
    cairo_font_options_set_antialias(options, CAIRO_ANTIALIAS_GRAY);
    cairo_set_font_options(p->cairo, options);
    cairo_font_options_destroy(options);
    paint_paper(c);
    return check(cairo_status(p->cairo), err);
}

static void page_close(struct canvas *c)
{
    struct page *p = c->own;
    if (!p)
        return;
    if (p->cairo)
        cairo_destroy(p->cairo);
    if (p->surface)
        cairo_surface_destroy(p->surface);
    str_release(&p->bytes);
    free(p);
    c->own = NULL;
}

static void page_next(struct canvas *c, double width, double height)
{
    struct page *p = c->own;
    if (c->options.format != CANVAS_PDF)
        return;
    cairo_show_page(p->cairo);
    cairo_pdf_surface_set_size(p->surface, width, height);
    paint_paper(c);
}

/* --- Drawing --- */

static void page_path(struct canvas *c, const double *x, const double *y, size_t n,
                      struct canvas_stroke s)
{
    cairo_t *cairo = cairo_of(c);
    set_colour(c, s.colour);
    cairo_set_line_width(cairo, s.width);
    cairo_set_line_cap(cairo, CAIRO_LINE_CAP_BUTT);
    cairo_set_dash(cairo, &s.dash, s.dash > 0 ? 1 : 0, 0);
    for (size_t i = 0; i < n; i++)
        cairo_line_to(cairo, x[i], y[i]);
    if (x[0] == x[n - 1] && y[0] == y[n - 1])
        cairo_close_path(cairo);
    cairo_stroke(cairo);
}

static void page_area(struct canvas *c, const double *x, const double *y, size_t n, uint16_t colour)
{
    cairo_t *cairo = cairo_of(c);
    set_colour(c, colour);
    for (size_t i = 0; i < n; i++)
        cairo_line_to(cairo, x[i], y[i]);
    cairo_close_path(cairo);
    cairo_fill(cairo);
}

static void page_fill(struct canvas *c, double x, double y, double w, double h, uint16_t colour)
{
    set_colour(c, colour);
    cairo_rectangle(cairo_of(c), x, y, w, h);
    cairo_fill(cairo_of(c));
}

/* One by one: overlapping ones in one path would leave holes. */
static void page_marks(struct canvas *c, const double *x, const double *y, size_t n,
                       struct canvas_mark m)
{
    const struct canvas_corners *k = &canvas_corners[m.shape];
    cairo_t *cairo = cairo_of(c);
    set_colour(c, m.colour);
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]) || !isfinite(y[i]))
            continue;
        for (size_t j = 0; j < k->n; j++)
            cairo_line_to(cairo, x[i] + m.radius * k->x[j], y[i] + m.radius * k->y[j]);
        if (!k->n)
            cairo_arc(cairo, x[i], y[i], m.radius, 0, 2 * M_PI);
        cairo_close_path(cairo);
        cairo_fill(cairo);
    }
}

static void choose_font(cairo_t *cairo, struct canvas_font f)
{
    cairo_select_font_face(cairo, f.mono ? "monospace" : "Helvetica", CAIRO_FONT_SLANT_NORMAL,
                           f.bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cairo, f.size);
}

static double page_text_width(struct canvas *c, const char *text, struct canvas_font f)
{
    cairo_text_extents_t extents;
    choose_font(cairo_of(c), f);
    cairo_text_extents(cairo_of(c), text, &extents);
    return extents.x_advance;
}

static void page_text(struct canvas *c, double x, double y, const char *text, struct canvas_font f)
{
    cairo_t *cairo = cairo_of(c);
    double width = f.anchor == CANVAS_START ? 0 : page_text_width(c, text, f);
    cairo_save(cairo);
    cairo_translate(cairo, x, y);
    cairo_rotate(cairo, -f.angle * M_PI / 180);
    cairo_move_to(cairo, f.anchor == CANVAS_END ? -width : -width / 2, 0);
    choose_font(cairo, f);
    set_colour(c, f.colour);
    cairo_show_text(cairo, text);
    cairo_restore(cairo);
    cairo_new_path(cairo);
}

static void page_clip(struct canvas *c, double x, double y, double w, double h)
{
    cairo_save(cairo_of(c));
    cairo_rectangle(cairo_of(c), x, y, w, h);
    cairo_clip(cairo_of(c));
}

static void page_unclip(struct canvas *c)
{
    cairo_restore(cairo_of(c));
}

static int page_finish(struct canvas *c, struct str *out, struct err *err)
{
    struct page *p = c->own;
    int rc = check(cairo_status(p->cairo), err);
    if (rc < 0)
        return rc;
    if (c->options.format == CANVAS_PDF) {
        cairo_show_page(p->cairo);
        cairo_surface_finish(p->surface);
        rc = check(cairo_surface_status(p->surface), err);
        str_append_bytes(out, str_get(&p->bytes), p->bytes.length);
    } else {
        rc = check(cairo_surface_write_to_png_stream(p->surface, take_bytes, out), err);
    }
    return rc < 0 ? rc : str_ok(out, err);
}

const struct canvas_kind canvas_cairo_kind = {
    .open = page_open,
    .close = page_close,
    .page = page_next,
    .path = page_path,
    .area = page_area,
    .fill = page_fill,
    .marks = page_marks,
    .text = page_text,
    .text_width = page_text_width,
    .clip = page_clip,
    .unclip = page_unclip,
    .finish = page_finish,
};
