/* The report as one page of HTML: no scripts, nothing from elsewhere. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/sanitize.h"
#include "ui/figure/paint.h"
#include "ui/report/report.h"

static const char style[] =
    ":root{color-scheme:light dark;--ink:#1f2328;--dim:#5c646c;--line:#d8dde2;--soft:#f4f6f8;"
    "--paper:#fff;--link:#0b5a94}\n"
    "@media (prefers-color-scheme:dark){:root{--ink:#e3e6e1;--dim:#a3aab0;--line:#333a42;"
    "--soft:#1d2126;--paper:#16191d;--link:#8cc8f0}}\n"
    "*{box-sizing:border-box}\n"
    "html{-webkit-text-size-adjust:100%}\n"
    "body{margin:0 auto;max-width:64rem;padding:2rem 1.25rem 4rem;background:var(--paper);"
    "color:var(--ink);font:1rem/1.55 system-ui,-apple-system,'Segoe UI',Helvetica,Arial,"
    "'Liberation Sans',sans-serif}\n"
    "h1{font-size:1.9rem;line-height:1.2;margin:0 0 .3rem}\n"
    "h2{font-size:1.35rem;margin:2.6rem 0 .6rem;padding-top:.9rem;"
    "border-top:1px solid var(--line)}\n"
    "h3{font-size:1.08rem;margin:1.6rem 0 .4rem}\n"
    "p{margin:.5rem 0;max-width:46rem}\n"
    ".sub{color:var(--dim);font-size:1.05rem}\n"
    ".note{color:var(--dim);font-size:.86rem}\n"
    "a{color:var(--link)}\n"
    "nav ul{list-style:none;margin:1.2rem 0 0;padding:0;display:flex;flex-wrap:wrap;"
    "gap:.3rem 1.1rem;font-size:.94rem}\n"
    "pre{background:var(--soft);border:1px solid var(--line);border-radius:6px;"
    "padding:.7rem .9rem;overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere;"
    "font:.85rem/1.5 ui-monospace,Menlo,Consolas,'Liberation Mono',monospace}\n"
    ".figures{display:grid;gap:1.2rem;margin:1.1rem 0;"
    "grid-template-columns:repeat(auto-fit,minmax(min(100%,var(--least)),1fr))}\n"
    "figure{margin:0;min-width:0}\n"
    "figure svg{display:block;width:100%;height:auto}\n"
    "figcaption{color:var(--dim);font-size:.88rem;margin-top:.3rem}\n"
    ".wide{overflow-x:auto;margin:1rem 0}\n"
    "table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}\n"
    "caption{caption-side:top;text-align:left;color:var(--dim);padding:0 0 .4rem;"
    "font-size:.9rem}\n"
    "th,td{padding:.22rem .7rem;border-bottom:1px solid var(--line);text-align:left;"
    "vertical-align:top}\n"
    "thead th{border-bottom:2px solid var(--line);font-weight:600}\n"
    "tbody tr:hover{background:var(--soft)}\n"
    ".r{text-align:right;white-space:nowrap}\n"
    "@media print{body{max-width:none;padding:0}h2,h3{break-after:avoid}"
    "figure,tr{break-inside:avoid}nav{display:none}}\n";

static const struct {
    char character;
    const char *entity;
} entities[] = {
    {'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&apos;"},
};

/* Text as it may stand between tags and in attributes. */
static void append(struct str *out, const char *text)
{
    size_t size = 8 * strlen(text) + 1;
    char *clean = mem_array(size, 1, NULL);
    if (!clean) {
        out->failed = true;
        return;
    }
    sanitize(clean, size, text, strlen(text));
    for (const char *p = clean; *p;) {
        size_t plain = strcspn(p, "&<>\"'");
        str_append_bytes(out, p, plain);
        p += plain;
        for (size_t i = 0; *p && i < sizeof entities / sizeof *entities; i++)
            if (*p == entities[i].character) {
                str_append(out, entities[i].entity);
                p++;
                break;
            }
    }
    free(clean);
}

static void append_element(struct str *out, const char *begin, const char *text, const char *end)
{
    str_append(out, begin);
    append(out, text);
    str_append(out, end);
}

