/*
 * A report as blocks: headings, paragraphs, tables, figures. It is built once (report_build.h) and
 * written as a page of HTML (one file, no scripts, light and dark) or as PDF.
 */
#ifndef MOQA_UI_REPORT_REPORT_H
#define MOQA_UI_REPORT_REPORT_H

#include "data/base/str.h"
#include "ui/figure/figure.h"

enum report_kind {
    REPORT_HEADING,
    REPORT_TEXT,
    REPORT_NOTE, /* a paragraph in small print */
    REPORT_CODE, /* a command line */
    REPORT_TABLE,
    REPORT_FIGURES
};

struct report_table {
    size_t columns, rows; /* rows without the head */
    char *align;          /* "lrr": a letter a column, left or right */
    char **cell;          /* [rows + 1][columns], the head first */
    size_t cells, capacity;
};

struct report_block {
    enum report_kind kind;
    unsigned level; /* of a heading: 1 or 2 */
    char *text;     /* of all but figures; of a table its caption */
    struct report_table table;
    struct figure *figure; /* [figures] */
    size_t figures, figure_capacity;
    size_t across; /* figures side by side where there is room */
};

/* What fails for want of memory is remembered, as in struct str: the writers tell it. */
struct report {
    char *title, *subtitle;
    struct report_block *block;
    size_t blocks, capacity;
    bool failed;
};

void report_release(struct report *r);

void report_title(struct report *r, const char *title, const char *subtitle);
void report_heading(struct report *r, unsigned level, const char *text);
void report_text(struct report *r, enum report_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Begins a table: its columns as "lrr", its head as words between tabs. */
void report_table(struct report *r, const char *caption, const char *align, const char *head);
/* The next cell of the last table, row by row. */
void report_cell(struct report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Begins a group of figures. */
void report_figures(struct report *r, size_t across);
/* Puts a figure into the last group and zeroes *f. */
void report_figure(struct report *r, struct figure *f);

/* ERR_USAGE where the path's ending is not .html or .pdf. */
ERR_CHECK int report_format_known(const char *path, struct err *err);
/* By the ending of the path, .html or .pdf: ERR_USAGE for another. The file appears whole or not
 * at all. */
ERR_CHECK int report_write(const struct report *r, const char *path, struct err *err);
ERR_CHECK int report_html(struct str *out, const struct report *r, struct err *err);
ERR_CHECK int report_pdf(struct str *out, const struct report *r, struct err *err);

#endif
