#include "app_fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/trace_h5.h"
#include "picture.h"

static struct str frame_text;

static void check(int rc, const struct err *err)
{
    if (rc < 0)
        fail_msg("%s", err->message);
}

static enum app_cosine_phase host_cosine(void *context, const double **cosine, double *progress,
                                         const char **message)
{
    struct fixture *f = context;
    *cosine = f->cosine_phase == APP_COSINE_READY ? f->cosine : NULL;
    *progress = f->cosine_phase == APP_COSINE_READY ? 1 : 0.37;
    *message = f->cosine_phase == APP_COSINE_FAILED ? "model.safetensors: cut short" : "";
    return f->cosine_phase;
}

static enum app_ask host_dry_run(void *context, const struct plan *plan, const char **text)
{
    static char answer[2048];
    struct fixture *f = context;
    int used = 0;
    if (plan)
        used = snprintf(answer, sizeof answer, "%zu layers of %zu experts\nwrites to runs/001\n",
                        plan->layers_count, plan->experts);
    for (int i = 0; plan && i < f->dry_run_lines; i++)
        used += snprintf(answer + used, sizeof answer - (size_t)used, "line    %d\n", i);
    if (plan && f->dry_run_note)
        snprintf(answer + used, sizeof answer - (size_t)used, "%s\n", f->dry_run_note);
    *text = f->dry_run_phase == APP_ASK_FAILED ? "no tokenizer.json" : answer;
    return f->dry_run_phase;
}

static int host_run_start(void *context, const struct plan *plan, bool resume, struct err *err)
{
    struct fixture *f = context;
    (void)err;
    f->starts++;
    f->resumed = resume;
    f->started_bits = plan->layers[0].experts[0].bits;
    f->run.phase = APP_RUN_RUNNING;
    return 0;
}

static void host_run_poll(void *context, struct app_run *out)
{
    struct fixture *f = context;
    size_t n = f->trace.layers * f->trace.experts;
    struct app_run_expert *expert = out->expert; /* the caller's own from its first poll on */
    *out = f->run;
    out->expert = expert ? expert : mem_array(n, sizeof *expert, NULL);
    assert_non_null(out->expert);
    memcpy(out->expert, f->expert, n * sizeof *expert);
}

static void host_run_cancel(void *context)
{
    struct fixture *f = context;
    f->cancels++;
    if (f->run.phase == APP_RUN_RUNNING)
        f->run.phase = APP_RUN_CANCELLING;
}

static size_t host_results(void *context, const struct app_result **out)
{
    struct fixture *f = context;
    *out = f->result;
    return f->results;
}

/* Whatever the run, the plan that a test has put there. */
static int host_result_plan(void *context, const struct app_result *result, struct plan *out,
                            struct err *err)
{
    struct fixture *f = context;
    f->loads++;
    snprintf(f->loaded, sizeof f->loaded, "%s", result->name);
    return f->run_plan.layers ? plan_copy(out, &f->run_plan, err)
                              : err_set(err, ERR_INPUT, "moqa_plan.json", "is not there");
}

static bool host_last_losses(void *context, struct app_run_losses *out)
{
    struct fixture *f = context;
    *out = f->losses;
    return f->losses.expert != NULL;
}

static bool host_measure_original(void *context, bool start, struct err *err)
{
    struct fixture *f = context;
    f->measures += start;
    f->measure_cancels += !start;
    if (start && !f->has_texts)
        return err_set(err, ERR_USAGE, NULL, "nothing to measure on; start with --text FILE") == 0;
    return start || f->result[0].measure == APP_MEASURE_WORKING;
}

static void host_command_line(void *context, const struct plan *plan, const char *verb,
                              const struct app_budget *budget, struct str *out)
{
    struct fixture *f = context;
    if (budget)
        f->copied = *budget;
    str_appendf(out, "moqa %s --alpha %g", verb, plan->settings.alpha);
}

