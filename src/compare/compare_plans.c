/* From methods to plans, and the keys under which their runs are kept. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/base/log.h"
#include "data/base/mem.h"
#include "data/base/str.h"
#include "src/compare/compare_internal.h"
#include "src/quant/measure.h"

enum { FOLDER_DIGITS = 12 };
static const unsigned widths[] = {2, 3, 4, 8};
enum { WIDTHS = sizeof widths / sizeof widths[0] };

/* --- Rows --- */

/* The trace has not what an optional method needs. */
static bool is_left_out(const struct compare *c, const struct compare_method *m)
{
    bool out = m->optional && m->settings.mapping == MAPPING_GATE && !c->session.trace.gates;
    if (out)
        log_write(LOG_INFO, "%s is left out: the trace has no gates", m->label);
    return out;
}

static size_t lines_of(const struct compare *c, const struct compare_method *m)
{
    return m->info->average && m->bits <= 0 ? c->o.bits_count : 1;
}

/* The average of the routed experts at which all experts have `bits`. */
static double routed_average(const struct compare *c, double bits, unsigned bits_shared)
{
    const struct model_config *config = c->model.config;
    double routed = (double)config->experts * (double)config->expert_size;
    double shared = (double)config->shared_size;
    return (bits * (routed + shared) - bits_shared * shared) / routed;
}

/* A wide shared expert may take more than the bits that were asked for: it gets the widest that
 * leaves the routed ones at least the narrowest, unless its width was asked for, too. */
static void choose_shared(struct compare_row *row, const struct compare *c)
{
    const struct compare_method *m = row->method;
    size_t i = WIDTHS;
    row->bits_shared = m->settings.bits_shared;
    snprintf(row->name, sizeof row->name, "%s", m->label);
    if (!m->info->routed || strstr(m->label, "bits_shared=") ||
        routed_average(c, row->bits, row->bits_shared) >= widths[0])
        return;
    while (i > 1 && routed_average(c, row->bits, widths[i - 1]) < widths[0])
        i--;
    row->bits_shared = widths[i - 1];
    size_t used = strlen(row->name);
    snprintf(row->name + used, sizeof row->name - used, "%cbits_shared=%u",
             strchr(row->name, ':') ? ',' : ':', row->bits_shared);
}

static int init_cell(struct compare_cell *cell, const struct compare *c, size_t draw,
                     struct err *err)
{
    size_t texts = c->o.texts->texts, tasks = c->o.texts->tasks;
    cell->seed = c->seed[draw];
    cell->perplexity = mem_array(texts, sizeof *cell->perplexity, err);
    cell->divergence = mem_array(texts, sizeof *cell->divergence, err);
    cell->divergence_error = mem_array(texts, sizeof *cell->divergence_error, err);
    cell->acc = mem_array(tasks, sizeof *cell->acc, err);
    cell->acc_norm = mem_array(tasks, sizeof *cell->acc_norm, err);
    return cell->perplexity && cell->divergence && cell->divergence_error && cell->acc &&
                   cell->acc_norm
               ? 0
               : ERR_NOMEM;
}

static int add_row(struct compare *c, const struct compare_method *m, double bits, struct err *err)
{
    bool drawn = compare_is_drawn(m);
    size_t cells = drawn ? c->result.draws : 1;
    struct compare_row *row = &c->result.row[c->result.rows];
    *row = (struct compare_row){.method = m, .bits = bits, .drawn = drawn};
    choose_shared(row, c);
    row->cell = mem_array(cells, sizeof *row->cell, err);
    if (!row->cell)
        return ERR_NOMEM;
    row->cells = cells;
    for (size_t d = 0; d < cells; d++) {
        c->job[c->jobs] =
            (struct compare_job){.row = c->result.rows, .cell = d, .draw = d, .same = c->jobs};
        c->jobs++;
    }
    int rc = 0;
    for (size_t d = 0; rc == 0 && d < cells; d++)
        rc = init_cell(&row->cell[d], c, d, err);
    c->result.rows++;
    return rc;
}

int compare_plans_list(struct compare *c, struct err *err)
{
    const struct compare_methods *m = c->o.methods;
    size_t rows = 0;
    int rc = 0;
    for (size_t i = 0; i < m->count; i++)
        rows += lines_of(c, &m->item[i]);
    c->result.row = mem_array(rows, sizeof *c->result.row, err);
    c->job = mem_array(rows * c->result.draws, sizeof *c->job, err);
    if (!c->result.row || !c->job)
        return ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < m->count; i++) {
        const struct compare_method *x = &m->item[i];
        if (is_left_out(c, x))
            continue;
        for (size_t k = 0; rc == 0 && k < lines_of(c, x); k++)
            rc = add_row(c, x, !x->info->average ? 0 : x->bits > 0 ? x->bits : c->o.bits[k], err);
    }
    return rc;
}

