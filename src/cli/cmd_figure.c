#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "src/cli/cli_output.h"
#include "src/cli/cli_source.h"
#include "ui/figure/paint.h"

struct arguments {
    const char *trace, *model, *plan, *runs, *losses, *figure, *layer, *text, *out, *theme,
        *progress;
    bool list, all_experts, linear, file_bits, no_title;
    struct cli_real width, height, scale;
    struct cli_count threads;
};

static const struct cli_option options[] = {
    {"figure", 'f', "NAME,...", CLI_TEXT, offsetof(struct arguments, figure), false,
     "figures to draw, or all that can be made from what is given; --list shows them"},
    {"output", 'o', "FILE", CLI_TEXT, offsetof(struct arguments, out), false,
     "file to write, .svg, .pdf or .png; of several figures a PDF has one on each page, other "
     "files have {figure}, {layer} and {text} in their name"},
    {"layer", 0, "N|all", CLI_TEXT, offsetof(struct arguments, layer), false,
     "MoE layer, from 0 (0), for the figures that show one"},
    {"model", 'm', "DIR", CLI_TEXT, offsetof(struct arguments, model), false,
     "checkpoint folder; needed for similarity, difference, bits and results"},
    {"plan", 'p', "FILE", CLI_TEXT, offsetof(struct arguments, plan), false,
     "plan that `bits` shows (the one that these settings make) and `front` marks; its settings "
     "are those of all figures, those of the command line over them"},
    {"losses", 0, "FILE", CLI_TEXT, offsetof(struct arguments, losses), false,
     "measured losses (moqa losses) that `front` is made from"},
    {"runs", 0, "DIR", CLI_TEXT, offsetof(struct arguments, runs), false,
     "folder of the runs that `results` shows (moqa-runs)"},
    {"text", 't', "NAME", CLI_TEXT, offsetof(struct arguments, text), false,
     "text on which `results` shows them (that of most runs, or each: on pages, or by {text})"},
    {"width", 0, "POINTS", CLI_REAL, offsetof(struct arguments, width), false,
     "width in points of 1/72 inch (480)"},
    {"height", 0, "POINTS", CLI_REAL, offsetof(struct arguments, height), false,
     "height in points (300, or what the figure needs)"},
    {"scale", 0, "PIXELS", CLI_REAL, offsetof(struct arguments, scale), false,
     "pixels a point of a PNG (2)"},
    {"theme", 0, "THEME", CLI_TEXT, offsetof(struct arguments, theme), false,
     "light, dark, or auto: an SVG that follows the page it is shown on (light)"},
    {"all-experts", 0, NULL, CLI_FLAG, offsetof(struct arguments, all_experts), false,
     "similarity of all experts instead of eight"},
    {"linear", 0, NULL, CLI_FLAG, offsetof(struct arguments, linear), false,
     "linear axes where they are logarithmic"},
    {"file-bits", 0, NULL, CLI_FLAG, offsetof(struct arguments, file_bits), false,
     "results over the bits in the file, not the nominal ones"},
    {"no-title", 0, NULL, CLI_FLAG, offsetof(struct arguments, no_title), false,
     "without the title over the chart"},
    {"list", 0, NULL, CLI_FLAG, offsetof(struct arguments, list), false, "list the figures"},
    {"threads", 'j', "N", CLI_COUNT, offsetof(struct arguments, threads), false, "threads (all)"},
    {"progress", 0, "STYLE", CLI_TEXT, offsetof(struct arguments, progress), false,
     "auto, bar, plain, json or none"},
    {.type = CLI_END},
};

static const struct cli_option positional[] = {
    {"TRACE", 0, NULL, CLI_TEXT, offsetof(struct arguments, trace), false, NULL},
    {.type = CLI_END},
};

const struct cli_spec cmd_figure_spec = {
    "figure",
    "Draws the figures of the method as SVG, PDF or PNG, ready for a paper or a page.",
    "  moqa figure wiki.h5 --figure significance --layer 3 -o significance.svg\n"
    "  moqa figure wiki.h5 --model DIR --figure all --layer all -o wiki.pdf\n"
    "  moqa figure wiki.h5 --figure zipf,mapping -o 'wiki-{figure}-{layer}.png' --scale 4\n"
    "  moqa figure wiki.h5 --model DIR --losses losses.json --figure front -o front.svg\n"
    "  moqa figure --list\n",
    options,
    positional,
    true,
};

/* A figure of a layer, or of the results on a text; others come once. */
struct wish {
    const struct figure_info *info;
    size_t layer, text;
};

struct work {
    const struct arguments *a;
    struct cli_source made; /* what figures are made from */
    struct paint_options paint;
    enum canvas_format format;
    size_t layer_begin, layer_end;
    size_t text_begin, text_end;
    struct wish *wish;
    size_t count, capacity;
};