static const struct losses *host_losses(void *context, const struct settings *settings,
                                        const char **path)
{
    struct fixture *f = context;
    *path = "runs/losses-0001.json";
    bool fits = losses_check_settings(&f->measured, *path, settings, NULL) == 0;
    return f->has_measured && fits ? &f->measured : NULL;
}

static bool host_losses_differ(void *context, const struct losses *losses)
{
    const struct fixture *f = context;
    return losses == &f->measured && f->differs;
}

static int host_losses_start(void *context, const struct settings *settings, struct err *err)
{
    struct fixture *f = context;
    f->losses_starts++;
    if (settings->group_size == 1)
        return err_set(err, ERR_NOMEM, NULL, "cannot start a thread");
    f->measuring.phase = APP_LOSSES_RUNNING;
    return 0;
}

static void host_losses_poll(void *context, struct app_losses *out)
{
    struct fixture *f = context;
    *out = f->measuring;
}

static void host_losses_cancel(void *context)
{
    struct fixture *f = context;
    f->losses_cancels++;
    f->measuring.phase = APP_LOSSES_CANCELLING;
}

/* Over three decades, falling by about a factor of five a bit, each linear in its own way. */
static void fill_losses(struct fixture *f)
{
    static const unsigned widths[] = {2, 3, 4, 8};
    struct losses *l = &f->measured;
    uint64_t seed = 424242;
    check(losses_alloc(l, f->trace.layers, f->trace.experts, NULL), NULL);
    settings_defaults(&l->settings);
    memcpy(l->widths, widths, sizeof widths);
    l->widths_count = 4;
    memcpy(l->config_sha256, f->config.sha256, sizeof l->config_sha256);
    l->layers_done = l->layers_count;
    l->complete = true;
    for (size_t i = 0; i < l->layers_count * (l->experts + 1); i++) {
        struct losses_layer *m = &l->layers[i / (l->experts + 1)];
        size_t e = i % (l->experts + 1);
        struct losses_expert *x = e < l->experts ? &m->experts[e] : &m->shared;
        m->layer = f->trace.layer_index[i / (l->experts + 1)];
        m->sensitivity = 0.5 + (double)(i / (l->experts + 1));
        for (int k = 0; k < PLAN_LINEARS && (e < l->experts || f->config.shared_size); k++)
            for (size_t w = 0; w < 4; w++)
                x->loss[k][w] = 0.01 * exp(-6 * picture_random(&seed)) *
                                pow(5, -(double)(widths[w] - 2)) *
                                (0.8 + 0.4 * picture_random(&seed));
    }
}

static void load_cosine(struct fixture *f, const char *name)
{
    char path[1024];
    json_t *json;
    struct err err = {0};
    size_t k = 0;
    snprintf(path, sizeof path, "%s/%s/cosine.json", TEST_GOLDEN, name);
    check(jsonio_load(&json, path, 1 << 24, &err), &err);
    f->cosine =
        mem_array(f->trace.layers * f->trace.experts * f->trace.experts, sizeof(double), &err);
    assert_non_null(f->cosine);
    for (size_t l = 0; l < f->trace.layers; l++) {
        const json_t *layer = json_array_get(json_object_get(json, "layers"), l);
        const json_t *rows = json_object_get(layer, "cosine");
        for (size_t i = 0; i < f->trace.experts; i++)
            for (size_t j = 0; j < f->trace.experts; j++)
                f->cosine[k++] = json_number_value(json_array_get(json_array_get(rows, i), j));
    }
    json_decref(json);
}

void fixture_evaluation(struct fixture *f, size_t i, double perplexity, double seconds)
{
    f->evaluation[i] = (struct app_evaluation){.name = "letters.txt",
                                               .text = FIXTURE_TEXT,
                                               .window = 256,
                                               .windows = 54,
                                               .predicted = 13770,
                                               .perplexity = perplexity,
                                               .seconds = seconds};
    f->result[i].evaluation = &f->evaluation[i];
    f->result[i].evaluations = 1;
}

