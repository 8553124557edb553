/* Zero-shot tasks against lm-evaluation-harness (tests/golden/tasks). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/base/atomic_file.h"
#include "data/base/jsonio.h"
#include "model_fixture.h"
#include "src/eval/task.h"

static const char *const names[2] = {"tiny-olmoe", "tiny-qwen2moe"};

static json_t *expected_of(const json_t *file, size_t model)
{
    return json_object_get(json_object_get(file, "models"), names[model]);
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void check_choice(const struct task_item *item, const struct task_choice *got,
                         const json_t *want, size_t index)
{
    assert_string_equal(item->context, text_of(want, "context"));
    assert_string_equal(got->continuation, text_of(want, "continuation"));
    assert_int_equal(got->result.tokens, json_integer_value(json_object_get(want, "tokens")));
    if (json_object_get(want, "characters"))
        assert_int_equal(got->characters, json_integer_value(json_object_get(want, "characters")));
    double value = json_number_value(json_object_get(want, "loglikelihood"));
    if (!(fabs(got->result.value - value) < 1e-3))
        fail_msg("item %zu: log-likelihood %.6f, expected %.6f", index, got->result.value, value);
}

static void check_score(double got, const json_t *want, const char *key)
{
    const json_t *value = json_object_get(want, key);
    if (json_is_number(value))
        assert_true(fabs(got - json_number_value(value)) < 1e-12);
}

static void run(struct task *t, const char *name, const struct model *m, struct backend *b)
{
    struct err err = {0};
    char path[512];
    snprintf(path, sizeof path, TEST_GOLDEN "/tasks/%s.jsonl", name);
    if (task_load(t, task_find(name), path, &err) < 0 || task_run(t, m, b, NULL, &err) < 0)
        fail_msg("%s: %s: %s", name, err.file, err.message);
}

static void check_task(const char *name, const json_t *want, const struct model *m,
                       struct backend *b)
{
    struct task t;
    run(&t, name, m, b);
    assert_int_equal(t.count, json_integer_value(json_object_get(want, "n")));
    for (size_t i = 0; i < t.count; i++) {
        const json_t *item = json_array_get(json_object_get(want, "items"), i);
        const json_t *choices = json_object_get(item, "choices");
        assert_int_equal(t.items[i].right, json_integer_value(json_object_get(item, "right")));
        assert_int_equal(t.items[i].predicted,
                         json_integer_value(json_object_get(item, "predicted")));
        if (t.info->has_norm)
            assert_int_equal(t.items[i].predicted_norm,
                             json_integer_value(json_object_get(item, "predicted_norm")));
        assert_int_equal(t.items[i].count, json_array_size(choices));
        for (size_t c = 0; c < t.items[i].count; c++)
            check_choice(&t.items[i], &t.items[i].choices[c], json_array_get(choices, c), i);
    }
    check_score(t.acc, want, "acc");
    if (t.info->has_norm)
        check_score(t.acc_norm, want, "acc_norm");
    if (t.info->has_f1)
        check_score(t.f1, want, "f1");
    task_release(&t);
}

static void test_tasks_equal_the_harness_on_both_models(void **state)
{
    (void)state;
    json_t *file = fixture_json(TEST_GOLDEN "/tasks", "expected.json");
    struct backend *b = fixture_backend(2);
    for (size_t model = 0; model < 2; model++) {
        struct model m;
        const char *task;
        json_t *want;
        size_t tasks = 0;
        fixture_open(&m, fixture_tiny[model].dir);
        json_object_foreach(json_object_get(expected_of(file, model), "tasks"), task, want)
        {
            check_task(task, want, &m, b);
            tasks++;
        }
        assert_int_equal(tasks, 6);
        model_release(&m);
    }
    backend_free(b);
    json_decref(file);
}

/* Empty contexts, white space at the border, tokens that cross it. */
static void test_pairs_follow_the_tokenization_rule(void **state)
{
    (void)state;
    json_t *file = fixture_json(TEST_GOLDEN "/tasks", "expected.json");
    struct backend *b = fixture_backend(2);
    for (size_t model = 0; model < 2; model++) {
        struct model m;
        struct task t;
        const json_t *pairs = json_object_get(expected_of(file, model), "pairs");
        fixture_open(&m, fixture_tiny[model].dir);
        run(&t, "pairs", &m, b);
        assert_int_equal(t.count, json_array_size(pairs));
        for (size_t i = 0; i < t.count; i++)
            check_choice(&t.items[i], &t.items[i].choices[0], json_array_get(pairs, i), i);
        task_release(&t);
        model_release(&m);
    }
    backend_free(b);
    json_decref(file);
}