/* --- Losses --- */

static void append_setting(struct str *text, const struct settings *s,
                           const struct setting_info *info)
{
    char value[64];
    settings_get(s, info, value, sizeof value);
    str_appendf(text, "%s=%s\n", info->name, value);
}

static int hash_text(char out[HASH_HEX_SIZE], const struct str *text, struct err *err)
{
    int rc = str_ok(text, err);
    return rc == 0 ? hash_bytes(out, str_get(text), text->length, err) : rc;
}

static void append_origin(struct str *text, const struct compare *c, size_t draw)
{
    str_appendf(text, "moqa %s\nmodel %s %s\ncalibration %s\n", MOQA_VERSION,
                c->original.config_sha256, c->original.checkpoint, c->draw[draw].sha256);
}

/* channels: with the method's shares of mixed channels. */
static int losses_key(char out[HASH_HEX_SIZE], const struct compare *c,
                      const struct compare_method *m, bool channels, size_t draw, struct err *err)
{
    struct str text = {0};
    append_origin(&text, c, draw);
    str_append(&text, "losses\n");
    for (const char *const *name = losses_settings(); *name; name++)
        append_setting(&text, &m->settings, settings_find(*name));
    for (size_t i = 0; channels && i < m->shares_count; i++)
        str_appendf(&text, "channels %.17g\n", m->shares[i]);
    for (const char *const *name = losses_channel_settings(); channels && m->shares_count && *name;
         name++)
        append_setting(&text, &m->settings, settings_find(*name));
    int rc = hash_text(out, &text, err);
    str_release(&text);
    return rc;
}

/* Losses that were found or are to be measured; those with channels serve methods without, too. */
static struct compare_losses *find_losses(const struct compare *c, const struct compare_method *m,
                                          size_t draw)
{
    char key[HASH_HEX_SIZE];
    if (losses_key(key, c, m, true, draw, NULL) < 0)
        return NULL;
    for (size_t i = 0; i < c->losses_count; i++)
        if (strcmp(m->shares_count ? c->losses[i].key : c->losses[i].base, key) == 0)
            return &c->losses[i];
    return NULL;
}

const struct compare_losses *compare_losses_find(const struct compare *c,
                                                 const struct compare_method *m, size_t draw)
{
    const struct compare_losses *l = find_losses(c, m, draw);
    return l && l->loaded ? l : NULL;
}

/* Reads complete ones; those that cannot be read, or are not complete, are measured. */
static void load_losses(struct compare_losses *l)
{
    if (losses_load(&l->losses, l->path, NULL) < 0)
        return;
    l->loaded = l->losses.complete;
    if (!l->loaded)
        losses_release(&l->losses);
}

static int add_losses(struct compare *c, const struct compare_method *m, size_t draw,
                      struct err *err)
{
    struct compare_losses l = {.draw = draw, .method = m, .settings = m->settings};
    char name[64];
    if (find_losses(c, m, draw))
        return 0;
    int rc = losses_key(l.key, c, m, true, draw, err);
    if (rc == 0)
        rc = losses_key(l.base, c, m, false, draw, err);
    if (rc == 0)
        rc = mem_grow((void **)&c->losses, &c->losses_capacity, c->losses_count + 1,
                      sizeof *c->losses, err);
    if (rc < 0)
        return rc;
    l.settings.windows = c->draw[draw].settings.windows;
    l.settings.seed = c->draw[draw].settings.seed;
    snprintf(name, sizeof name, "losses-%.*s.json", FOLDER_DIGITS, l.key);
    l.path = str_path(c->o.runs_dir, name, err);
    if (!l.path)
        return ERR_NOMEM;
    load_losses(&l);
    c->losses[c->losses_count++] = l;
    return 0;
}

int compare_losses_list(struct compare *c, size_t *missing, struct err *err)
{
    int rc = 0;
    *missing = 0;
    for (int channels = 1; rc == 0 && channels >= 0; channels--)
        for (size_t i = 0; rc == 0 && i < c->jobs; i++) {
            const struct compare_method *m = c->result.row[c->job[i].row].method;
            if (m->info->losses && (m->shares_count > 0) == channels)
                rc = add_losses(c, m, c->job[i].draw, err);
        }
    for (size_t i = 0; i < c->losses_count; i++)
        *missing += !c->losses[i].loaded;
    return rc;
}