static void fill_results(struct fixture *f)
{
    f->result[0] = (struct app_result){.name = "tiny",
                                       .method = "original",
                                       .original = true,
                                       .nominal_bits = 16,
                                       .effective_bits = 16,
                                       .bytes = 4718592,
                                       .measure = APP_MEASURE_DONE};
    fixture_evaluation(f, 0, 21.375, 3.5);
    f->result[1] = (struct app_result){.name = "runs/001",
                                       .method = "moqa",
                                       .nominal_bits = 3.125,
                                       .effective_bits = 3.422,
                                       .bytes = 1009254,
                                       .settings = "alpha=0.5 min_count=3"};
    fixture_evaluation(f, 1, 23.0625, 48);
    f->result[2] = (struct app_result){.name = "runs/002",
                                       .method = "gptq-3",
                                       .nominal_bits = 3,
                                       .effective_bits = 3.25,
                                       .bytes = 958464};
    f->results = FIXTURE_RESULTS;
}

static void fill_run(struct fixture *f)
{
    size_t n = f->trace.layers * f->trace.experts;
    f->expert = mem_array(n, sizeof *f->expert, NULL);
    assert_non_null(f->expert);
    for (size_t i = 0; i < n; i++)
        f->expert[i] = (struct app_run_expert){.done = i < n / 2 + 3,
                                               .bits = i % 3 ? 4 : 2,
                                               .tokens = 37 * i + 11,
                                               .loss = 0.0125 * (double)(i + 1),
                                               .loss_rtn = 0.02 * (double)(i + 1),
                                               .fallback = i == 5};
    f->run = (struct app_run){.phase = APP_RUN_IDLE,
                              .stage = "layer 1: experts",
                              .steps_done = 9,
                              .steps_total = 16,
                              .seconds = 83,
                              .seconds_left = 65,
                              .layers = f->trace.layers,
                              .experts = f->trace.experts,
                              .layer = 1,
                              .layers_done = 1,
                              .fallbacks = 1,
                              .memory = 412 << 20,
                              .out = "runs/001"};
}

void fixture_open(struct fixture *f, const char *name, const char *model)
{
    static char trace_path[1024];
    char state[] = "/tmp/moqa-app-XXXXXX", path[1024];
    struct err err = {0};
    memset(f, 0, sizeof *f);
    assert_non_null(mkdtemp(state));
    setenv("XDG_STATE_HOME", state, 1);
    snprintf(f->plan_path, sizeof f->plan_path, "%s/new.plan.json", state);
    snprintf(trace_path, sizeof trace_path, "%s/%s/trace.h5", TEST_GOLDEN, name);
    check(trace_h5_load(&f->trace, trace_path, NULL, &err), &err);
    if (model) {
        snprintf(path, sizeof path, "%s/config.json", model);
        check(model_config_load(&f->config, path, &err), &err);
    }
    load_cosine(f, name);
    fill_losses(f);
    f->measuring.seconds_left = -1;
    fill_results(f);
    f->dry_run_phase = APP_ASK_READY;
    fill_run(f);
    f->look = (struct style_look){STYLE_DARK, STYLE_DEPTH_256, STYLE_BRAILLE};
    f->options = (struct app_options){
        .trace = &f->trace,
        .trace_path = "trace.h5",
        .trace_sha256 = "9f64a747e1b97f131fabb6b447296c9b6f0201e79fb3c5356e6c77e89b6a806a",
        .config = model ? &f->config : NULL,
        .plan_path = f->plan_path,
        .host = {.context = f,
                 .cosine = model ? host_cosine : NULL,
                 .dry_run = host_dry_run,
                 .run_start = host_run_start,
                 .run_poll = host_run_poll,
                 .run_cancel = host_run_cancel,
                 .results = host_results,
                 .result_plan = host_result_plan,
                 .last_losses = host_last_losses,
                 .measure_original = host_measure_original,
                 .losses = host_losses,
                 .losses_differ = host_losses_differ,
                 .losses_start = model ? host_losses_start : NULL,
                 .losses_poll = host_losses_poll,
                 .losses_cancel = host_losses_cancel,
                 .command_line = host_command_line}};
    settings_defaults(&f->options.settings);
    check(cells_init(&f->cells, 80, 24, &err), &err);
    fixture_restart(f);
}

