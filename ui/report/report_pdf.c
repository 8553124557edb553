/* The report as A4 pages. Tables break between rows and repeat their head. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "ui/figure/paint.h"
#include "ui/report/report.h"

/* Points. */
static const double page_width = 595, page_height = 842, margin = 50, foot = 30;
static const double body_size = 9.5, line_spacing = 1.4, table_size = 8, table_least = 6.5;
static const double gap = 10, column_gap = 9;
static const double heading_room = 70; /* a heading and a note above the tallest charts */

enum { LINE_MAX_BYTES = 4096 };

struct page {
    struct canvas *c;
    double y; /* where the next thing begins */
    size_t number;
};

static double inner_width(void)
{
    return page_width - 2 * margin;
}

static void draw_number(struct page *p)
{
    char text[32];
    snprintf(text, sizeof text, "%zu", p->number);
    canvas_text(p->c, page_width / 2, page_height - foot, text,
                (struct canvas_font){.size = 8, .colour = STYLE_TEXT_DIM, .anchor = CANVAS_MIDDLE});
}

static void next_page(struct page *p)
{
    draw_number(p);
    canvas_page(p->c, page_width, page_height);
    p->number++;
    p->y = margin;
}

static double room(const struct page *p)
{
    return page_height - margin - p->y;
}

/* Begins a page where `height` has no room on this one. */
static void need(struct page *p, double height)
{
    if (height > room(p) && p->y > margin)
        next_page(p);
}

/* --- Words --- */

static double text_width(struct page *p, const char *from, size_t size, struct canvas_font f)
{
    char line[LINE_MAX_BYTES];
    snprintf(line, sizeof line, "%.*s", (int)(size < sizeof line ? size : sizeof line - 1), from);
    return canvas_text_width(p->c, line, f);
}

/* Bytes of the first line of `text` that fits; at least one word, or what fits of it. */
static size_t line_end(struct page *p, const char *text, double width, struct canvas_font f)
{
    size_t end = 0;
    for (size_t at = 0; text[at];) {
        size_t word = at + strspn(text + at, " ");
        word += strcspn(text + word, " ");
        if (text_width(p, text, word, f) > width)
            break;
        at = end = word;
    }
    if (end || !text[0])
        return end;
    while (text[end] && text[end] != ' ') { /* one word that is too long */
        size_t next = end + 1;
        while (((unsigned char)text[next] & 0xc0) == 0x80)
            next++;
        if (end && text_width(p, text, next, f) > width)
            break;
        end = next;
    }
    return end;
}

static void draw_words(struct page *p, const char *text, struct canvas_font f)
{
    double height = f.size * line_spacing;
    while (*text) {
        char line[LINE_MAX_BYTES];
        size_t end = line_end(p, text, inner_width(), f);
        need(p, height);
        snprintf(line, sizeof line, "%.*s", (int)(end < sizeof line ? end : sizeof line - 1), text);
        canvas_text(p->c, margin, p->y + f.size, line, f);
        p->y += height;
        text += end;
        text += strspn(text, " ");
    }
}

/* --- Tables --- */

static double table_widths(struct page *p, const struct report_table *t, double size, double *width)
{
    double sum = 0;
    for (size_t i = 0; i < t->columns; i++) {
        width[i] = 0;
        for (size_t row = 0; row <= t->rows; row++)
            width[i] =
                fmax(width[i], canvas_text_width(p->c, t->cell[row * t->columns + i],
                                                 (struct canvas_font){.size = size,
                                                                      .colour = STYLE_DEFAULT,
                                                                      .bold = row == 0}));
        sum += width[i] + column_gap;
    }
    return sum - column_gap;
}

/* What does not fit even in the smallest print is broken into lines: the widest column gives, down
 * to the next. */
static void narrow(const struct report_table *t, double *width, double excess)
{
    while (excess > 0) {
        size_t widest = 0;
        double next = 0;
        for (size_t i = 1; i < t->columns; i++)
            widest = width[i] > width[widest] ? i : widest;
        for (size_t i = 0; i < t->columns; i++)
            next = i != widest ? fmax(next, width[i]) : next;
        double less = fmin(excess, fmax(width[widest] - next, table_least));
        if (width[widest] - less < 3 * table_least)
            return;
        width[widest] -= less;
        excess -= less;
    }
}

static struct canvas_font cell_font(size_t row, double size, bool right)
{
    return (struct canvas_font){.size = size,
                                .colour = STYLE_DEFAULT,
                                .bold = row == 0,
                                .anchor = right ? CANVAS_END : CANVAS_START};
}

/* The line of a cell from *text on, a hair wider than measured; moves *text behind it. */
static size_t cell_line(struct page *p, const char **text, double width, struct canvas_font f)
{
    size_t end = line_end(p, *text, width + 0.5, f);
    *text += end;
    *text += strspn(*text, " ");
    return end;
}