/* A file that is there and cannot be understood would stop every measurement of these losses: it
 * is kept under another name. */
static int set_aside(const struct compare_losses *l, struct err *err)
{
    struct losses found = {0};
    struct err why = {0};
    struct str aside = {0};
    int rc = access(l->path, F_OK) == 0 ? losses_load(&found, l->path, &why) : 0;
    losses_release(&found);
    if (rc != ERR_INPUT)
        return 0; /* what else is wrong with it, the measurement says */
    str_appendf(&aside, "%s.damaged", l->path);
    rc = str_ok(&aside, err);
    if (rc == 0 && rename(l->path, str_get(&aside)) < 0)
        rc = err_set_errno(err, ERR_IO, l->path, "cannot be renamed");
    if (rc == 0)
        log_write(LOG_WARN, "%s: %s; it is kept as %s and measured again", l->path, why.message,
                  str_get(&aside));
    str_release(&aside);
    return rc;
}

static int measure(struct compare *c, struct compare_losses *l, struct err *err)
{
    const struct calibration *k = &c->draw[l->draw].calibration;
    struct measure_options o = {.model = &c->model,
                                .ids = k->ids.data,
                                .starts = k->starts,
                                .windows = k->windows,
                                .window = k->window,
                                .settings = &l->settings,
                                .widths = widths,
                                .widths_count = WIDTHS,
                                .shares = l->method->shares,
                                .shares_count = l->method->shares_count,
                                .out = l->path,
                                .resume = true,
                                .progress = c->o.progress};
    int rc = set_aside(l, err);
    if (rc < 0)
        return rc;
    do {
        o.backend = c->device.backend;
        rc = measure_run(&o, err);
    } while (rc < 0 && device_recover(&c->device, rc, err));
    if (rc == 0)
        rc = losses_load(&l->losses, l->path, err);
    l->loaded = rc == 0;
    return rc;
}

int compare_losses_measure(struct compare *c, size_t missing, struct err *err)
{
    size_t part = 0;
    int rc = 0;
    progress_parts(c->o.progress, missing);
    for (size_t i = 0; rc == 0 && i < c->losses_count; i++)
        if (!c->losses[i].loaded) {
            progress_part(c->o.progress, part, "losses %zu of %zu", part + 1, missing);
            part++;
            rc = measure(c, &c->losses[i], err);
        }
    progress_parts(c->o.progress, 0);
    return rc;
}

/* --- Plans --- */

static int make_plan(struct compare *c, struct compare_job *j, struct err *err)
{
    const struct compare_row *row = &c->result.row[j->row];
    const struct compare_method *m = row->method;
    const struct compare_draw *draw = &c->draw[j->draw];
    const struct compare_losses *l = m->info->losses ? compare_losses_find(c, m, j->draw) : NULL;
    const char *slash = strrchr(c->o.trace_path, '/');
    struct settings s = m->settings;
    s.windows = draw->settings.windows;
    s.seed = draw->settings.seed;
    s.bits_shared = row->bits_shared;
    struct planner_request request = {
        .method = m->info->name,
        .average_bits =
            m->info->routed ? routed_average(c, row->bits, row->bits_shared) : row->bits,
        .budget = m->budget,
        .losses = l ? &l->losses : NULL,
        .losses_path = l ? l->path : NULL,
        .trace_name = slash ? slash + 1 : c->o.trace_path,
        .trace_sha256 = c->session.trace_sha256,
    };
    struct err inner = {0};
    int rc = settings_check(&s, &inner);
    if (rc == 0)
        rc = analysis_update(c->session.analysis, &s, &inner);
    if (rc == 0)
        rc = planner_make(&j->plan, c->session.analysis, &request, c->model.config, &inner);
    if (rc < 0 && strncmp(inner.message, m->info->name, strlen(m->info->name)) == 0)
        *(err ? err : &inner) = inner; /* it names the method itself */
    else if (rc < 0)
        err_set(err, inner.code, inner.file[0] ? inner.file : NULL, "%s: %s", row->name,
                inner.message);
    return rc;
}

int compare_plans_make(struct compare *c, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < c->jobs; i++) {
        struct compare_job *j = &c->job[i];
        const struct compare_method *m = c->result.row[j->row].method;
        if (j->planned || (m->info->losses && !compare_losses_find(c, m, j->draw)))
            continue;
        rc = make_plan(c, j, err);
        j->planned = rc == 0;
    }
    return rc;
}

