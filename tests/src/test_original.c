/* The original model's perplexity: measured once for a text, a window and weights, and listed. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/base/atomic_file.h"
#include "data/base/str.h"
#include "quant_run.h"
#include "src/runs/original.h"
#include "src/runs/results.h"
#include "src/runs/runs.h"

static const char model_dir[] = TEST_SAMPLE "/tiny-olmoe";
static const char *const text[] = {TEST_SAMPLE "/text/evaluation/letters-1.txt"};
static const char *const other_text[] = {TEST_SAMPLE "/text/evaluation/stories-1.txt"};

struct place {
    char folder[64], runs[96];
    struct progress progress;
    struct original_request request;
};

static int open_place(void **state)
{
    static struct place p;
    snprintf(p.folder, sizeof p.folder, "/tmp/moqa-original-XXXXXX");
    assert_non_null(mkdtemp(p.folder));
    snprintf(p.runs, sizeof p.runs, "%s/runs", p.folder);
    progress_init(&p.progress);
    p.request = (struct original_request){.model_dir = model_dir,
                                          .runs_dir = p.runs,
                                          .texts = text,
                                          .texts_count = 1,
                                          .window = 256,
                                          .progress = &p.progress};
    *state = &p;
    return 0;
}

static int close_place(void **state)
{
    struct place *p = *state;
    progress_release(&p->progress);
    quant_run_remove(p->folder);
    return 0;
}

static double measure(const struct original_request *r)
{
    struct original o;
    struct err err = {0};
    if (original_measure(&o, r, &err) < 0)
        fail_msg("%s", err.message);
    return o.perplexity.value;
}

/* Rows; those of a measurement of the original are one. */
static size_t list(struct app_result **out, const struct place *p, const char *checkpoint)
{
    struct original_model m;
    struct err err = {0};
    size_t n;
    assert_int_equal(original_model_read(&m, model_dir, &err), 0);
    assert_int_equal(runs_list(out, &n, p->runs, m.config_sha256, checkpoint, &err), 0);
    return n;
}

static void test_the_order_of_the_files_is_part_of_the_text(void **state)
{
    const char *const order[2][2] = {{text[0], other_text[0]}, {other_text[0], text[0]}};
    struct eval_text read[2];
    struct err err = {0};
    (void)state;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(eval_text_read(&read[i], model_dir, order[i], 2, &err), 0);
    assert_string_not_equal(read[0].sha256, read[1].sha256);
    assert_string_equal(read[0].name, "letters-1.txt +1");
    assert_string_equal(read[1].name, "stories-1.txt +1");
}

/* The only record of the folder with another value in it. */
static void forge(const struct place *p, double value)
{
    struct app_result *rows;
    struct original o;
    struct err err = {0};
    assert_int_equal(list(&rows, p, NULL), 1);
    assert_int_equal(rows[0].evaluations, 1);
    runs_free(rows, 1);
    assert_int_equal(original_measure(&o, &p->request, &err), 0);
    o.perplexity.value = value;
    assert_int_equal(original_save(&o, p->runs, &err), 0);
}

static void test_the_original_is_measured_once_and_then_read(void **state)
{
    struct place *p = *state;
    struct backend *b;
    struct err err = {0};
    struct app_result *rows;
    assert_int_equal(backend_cpu_new(&b, 0, &err), 0);
    double value = measure(&p->request);
    assert_true(value == quant_run_perplexity(b, model_dir, text, 1, 0));
    backend_free(b);
    forge(p, 7.5);
    assert_true(measure(&p->request) == 7.5);
    assert_int_equal(list(&rows, p, NULL), 1);
    assert_int_equal(rows[0].evaluations, 1);
    const struct app_evaluation *e = rows[0].evaluation;
    assert_true(rows[0].original && e->perplexity == 7.5);
    assert_true(rows[0].nominal_bits == 16 && e->window == 256 && e->windows > 1 && e->part == 0);
    assert_int_equal(e->predicted, e->windows * 255);
    assert_string_equal(e->name, "letters-1.txt");
    assert_string_equal(rows[0].name, "tiny-olmoe");
    assert_true(rows[0].bytes == runs_folder_bytes(model_dir) && rows[0].bytes > 10000000);
    runs_free(rows, 1);
}

static void test_another_text_or_window_is_measured_for_itself(void **state)
{
    struct place *p = *state;
    struct app_result *rows;
    measure(&p->request);
    forge(p, 7.5);
    struct original_request r = p->request;
    r.texts = other_text;
    assert_true(measure(&r) != 7.5);
    r = p->request;
    r.window = 128;
    assert_true(measure(&r) != 7.5);
    assert_true(measure(&p->request) == 7.5);
    assert_int_equal(list(&rows, p, NULL), 1);
    assert_int_equal(rows[0].evaluations, 3);
    runs_free(rows, 1);
}