static void append_table(struct str *out, const struct report_block *b)
{
    const struct report_table *t = &b->table;
    str_append(out, "<div class=\"wide\"><table>\n");
    if (b->text[0])
        append_element(out, "<caption>", b->text, "</caption>\n");
    for (size_t row = 0; row <= t->rows; row++) {
        str_append(out, row == 0 ? "<thead><tr>" : row == 1 ? "<tbody>\n<tr>" : "<tr>");
        for (size_t i = 0; i < t->columns; i++) {
            const char *tag = row == 0 ? "th" : "td";
            str_appendf(out, "<%s%s%s>", tag, row == 0 ? " scope=\"col\"" : "",
                        t->align[i] == 'r' ? " class=\"r\"" : "");
            append(out, t->cell[row * t->columns + i]);
            str_appendf(out, "</%s>", tag);
        }
        str_append(out, row == 0 ? "</tr></thead>\n" : "</tr>\n");
    }
    str_append(out, t->rows ? "</tbody></table></div>\n" : "</table></div>\n");
}

/* In points, so that letters come out as large as those around them. */
static double figure_width(const struct report_block *b)
{
    return b->across >= 3 ? 255 : b->across == 2 ? 320 : 700;
}

static int append_figures(struct str *out, const struct report_block *b, struct err *err)
{
    int rc = 0;
    str_appendf(out, "<div class=\"figures\" style=\"--least:%drem\">\n",
                b->across >= 3   ? 17
                : b->across == 2 ? 24
                                 : 36);
    for (size_t i = 0; rc == 0 && i < b->figures; i++) {
        struct paint_options options = {
            .theme = CANVAS_AUTO, .width = figure_width(b), .with_title = true};
        str_append(out, "<figure>\n");
        rc = paint_bytes(out, CANVAS_SVG, &b->figure[i], 1, &options, err);
        append_element(out, "<figcaption>", b->figure[i].caption, "</figcaption>\n</figure>\n");
    }
    str_append(out, "</div>\n");
    return rc;
}

static int append_block(struct str *out, const struct report_block *b, size_t index,
                        struct err *err)
{
    switch (b->kind) {
    case REPORT_HEADING:
        str_appendf(out, b->level == 1 ? "<h2 id=\"s%zu\">" : "<h3 id=\"s%zu\">", index);
        append_element(out, "", b->text, b->level == 1 ? "</h2>\n" : "</h3>\n");
        return 0;
    case REPORT_TEXT:
        append_element(out, "<p>", b->text, "</p>\n");
        return 0;
    case REPORT_NOTE:
        append_element(out, "<p class=\"note\">", b->text, "</p>\n");
        return 0;
    case REPORT_CODE:
        append_element(out, "<pre>", b->text, "</pre>\n");
        return 0;
    case REPORT_TABLE:
        append_table(out, b);
        return 0;
    case REPORT_FIGURES:
        return append_figures(out, b, err);
    }
    return 0;
}

static void append_contents(struct str *out, const struct report *r)
{
    str_append(out, "<nav aria-label=\"Contents\"><ul>\n");
    for (size_t i = 0; i < r->blocks; i++)
        if (r->block[i].kind == REPORT_HEADING && r->block[i].level == 1) {
            str_appendf(out, "<li><a href=\"#s%zu\">", i);
            append_element(out, "", r->block[i].text, "</a></li>\n");
        }
    str_append(out, "</ul></nav>\n");
}

int report_html(struct str *out, const struct report *r, struct err *err)
{
    int rc = 0;
    str_append(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                    "<meta name=\"generator\" content=\"moqa\">\n");
    append_element(out, "<title>", r->title, "</title>\n<style>\n");
    str_append(out, style);
    append_element(out, "</style>\n</head>\n<body>\n<header>\n<h1>", r->title, "</h1>\n");
    append_element(out, "<p class=\"sub\">", r->subtitle, "</p>\n");
    append_contents(out, r);
    str_append(out, "</header>\n<main>\n");
    for (size_t i = 0; rc == 0 && i < r->blocks; i++)
        rc = append_block(out, &r->block[i], i, err);
    str_append(out, "</main>\n</body>\n</html>\n");
    return rc == 0 ? str_ok(out, err) : rc;
}
