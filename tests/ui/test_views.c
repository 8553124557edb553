#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/trace_h5.h"
#include "picture.h"
#include "ui/app/app_state.h"

enum { DATA, MAPPING, SIGNIFICANCE, SIMILARITY, PLAN, RUN, RESULTS };

/* A host without threads: what it gives is set by each test. */
static struct {
    struct trace trace;
    struct model_config config;
    double *cosine;
    enum app_cosine_phase cosine_phase;
    struct app_run run;
    struct app_result result[4];
    size_t results;
    int started;
    bool resumed;
} world;

static const struct style_look mono = {STYLE_MONO, STYLE_DEPTH_NONE, STYLE_BRAILLE};
static const struct style_look ascii = {STYLE_MONO, STYLE_DEPTH_NONE, STYLE_ASCII};
static const struct style_look dark = {STYLE_DARK, STYLE_DEPTH_256, STYLE_BRAILLE};

static void check(int rc, const struct err *err)
{
    if (rc < 0)
        fail_msg("%s", err->message);
}

static void load_cosine(void)
{
    char path[1024];
    struct err err = {0};
    json_t *json;
    size_t k = 0, n = world.trace.experts;
    snprintf(path, sizeof path, "%s/tiny-olmoe/cosine.json", TEST_GOLDEN);
    check(jsonio_load(&json, path, 1 << 24, &err), &err);
    world.cosine = mem_array(world.trace.layers * n * n, sizeof *world.cosine, &err);
    assert_non_null(world.cosine);
    for (size_t l = 0; l < world.trace.layers; l++) {
        const json_t *layer = json_array_get(json_object_get(json, "layers"), l);
        for (size_t i = 0; i < n * n; i++)
            world.cosine[k++] = json_number_value(
                json_array_get(json_array_get(json_object_get(layer, "cosine"), i / n), i % n));
    }
    json_decref(json);
}

static int load_world(void **state)
{
    char path[1024];
    struct err err = {0};
    (void)state;
    setenv("XDG_STATE_HOME", "/nonexistent", 1);
    setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
    setenv("TZ", "UTC", 1);
    snprintf(path, sizeof path, "%s/tiny-olmoe/trace.h5", TEST_GOLDEN);
    check(trace_h5_load(&world.trace, path, NULL, &err), &err);
    snprintf(path, sizeof path, "%s/tiny-olmoe/config.json", TEST_SAMPLE);
    check(model_config_load(&world.config, path, &err), &err);
    load_cosine();
    return 0;
}

static int release_world(void **state)
{
    (void)state;
    trace_release(&world.trace);
    free(world.cosine);
    free(world.run.expert);
    return 0;
}

/* --- the host --- */

static enum app_cosine_phase host_cosine(void *context, const double **cosine, double *progress,
                                         const char **message)
{
    (void)context;
    *cosine = world.cosine;
    *progress = 0.4;
    *message = "layer 1 of 4";
    return world.cosine_phase;
}

static int host_run_start(void *context, const struct plan *plan, bool resume, struct err *err)
{
    (void)context;
    (void)plan;
    (void)err;
    world.started++;
    world.resumed = resume;
    return 0;
}

static void host_run_poll(void *context, struct app_run *out)
{
    struct app_run_expert *kept = out->expert;
    size_t n = world.run.layers * world.run.experts;
    (void)context;
    if (!kept && n > 0)
        kept = mem_array(n, sizeof *kept, NULL);
    if (kept && n > 0)
        memcpy(kept, world.run.expert, n * sizeof *kept);
    *out = world.run;
    out->expert = kept;
}

static size_t host_results(void *context, const struct app_result **out)
{
    (void)context;
    *out = world.result;
    return world.results;
}

/* --- an app of each test's own --- */

struct bench {
    struct app_options options;
    struct app *app;
    struct cells cells;
};