static void test_a_part_of_a_text_does_not_stand_for_all_of_it(void **state)
{
    struct place *p = *state;
    struct app_result *rows;
    struct original o;
    struct err err = {0};
    double value = measure(&p->request);
    assert_int_equal(original_measure(&o, &p->request, &err), 0);
    o.perplexity.windows = 2;
    o.perplexity.value = 7.5;
    assert_int_equal(original_save(&o, p->runs, &err), 0);
    assert_true(measure(&p->request) == value);
    assert_int_equal(list(&rows, p, NULL), 1);
    assert_int_equal(rows[0].evaluations, 2);
    const struct app_evaluation *e = rows[0].evaluation;
    assert_true(e[0].part == 0 && e[0].perplexity == value);
    assert_true(e[1].part == 2 && e[1].perplexity == 7.5);
    assert_string_equal(e[0].text, e[1].text);
    runs_free(rows, 1);
}

static void copy_model(const char *to, bool tuned)
{
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json"};
    char from[1024], path[1024], *bytes;
    size_t size;
    struct err err = {0};
    assert_int_equal(mkdir(to, 0777), 0);
    for (size_t i = 0; i < 3; i++) {
        snprintf(from, sizeof from, "%s/%s", model_dir, files[i]);
        snprintf(path, sizeof path, "%s/%s", to, files[i]);
        assert_int_equal(str_read_file(&bytes, &size, from, 1 << 28, &err), 0);
        if (i == 1 && tuned)
            for (size_t k = size / 2; k < size; k++)
                bytes[k] ^= k % 2 == 0; /* the lowest bit of the fraction */
        assert_int_equal(atomic_file_save(path, bytes, size, &err), 0);
        free(bytes);
    }
}

static void test_other_weights_of_the_same_shape_are_another_model(void **state)
{
    struct place *p = *state;
    struct original_model m;
    struct err err = {0};
    struct app_result *rows;
    char tuned[96];
    measure(&p->request);
    forge(p, 7.5);
    snprintf(tuned, sizeof tuned, "%s/tuned", p->folder);
    copy_model(tuned, true);
    struct original_request r = p->request;
    r.model_dir = tuned;
    assert_true(measure(&r) != 7.5);
    assert_int_equal(original_model_read(&m, tuned, &err), 0);
    assert_int_equal(list(&rows, p, NULL), 2);
    runs_free(rows, 2);
    assert_int_equal(list(&rows, p, m.checkpoint), 1);
    assert_string_equal(rows[0].name, "tuned");
    runs_free(rows, 1);
}

static void test_another_tokenizer_is_another_evaluation(void **state)
{
    struct place *p = *state;
    char copy[96], path[128];
    measure(&p->request);
    forge(p, 7.5);
    snprintf(copy, sizeof copy, "%s/copy", p->folder);
    copy_model(copy, false);
    struct original_request r = p->request;
    r.model_dir = copy;
    assert_true(measure(&r) == 7.5);
    snprintf(path, sizeof path, "%s/tokenizer.json", copy);
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    fputs("\n", f);
    assert_int_equal(fclose(f), 0);
    assert_true(measure(&r) != 7.5);
    assert_true(measure(&p->request) == 7.5);
}

static void test_a_broken_record_is_measured_again(void **state)
{
    struct place *p = *state;
    struct app_result *rows;
    char command[256];
    double value = measure(&p->request);
    snprintf(command, sizeof command, "for f in %s/original-*.json; do echo '{' >$f; done",
             p->runs);
    assert_int_equal(system(command), 0);
    assert_int_equal(list(&rows, p, NULL), 0);
    runs_free(rows, 0);
    assert_true(measure(&p->request) == value);
    assert_int_equal(list(&rows, p, NULL), 1);
    runs_free(rows, 1);
}

static void test_a_text_that_is_not_there_is_named(void **state)
{
    struct place *p = *state;
    static const char *const nowhere[] = {"/nonexistent/text"};
    struct original o;
    struct err err = {0};
    struct original_request r = p->request;
    r.texts = nowhere;
    assert_true(original_measure(&o, &r, &err) < 0);
    assert_string_equal(err.file, nowhere[0]);
    assert_int_equal(access(p->runs, F_OK), -1);
}

/* --- As the screen asks --- */

/* On one text. */
static bool is_measured(const struct app_result *row)
{
    return row->evaluations == 1 && isfinite(row->evaluation[0].perplexity);
}