/* --- Keys --- */

/* Settings that a pass reads; the others speak through bits and channels. Learned rounding draws
 * its positions by the seed, whether or not the calibration does. */
static bool counts(const struct setting_info *info, const struct settings *s)
{
    return info->stage == STAGE_QUANTIZE || strcmp(info->name, "bits_channel") == 0 ||
           strcmp(info->name, "bits_attention") == 0 ||
           (s->learn && strcmp(info->name, "seed") == 0);
}

static void append_plan(struct str *text, const struct plan *p)
{
    str_appendf(text, "%s, quantizer %d\n", p->method, (int)p->quantizer);
    for (size_t i = 0; i < settings_count(); i++)
        if (counts(settings_info(i), &p->settings))
            append_setting(text, &p->settings, settings_info(i));
    for (size_t l = 0; l < p->layers_count; l++) {
        for (int k = 0; k < PLAN_LINEARS; k++)
            str_appendf(text, "%u ", plan_shared_bits(p, &p->layers[l], (enum plan_linear)k));
        for (size_t e = 0; e < p->experts; e++) {
            const struct plan_expert *x = &p->layers[l].experts[e];
            for (int k = 0; k < PLAN_LINEARS; k++)
                str_appendf(text, "%u ", plan_expert_bits(x, (enum plan_linear)k));
            if (x->channels[PLAN_UP] != x->channels[PLAN_GATE])
                str_appendf(text, "up %zu ", x->channels[PLAN_UP]);
            str_appendf(text, "%zu %zu\n", x->channels[PLAN_GATE], x->channels[PLAN_DOWN]);
        }
    }
}

int compare_plans_key(char out[HASH_HEX_SIZE], const struct compare *c, const struct compare_job *j,
                      const struct plan *plan, struct err *err)
{
    struct str text = {0};
    if (compare_is_original(c->result.row[j->row].method)) {
        str_appendf(&text, "moqa %s\noriginal %s %s\n", MOQA_VERSION, c->original.config_sha256,
                    c->original.checkpoint);
    } else {
        append_origin(&text, c, j->draw);
        append_plan(&text, plan);
    }
    int rc = hash_text(out, &text, err);
    str_release(&text);
    return rc;
}

static int name_job(struct compare *c, struct compare_job *j, struct err *err)
{
    const struct compare_row *row = &c->result.row[j->row];
    struct compare_cell *cell = &row->cell[j->cell];
    int rc = compare_plans_key(j->key, c, j, &j->plan, err);
    if (rc < 0)
        return rc;
    snprintf(cell->folder, sizeof cell->folder, "%s-%.*s",
             compare_is_original(row->method) ? "original" : j->plan.method, FOLDER_DIGITS, j->key);
    j->folder = str_path(c->o.runs_dir, cell->folder, err);
    return j->folder ? 0 : ERR_NOMEM;
}

/* The first job of this key, up to `index`; itself where it has none yet. */
static size_t find_same(const struct compare *c, size_t index)
{
    const struct compare_job *j = &c->job[index];
    size_t i = 0;
    while (i < index && !(j->planned && strcmp(c->job[i].key, j->key) == 0))
        i++;
    return i;
}

/* Draws of few windows, or of all there are, may be the same windows: several measurements of one
 * run would pretend a spread of 0. */
static void drop_repeats(struct compare *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->jobs; i++) {
        struct compare_job *j = &c->job[i];
        struct compare_row *row = &c->result.row[j->row];
        row->cells = j->cell == 0 ? 0 : row->cells;
        c->job[kept] = *j;
        j = &c->job[kept];
        size_t same = find_same(c, kept);
        if (same != kept && c->job[same].row == j->row) {
            compare_cell_release(&row->cell[j->cell]);
            plan_release(&j->plan);
            run_result_release(&j->result);
            free(j->folder);
            continue;
        }
        row->cell[row->cells] = row->cell[j->cell];
        j->cell = row->cells++;
        kept++;
    }
    c->jobs = kept;
}

int compare_plans_name(struct compare *c, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < c->jobs; i++)
        if (c->job[i].planned && !c->job[i].folder)
            rc = name_job(c, &c->job[i], err);
    if (rc < 0)
        return rc;
    drop_repeats(c);
    for (size_t i = 0; i < c->jobs; i++)
        c->job[i].same = find_same(c, i);
    return 0;
}
