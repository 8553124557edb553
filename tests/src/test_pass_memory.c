/*
 * No memory at any allocation of a pass: an error, nothing leaked (under a sanitizer), and a run
 * that can be resumed to the same bytes. mem_array() and mem_aligned() are wrapped by the linker.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "data/base/log.h"
#include "data/base/mem.h"
#include "tests/src/quant_run.h"

void *__real_mem_array(size_t count, size_t size, struct err *err);
void *__real_mem_aligned(size_t count, size_t size, struct err *err);
void *__wrap_mem_array(size_t count, size_t size, struct err *err);
void *__wrap_mem_aligned(size_t count, size_t size, struct err *err);

static bool failing;
static size_t fail_at, allocations;

static size_t watched_bytes, watched_count; /* allocations of just this size; 0: none */

static void look_at(size_t bytes)
{
    watched_count += watched_bytes && bytes == watched_bytes;
}

static bool strikes(struct err *err)
{
    if (!failing || allocations++ != fail_at)
        return false;
    err_set(err, ERR_NOMEM, NULL, "no memory");
    return true;
}

void *__wrap_mem_array(size_t count, size_t size, struct err *err)
{
    look_at(count * size);
    return strikes(err) ? NULL : __real_mem_array(count, size, err);
}

void *__wrap_mem_aligned(size_t count, size_t size, struct err *err)
{
    look_at(count * size);
    return strikes(err) ? NULL : __real_mem_aligned(count, size, err);
}

/* The return code of a run whose at-th allocation fails. */
static int run_short_of(struct quant_run *r, size_t at)
{
    struct err err = {0};
    failing = true;
    fail_at = at;
    allocations = 0;
    int rc = quant_run_try(r, &err);
    failing = false;
    return rc;
}

static void test_failed_allocation_is_an_error_and_the_run_resumes(void **state)
{
    (void)state;
    struct quant_run r;
    char whole[HASH_HEX_SIZE], again[HASH_HEX_SIZE];
    quant_run_open(&r, "tiny-qwen2moe", "moqa", 1, 1);
    r.options.window = 16;
    quant_run_pass(&r);
    quant_run_hash(whole, r.out);
    quant_run_remove(r.out);
    assert_int_equal(run_short_of(&r, SIZE_MAX), 0);
    size_t total = allocations, step = total / 60 + 1;
    r.options.resume = true;
    for (size_t at = 0; at < total; at += at < 40 ? 1 : step) {
        quant_run_remove(r.out);
        int rc = run_short_of(&r, at);
        if (rc != ERR_NOMEM)
            fail_msg("allocation %zu of %zu: %d", at, total, rc);
        quant_run_pass(&r);
        quant_run_hash(again, r.out);
        assert_string_equal(whole, again);
    }
    quant_run_close(&r);
}

/* All hidden states at once are the largest thing of a run: going on takes them in parts. */
static void test_resume_takes_hidden_states_in_parts(void **state)
{
    (void)state;
    struct quant_run r;
    struct err err = {0};
    struct pass *p = NULL;
    quant_run_open(&r, "tiny-qwen2moe", "gptq-4", 7, 1);
    r.backend->chunk_tokens = 256;
    assert_int_equal(pass_new(&p, &r.options, &err), 0);
    assert_int_equal(pass_step(p, &err), 1);
    pass_free(p);
    r.options.resume = true;
    watched_bytes = r.options.windows * r.options.window * r.model.config->hidden * sizeof(float);
    watched_count = 0;
    assert_int_equal(pass_new(&p, &r.options, &err), 0);
    assert_int_equal(pass_step(p, &err), 1);
    pass_free(p);
    assert_int_equal(watched_count, 0);
    watched_bytes = 0;
    quant_run_close(&r);
}

static void quiet(void *context, enum log_level level, const char *line)
{
    (void)context;
    (void)level;
    (void)line;
}

int main(void)
{
    log_set_sink(quiet, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resume_takes_hidden_states_in_parts),
        cmocka_unit_test(test_failed_allocation_is_an_error_and_the_run_resumes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