void fixture_restart(struct fixture *f)
{
    struct err err = {0};
    app_free(f->app);
    f->app = NULL;
    check(app_new(&f->app, &f->options, &f->look, &err), &err);
}

/* The plan, the session and their folders. */
static void remove_state(const struct fixture *f)
{
    char path[1024];
    const char *state = getenv("XDG_STATE_HOME");
    snprintf(path, sizeof path, "%s/moqa/session-%.16s.json", state, f->options.trace_sha256);
    unlink(path);
    snprintf(path, sizeof path, "%s/moqa", state);
    rmdir(path);
    unlink(f->plan_path);
    assert_int_equal(rmdir(state), 0);
}

void fixture_close(struct fixture *f)
{
    app_free(f->app);
    cells_release(&f->cells);
    trace_release(&f->trace);
    plan_release(&f->run_plan);
    losses_release(&f->measured);
    free(f->cosine);
    free(f->expert);
    remove_state(f);
    str_release(&frame_text);
    memset(f, 0, sizeof *f);
}

bool fixture_key(struct fixture *f, uint32_t key)
{
    struct term_event e = {.key = key};
    bool stays = app_event(f->app, &e);
    app_write_finish(f->app);
    return stays;
}

void fixture_type(struct fixture *f, const char *keys)
{
    for (; *keys; keys++)
        assert_true(
            fixture_key(f, *keys == '\n' ? TERM_KEY_ENTER : (uint32_t)(unsigned char)*keys));
}

void fixture_mouse(struct fixture *f, enum term_mouse what, int x, int y, int wheel)
{
    struct term_event e = {.key = TERM_KEY_MOUSE, .mouse = what, .x = x, .y = y, .wheel = wheel};
    e.button = what == TERM_MOUSE_WHEEL ? 0 : 1;
    assert_true(app_event(f->app, &e));
}

const char *fixture_frame(struct fixture *f, int w, int h)
{
    struct err err = {0};
    check(cells_resize(&f->cells, w, h, &err), &err);
    app_tick(f->app);
    app_draw(f->app, &f->cells);
    str_clear(&frame_text);
    cells_plain(&f->cells, &frame_text);
    return str_get(&frame_text);
}

bool fixture_shows(struct fixture *f, const char *text)
{
    return strstr(fixture_frame(f, 80, 24), text) != NULL;
}

void fixture_assert_shows_at(struct fixture *f, int w, int h, const char *text)
{
    const char *frame = fixture_frame(f, w, h);
    if (!strstr(frame, text))
        fail_msg("\"%s\" is not on the screen:\n%s", text, frame);
}

void fixture_assert_shows(struct fixture *f, const char *text)
{
    fixture_assert_shows_at(f, 80, 24, text);
}

void fixture_assert_hides(struct fixture *f, const char *text)
{
    if (fixture_shows(f, text))
        fail_msg("\"%s\" is on the screen:\n%s", text, fixture_frame(f, 80, 24));
}

struct plan fixture_written(struct fixture *f)
{
    struct plan p = {0};
    struct err err = {0};
    fixture_type(f, "w");
    if (fixture_shows(f, "There is a file"))
        fixture_type(f, "y");
    check(plan_load(&p, f->plan_path, &err), &err);
    return p;
}

bool fixture_find(const struct fixture *f, const char *text, int *x, int *y)
{
    size_t length = strlen(text);
    for (*y = 0; *y < f->cells.h; ++*y)
        for (*x = 0; *x + (int)length <= f->cells.w; ++*x) {
            size_t i = 0;
            while (i < length && cells_at(&f->cells, *x + (int)i, *y)->glyph[0] == text[i])
                i++;
            if (i == length)
                return true;
        }
    return false;
}