static void open_bench(struct bench *b, bool with_model)
{
    struct err err = {0};
    world.cosine_phase = APP_COSINE_READY;
    world.results = 0;
    world.started = 0;
    world.run.phase = APP_RUN_IDLE;
    *b = (struct bench){.options = {.trace = &world.trace,
                                    .trace_path = "some/where/trace.h5",
                                    .trace_sha256 = world.trace.config_sha256,
                                    .plan_path = "plan.json"}};
    settings_defaults(&b->options.settings);
    if (with_model) {
        b->options.config = &world.config;
        b->options.host.cosine = host_cosine;
        b->options.host.run_start = host_run_start;
        b->options.host.run_poll = host_run_poll;
        b->options.host.results = host_results;
    }
    check(app_new(&b->app, &b->options, &mono, &err), &err);
    assert_int_equal(b->app->has_plan, with_model);
    b->app->expert = 5;
}

static void close_bench(struct bench *b)
{
    app_free(b->app);
    cells_release(&b->cells);
}

static void show(struct bench *b, size_t view, int w, int h)
{
    struct err err = {0};
    b->app->view = view;
    app_tick(b->app);
    b->app->map = (struct chart_map){0};
    check(b->cells.cell ? cells_resize(&b->cells, w, h, &err) : cells_init(&b->cells, w, h, &err),
          &err);
    views[view]->draw(b->app, &b->cells, cells_area(&b->cells));
}

/* The facts under each other, below the plot's picture. */
static void show_facts(struct bench *b, size_t view, int w, int h)
{
    struct err err = {0};
    check(cells_resize(&b->cells, w, h, &err), &err);
    int rows = views[view]->facts(b->app, &b->cells, cells_area(&b->cells));
    assert_in_range(rows, 0, h);
}

static void assert_pictures(struct bench *b, size_t view, const char *name)
{
    char file[96];
    show(b, view, 50, 18);
    snprintf(file, sizeof file, "view-%s-50x18", name);
    picture_assert_cells(file, &b->cells);
    show_facts(b, view, 38, 12);
    snprintf(file, sizeof file, "view-%s-facts-38x12", name);
    picture_assert_cells(file, &b->cells);
    show(b, view, 110, 42);
    snprintf(file, sizeof file, "view-%s-110x42", name);
    picture_assert_cells(file, &b->cells);
    show_facts(b, view, 44, 30);
    snprintf(file, sizeof file, "view-%s-facts-44x30", name);
    picture_assert_cells(file, &b->cells);
}

static bool press(struct bench *b, uint32_t key)
{
    return app_event(b->app, &(struct term_event){.key = key});
}

static bool mouse(struct bench *b, enum term_mouse what, int x, int y)
{
    return app_event(
        b->app,
        &(struct term_event){.key = TERM_KEY_MOUSE, .mouse = what, .button = 1, .x = x, .y = y});
}

/* --- made-up runs and results --- */

static void make_run_of(enum app_run_phase phase, size_t done)
{
    uint64_t seed = 20260101;
    size_t n = world.trace.layers * world.trace.experts;
    free(world.run.expert);
    world.run = (struct app_run){.phase = phase,
                                 .stage = "layer 2: experts",
                                 .steps_done = 11,
                                 .steps_total = 32,
                                 .seconds = 73,
                                 .seconds_left = 141,
                                 .layers = world.trace.layers,
                                 .experts = world.trace.experts,
                                 .layer = 1,
                                 .layers_done = 1,
                                 .fallbacks = 1,
                                 .memory = 734003200,
                                 .out = "runs/moqa-a0.3",
                                 .expert = mem_array(n, sizeof *world.run.expert, NULL)};
    assert_non_null(world.run.expert);
    for (size_t i = 0; i < done; i++)
        world.run.expert[i] =
            (struct app_run_expert){.done = true,
                                    .bits = picture_random(&seed) < 0.5 ? 4 : 2,
                                    .tokens = (size_t)(3000 * picture_random(&seed)),
                                    .loss = 0.4 * picture_random(&seed),
                                    .loss_rtn = 0.6 + picture_random(&seed),
                                    .fallback = i == 4,
                                    .damping = i == 4 ? 0.64 : 0.01};
}

static void make_run(enum app_run_phase phase)
{
    make_run_of(phase, world.trace.experts + 3);
}

static void make_log(size_t lines)
{
    for (size_t i = 0; i < lines; i++)
        snprintf(world.run.log[i], APP_LOG_WIDTH, "line %zu of the log", i);
    world.run.log_count = lines;
}