/* --- What is asked for --- */

static int print_list(struct err *err)
{
    struct str text = {0};
    for (size_t i = 0; i < figures_count(); i++) {
        const struct figure_info *info = figures_info(i);
        const char *needs = info->needs & FIGURE_NEEDS_COSINE  ? "; needs --model"
                            : info->needs & FIGURE_NEEDS_PLAN  ? "; needs --model or --plan"
                            : info->needs & FIGURE_NEEDS_RUNS  ? "; needs --model and runs"
                            : info->needs & FIGURE_NEEDS_FRONT ? "; needs --model and --losses"
                                                               : "";
        str_appendf(&text, "%-13s %-7s %s%s%s\n", info->name, info->paper ? info->paper : "",
                    info->help, info->per_layer ? "; for each layer" : "", needs);
    }
    int rc = str_ok(&text, err);
    if (rc == 0)
        rc = cli_print(text.data, err);
    str_release(&text);
    return rc;
}

static int parse_theme(enum canvas_theme *out, const char *text, struct err *err)
{
    static const char *const names[] = {
        [CANVAS_LIGHT] = "light", [CANVAS_DARK] = "dark", [CANVAS_AUTO] = "auto"};
    *out = CANVAS_LIGHT;
    for (int i = 0; text && i < 3; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = (enum canvas_theme)i;
            return 0;
        }
    return text ? err_set(err, ERR_USAGE, NULL,
                          "--theme: found \"%s\", expected light, dark or auto", text)
                : 0;
}

static int parse_size(double value, const char *name, double most, struct err *err)
{
    if (value == 0 || (value >= 0.1 && value <= most))
        return 0;
    return err_set(err, ERR_USAGE, NULL, "--%s: found %g, expected a number up to %g", name, value,
                   most);
}

static int parse_layer(struct work *w, struct err *err)
{
    const char *text = w->a->layer ? w->a->layer : "0";
    size_t layers = analysis_result(w->made.figures.analysis)->layers, layer;
    char end;
    w->layer_begin = 0;
    w->layer_end = layers;
    if (strcmp(text, "all") == 0)
        return 0;
    if (text[0] < '0' || text[0] > '9' || sscanf(text, "%zu%c", &layer, &end) != 1 ||
        layer >= layers)
        return err_set(err, ERR_USAGE, NULL,
                       "--layer: found \"%s\", expected a MoE layer from 0 to %zu, or all", text,
                       layers - 1);
    w->layer_begin = layer;
    w->layer_end = layer + 1;
    return 0;
}

/* The words with which a file can be told from others. */
static bool is_pattern(const char *out)
{
    return strstr(out, "{figure}") || strstr(out, "{layer}") || strstr(out, "{text}");
}

static int refuse_text(const struct work *w, struct err *err)
{
    struct str known = {0};
    for (size_t i = 0; i < w->made.texts.n; i++)
        str_appendf(&known, "%s%s", i ? "; " : "", w->made.texts.text[i].label);
    int rc = err_set(err, ERR_USAGE, NULL, "--text: found \"%.200s\", expected one of: %s",
                     w->a->text, str_get(&known));
    str_release(&known);
    return rc;
}

/* Which texts: the one that is named, each where they can be told apart, or the first. */
static int parse_text(struct work *w, struct err *err)
{
    const struct result_texts *t = &w->made.texts;
    bool pages = w->format == CANVAS_PDF && !is_pattern(w->a->out);
    w->text_end = pages || strstr(w->a->out, "{text}") ? t->n : 1;
    w->text_end = w->text_end ? w->text_end : 1; /* the figure says what it misses */
    for (size_t i = 0; w->a->text && i < t->n; i++)
        if (strcmp(t->text[i].label, w->a->text) == 0 ||
            strcmp(t->text[i].one->name, w->a->text) == 0) {
            w->text_begin = i;
            w->text_end = i + 1;
            return 0;
        }
    return w->a->text ? refuse_text(w, err) : 0;
}

static int add_wishes(struct work *w, const struct figure_info *info, struct err *err)
{
    bool runs = info->needs & FIGURE_NEEDS_RUNS;
    size_t begin = info->per_layer ? w->layer_begin : runs ? w->text_begin : 0;
    size_t end = info->per_layer ? w->layer_end : runs ? w->text_end : 1;
    for (size_t i = begin; i < end; i++) {
        int rc = mem_grow((void **)&w->wish, &w->capacity, w->count + 1, sizeof *w->wish, err);
        if (rc < 0)
            return rc;
        w->wish[w->count++] = (struct wish){info, info->per_layer ? i : 0, runs ? i : 0};
    }
    return 0;
}