static size_t row_lines(struct page *p, const struct report_table *t, size_t row, double size,
                        const double *width)
{
    size_t most = 1;
    for (size_t i = 0; i < t->columns; i++) {
        const char *text = t->cell[row * t->columns + i];
        size_t lines = 0;
        for (; *text; lines++)
            cell_line(p, &text, width[i], cell_font(row, size, false));
        most = lines > most ? lines : most;
    }
    return most;
}

/* Lines `first` to `first + count` of a row. */
static void draw_lines(struct page *p, const struct report_table *t, size_t row, double size,
                       const double *width, size_t first, size_t count)
{
    double x = margin, height = size * line_spacing;
    for (size_t i = 0; i < t->columns; i++) {
        bool right = t->align[i] == 'r';
        const char *text = t->cell[row * t->columns + i];
        for (size_t k = 0; *text && k < first + count; k++) {
            char line[LINE_MAX_BYTES];
            const char *from = text;
            size_t end = cell_line(p, &text, width[i], cell_font(row, size, false));
            snprintf(line, sizeof line, "%.*s", (int)(end < sizeof line ? end : sizeof line - 1),
                     from);
            if (k >= first)
                canvas_text(p->c, right ? x + width[i] : x,
                            p->y + (double)(k - first) * height + size, line,
                            cell_font(row, size, right));
        }
        x += width[i] + column_gap;
    }
    p->y += (double)count * height;
    double y = p->y - size * (line_spacing - 1.25), end = fmin(x - column_gap, page_width - margin);
    canvas_line(
        p->c, margin, y, end, y,
        (struct canvas_stroke){row == 0 ? STYLE_BORDER : STYLE_GRID, row == 0 ? 0.8 : 0.4, 0});
}

/* A row goes to the next page whole, behind the head again; one that is longer than a page is cut
 * between its lines. */
static void draw_row(struct page *p, const struct report_table *t, size_t row, double size,
                     const double *width)
{
    double height = size * line_spacing, whole = page_height - 2 * margin;
    size_t lines = row_lines(p, t, row, size, width), head = row_lines(p, t, 0, size, width);
    bool repeat = (double)(head + 1) * height < whole / 2;
    for (size_t at = 0, count; at < lines; at += count) {
        double wanted = fmin((double)(lines - at) * height, whole / 2);
        if (wanted > room(p) && p->y > margin) {
            next_page(p);
            if (row && repeat)
                draw_lines(p, t, 0, size, width, 0, head);
        }
        size_t fits = (size_t)fmax(room(p) / height, 1);
        count = lines - at < fits ? lines - at : fits;
        draw_lines(p, t, row, size, width, at, count);
    }
}

static int draw_table(struct page *p, const struct report_block *b, struct err *err)
{
    const struct report_table *t = &b->table;
    double *width = mem_array(t->columns, sizeof *width, err), size = table_size;
    if (!width)
        return ERR_NOMEM;
    double total = table_widths(p, t, size, width);
    while (total > inner_width() && size > table_least)
        total = table_widths(p, t, size -= 0.5, width);
    narrow(t, width, total - inner_width());
    need(p, body_size * line_spacing + 4 * size * line_spacing);
    if (b->text[0])
        draw_words(p, b->text, (struct canvas_font){.size = 8.5, .colour = STYLE_TEXT_DIM});
    for (size_t row = 0; row <= t->rows; row++)
        draw_row(p, t, row, size, width);
    p->y += gap;
    free(width);
    return 0;
}

/* --- Figures --- */

static double caption_height(struct page *p, const char *text, double width, struct canvas_font f)
{
    double height = 0;
    for (; *text; height += f.size * 1.3) {
        text += line_end(p, text, width, f);
        text += strspn(text, " ");
    }
    return height;
}

static void draw_caption(struct page *p, const char *text, double x, double y, double width,
                         struct canvas_font f)
{
    while (*text) {
        char line[LINE_MAX_BYTES];
        size_t end = line_end(p, text, width, f);
        snprintf(line, sizeof line, "%.*s", (int)(end < sizeof line ? end : sizeof line - 1), text);
        canvas_text(p->c, x, y + f.size, line, f);
        y += f.size * 1.3;
        text += end;
        text += strspn(text, " ");
    }
}

static double chart_height(const struct figure *f, double width)
{
    double w, h;
    paint_size(&w, &h, f, &(struct paint_options){.width = width});
    bool free_form = f->kind == FIGURE_XY || f->kind == FIGURE_HISTOGRAM;
    return free_form ? fmin(h, 0.66 * width) : h;
}

static const struct canvas_font small_print = {.size = 7.5, .colour = STYLE_TEXT_DIM};
static const struct canvas_font small_title = {.size = 8.5, .colour = STYLE_TITLE, .bold = true};

/* Figures beside each other, each with its title above and its caption below. */
struct figure_row {
    const struct figure *figure;
    size_t count;
    double width, title, chart, caption;
};

static size_t figures_across(const struct report_block *b)
{
    return b->across > 2 ? 2 : b->across;
}