static void make_results(void)
{
    static struct app_evaluation evaluations[] = {
        {.name = "wiki.txt",
         .text = "f1",
         .window = 2048,
         .windows = 146,
         .predicted = 298862,
         .perplexity = 6.6311},
        {.name = "wiki.txt",
         .text = "f1",
         .window = 2048,
         .windows = 146,
         .predicted = 298862,
         .perplexity = 8.0123,
         .seconds = 3725},
        {.name = "wiki.txt",
         .text = "f1",
         .window = 1024,
         .windows = 292,
         .predicted = 298716,
         .perplexity = 9.4417},
    };
    static const struct app_result results[] = {
        {.name = "original",
         .method = "original",
         .original = true,
         .nominal_bits = 16,
         .effective_bits = 16,
         .bytes = 13u << 24,
         .evaluation = &evaluations[0],
         .evaluations = 1,
         .measure = APP_MEASURE_DONE},
        {.name = "runs/moqa-a0.3",
         .method = "moqa",
         .nominal_bits = 2.9375,
         .effective_bits = 3.2512,
         .bytes = 41u << 20,
         .evaluation = &evaluations[1],
         .evaluations = 1,
         .finished = 1767225600,
         .settings = "alpha=0.5 min_count=3 beta_ch=0.08",
         .has_values = true,
         .pins = 3},
        {.name = "runs/gptq-3",
         .method = "gptq-3",
         .nominal_bits = 3,
         .effective_bits = 3.25,
         .bytes = 41u << 20,
         .evaluation = &evaluations[2],
         .evaluations = 1},
        {.name = "runs/rtn\033[2J-2",
         .method = "rtn-2",
         .nominal_bits = 2,
         .effective_bits = 2.25,
         .bytes = 29u << 20},
    };
    memcpy(world.result, results, sizeof results);
    settings_defaults(&world.result[1].values);
    world.result[1].values.alpha = 0.5;
    world.result[1].values.min_count = 3;
    world.result[1].values.beta_ch = 0.08;
    world.results = 4;
}

static bool shows(const struct bench *b, const char *text)
{
    struct str plain = {0};
    cells_plain(&b->cells, &plain);
    bool found = strstr(str_get(&plain), text) != NULL;
    str_release(&plain);
    return found;
}

/* --- pictures --- */

static void test_views_look_as_they_were_approved(void **state)
{
    static const char *const names[] = {"data", "mapping", "significance", "similarity", "plan"};
    struct bench b;
    (void)state;
    open_bench(&b, true);
    b.app->token_rank = 12;
    for (size_t v = DATA; v <= PLAN; v++)
        assert_pictures(&b, v, names[v]);
    close_bench(&b);
}

static void test_run_looks_as_it_was_approved(void **state)
{
    struct bench b;
    (void)state;
    open_bench(&b, true);
    show(&b, RUN, 50, 18);
    picture_assert_cells("view-run-idle-50x18", &b.cells);
    make_run(APP_RUN_RUNNING);
    assert_pictures(&b, RUN, "run");
    world.run.evaluating = true;
    world.run.pass_seconds = 61;
    snprintf(world.run.stage, sizeof world.run.stage, "windows 1 to 1024 of 1024: layer 2 of 16");
    show(&b, RUN, 50, 18);
    picture_assert_cells("view-run-evaluating-50x18", &b.cells);
    make_run(APP_RUN_FAILED);
    snprintf(world.run.message, sizeof world.run.message,
             "runs/moqa-a0.3/layer-2.part: cannot write: No space left on device");
    show(&b, RUN, 50, 18);
    picture_assert_cells("view-run-failed-50x18", &b.cells);
    close_bench(&b);
}

/* The whole screen, as on a terminal. */
static void assert_screens(struct bench *b, const char *name)
{
    static const struct {
        int w, h;
    } sizes[] = {{40, 10}, {80, 24}, {120, 40}, {160, 50}, {200, 60}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char file[96];
        show(b, RUN, sizes[i].w, sizes[i].h);
        b->app->message[0] = '\0';
        app_draw(b->app, &b->cells);
        snprintf(file, sizeof file, "screen-run-%s-%dx%d", name, sizes[i].w, sizes[i].h);
        picture_assert_cells(file, &b->cells);
    }
}

