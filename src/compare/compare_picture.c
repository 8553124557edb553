/* Bits against perplexity, by the results' figure. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "src/compare/compare_print.h"
#include "ui/figure/figures.h"
#include "ui/figure/paint.h"

static const char text_mark[] = "{text}";

/* Geometric mean over the texts from `begin` on. */
static double cell_perplexity(const struct compare_cell *cell, size_t begin, size_t end)
{
    double sum = 0;
    for (size_t t = begin; t < end; t++)
        sum += log(cell->perplexity[t]);
    return exp(sum / (double)(end - begin));
}

/* The same over the draws, too. */
static double row_perplexity(const struct compare_row *row, size_t begin, size_t end)
{
    double sum = 0;
    for (size_t d = 0; d < row->cells; d++)
        sum += log(cell_perplexity(&row->cell[d], begin, end));
    return exp(sum / (double)row->cells);
}

/* Of the draws (n - 1); 0 for one. */
static double row_deviation(const struct compare_row *row, size_t begin, size_t end)
{
    double mean = 0, squares = 0;
    for (size_t d = 0; d < row->cells; d++)
        mean += cell_perplexity(&row->cell[d], begin, end) / (double)row->cells;
    for (size_t d = 0; d < row->cells; d++)
        squares += pow(cell_perplexity(&row->cell[d], begin, end) - mean, 2);
    return row->cells > 1 ? sqrt(squares / (double)(row->cells - 1)) : 0;
}

static int draw(const struct compare_result *r, const char *path, bool file_bits, size_t begin,
                size_t end, struct err *err)
{
    struct figure_run *run = mem_array(r->rows, sizeof *run, err);
    char text[EVAL_TEXT_NAME_MAX + 32];
    struct figure_results results = {text, true, run, r->rows};
    struct figure_source source = {
        .analysis = r->analysis, .results = &results, .texts = 1, .file_bits = file_bits};
    struct paint_options options = {.with_title = true};
    struct figure f;
    if (!run)
        return ERR_NOMEM;
    if (end - begin == 1)
        snprintf(text, sizeof text, "%s", r->options->texts->text[begin].text.name);
    else
        snprintf(text, sizeof text, "%zu texts (geometric mean)", end - begin);
    for (size_t i = 0; i < r->rows; i++) {
        const struct compare_row *row = &r->row[i];
        bool original = row->method->info->quantizer == PLAN_NONE;
        run[i] = (struct figure_run){.name = row->name,
                                     .method = row->method->family,
                                     .nominal_bits =
                                         original ? 0 : compare_mean(row, compare_nominal, 0).mean,
                                     .effective_bits = compare_mean(row, compare_effective, 0).mean,
                                     .bytes = row->cell[0].bytes,
                                     .has_perplexity = true,
                                     .perplexity = row_perplexity(row, begin, end),
                                     .deviation = row_deviation(row, begin, end)};
    }
    int rc = figures_make(&f, "results", &source, err);
    if (rc == 0) {
        rc = paint_file(path, &f, &options, err);
        figure_release(&f);
    }
    free(run);
    return rc;
}

int compare_picture(const struct compare_result *r, const char *path, bool file_bits,
                    struct err *err)
{
    const char *place = strstr(path, text_mark);
    size_t texts = r->options->texts->texts;
    int rc = 0;
    if (texts == 0)
        return err_set(err, ERR_USAGE, path, "a picture of perplexities needs --text");
    if (!place)
        return draw(r, path, file_bits, 0, texts, err);
    for (size_t t = 0; rc == 0 && t < texts; t++) {
        struct str name = {0};
        str_appendf(&name, "%.*s%s%s", (int)(place - path), path,
                    r->options->texts->text[t].text.name, place + sizeof text_mark - 1);
        rc = str_ok(&name, err);
        if (rc == 0)
            rc = draw(r, name.data, file_bits, t, t + 1, err);
        str_release(&name);
    }
    return rc;
}
