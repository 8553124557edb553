#include "hostile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/base/mem.h"

enum { POSITIONS = 6000, VOCAB = 900, TOP_K = 3, LONG_TOKEN = 4096 };

static const char *const bad_texts[] = {
    "\033[2J\033[31mred\033]0;title\a",
    "\xe2\x80\xae"
    "desrever\xe2\x81\xa6",                         /* bidi override, isolate */
    "\xe4\xb8\xad\xe6\x96\x87\xe5\xad\x97",         /* wide */
    "e\xcc\x81\xcc\x81\xcc\x81\xcc\x81z\xcd\xa1",   /* combining */
    "\xff\xfe\x80\xc3(",                            /* not UTF-8 */
    "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb", /* an emoji of several characters */
    "a\tb\r\nc\x7f\x01",
    "\xe2\x80\x8b\xc2\xad\xef\xbb\xbf", /* nothing to see: zero width, soft hyphen, mark */
    "\xc2\x9b"
    "31mC1", /* the 8-bit form of an escape */
};

double hostile_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (double)(*state >> 11) * 0x1p-53;
}

static const char *text(bool bad, size_t i)
{
    return bad ? bad_texts[i % (sizeof bad_texts / sizeof *bad_texts)] : "plain";
}

static void fill_vocabulary(struct trace *t, bool bad)
{
    size_t used = 0;
    t->vocab_offsets = mem_array(t->vocab + 1, sizeof *t->vocab_offsets, NULL);
    t->vocab_bytes = mem_array(t->vocab * 32 + 20 * LONG_TOKEN, 1, NULL);
    assert_true(t->vocab_offsets && t->vocab_bytes);
    for (size_t id = 0; id < t->vocab; id++) {
        bool is_long = bad && id % 97 == 3;
        const char *piece = text(bad, id);
        size_t size = strlen(piece), times = is_long ? LONG_TOKEN / size : 1;
        t->vocab_offsets[id] = used;
        for (size_t i = 0; i < times; i++, used += size)
            memcpy(t->vocab_bytes + used, piece, size);
    }
    t->vocab_offsets[t->vocab] = used;
}

static void fill_trace(struct trace *t, bool bad)
{
    uint64_t seed = 0x2545f4914f6cdd1du;
    struct err err = {0};
    *t = (struct trace){.positions = POSITIONS,
                        .windows = 6,
                        .layers = HOSTILE_LAYERS,
                        .experts = HOSTILE_EXPERTS,
                        .top_k = TOP_K,
                        .vocab = VOCAB,
                        .window = 1000};
    snprintf(t->model_name, sizeof t->model_name, "%s", text(bad, 1));
    snprintf(t->model_type, sizeof t->model_type, "olmoe");
    assert_int_equal(trace_alloc(t, true, &err), 0);
    for (size_t p = 0; p < t->positions; p++) {
        double u = hostile_random(&seed);
        t->ids[p] = (uint32_t)(u * u * u * VOCAB);
    }
    for (size_t w = 0; w < t->windows; w++)
        t->window_starts[w] = w * t->window;
    for (size_t l = 0; l < t->layers; l++)
        t->layer_index[l] = (uint16_t)l;
    for (size_t row = 0; row < t->layers * t->positions; row++) {
        size_t e = (size_t)(hostile_random(&seed) * hostile_random(&seed) * HOSTILE_EXPERTS);
        for (size_t k = 0; k < TOP_K; k++) {
            t->routed[row * TOP_K + k] = (uint16_t)((e + 5 * k) % HOSTILE_EXPERTS);
            t->gates[row * TOP_K + k] = (float)(0.5 / (double)(k + 1));
        }
    }
    fill_vocabulary(t, bad);
}

static void fill_config(struct model_config *c, bool bad)
{
    *c = (struct model_config){.type = MODEL_OLMOE,
                               .layers = HOSTILE_LAYERS,
                               .hidden = 128,
                               .heads = 4,
                               .kv_heads = 4,
                               .head_dim = 32,
                               .vocab = VOCAB,
                               .max_positions = 1024,
                               .experts = HOSTILE_EXPERTS,
                               .top_k = TOP_K,
                               .expert_size = 64,
                               .qk_norm = QK_NORM_ROW,
                               .rms_norm_eps = 1e-5,
                               .rope_theta = 10000,
                               .has_dtype = true,
                               .dtype = DTYPE_BF16};
    snprintf(c->type_name, sizeof c->type_name, "%s", text(bad, 2));
    memset(c->sha256, 'a', HASH_HEX_SIZE - 1);
    for (size_t l = 0; l < c->layers; l++)
        c->is_moe[l] = true;
}