/* The same in every depth of colour and glyph set, with the colours. */
static void assert_looks(struct bench *b, const char *name, int w, int h)
{
    static const struct style_look looks[] = {
        {STYLE_DARK, STYLE_DEPTH_256, STYLE_BRAILLE},  {STYLE_DARK, STYLE_DEPTH_256, STYLE_ASCII},
        {STYLE_DARK, STYLE_DEPTH_8, STYLE_BRAILLE},    {STYLE_DARK, STYLE_DEPTH_8, STYLE_ASCII},
        {STYLE_MONO, STYLE_DEPTH_NONE, STYLE_BRAILLE}, {STYLE_MONO, STYLE_DEPTH_NONE, STYLE_ASCII}};
    struct style_look before = b->app->look;
    struct str text = {0};
    char file[96];
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
        b->app->look = looks[i];
        show(b, RUN, w, h);
        str_appendf(&text, "=== depth %d, %s\n", (int)looks[i].depth,
                    style_glyphs_name(looks[i].glyphs));
        cells_sgr(&b->cells, &looks[i], &text);
    }
    b->app->look = before;
    snprintf(file, sizeof file, "screen-run-%s-looks-%dx%d", name, w, h);
    picture_assert(file, str_get(&text));
    str_release(&text);
}

static void test_run_screens_look_as_they_were_approved(void **state)
{
    struct bench b;
    (void)state;
    open_bench(&b, true);
    make_run(APP_RUN_RUNNING);
    make_log(60);
    assert_screens(&b, "running");
    assert_looks(&b, "running", 40, 10);
    assert_looks(&b, "running", 80, 24);
    assert_looks(&b, "running", 120, 40);
    assert_looks(&b, "running", 200, 60);
    make_run(APP_RUN_CANCELLED);
    make_log(3);
    assert_screens(&b, "cancelled");
    make_run_of(APP_RUN_DONE, world.trace.layers * world.trace.experts);
    world.run.layers_done = world.trace.layers;
    world.run.steps_done = world.run.steps_total;
    snprintf(world.run.message, sizeof world.run.message, "perplexity 8.0123 (windows of 2048)");
    make_log(12);
    assert_screens(&b, "done");
    close_bench(&b);
}

static void test_the_log_scrolls_and_stops_at_its_ends(void **state)
{
    struct bench b;
    (void)state;
    open_bench(&b, true);
    make_run(APP_RUN_RUNNING);
    make_log(60);
    show(&b, RUN, 110, 42);
    press(&b, '{');
    show(&b, RUN, 110, 42);
    assert_true(shows(&b, "line 54 of the log") && shows(&b, "5 newer lines"));
    assert_false(shows(&b, "line 55 of the log"));
    for (int i = 0; i < 30; i++)
        press(&b, '{');
    show(&b, RUN, 110, 42);
    assert_true(shows(&b, "line 0 of the log"));
    for (int i = 0; i < 30; i++)
        press(&b, '}');
    show(&b, RUN, 110, 42);
    assert_true(shows(&b, "line 59 of the log"));
    close_bench(&b);
}

static void test_the_damping_of_an_expert_is_told(void **state)
{
    struct bench b;
    (void)state;
    open_bench(&b, true);
    make_run(APP_RUN_RUNNING);
    b.app->expert = 4;
    show(&b, RUN, 60, 20);
    show_facts(&b, RUN, 44, 30);
    assert_true(shows(&b, "0.64") && shows(&b, "fallback"));
    close_bench(&b);
}

static void test_results_look_as_they_were_approved(void **state)
{
    struct bench b;
    (void)state;
    open_bench(&b, true);
    make_results();
    b.app->result_selected = 1;
    assert_pictures(&b, RESULTS, "results");
    close_bench(&b);
}

static void test_similarity_leaves_no_empty_rows_on_a_large_terminal(void **state)
{
    struct bench b;
    (void)state;
    open_bench(&b, true);
    show(&b, SIMILARITY, 104, 46);
    picture_assert_cells("view-similarity-104x46", &b.cells);
    close_bench(&b);
}