static bool wants(const struct work *w, unsigned needs)
{
    for (size_t i = 0; i < w->count; i++)
        if (w->wish[i].info->needs & needs)
            return true;
    return false;
}

/* Everything that the model, the plan and the runs allow. */
static int add_all(struct work *w, struct err *err)
{
    unsigned have = (w->a->model ? FIGURE_NEEDS_COSINE | FIGURE_NEEDS_PLAN : 0u) |
                    (w->a->plan ? FIGURE_NEEDS_PLAN : 0u) |
                    (w->made.texts.n ? FIGURE_NEEDS_RUNS : 0u) |
                    (w->a->losses ? FIGURE_NEEDS_FRONT : 0u);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < figures_count(); i++)
        if ((figures_info(i)->needs & ~have) == 0)
            rc = add_wishes(w, figures_info(i), err);
    return rc;
}

static int parse_figures(struct work *w, struct err *err)
{
    const char *text = w->a->figure;
    int rc = 0;
    if (strcmp(text, "all") == 0)
        return add_all(w, err);
    while (*text && rc == 0) {
        char name[32];
        size_t size = strcspn(text, ",");
        snprintf(name, sizeof name, "%.*s", (int)(size < sizeof name ? size : sizeof name - 1),
                 text);
        const struct figure_info *info = figures_find(name);
        rc = info ? add_wishes(w, info, err)
                  : err_set(err, ERR_USAGE, NULL,
                            "--figure: found \"%.*s\", expected names of moqa figure --list, or "
                            "all",
                            (int)(size < 100 ? size : 100), text);
        text += size + (text[size] == ',');
    }
    if (rc == 0 && w->count == 0)
        rc = err_set(err, ERR_USAGE, NULL, "--figure names no figure");
    return rc;
}

/* Of several texts one was taken. */
static void tell_text(const struct work *w)
{
    const struct result_texts *t = &w->made.texts;
    if (wants(w, FIGURE_NEEDS_RUNS) && !w->a->text && w->text_end < t->n)
        fprintf(stderr,
                "moqa: the runs were evaluated on %zu texts; this is %s (--text names another, "
                "{text} in the name draws each)\n",
                t->n, t->text[0].label);
}

/* --- Drawing --- */

/* The text's label as a part of a file's name. */
static void append_text(struct str *out, const struct result_texts *texts, const struct wish *wish)
{
    bool named = (wish->info->needs & FIGURE_NEEDS_RUNS) && wish->text < texts->n;
    for (const char *p = named ? texts->text[wish->text].label : "all"; *p; p++) {
        bool plain = strchr("+-_.", *p) || (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') ||
                     (*p >= 'A' && *p <= 'Z');
        str_append_bytes(out, plain ? p : "_", 1);
    }
}

/* The path with {figure}, {layer} and {text} filled in; a figure of no single layer, or text, says
 * "all". */
static int fill_path(struct str *out, const char *pattern, const struct wish *wish,
                     const struct result_texts *texts, struct err *err)
{
    str_clear(out);
    while (*pattern) {
        if (strncmp(pattern, "{figure}", 8) == 0) {
            str_append(out, wish->info->name);
            pattern += 8;
        } else if (strncmp(pattern, "{layer}", 7) == 0) {
            if (wish->info->per_layer)
                str_appendf(out, "%zu", wish->layer);
            else
                str_append(out, "all");
            pattern += 7;
        } else if (strncmp(pattern, "{text}", 6) == 0) {
            append_text(out, texts, wish);
            pattern += 6;
        } else {
            str_append_bytes(out, pattern++, 1);
        }
    }
    return str_ok(out, err);
}

/* No two figures may have the same file. */
static int check_names(const struct work *w, struct err *err)
{
    bool figure = strstr(w->a->out, "{figure}"), layer = strstr(w->a->out, "{layer}");
    for (size_t i = 1; i < w->count; i++) {
        bool other = w->wish[i].info != w->wish[0].info;
        if (other && !figure)
            return err_set(err, ERR_USAGE, w->a->out,
                           "several figures: expected {figure} in the name, or a .pdf");
        if (w->wish[i].info == w->wish[i - 1].info && w->wish[i].layer != w->wish[i - 1].layer &&
            !layer)
            return err_set(err, ERR_USAGE, w->a->out,
                           "several layers: expected {layer} in the name, or a .pdf");
    }
    return 0;
}

static int make_figure(struct figure *f, struct work *w, const struct wish *wish, struct err *err)
{
    w->made.figures.layer = wish->layer;
    w->made.figures.text = wish->text;
    return figures_make(f, wish->info->name, &w->made.figures, err);
}

static int check_output(const char *out, const struct arguments *a, struct err *err)
{
    return cli_output_check(
        out, &(struct cli_inputs){.model = a->model, .file = {a->trace, a->plan, a->losses}}, err);
}

/* Before the first is written. */
static int check_files(const struct work *w, struct err *err)
{
    struct str path = {0};
    int rc = check_names(w, err);
    for (size_t i = 0; rc == 0 && i < w->count; i++) {
        rc = fill_path(&path, w->a->out, &w->wish[i], &w->made.texts, err);
        if (rc == 0)
            rc = check_output(path.data, w->a, err);
    }
    str_release(&path);
    return rc;
}

static int write_files(struct work *w, struct err *err)
{
    struct str path = {0};
    int rc = check_files(w, err);
    for (size_t i = 0; rc == 0 && i < w->count; i++) {
        struct figure f;
        rc = fill_path(&path, w->a->out, &w->wish[i], &w->made.texts, err);
        if (rc == 0)
            rc = make_figure(&f, w, &w->wish[i], err);
        if (rc < 0)
            break;
        rc = paint_file(path.data, &f, &w->paint, err);
        figure_release(&f);
    }
    str_release(&path);
    return rc;
}

static int write_pages(struct work *w, struct err *err)
{
    struct figure *f = mem_array(w->count, sizeof *f, err);
    int rc = f ? check_output(w->a->out, w->a, err) : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < w->count; i++)
        rc = make_figure(&f[i], w, &w->wish[i], err);
    if (rc == 0)
        rc = paint_pages(w->a->out, f, w->count, &w->paint, err);
    for (size_t i = 0; f && i < w->count; i++)
        figure_release(&f[i]);
    free(f);
    return rc;
}

