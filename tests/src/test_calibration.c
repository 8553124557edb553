/* Calibration windows of a trace, and the model that the trace must be of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/windows.h"
#include "data/base/log.h"
#include "data/base/str.h"
#include "src/calibration.h"
#include "src/session.h"
#include "tests/src/quant_run.h"

static const char path[] = TEST_GOLDEN "/tiny-olmoe/trace.h5";
static const char *const paths[] = {path};
enum { WINDOW = 256, SAMPLES = 5 };

static struct calibration choose(const struct quant_run *r, const struct settings *s)
{
    struct calibration c;
    struct err err = {0};
    struct calibration_request request = {paths, 1, SAMPLES, 0, s};
    if (calibration_of_trace(&c, r->model.config, &r->trace, path, &request, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(c.windows, SAMPLES);
    assert_int_equal(c.window, WINDOW);
    return c;
}

/* Drawn from the trace as from a text of its tokens. */
static void test_windows_of_a_trace_are_drawn_as_the_settings_say(void **state)
{
    (void)state;
    static const enum setting_windows kinds[] = {WINDOWS_ORDER, WINDOWS_RANDOM, WINDOWS_WEIGHTED};
    struct quant_run r;
    quant_run_open(&r, "tiny-olmoe", "gptq-4", 1, 1);
    struct settings s = r.plan.settings;
    for (size_t k = 0; k < 3; k++)
        for (s.seed = 1; s.seed <= 3; s.seed++) {
            size_t starts[SAMPLES], count;
            s.windows = kinds[k];
            struct calibration c = choose(&r, &s);
            assert_int_equal(windows_choose(starts, &count, SAMPLES, r.trace.ids, r.trace.positions,
                                            WINDOW, r.trace.top_k, &s, NULL),
                             0);
            assert_int_equal(count, SAMPLES);
            assert_memory_equal(c.starts, starts, sizeof starts);
            assert_int_equal(c.starts[SAMPLES - 1] == (SAMPLES - 1) * WINDOW, k == 0);
            calibration_release(&c);
        }
    quant_run_close(&r);
}

/* Every second window is cut in two: those halves cannot be drawn, the whole ones stay. */
static void test_short_windows_of_a_trace_are_never_drawn(void **state)
{
    (void)state;
    struct quant_run r;
    quant_run_open(&r, "tiny-olmoe", "gptq-4", 1, 1);
    struct settings s = r.plan.settings;
    uint64_t *starts = r.trace.window_starts;
    size_t windows = r.trace.windows, count = 0;
    uint64_t *cut = calloc(2 * windows, sizeof *cut);
    assert_non_null(cut);
    for (size_t w = 0; w < windows; w++) {
        cut[count++] = starts[w];
        if (w % 2 == 0)
            cut[count++] = starts[w] + WINDOW / 2;
    }
    r.trace.window_starts = cut;
    r.trace.windows = count;
    s.windows = WINDOWS_RANDOM;
    for (s.seed = 1; s.seed <= 20; s.seed++) {
        struct calibration c = choose(&r, &s);
        for (size_t i = 0; i < SAMPLES; i++) {
            assert_int_equal(c.starts[i] % (2 * WINDOW), WINDOW);
            assert_true(i == 0 || c.starts[i] > c.starts[i - 1]);
        }
        calibration_release(&c);
    }
    r.trace.window_starts = starts;
    r.trace.windows = windows;
    free(cut);
    quant_run_close(&r);
}

static void append(const char *folder, const char *name, const char *text)
{
    char *file = str_path(folder, name, NULL);
    FILE *f = fopen(file, "a");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    free(file);
}

/* The ids of " the" and " of" are exchanged. */
static void exchange_tokens(const char *folder)
{
    char command[512];
    snprintf(command, sizeof command,
             "cd '%s' && sed -E -i 's/\"\xc4\xa0the\": *([0-9]+)/\"@A\": \\1/; "
             "s/\"\xc4\xa0of\": *([0-9]+)/\"\xc4\xa0the\": \\1/; "
             "s/\"@A\": /\"\xc4\xa0of\": /' tokenizer.json",
             folder);
    assert_int_equal(system(command), 0);
}

static void test_trace_of_another_tokenizer_is_refused(void **state)
{
    (void)state;
    struct quant_run r;
    struct err err = {0};
    struct model other = {0};
    struct calibration c;
    struct session session;
    char folder[128];
    quant_run_open(&r, "tiny-olmoe", "gptq-4", 1, 1);
    struct calibration_request request = {paths, 1, SAMPLES, 0, &r.plan.settings};
    assert_int_equal(calibration_load(&c, &r.model, &request, &err), 0);
    calibration_release(&c);
    quant_run_copy_model(folder, &r);
    append(folder, "tokenizer.json", " "); /* other bytes, the same tokens */
    assert_int_equal(model_open(&other, folder, &err), 0);
    assert_int_equal(calibration_load(&c, &other, &request, &err), 0);
    calibration_release(&c);
    assert_int_equal(trace_check_tokenizer(&r.trace, path, other.tokenizer, &err), 0);
    uint64_t *offsets = r.trace.vocab_offsets;
    r.trace.vocab_offsets = NULL;
    assert_int_equal(trace_check_tokenizer(&r.trace, path, other.tokenizer, &err), ERR_INPUT);
    assert_non_null(strstr(err.message, "not known to be the same text"));
    r.trace.vocab_offsets = offsets;
    model_release(&other);
    exchange_tokens(folder);
    assert_int_equal(model_open(&other, folder, &err), 0);
    assert_int_equal(calibration_load(&c, &other, &request, &err), ERR_INPUT);
    assert_string_equal(err.file, path);
    assert_non_null(strstr(err.message, "was made with another tokenizer.json: found SHA-256 "
                                        "e8cd565131d5..., the model's is "));
    model_release(&other);
    err = (struct err){0};
    assert_int_equal(session_open(&session, path, folder, &err), ERR_INPUT);
    assert_non_null(strstr(err.message, "another tokenizer.json"));
    session_release(&session);
    quant_run_close(&r);
}

static char warning[1024];

static void keep(void *context, enum log_level level, const char *line)
{
    (void)context;
    if (level == LOG_WARN)
        snprintf(warning, sizeof warning, "%s", line);
}

static void test_trace_of_another_configuration_is_warned_of(void **state)
{
    (void)state;
    struct quant_run r;
    struct err err = {0};
    struct session session;
    char folder[128];
    quant_run_open(&r, "tiny-olmoe", "gptq-4", 1, 1);
    quant_run_copy_model(folder, &r);
    log_set_sink(keep, NULL);
    assert_int_equal(session_open(&session, path, folder, &err), 0);
    session_release(&session);
    assert_string_equal(warning, "");
    append(folder, "config.json", " ");
    assert_int_equal(session_open(&session, path, folder, &err), 0);
    session_release(&session);
    assert_non_null(strstr(warning, "was made with another config.json"));
    log_set_sink(NULL, NULL);
    quant_run_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows_of_a_trace_are_drawn_as_the_settings_say),
        cmocka_unit_test(test_short_windows_of_a_trace_are_never_drawn),
        cmocka_unit_test(test_trace_of_another_tokenizer_is_refused),
        cmocka_unit_test(test_trace_of_another_configuration_is_warned_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