/* --- rules --- */

static void test_run_shows_the_last_log_lines_where_there_is_room(void **state)
{
    struct bench b;
    (void)state;
    open_bench(&b, true);
    make_run(APP_RUN_RUNNING);
    make_log(60);
    show(&b, RUN, 110, 42);
    assert_true(shows(&b, "line 59 of the log") && shows(&b, "loss in %"));
    assert_false(shows(&b, "line 0 of the log"));
    show(&b, RUN, 50, 20);
    assert_false(shows(&b, "line 59 of the log"));
    press(&b, 'v'); /* instead of the losses */
    show(&b, RUN, 50, 20);
    assert_true(shows(&b, "line 59 of the log") && shows(&b, "expert"));
    assert_false(shows(&b, "loss in %"));
    show(&b, RUN, 50, 10); /* instead of the grid */
    assert_true(shows(&b, "line 59 of the log"));
    close_bench(&b);
}

static void test_views_without_a_model_say_what_they_need(void **state)
{
    static const size_t need_model[] = {SIMILARITY, PLAN, RUN};
    struct bench b;
    (void)state;
    open_bench(&b, false);
    for (size_t i = 0; i < sizeof need_model / sizeof *need_model; i++) {
        struct str text = {0};
        show(&b, need_model[i], 80, 18);
        cells_plain(&b.cells, &text);
        if (!strstr(str_get(&text), "--model"))
            fail_msg("%s", str_get(&text));
        str_release(&text);
    }
    close_bench(&b);
}

/* A frame of marks around the rectangle must survive, whatever its size. */
static void assert_stays_inside(struct bench *b, size_t view, int w, int h)
{
    struct err err = {0};
    struct rect r = {2, 2, w, h};
    check(cells_resize(&b->cells, w + 4, h + 4, &err), &err);
    cells_fill(&b->cells, cells_area(&b->cells), "@", STYLE(STYLE_DEFAULT));
    cells_fill(&b->cells, r, " ", STYLE(STYLE_DEFAULT));
    b->cells.clip = r;
    views[view]->draw(b->app, &b->cells, r);
    views[view]->facts(b->app, &b->cells, r);
    assert_memory_equal(&b->cells.clip, &r, sizeof r);
    for (int y = 0; y < h + 4; y++)
        for (int x = 0; x < w + 4; x++)
            if (!rect_contains(r, x, y))
                assert_string_equal(cells_at(&b->cells, x, y)->glyph, "@");
}

static void test_any_size_draws_inside_its_rectangle(void **state)
{
    static const struct style_look *const looks[] = {&mono, &ascii, &dark};
    struct bench b;
    (void)state;
    open_bench(&b, true);
    make_run(APP_RUN_RUNNING);
    make_results();
    b.app->token_rank = 3;
    show(&b, SIMILARITY, 40, 10);
    for (size_t v = 0; v < APP_VIEWS; v++)
        for (int h = 1; h < 60; h += h < 14 ? 1 : 9)
            for (int w = 1; w < 160; w += w < 20 ? 3 : 17) {
                b.app->look = *looks[(w + h) % 3];
                b.app->other_chart[b.app->view] = (w + h) % 2;
                b.app->all_experts = w % 2;
                b.app->linear_axis = h % 2;
                b.app->zoom = (w + h) % (APP_ZOOM_MAX + 1);
                assert_stays_inside(&b, v, w, h);
            }
    close_bench(&b);
}

static void test_main_chart_can_be_pointed_at_on_every_screen(void **state)
{
    struct bench b;
    (void)state;
    open_bench(&b, true);
    make_run(APP_RUN_RUNNING);
    for (size_t v = DATA; v <= RUN; v++) {
        show(&b, v, 60, 20);
        assert_false(rect_empty(b.app->map.plot));
    }
    close_bench(&b);
}

