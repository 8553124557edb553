/* The journal of a run: hidden states that cannot be saved, and such that no journal followed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/quant/journal.h"
#include "tests/src/quant_run.h"

enum { COUNT = 6, PART = 4 };

struct fixture {
    char folder[64], out[96];
    json_t *digest;
    struct journal j;
};

static void open_journal(struct fixture *f)
{
    assert_int_equal(journal_open(&f->j, f->out, true, NULL), 0);
    assert_int_equal(journal_begin(&f->j, f->digest, "stamp", NULL), 0);
}

static int set_up(void **state)
{
    static struct fixture f;
    snprintf(f.folder, sizeof f.folder, "/tmp/moqa-journal-XXXXXX");
    assert_non_null(mkdtemp(f.folder));
    snprintf(f.out, sizeof f.out, "%s/out", f.folder);
    f.digest = json_pack("{s:s}", "plan", "a");
    open_journal(&f);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    journal_close(&f->j);
    json_decref(f->digest);
    quant_run_remove(f->folder);
    return 0;
}

/* context: the value of all of them; NULL: they cannot be read. */
static int read_values(void *context, size_t part, float *out, size_t *count, struct err *err)
{
    const float *value = context;
    (void)part;
    *count = COUNT;
    if (!value)
        return err_set(err, ERR_DEVICE, NULL, "lost");
    for (size_t i = 0; i < COUNT; i++)
        out[i] = *value;
    return 0;
}

static int save(struct fixture *f, size_t layers, float *value)
{
    struct journal_hidden hidden = {
        .parts = 1, .part_count = COUNT, .context = value, .read = read_values};
    return journal_save_hidden(&f->j, layers, &hidden, NULL);
}

static int take_values(void *context, size_t part, const float *values, struct err *err)
{
    float *out = context;
    (void)err;
    for (size_t i = 0; i < PART && part * PART + i < COUNT; i++)
        out[part * PART + i] = values[i];
    return 0;
}

static void check_hidden(const struct fixture *f, size_t layers, float value)
{
    struct err err = {0};
    float hidden[COUNT] = {0};
    struct journal_loader loader = {
        .count = COUNT, .part_count = PART, .context = hidden, .take = take_values};
    assert_int_equal(journal_hidden_layers(&f->j), layers);
    if (journal_load_hidden(&f->j, &loader, &err) < 0)
        fail_msg("%s: %s", err.file, err.message);
    for (size_t i = 0; i < COUNT; i++)
        assert_true(hidden[i] == value);
}

static bool is_there(const struct fixture *f, const char *name)
{
    char path[160];
    snprintf(path, sizeof path, "%s/.moqa/%s", f->out, name);
    return access(path, F_OK) == 0;
}

static void test_hidden_states_stay_until_others_are_committed(void **state)
{
    struct fixture *f = *state;
    float one = 1, two = 2;
    assert_int_equal(save(f, 1, &one), 0);
    assert_int_equal(journal_commit(&f->j, json_object(), NULL), 0);
    check_hidden(f, 1, one);
    assert_int_equal(save(f, 2, &two), 0);
    assert_true(is_there(f, "hidden-1.bin"));
    assert_int_equal(journal_commit(&f->j, json_object(), NULL), 0);
    assert_false(is_there(f, "hidden-1.bin"));
    check_hidden(f, 2, two);
}

static void test_failed_save_keeps_the_hidden_states_before(void **state)
{
    struct fixture *f = *state;
    float one = 1;
    assert_int_equal(save(f, 1, &one), 0);
    assert_int_equal(journal_commit(&f->j, json_object(), NULL), 0);
    assert_int_equal(save(f, 2, NULL), ERR_DEVICE);
    check_hidden(f, 1, one);
    /* The layer is done again and stored without a save, because none is due. */
    assert_int_equal(journal_commit(&f->j, json_object(), NULL), 0);
    assert_int_equal(journal_layers(&f->j), 2);
    check_hidden(f, 1, one);
    journal_close(&f->j);
    open_journal(f);
    check_hidden(f, 1, one);
}

static void test_saved_but_never_committed_goes_when_the_run_is_opened(void **state)
{
    struct fixture *f = *state;
    float one = 1, two = 2;
    assert_int_equal(save(f, 1, &one), 0);
    journal_close(&f->j);
    assert_true(is_there(f, "hidden-1.bin"));
    open_journal(f);
    assert_false(is_there(f, "hidden-1.bin"));
    assert_int_equal(save(f, 1, &one), 0);
    assert_int_equal(journal_commit(&f->j, json_object(), NULL), 0);
    assert_int_equal(save(f, 2, &two), 0);
    journal_close(&f->j);
    open_journal(f);
    assert_false(is_there(f, "hidden-2.bin"));
    check_hidden(f, 1, one);
}

static void test_hidden_states_of_another_length_are_damaged(void **state)
{
    struct fixture *f = *state;
    float one = 1, hidden[2 * COUNT];
    assert_int_equal(save(f, 1, &one), 0);
    assert_int_equal(journal_commit(&f->j, json_object(), NULL), 0);
    for (size_t count = 1; count < 2 * COUNT; count++) {
        struct err err = {0};
        struct journal_loader loader = {
            .count = count, .part_count = PART, .context = hidden, .take = take_values};
        int rc = journal_load_hidden(&f->j, &loader, &err);
        assert_int_equal(rc, count == COUNT ? 0 : ERR_INPUT);
        assert_true(count == COUNT || strstr(err.message, "damaged"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_hidden_states_stay_until_others_are_committed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_failed_save_keeps_the_hidden_states_before, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_saved_but_never_committed_goes_when_the_run_is_opened,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hidden_states_of_another_length_are_damaged, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