static int draw(struct work *w, struct err *err)
{
    bool pattern = is_pattern(w->a->out);
    bool front = wants(w, FIGURE_NEEDS_FRONT);
    int rc = front || wants(w, FIGURE_NEEDS_PLAN) ? cli_source_plan(&w->made, err) : 0;
    if (rc == 0 && front)
        rc = cli_source_front(&w->made, w->a->losses, err);
    if (rc == 0 && wants(w, FIGURE_NEEDS_COSINE))
        rc = cli_source_cosine(&w->made, &w->a->threads, w->a->progress, err);
    if (rc < 0)
        return rc;
    return w->format == CANVAS_PDF && w->count > 1 && !pattern ? write_pages(w, err)
                                                               : write_files(w, err);
}

/* Before anything is read. */
static int check_arguments(struct work *w, struct err *err)
{
    const struct arguments *a = w->a;
    int rc = 0;
    if (!a->trace)
        return err_set(err, ERR_USAGE, NULL, "TRACE is missing");
    if (!a->figure)
        return err_set(err, ERR_USAGE, NULL,
                       "--figure NAME is missing; moqa figure --list shows the names");
    if (!a->out)
        return err_set(err, ERR_USAGE, NULL, "-o FILE is missing (.svg, .pdf or .png)");
    w->paint = (struct paint_options){.width = a->width.value,
                                      .height = a->height.value,
                                      .scale = a->scale.value,
                                      .with_title = !a->no_title};
    rc = canvas_format_of(&w->format, a->out, err);
    if (rc == 0)
        rc = parse_theme(&w->paint.theme, a->theme, err);
    if (rc == 0)
        rc = parse_size(a->width.value, "width", 14400, err);
    if (rc == 0)
        rc = parse_size(a->height.value, "height", 14400, err);
    return rc == 0 ? parse_size(a->scale.value, "scale", 40, err) : rc;
}

int cmd_figure(int argc, char **argv, struct err *err)
{
    struct arguments a = {0};
    struct settings settings;
    struct work w = {.a = &a};
    int rc = cli_parse(&cmd_figure_spec, argc, argv, &a, &settings, err);
    if (rc == 0 && a.list)
        return print_list(err);
    if (rc == 0)
        rc = check_arguments(&w, err);
    if (rc == 0)
        rc = cli_source_open(&w.made, a.trace, a.model, a.plan, &settings, err);
    w.made.figures.linear = a.linear;
    w.made.figures.file_bits = a.file_bits;
    w.made.figures.all_experts = a.all_experts;
    if (rc == 0)
        rc = parse_layer(&w, err);
    if (rc == 0)
        rc = cli_source_runs(&w.made, a.runs, err);
    if (rc == 0)
        rc = parse_text(&w, err);
    if (rc == 0)
        rc = parse_figures(&w, err);
    if (rc == 0)
        tell_text(&w);
    if (rc == 0)
        rc = draw(&w, err);
    free(w.wish);
    cli_source_release(&w.made);
    return rc;
}