static void test_arrows_never_leave_the_experts(void **state)
{
    static const uint32_t keys[] = {TERM_KEY_UP,
                                    TERM_KEY_DOWN,
                                    TERM_KEY_PAGE_UP,
                                    TERM_KEY_PAGE_DOWN,
                                    TERM_KEY_HOME,
                                    TERM_KEY_END,
                                    '<',
                                    '>'};
    uint64_t seed = 5150;
    struct bench b;
    (void)state;
    open_bench(&b, true);
    for (int i = 0; i < 4000; i++) {
        size_t view = (size_t)(picture_random(&seed) * APP_VIEWS);
        if (i % 50 == 0)
            show(&b, view, 50, 12);
        press(&b, keys[(size_t)(picture_random(&seed) * 8)]);
        assert_in_range(b.app->expert, 0, world.trace.experts - 1);
        assert_in_range(b.app->layer, 0, world.trace.layers - 1);
        assert_in_range(b.app->token_rank, 0, b.app->result->types);
    }
    show(&b, MAPPING, 50, 12);
    press(&b, TERM_KEY_END);
    assert_int_equal(b.app->expert, world.trace.experts - 1);
    press(&b, TERM_KEY_HOME);
    assert_int_equal(b.app->expert, 0);
    close_bench(&b);
}

static void test_significance_list_moves_by_falling_significance(void **state)
{
    struct bench b;
    (void)state;
    open_bench(&b, true);
    show(&b, SIGNIFICANCE, 60, 20);
    const double *s = b.app->result->layer[b.app->layer].significance;
    press(&b, TERM_KEY_HOME);
    for (size_t i = 1; i < world.trace.experts; i++) {
        double before = s[b.app->expert];
        press(&b, TERM_KEY_DOWN);
        assert_true(s[b.app->expert] <= before);
    }
    close_bench(&b);
}

static void test_dragging_the_threshold_is_one_step_of_undo(void **state)
{
    struct bench b;
    int line;
    (void)state;
    open_bench(&b, true);
    show(&b, SIGNIFICANCE, 70, 20);
    double before = b.app->result->layer[b.app->layer].threshold;
    size_t undo = b.app->undo_count;
    assert_true(chart_map_x(&b.app->map, before, &line));
    int y = b.app->map.plot.y + 2;
    mouse(&b, TERM_MOUSE_PRESS, line, y);
    assert_true(b.app->dragging);
    for (int i = 1; i <= 6; i++) {
        show(&b, SIGNIFICANCE, 70, 20);
        mouse(&b, TERM_MOUSE_DRAG, line + i, y);
    }
    mouse(&b, TERM_MOUSE_RELEASE, line + 6, y);
    assert_false(b.app->dragging);
    assert_true(b.app->document.settings.threshold.given);
    assert_true(b.app->result->layer[b.app->layer].threshold > before);
    assert_int_equal(b.app->undo_count, undo + 1);
    press(&b, 'u');
    assert_false(b.app->document.settings.threshold.given);
    assert_true(b.app->result->layer[b.app->layer].threshold == before);
    close_bench(&b);
}

static void test_a_press_away_from_the_threshold_does_not_take_it(void **state)
{
    struct bench b;
    int line;
    (void)state;
    open_bench(&b, true);
    show(&b, SIGNIFICANCE, 70, 20);
    assert_true(chart_map_x(&b.app->map, b.app->result->layer[0].threshold, &line));
    mouse(&b, TERM_MOUSE_PRESS, line + 5, b.app->map.plot.y + 1);
    assert_false(b.app->dragging);
    mouse(&b, TERM_MOUSE_DRAG, line + 9, b.app->map.plot.y + 1);
    assert_false(b.app->document.settings.threshold.given);
    close_bench(&b);
}

static void test_a_key_ends_a_drag_whose_release_was_lost(void **state)
{
    struct bench b;
    int line;
    (void)state;
    open_bench(&b, true);
    show(&b, SIGNIFICANCE, 70, 20);
    assert_true(chart_map_x(&b.app->map, b.app->result->layer[0].threshold, &line));
    mouse(&b, TERM_MOUSE_PRESS, line, b.app->map.plot.y + 2);
    mouse(&b, TERM_MOUSE_DRAG, line + 4, b.app->map.plot.y + 2);
    size_t undo = b.app->undo_count;
    press(&b, TERM_KEY_RIGHT);
    assert_false(b.app->dragging);
    assert_int_equal(b.app->undo_count, undo + 1);
    close_bench(&b);
}