static void settle(struct results *r, bool idle)
{
    while (results_pending(r, idle))
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

static struct results *open_results(const struct place *p, size_t texts)
{
    static struct original_model m;
    static struct results_options o;
    struct results *r;
    struct err err = {0};
    assert_int_equal(original_model_read(&m, model_dir, &err), 0);
    o = (struct results_options){.model_dir = model_dir,
                                 .runs_dir = p->runs,
                                 .config_sha256 = m.config_sha256,
                                 .texts = text,
                                 .texts_count = texts,
                                 .window = 256};
    assert_int_equal(results_new(&r, &o, &err), 0);
    return r;
}

static void test_the_original_has_a_row_measured_or_not(void **state)
{
    struct place *p = *state;
    const struct app_result *rows;
    struct err err = {0};
    struct results *r = open_results(p, 0);
    settle(r, true);
    assert_int_equal(results_get(r, &rows, true), 1);
    assert_true(rows[0].original && rows[0].evaluations == 0);
    assert_int_equal(rows[0].measure, APP_MEASURE_NONE);
    assert_string_equal(rows[0].name, "tiny-olmoe");
    assert_true(results_measure(r, &err) < 0); /* on what? */
    results_free(r);

    r = open_results(p, 1);
    settle(r, true);
    assert_int_equal(results_get(r, &rows, true), 1);
    assert_true(rows[0].original && is_measured(&rows[0]) && rows[0].evaluation[0].wanted);
    assert_int_equal(rows[0].measure, APP_MEASURE_DONE);
    results_free(r);

    r = open_results(p, 0); /* the record is for all sessions */
    settle(r, true);
    assert_int_equal(results_get(r, &rows, true), 1);
    assert_true(is_measured(&rows[0]));
    results_free(r);
}

/* Until the measurement itself goes on; it may have been quicker. */
static void wait_for_work(struct results *r)
{
    const struct app_result *rows;
    do {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        results_get(r, &rows, true);
    } while (rows[0].measure == APP_MEASURE_WAITING);
}

static void test_a_measurement_waits_for_a_run_and_stops_when_told(void **state)
{
    struct place *p = *state;
    const struct app_result *rows;
    struct err err = {0};
    struct results *r = open_results(p, 1);
    settle(r, false);
    results_get(r, &rows, false);
    assert_int_equal(rows[0].measure, APP_MEASURE_WAITING);
    assert_int_equal(rows[0].evaluations, 1); /* what it waits for */
    assert_true(rows[0].evaluation[0].wanted && isnan(rows[0].evaluation[0].perplexity));
    assert_string_equal(rows[0].evaluation[0].name, "letters-1.txt");
    assert_false(results_stop(r, false));
    wait_for_work(r);
    bool stopped = results_stop(r, false);
    settle(r, true);
    results_get(r, &rows, true);
    bool too_late = rows[0].measure == APP_MEASURE_DONE; /* it was quicker */
    assert_true(too_late || (stopped && rows[0].measure == APP_MEASURE_CANCELLED));
    assert_int_equal(results_measure(r, &err), 0);
    settle(r, true);
    results_get(r, &rows, true);
    assert_true(is_measured(&rows[0]));
    results_free(r);
}

static void test_a_record_is_found_while_something_runs(void **state)
{
    struct place *p = *state;
    const struct app_result *rows;
    measure(&p->request);
    struct results *r = open_results(p, 1);
    settle(r, false);
    assert_int_equal(results_get(r, &rows, false), 1);
    assert_true(is_measured(&rows[0]));
    results_free(r);
}

static void test_a_paused_measurement_goes_on_by_itself(void **state)
{
    struct place *p = *state;
    const struct app_result *rows;
    struct results *r = open_results(p, 1);
    wait_for_work(r);
    results_stop(r, true);
    settle(r, true);
    assert_int_equal(results_get(r, &rows, true), 1);
    assert_true(is_measured(&rows[0]));
    results_free(r);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, open_place, close_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_order_of_the_files_is_part_of_the_text),
        WITH(test_the_original_is_measured_once_and_then_read),
        WITH(test_another_text_or_window_is_measured_for_itself),
        WITH(test_a_part_of_a_text_does_not_stand_for_all_of_it),
        WITH(test_other_weights_of_the_same_shape_are_another_model),
        WITH(test_another_tokenizer_is_another_evaluation),
        WITH(test_a_broken_record_is_measured_again),
        WITH(test_a_text_that_is_not_there_is_named),
        WITH(test_the_original_has_a_row_measured_or_not),
        WITH(test_a_measurement_waits_for_a_run_and_stops_when_told),
        WITH(test_a_record_is_found_while_something_runs),
        WITH(test_a_paused_measurement_goes_on_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