static void fill_results(struct hostile *h, bool bad)
{
    for (size_t i = 0; i < HOSTILE_RESULTS; i++) {
        struct app_result *r = &h->result[i];
        *r = (struct app_result){.nominal_bits = 2 + 0.3 * (double)i,
                                 .effective_bits = 2.4 + 0.3 * (double)i,
                                 .bytes = 1000000 * (i + 1),
                                 .evaluation = h->evaluation[i],
                                 .evaluations = i == 2 ? 0 : HOSTILE_TEXTS};
        for (size_t t = 0; t < HOSTILE_TEXTS; t++) {
            struct app_evaluation *e = &h->evaluation[i][t];
            *e = (struct app_evaluation){.window = 256, .perplexity = 30 - 2 * (double)i};
            snprintf(e->name, sizeof e->name, "%.60s", text(bad, t + 2));
            snprintf(e->text, sizeof e->text, "%.60s", text(bad, t));
        }
        snprintf(r->name, sizeof r->name, "runs/%s", text(bad, i));
        snprintf(r->method, sizeof r->method, "%s", text(bad, i + 3));
        snprintf(r->settings, sizeof r->settings, "%s=%s", text(bad, i + 1), text(bad, i + 4));
    }
    struct app_result *original = &h->result[2];
    original->original = true;
    original->measure = APP_MEASURE_FAILED;
    snprintf(original->note, sizeof original->note, "%s: %s", text(bad, 3), text(bad, 1));
    struct app_run *run = &h->run;
    *run = (struct app_run){.layers = HOSTILE_LAYERS,
                            .experts = HOSTILE_EXPERTS,
                            .steps_done = 3,
                            .steps_total = 24,
                            .seconds = 12,
                            .seconds_left = 40,
                            .memory = 1 << 28,
                            .log_count = 9};
    snprintf(run->stage, sizeof run->stage, "%s", text(bad, 5));
    snprintf(run->message, sizeof run->message, "%s: %s", text(bad, 0), text(bad, 2));
    snprintf(run->out, sizeof run->out, "runs/%s", text(bad, 1));
    for (size_t i = 0; i < run->log_count; i++)
        snprintf(run->log[i], sizeof run->log[i], "%zu %s", i, text(bad, i));
    for (size_t i = 0; i < HOSTILE_LAYERS * HOSTILE_EXPERTS; i++)
        h->expert[i] = (struct app_run_expert){.done = i % 5 != 0,
                                               .bits = i % 3 ? 4 : 2,
                                               .tokens = 10 * i,
                                               .loss = 0.1 * (double)(i % 7),
                                               .loss_rtn = 0.2 * (double)(1 + i % 7)};
}

/* --- What the app asks --- */

static enum app_cosine_phase host_cosine(void *context, const double **cosine, double *progress,
                                         const char **message)
{
    struct hostile *h = context;
    *cosine = h->cosine_phase == APP_COSINE_READY ? h->cosine : NULL;
    *progress = 0.4;
    *message = h->result[0].name;
    return h->cosine_phase;
}

static int host_run_start(void *context, const struct plan *plan, bool resume, struct err *err)
{
    struct hostile *h = context;
    (void)plan;
    (void)resume;
    (void)err;
    h->run.phase = APP_RUN_RUNNING;
    return 0;
}

static void host_run_poll(void *context, struct app_run *out)
{
    struct hostile *h = context;
    struct app_run_expert *expert = out->expert;
    if (!expert)
        expert = mem_array(HOSTILE_LAYERS * HOSTILE_EXPERTS, sizeof *expert, NULL);
    assert_non_null(expert);
    memcpy(expert, h->expert, sizeof h->expert);
    *out = h->run;
    out->expert = expert;
}

static void host_run_cancel(void *context)
{
    struct hostile *h = context;
    h->run.phase = APP_RUN_CANCELLED;
}

static size_t host_results(void *context, const struct app_result **out)
{
    struct hostile *h = context;
    *out = h->result;
    return HOSTILE_RESULTS;
}

static void host_command_line(void *context, const struct plan *plan, const char *verb,
                              const struct app_budget *budget, struct str *out)
{
    struct hostile *h = context;
    (void)plan;
    (void)budget;
    str_appendf(out, "moqa %s %s", verb, h->options.trace_path);
}

static const struct losses *host_losses(void *context, const struct settings *settings,
                                        const char **path)
{
    struct hostile *h = context;
    *path = h->long_path;
    bool fits = losses_check_settings(&h->losses, *path, settings, NULL) == 0;
    return h->has_losses && fits ? &h->losses : NULL;
}