static void test_a_click_selects_the_tile_under_it(void **state)
{
    struct bench b;
    int x, y;
    (void)state;
    open_bench(&b, true);
    show(&b, PLAN, 60, 20);
    assert_true(chart_map_x(&b.app->map, 3, &x) && chart_map_y(&b.app->map, 1, &y));
    mouse(&b, TERM_MOUSE_PRESS, x, y);
    assert_int_equal(b.app->expert, 3);
    assert_int_equal(b.app->layer, 1);
    close_bench(&b);
}

static void test_resume_is_offered_only_after_a_run_stopped(void **state)
{
    struct bench b;
    (void)state;
    open_bench(&b, true);
    make_run(APP_RUN_RUNNING);
    show(&b, RUN, 60, 20);
    press(&b, 'r');
    assert_int_equal(world.started, 0);
    make_run(APP_RUN_CANCELLED);
    show(&b, RUN, 60, 20);
    press(&b, 'r');
    assert_int_equal(world.started, 1);
    assert_true(world.resumed);
    close_bench(&b);
}

static void test_snapshot_differences_are_those_of_the_plans(void **state)
{
    struct bench b;
    struct str text = {0};
    char expected[64];
    (void)state;
    open_bench(&b, true);
    show(&b, PLAN, 60, 20);
    press(&b, 'A');
    size_t bits = b.app->plan.layers[0].experts[5].bits;
    do
        press(&b, 'p');
    while (b.app->plan.layers[0].experts[5].bits == bits);
    show_facts(&b, PLAN, 44, 30);
    cells_plain(&b.cells, &text);
    snprintf(expected, sizeof expected, "1 of %zu experts differ",
             world.trace.layers * world.trace.experts);
    if (!strstr(str_get(&text), expected))
        fail_msg("%s", str_get(&text));
    str_release(&text);
    close_bench(&b);
}

static void test_hostile_names_are_shown_and_not_obeyed(void **state)
{
    struct bench b;
    struct str text = {0};
    (void)state;
    open_bench(&b, true);
    make_results();
    show(&b, RESULTS, 110, 30);
    cells_plain(&b.cells, &text);
    assert_null(strchr(str_get(&text), '\033'));
    assert_non_null(strstr(str_get(&text), "rtn\\x1B[2J-2"));
    str_release(&text);
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views_look_as_they_were_approved),
        cmocka_unit_test(test_run_looks_as_it_was_approved),
        cmocka_unit_test(test_run_screens_look_as_they_were_approved),
        cmocka_unit_test(test_the_log_scrolls_and_stops_at_its_ends),
        cmocka_unit_test(test_the_damping_of_an_expert_is_told),
        cmocka_unit_test(test_similarity_leaves_no_empty_rows_on_a_large_terminal),
        cmocka_unit_test(test_run_shows_the_last_log_lines_where_there_is_room),
        cmocka_unit_test(test_results_look_as_they_were_approved),
        cmocka_unit_test(test_views_without_a_model_say_what_they_need),
        cmocka_unit_test(test_any_size_draws_inside_its_rectangle),
        cmocka_unit_test(test_main_chart_can_be_pointed_at_on_every_screen),
        cmocka_unit_test(test_arrows_never_leave_the_experts),
        cmocka_unit_test(test_significance_list_moves_by_falling_significance),
        cmocka_unit_test(test_dragging_the_threshold_is_one_step_of_undo),
        cmocka_unit_test(test_a_press_away_from_the_threshold_does_not_take_it),
        cmocka_unit_test(test_a_key_ends_a_drag_whose_release_was_lost),
        cmocka_unit_test(test_a_click_selects_the_tile_under_it),
        cmocka_unit_test(test_resume_is_offered_only_after_a_run_stopped),
        cmocka_unit_test(test_snapshot_differences_are_those_of_the_plans),
        cmocka_unit_test(test_hostile_names_are_shown_and_not_obeyed),
    };
    return cmocka_run_group_tests(tests, load_world, release_world);
}