static struct figure_row figure_row(struct page *p, const struct report_block *b, size_t first)
{
    size_t across = figures_across(b), left = b->figures - first;
    struct figure_row row = {.figure = b->figure + first,
                             .count = left < across ? left : across,
                             .width =
                                 (inner_width() - (double)(across - 1) * 2 * gap) / (double)across};
    for (size_t i = 0; i < row.count; i++) {
        const struct figure *f = &row.figure[i];
        row.chart = fmax(row.chart, chart_height(f, row.width));
        row.caption = fmax(row.caption, caption_height(p, f->caption, row.width, small_print));
        row.title = fmax(row.title, caption_height(p, f->title, row.width, small_title));
    }
    row.chart =
        fmin(row.chart, page_height - 2 * margin - heading_room - row.caption - row.title - gap);
    return row;
}

static double row_height(const struct figure_row *row)
{
    return row->title + row->chart + row->caption + gap;
}

static void draw_figure_row(struct page *p, const struct figure_row *row)
{
    need(p, row_height(row));
    for (size_t i = 0; i < row->count; i++) {
        const struct figure *f = &row->figure[i];
        double x = margin + (double)i * (row->width + 2 * gap), y = p->y + row->title;
        draw_caption(p, f->title, x, p->y, row->width, small_title);
        paint_figure(p->c, (struct paint_box){x, y, row->width, row->chart}, f, false);
        draw_caption(p, f->caption, x, y + row->chart + 2, row->width, small_print);
    }
    p->y += row_height(row) + gap;
}

static void draw_figures(struct page *p, const struct report_block *b)
{
    for (size_t i = 0; i < b->figures; i += figures_across(b)) {
        struct figure_row row = figure_row(p, b, i);
        draw_figure_row(p, &row);
    }
}

/* --- Headings --- */

/* Height of what must follow a heading on its page: words up to the first chart or the first rows
 * of a table. */
static double height_behind(struct page *p, const struct report *r, size_t at)
{
    double height = 0;
    for (size_t i = at + 1; i < r->blocks; i++) {
        const struct report_block *b = &r->block[i];
        if (b->kind == REPORT_FIGURES && b->figures) {
            struct figure_row row = figure_row(p, b, 0);
            return height + row_height(&row);
        }
        if (b->kind == REPORT_HEADING || b->kind == REPORT_TABLE)
            return height + 5 * table_size * line_spacing;
        height += body_size * line_spacing + 5;
    }
    return height;
}

static void draw_heading(struct page *p, const struct report *r, size_t at)
{
    const struct report_block *b = &r->block[at];
    double size = b->level == 1 ? 14 : 11;
    p->y += p->y > margin ? (b->level == 1 ? 18 : 10) : 0;
    need(p, size * line_spacing + 3 + height_behind(p, r, at));
    draw_words(p, b->text, (struct canvas_font){.size = size, .colour = STYLE_TITLE, .bold = true});
    p->y += 3;
}

/* --- All of it --- */

static int draw_block(struct page *p, const struct report *r, size_t at, struct err *err)
{
    const struct report_block *b = &r->block[at];
    switch (b->kind) {
    case REPORT_HEADING:
        draw_heading(p, r, at);
        return 0;
    case REPORT_TABLE:
        return draw_table(p, b, err);
    case REPORT_FIGURES:
        draw_figures(p, b);
        return 0;
    case REPORT_TEXT:
        draw_words(p, b->text, (struct canvas_font){.size = body_size, .colour = STYLE_DEFAULT});
        break;
    case REPORT_NOTE:
        draw_words(p, b->text, (struct canvas_font){.size = 8, .colour = STYLE_TEXT_DIM});
        break;
    case REPORT_CODE:
        draw_words(p, b->text,
                   (struct canvas_font){.size = 8, .colour = STYLE_DEFAULT, .mono = true});
        break;
    }
    p->y += 5;
    return 0;
}

int report_pdf(struct str *out, const struct report *r, struct err *err)
{
    struct page p = {.y = margin, .number = 1};
    struct canvas_options options = {.format = CANVAS_PDF,
                                     .theme = CANVAS_LIGHT,
                                     .width = page_width,
                                     .height = page_height,
                                     .title = r->title,
                                     .description = r->subtitle};
    int rc = canvas_new(&p.c, &options, err);
    if (rc < 0)
        return rc;
    draw_words(&p, r->title, (struct canvas_font){.size = 20, .colour = STYLE_TITLE, .bold = true});
    draw_words(&p, r->subtitle, (struct canvas_font){.size = 10.5, .colour = STYLE_TEXT_DIM});
    p.y += gap;
    for (size_t i = 0; rc == 0 && i < r->blocks; i++)
        rc = draw_block(&p, r, i, err);
    draw_number(&p);
    if (rc == 0)
        rc = canvas_finish(p.c, out, err);
    canvas_free(p.c);
    return rc;
}