static void test_details_hold_every_choice(void **state)
{
    (void)state;
    struct model m;
    struct task t;
    json_t *object = NULL;
    struct backend *b = fixture_backend(1);
    fixture_open(&m, fixture_tiny[0].dir);
    run(&t, "cb", &m, b);
    assert_int_equal(task_json(&object, &t, true, NULL), 0);
    const json_t *items = json_object_get(object, "items");
    assert_int_equal(json_array_size(items), t.count);
    const json_t *choice = json_array_get(json_object_get(json_array_get(items, 2), "choices"), 1);
    assert_true(json_number_value(json_object_get(choice, "loglikelihood")) ==
                t.items[2].choices[1].result.value);
    assert_null(json_object_get(object, "acc_norm"));
    json_decref(object);
    assert_int_equal(task_json(&object, &t, false, NULL), 0);
    assert_null(json_object_get(object, "items"));
    assert_true(json_number_value(json_object_get(object, "f1")) == t.f1);
    json_decref(object);
    task_release(&t);
    backend_free(b);
    model_release(&m);
}

static void test_bad_data_names_file_line_and_field(void **state)
{
    (void)state;
    static const struct {
        const char *task, *text, *message;
    } cases[] = {
        {"piqa", "", "has no line, expected one or more with goal, sol1, sol2, label"},
        {"piqa", "\n \r\n", "has no line, expected one or more with goal, sol1, sol2, label"},
        {"piqa", "{\"goal\":\"a\",\"sol1\":\"b\",\"sol2\":\"c\",\"label\":1}\n[1]\n",
         "line 2: found no object, expected one with goal, sol1, sol2, label"},
        {"piqa", "\n{\"goal\":\"a\",\"sol1\":\"b\",\"label\":1}",
         "line 2: sol2: found nothing, expected a string"},
        {"piqa", "{\"goal\":\"a\",\"sol1\":\"b\",\"sol2\":\"c\",\"label\":2}",
         "line 1: label: found 2, expected 0 to 1"},
        {"piqa", "{\"goal\":\"a\",\"sol1\":\"b\",\"sol2\":\"c\",\"label\":-1}",
         "line 1: label: found -1, expected 0 to 1"},
        {"arc_easy",
         "{\"question\":\"q\",\"choices\":{\"text\":[\"a\"],\"label\":[\"A\",\"B\"]},"
         "\"answerKey\":\"A\"}",
         "line 1: choices: found 1 texts and 2 labels, expected as many"},
        {"arc_easy",
         "{\"question\":\"q\",\"choices\":{\"text\":[\"a\",3],\"label\":[\"A\",\"B\"]},"
         "\"answerKey\":\"A\"}",
         "line 1: choices: entry 1 is no string"},
        {"arc_challenge",
         "{\"question\":\"q\",\"choices\":{\"text\":[\"a\",\"b\"],\"label\":[\"A\",\"B\"]},"
         "\"answerKey\":\"E\"}",
         "line 1: answerKey: found \"E\", expected one of choices.label"},
        {"copa",
         "{\"premise\":\"p\",\"choice1\":\"b\",\"choice2\":\"c\",\"question\":\"why\","
         "\"label\":1}",
         "line 1: question: found \"why\", expected cause or effect"},
        {"cb", "{\"premise\":\"p\",\"hypothesis\":\"h\",\"label\":3}",
         "line 1: label: found 3, expected 0 to 2"},
        {"rte", "{\"sentence1\":\"p\"\n", "line 1: not valid JSON"},
    };
    char path[] = "/tmp/moqa-task-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        struct task t;
        assert_int_equal(atomic_file_save(path, cases[i].text, strlen(cases[i].text), NULL), 0);
        assert_int_equal(task_load(&t, task_find(cases[i].task), path, &err), ERR_INPUT);
        assert_string_equal(err.file, path);
        if (strncmp(err.message, cases[i].message, strlen(cases[i].message)) != 0)
            fail_msg("found \"%s\", expected \"%s\"", err.message, cases[i].message);
        assert_null(t.items);
    }
    unlink(path);
}

static void test_pairs_without_tokens_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct loglikelihood_pair pair;
        const char *message;
    } cases[] = {
        {{"The town", ""}, "pair 1: its continuation has no token of its own"},
        {{" \n", "x"}, "pair 1 has a context of white space alone"},
        {{"", ""}, "pair 1: its continuation has no token of its own"},
    };
    struct model m;
    struct backend *b = fixture_backend(1);
    fixture_open(&m, fixture_tiny[0].dir);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        const struct loglikelihood_pair pairs[2] = {{"a", " b"}, cases[i].pair};
        struct loglikelihood out[2];
        assert_int_equal(loglikelihood_run(out, &m, b, pairs, 2, NULL, &err), ERR_INPUT);
        assert_string_equal(err.message, cases[i].message);
    }
    backend_free(b);
    model_release(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tasks_equal_the_harness_on_both_models),
        cmocka_unit_test(test_pairs_follow_the_tokenization_rule),
        cmocka_unit_test(test_details_hold_every_choice),
        cmocka_unit_test(test_bad_data_names_file_line_and_field),
        cmocka_unit_test(test_pairs_without_tokens_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
