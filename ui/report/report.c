#include "ui/report/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/atomic_file.h"
#include "data/base/mem.h"

static void block_release(struct report_block *b)
{
    for (size_t i = 0; i < b->table.cells; i++)
        free(b->table.cell[i]);
    for (size_t i = 0; i < b->figures; i++)
        figure_release(&b->figure[i]);
    free(b->table.cell);
    free(b->table.align);
    free(b->figure);
    free(b->text);
}

void report_release(struct report *r)
{
    for (size_t i = 0; i < r->blocks; i++)
        block_release(&r->block[i]);
    free(r->block);
    free(r->title);
    free(r->subtitle);
    *r = (struct report){0};
}

/* --- Building --- */

static char *copy(struct report *r, const char *text)
{
    char *out = mem_strdup(text, NULL);
    r->failed = r->failed || !out;
    return out;
}

static struct report_block *add(struct report *r, enum report_kind kind)
{
    if (r->failed ||
        mem_grow((void **)&r->block, &r->capacity, r->blocks + 1, sizeof *r->block, NULL) < 0) {
        r->failed = true;
        return NULL;
    }
    struct report_block *b = &r->block[r->blocks++];
    *b = (struct report_block){.kind = kind};
    return b;
}

void report_title(struct report *r, const char *title, const char *subtitle)
{
    r->title = copy(r, title);
    r->subtitle = copy(r, subtitle);
}

void report_heading(struct report *r, unsigned level, const char *text)
{
    struct report_block *b = add(r, REPORT_HEADING);
    if (!b)
        return;
    b->level = level;
    b->text = copy(r, text);
}

static char *format_text(struct report *r, const char *format, va_list args)
{
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0) {
        r->failed = true;
        return NULL;
    }
    return text;
}

void report_text(struct report *r, enum report_kind kind, const char *format, ...)
{
    struct report_block *b = add(r, kind);
    va_list args;
    if (!b)
        return;
    va_start(args, format);
    b->text = format_text(r, format, args);
    va_end(args);
}

/* A cell of the last table takes over `text`. */
static void put_cell(struct report *r, char *text)
{
    struct report_table *t = &r->block[r->blocks - 1].table;
    if (!text || mem_grow((void **)&t->cell, &t->capacity, t->cells + 1, sizeof *t->cell, NULL)) {
        r->failed = true;
        free(text);
        return;
    }
    t->cell[t->cells++] = text;
    t->rows = t->cells / t->columns - 1;
}

void report_table(struct report *r, const char *caption, const char *align, const char *head)
{
    struct report_block *b = add(r, REPORT_TABLE);
    if (!b)
        return;
    b->text = copy(r, caption);
    b->table.align = copy(r, align);
    b->table.columns = strlen(align);
    for (size_t i = 0; i < b->table.columns && !r->failed; i++) {
        size_t size = strcspn(head, "\t");
        put_cell(r, strndup(head, size));
        head += size + (head[size] == '\t');
    }
}

void report_cell(struct report *r, const char *format, ...)
{
    va_list args;
    if (r->failed)
        return;
    va_start(args, format);
    put_cell(r, format_text(r, format, args));
    va_end(args);
}

void report_figures(struct report *r, size_t across)
{
    struct report_block *b = add(r, REPORT_FIGURES);
    if (b)
        b->across = across;
}

void report_figure(struct report *r, struct figure *f)
{
    struct report_block *b = r->failed ? NULL : &r->block[r->blocks - 1];
    if (b && mem_grow((void **)&b->figure, &b->figure_capacity, b->figures + 1, sizeof *b->figure,
                      NULL) == 0) {
        b->figure[b->figures++] = *f;
    } else {
        r->failed = true;
        figure_release(f);
    }
    *f = (struct figure){0};
}

/* --- Writing --- */

typedef int (*report_writer)(struct str *out, const struct report *r, struct err *err);

static const struct {
    const char *ending;
    report_writer write;
} formats[] = {{".html", report_html}, {".htm", report_html}, {".pdf", report_pdf}};

static report_writer writer_of(const char *path)
{
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof formats / sizeof *formats; i++)
        if (strcmp(dot, formats[i].ending) == 0)
            return formats[i].write;
    return NULL;
}

int report_format_known(const char *path, struct err *err)
{
    return writer_of(path)
               ? 0
               : err_set(err, ERR_USAGE, path, "expected a name that ends in .html or .pdf");
}

int report_write(const struct report *r, const char *path, struct err *err)
{
    struct str text = {0};
    int rc = report_format_known(path, err);
    if (rc == 0 && r->failed)
        rc = err_set(err, ERR_NOMEM, path, "no memory for the report");
    if (rc == 0)
        rc = writer_of(path)(&text, r, err);
    if (rc == 0)
        rc = atomic_file_save(path, text.data, text.length, err);
    str_release(&text);
    return rc;
}