static int host_losses_start(void *context, const struct settings *settings, struct err *err)
{
    struct hostile *h = context;
    (void)settings;
    (void)err;
    h->measuring.phase = APP_LOSSES_RUNNING;
    return 0;
}

static void host_losses_poll(void *context, struct app_losses *out)
{
    struct hostile *h = context;
    *out = h->measuring;
}

static void host_losses_cancel(void *context)
{
    struct hostile *h = context;
    h->measuring.phase = APP_LOSSES_CANCELLED;
}

/* Some of them zero, equal, or rising with the width. */
static void fill_losses(struct hostile *h, bool bad)
{
    static const unsigned widths[] = {2, 3, 4, 8};
    struct losses *l = &h->losses;
    uint64_t seed = 99;
    assert_int_equal(losses_alloc(l, HOSTILE_LAYERS, HOSTILE_EXPERTS, NULL), 0);
    settings_defaults(&l->settings);
    memcpy(l->widths, widths, sizeof widths);
    l->widths_count = 4;
    l->layers_done = HOSTILE_LAYERS;
    l->complete = true;
    memset(l->config_sha256, 'a', HASH_HEX_SIZE - 1);
    for (size_t i = 0; i < HOSTILE_LAYERS * HOSTILE_EXPERTS; i++) {
        struct losses_layer *m = &l->layers[i / HOSTILE_EXPERTS];
        m->layer = i / HOSTILE_EXPERTS;
        m->sensitivity = (double)(i / HOSTILE_EXPERTS);
        for (int k = 0; k < PLAN_LINEARS; k++)
            for (size_t w = 0; w < 4; w++)
                m->experts[i % HOSTILE_EXPERTS].loss[k][w] =
                    i % 7 == 0 ? 0 : hostile_random(&seed) / (double)(1 + w * (i % 5));
    }
    h->has_losses = true;
    h->measuring.progress = 0.4;
    snprintf(h->measuring.stage, sizeof h->measuring.stage, "%.90s", text(bad, 3));
    snprintf(h->measuring.message, sizeof h->measuring.message, "%.500s", text(bad, 4));
    snprintf(h->measuring.path, sizeof h->measuring.path, "%.500s", text(bad, 5));
}

void hostile_open(struct hostile *h, bool bad)
{
    const size_t n = HOSTILE_EXPERTS, cells = HOSTILE_LAYERS * n * n;
    uint64_t seed = 77;
    memset(h, 0, sizeof *h);
    fill_trace(&h->trace, bad);
    fill_config(&h->config, bad);
    fill_results(h, bad);
    fill_losses(h, bad);
    h->cosine_phase = APP_COSINE_READY;
    h->cosine = mem_array(cells, sizeof *h->cosine, NULL);
    h->long_path = mem_array(LONG_TOKEN + 64, 1, NULL);
    assert_true(h->cosine && h->long_path);
    for (size_t i = 0; i < cells; i++)
        h->cosine[i] = i % (n * n) % (n + 1) == 0 ? 1 : hostile_random(&seed);
    for (size_t i = 0; strlen(h->long_path) + 32 < (bad ? LONG_TOKEN : 40); i++)
        strcat(h->long_path, text(bad, i));
    h->options = (struct app_options){
        .trace = &h->trace,
        .trace_path = h->long_path,
        .trace_sha256 = "9f64a747e1b97f131fabb6b447296c9b6f0201e79fb3c5356e6c77e89b6a806a",
        .config = &h->config,
        .plan_path = "/nonexistent/folder/new.plan.json",
        .no_session = true,
        .host = {.context = h,
                 .cosine = host_cosine,
                 .run_start = host_run_start,
                 .run_poll = host_run_poll,
                 .run_cancel = host_run_cancel,
                 .results = host_results,
                 .losses = host_losses,
                 .losses_start = host_losses_start,
                 .losses_poll = host_losses_poll,
                 .losses_cancel = host_losses_cancel,
                 .command_line = host_command_line}};
    settings_defaults(&h->options.settings);
}

struct app *hostile_app(struct hostile *h)
{
    struct app *a = NULL;
    struct err err = {0};
    const struct style_look look = {STYLE_DARK, STYLE_DEPTH_256, STYLE_BRAILLE};
    if (app_new(&a, &h->options, &look, &err) < 0)
        fail_msg("%s", err.message);
    return a;
}

void hostile_close(struct hostile *h)
{
    trace_release(&h->trace);
    losses_release(&h->losses);
    free(h->cosine);
    free(h->long_path);
}
