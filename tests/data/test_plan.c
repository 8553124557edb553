/* Plan files: exact round trips, and thirty ways to spoil one with the words for each. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/base/atomic_file.h"
#include "data/base/jsonio.h"
#include "data/base/str.h"
#include "data/plan.h"

static char folder[] = "/tmp/moqa_plan_XXXXXX";
static char path[64], second[64];

static uint64_t random_state = 99;

static double uniform(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 11) * 0x1p-53;
}

/* Three layers of five experts, with numbers that need all 17 digits. */
static void make_plan(struct plan *p)
{
    static const unsigned widths[] = {2, 3, 4, 8, 16};
    struct err err = {0};
    memset(p, 0, sizeof *p);
    assert_int_equal(plan_alloc(p, 3, 5, &err), 0);
    settings_defaults(&p->settings);
    p->settings.alpha = 0.1 + 0.2;
    p->settings.classes = 3;
    p->settings.seed = 1234567890123456789u;
    p->settings.layer[1].has_rule = true;
    p->settings.layer[1].rule = RULE_JENKS;
    p->quantizer = PLAN_GPTQ;
    snprintf(p->method, sizeof p->method, "moqa");
    snprintf(p->model_name, sizeof p->model_name, "modèle \"tiny\"\n");
    snprintf(p->model_type, sizeof p->model_type, "olmoe");
    memset(p->config_sha256, 'a', HASH_HEX_SIZE - 1);
    memset(p->trace_sha256, '7', HASH_HEX_SIZE - 1);
    snprintf(p->trace_name, sizeof p->trace_name, "trace.h5");
    p->positions = 16384;
    for (size_t l = 0; l < 3; l++) {
        struct plan_layer *x = &p->layers[l];
        struct plan_expert *experts = x->experts;
        *x = (struct plan_layer){.layer = 2 * l,
                                 .mu = uniform(),
                                 .sigma = uniform() * 1e-7,
                                 .pattern = 1 + l % 2,
                                 .rule = l == 1 ? RULE_JENKS : RULE_THRESHOLD,
                                 .threshold = uniform(),
                                 .breaks = 2,
                                 .break_at = {uniform(), 1 + uniform()},
                                 .gvf = uniform(),
                                 .experts = experts};
        for (size_t e = 0; e < 5; e++)
            experts[e] = (struct plan_expert){uniform(), 1 + e % 2, widths[e], e == 3, {0}, {0}};
        for (size_t e = 0; e < 3; e++)
            for (size_t k = 0; k < PLAN_LINEARS; k++)
                experts[e].channels[k] = k == PLAN_DOWN ? 3 * e : 6 * e;
    }
    p->summary.nominal_bits = 2.9204644097222223;
    p->summary.effective_bits = 1 / 3.0 + 3;
    p->summary.bytes_before = 9007199254740993u; /* no double holds it */
    p->summary.bytes_after = 12345;
}

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/plan.json", folder);
    snprintf(second, sizeof second, "%s/second.json", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    unlink(second);
    return rmdir(folder);
}

static void assert_same_plan(const struct plan *a, const struct plan *b)
{
    assert_string_equal(a->method, b->method);
    assert_int_equal(a->quantizer, b->quantizer);
    assert_string_equal(a->model_name, b->model_name);
    assert_string_equal(a->model_type, b->model_type);
    assert_string_equal(a->config_sha256, b->config_sha256);
    assert_string_equal(a->trace_name, b->trace_name);
    assert_string_equal(a->trace_sha256, b->trace_sha256);
    assert_int_equal(a->positions, b->positions);
    assert_true(settings_equal(&a->settings, &b->settings));
    assert_int_equal(a->layers_count, b->layers_count);
    assert_int_equal(a->experts, b->experts);
    for (size_t l = 0; l < a->layers_count; l++) {
        const struct plan_layer *x = &a->layers[l], *y = &b->layers[l];
        assert_int_equal(x->layer, y->layer);
        assert_int_equal(x->pattern, y->pattern);
        assert_int_equal(x->rule, y->rule);
        assert_int_equal(x->breaks, y->breaks);
        assert_true(x->mu == y->mu && x->sigma == y->sigma && x->threshold == y->threshold);
        assert_true(x->gvf == y->gvf && x->break_at[0] == y->break_at[0]);
        assert_true(x->break_at[1] == y->break_at[1]);
        assert_memory_equal(x->shared_bits, y->shared_bits, PLAN_LINEARS);
        for (size_t e = 0; e < a->experts; e++) {
            const struct plan_expert *u = &x->experts[e], *v = &y->experts[e];
            assert_true(u->significance == v->significance && u->pinned == v->pinned);
            assert_true(u->group == v->group && u->bits == v->bits);
            assert_memory_equal(u->channels, v->channels, sizeof u->channels);
            assert_memory_equal(u->linear_bits, v->linear_bits, PLAN_LINEARS);
        }
    }
    assert_true(a->summary.nominal_bits == b->summary.nominal_bits);
    assert_true(a->summary.effective_bits == b->summary.effective_bits);
    assert_true(a->summary.bytes_before == b->summary.bytes_before);
    assert_true(a->summary.bytes_after == b->summary.bytes_after);
}

static void test_a_plan_comes_back_exactly(void **state)
{
    (void)state;
    struct plan a, b;
    struct err err = {0};
    char *x, *y;
    size_t nx, ny;
    make_plan(&a);
    if (plan_save(&a, path, &err) < 0 || plan_load(&b, path, &err) < 0)
        fail_msg("%s", err.message);
    assert_same_plan(&a, &b);
    assert_int_equal(plan_save(&b, second, &err), 0);
    assert_int_equal(str_read_file(&x, &nx, path, 1u << 20, &err), 0);
    assert_int_equal(str_read_file(&y, &ny, second, 1u << 20, &err), 0);
    assert_int_equal(nx, ny);
    assert_memory_equal(x, y, nx);
    free(x);
    free(y);
    plan_release(&a);
    plan_release(&b);
}

static size_t version_of(const char *file)
{
    json_t *root;
    assert_int_equal(jsonio_load(&root, file, 1u << 20, NULL), 0);
    size_t version = (size_t)json_integer_value(json_object_get(root, "schema_version"));
    json_decref(root);
    return version;
}

/* Older programs would overlook them and give the whole expert one width: another version. */
static void test_widths_of_single_linears_come_back_under_a_version_of_their_own(void **state)
{
    (void)state;
    static const uint8_t wide[PLAN_LINEARS] = {2, 4, 16}, shared[PLAN_LINEARS] = {8, 3, 3};
    struct plan a, b;
    make_plan(&a);
    assert_int_equal(plan_save(&a, path, NULL), 0);
    assert_int_equal(version_of(path), 1);
    memcpy(a.layers[1].experts[4].linear_bits, wide, sizeof wide);
    memcpy(a.layers[2].shared_bits, shared, sizeof shared);
    assert_int_equal(plan_save(&a, path, NULL), 0);
    assert_int_equal(version_of(path), 2);
    assert_int_equal(plan_load(&b, path, NULL), 0);
    assert_same_plan(&a, &b);
    assert_true(plan_equal(&a, &b));
    b.layers[2].shared_bits[1] = 4;
    assert_false(plan_equal(&a, &b));
    b.layers[2].shared_bits[1] = 3;
    b.layers[1].experts[4].linear_bits[0] = 3;
    assert_false(plan_equal(&a, &b));
    assert_int_equal(plan_expert_bits(&b.layers[1].experts[4], PLAN_DOWN), 16);
    assert_int_equal(plan_expert_bits(&b.layers[1].experts[3], PLAN_DOWN), 8);
    assert_int_equal(plan_shared_bits(&b, &b.layers[2], PLAN_GATE), 8);
    assert_int_equal(plan_shared_bits(&b, &b.layers[0], PLAN_GATE), b.settings.bits_shared);
    plan_release(&a);
    plan_release(&b);
}

/* Those that gate and up share, beside one width, are as older programs have them. */
static void test_channels_of_single_linears_come_back_under_a_version_of_their_own(void **state)
{
    (void)state;
    static const uint8_t wide[PLAN_LINEARS] = {2, 4, 16};
    struct plan a, b;
    make_plan(&a);
    a.layers[1].experts[2].channels[PLAN_UP] = 0;
    assert_int_equal(plan_save(&a, path, NULL), 0);
    assert_int_equal(version_of(path), 3);
    assert_int_equal(plan_load(&b, path, NULL), 0);
    assert_same_plan(&a, &b);
    assert_true(plan_equal(&a, &b));
    plan_release(&b);
    a.layers[1].experts[2].channels[PLAN_UP] = a.layers[1].experts[2].channels[PLAN_GATE];
    memcpy(a.layers[0].experts[4].linear_bits, wide, sizeof wide);
    assert_int_equal(plan_save(&a, path, NULL), 0);
    assert_int_equal(version_of(path), 2);
    a.layers[0].experts[4].channels[PLAN_UP] = 7;
    assert_int_equal(plan_save(&a, path, NULL), 0);
    assert_int_equal(version_of(path), 3);
    assert_int_equal(plan_load(&b, path, NULL), 0);
    assert_same_plan(&a, &b);
    assert_true(plan_has_channels(&b) && plan_expert_has_channels(&b.layers[0].experts[4]));
    a.layers[0].experts[4].channels[PLAN_DOWN] = 1; /* at 16 bits */
    assert_int_equal(plan_save(&a, path, NULL), ERR_INPUT);
    plan_release(&a);
    plan_release(&b);
}

static void test_a_copy_is_equal_and_of_its_own(void **state)
{
    (void)state;
    struct plan p, copy = {0};
    make_plan(&p);
    assert_int_equal(plan_copy(&copy, &p, NULL), 0);
    assert_true(plan_equal(&p, &copy));
    copy.layers[2].experts[4].significance += 1; /* measured, not decided */
    assert_true(plan_equal(&p, &copy));
    copy.layers[2].experts[4].pinned = !copy.layers[2].experts[4].pinned;
    assert_false(plan_equal(&p, &copy));
    copy.layers[2].experts[4].pinned = p.layers[2].experts[4].pinned;
    copy.layers[0].experts[1].channels[PLAN_UP]++;
    assert_false(plan_equal(&p, &copy));
    copy.layers[0].experts[1].channels[PLAN_UP]--;
    copy.settings.damping *= 2;
    assert_false(plan_equal(&p, &copy));
    copy.settings.damping = p.settings.damping;
    copy.quantizer = PLAN_RTN;
    assert_false(plan_equal(&p, &copy));
    plan_release(&copy);
    plan_release(&p);
}

static void test_an_invalid_plan_is_never_written(void **state)
{
    (void)state;
    struct plan p;
    struct err err = {0};
    make_plan(&p);
    p.layers[2].sigma = NAN;
    unlink(second);
    assert_int_equal(plan_save(&p, second, &err), ERR_INPUT);
    assert_string_equal(err.message, "layers[2].sigma: found nan, expected a number of at least 0");
    assert_int_equal(access(second, F_OK), -1);
    plan_release(&p);
}

static void test_a_name_that_is_not_utf8_is_kept(void **state)
{
    (void)state;
    struct plan p, back;
    make_plan(&p);
    snprintf(p.trace_name, sizeof p.trace_name, "trace\xff.h5");
    assert_int_equal(plan_save(&p, second, NULL), 0);
    assert_int_equal(plan_load(&back, second, NULL), 0);
    assert_string_equal(back.trace_name, p.trace_name);
    plan_release(&back);
    plan_release(&p);
}

/* --- Spoiled files --- */

/* The value at a path of keys and indices ("layers/1/experts/2/bits") becomes `json`, or goes
 * away where that is NULL. */
static void edit(json_t *root, const char *where, const char *json)
{
    char copy[128], *save = NULL;
    snprintf(copy, sizeof copy, "%s", where);
    json_t *at = root, *value = json ? json_loads(json, JSON_DECODE_ANY, NULL) : NULL;
    assert_true(value || !json);
    char *part = strtok_r(copy, "/", &save), *next;
    for (; (next = strtok_r(NULL, "/", &save)); part = next)
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(part)) : json_object_get(at, part);
    if (json_is_array(at)) {
        size_t index = (size_t)atoi(part);
        if (!value)
            assert_int_equal(json_array_remove(at, index), 0);
        else if (index < json_array_size(at))
            json_array_set_new(at, index, value);
        else
            json_array_append_new(at, value);
    } else if (value) {
        json_object_set_new(at, part, value);
    } else {
        assert_int_equal(json_object_del(at, part), 0);
    }
}

static const struct {
    const char *where, *json;
    int code;
    const char *message;
} edits[] = {
    {"schema", "\"moqa.trace\"", ERR_INPUT, "schema: found \"moqa.trace\", expected \"moqa.plan\""},
    {"schema", NULL, ERR_INPUT, "schema: found nothing, expected a string"},
    {"schema_version", "4", ERR_UNSUPPORTED,
     "schema_version: found 4, expected 3; made by another version of moqa"},
    {"layers/0/shared_bits", "[2, 3]", ERR_INPUT,
     "layers[0].shared_bits: found 2 widths, expected those of gate, up and down"},
    {"layers/0/shared_bits", "[2, 3, 5]", ERR_INPUT,
     "layers[0].shared_bits[2]: found 5, expected 2, 3, 4, 8 or 16"},
    {"layers/1/experts/3/linear_bits", "[2, 3, \"4\"]", ERR_INPUT,
     "layers[1].experts[3].linear_bits[2]: expected 2, 3, 4, 8 or 16"},
    {"layers/1/experts/3/linear_bits", "[2, 3, 4]", ERR_INPUT,
     "layers[1].experts[3].bits: found 8, expected one of linear_bits"},
    {"layers/0/experts/1/linear_bits", "[3, 3, 8]", ERR_INPUT,
     "layers[0].experts[1].channels: found 3 in down of 8 bits, expected none: bits_channel is 8"},
    {"layers/0/experts/1/channels/gate_up", NULL, ERR_INPUT,
     "layers[0].experts[1].channels.gate: found nothing, expected an integer"},
    {"layers/0/experts/1/channels", "{\"gate\": 1, \"up\": -1, \"down\": 3}", ERR_INPUT,
     "layers[0].experts[1].channels.up: found -1, expected 0 to 1073741824"},
    {"method", "\"\"", ERR_INPUT, "method: found nothing, expected a name"},
    {"method", "3", ERR_INPUT, "method: found an integer, expected a string"},
    {"quantizer", "\"awq\"", ERR_INPUT, "quantizer: found \"awq\", expected gptq, rtn or none"},
    {"quantizer", "\"none\"", ERR_INPUT,
     "layers[0].experts[0].bits: found 2, expected 16, since quantizer is none"},
    {"model", NULL, ERR_INPUT, "model: found nothing, expected an object"},
    {"model/config_sha256", "\"abc\"", ERR_INPUT,
     "model.config_sha256: found \"abc\", expected 64 lower-case hexadecimal digits or nothing"},
    {"trace/positions", "-1", ERR_INPUT,
     "trace.positions: found -1, expected 0 to 9223372036854775807"},
    {"trace/file", "null", ERR_INPUT, "trace.file: found null, expected a string"},
    {"settings/alpha", "\"much\"", ERR_INPUT,
     "settings.alpha: found \"much\", expected a number from 0 to 2"},
    {"settings/beta_chanel", "0.1", ERR_INPUT, "settings: no setting is called \"beta_chanel\""},
    {"settings/bits_low", "8", ERR_INPUT, "settings: bits_low (8) is larger than bits_high (4)"},
    {"layers", "[]", ERR_INPUT, "layers: found 0, expected 1 to 1024"},
    {"layers", "{}", ERR_INPUT, "layers: found an object, expected an array"},
    {"layers/1", "7", ERR_INPUT,
     "layers[1].experts: found 0 experts, expected 5 as in the first layer"},
    {"layers/1/layer", "0", ERR_INPUT,
     "layers[1].layer: found 0 after 0, expected rising numbers without repeats"},
    {"layers/2/layer", "1024", ERR_INPUT, "layers[2].layer: found 1024, expected less than 1024"},
    {"layers/0/mu", "\"x\"", ERR_INPUT, "layers[0].mu: found a string, expected a number"},
    {"layers/0/sigma", "-0.5", ERR_INPUT,
     "layers[0].sigma: found -0.5, expected a number of at least 0"},
    {"layers/0/pattern", "3", ERR_INPUT, "layers[0].pattern: found 3, expected 1 or 2"},
    {"layers/0/rule", "\"auto\"", ERR_INPUT,
     "layers[0].rule: found \"auto\", expected threshold or jenks"},
    {"layers/0/breaks", "[0.5,0.25]", ERR_INPUT,
     "layers[0].breaks: found 0.25 after 0.5, expected rising values"},
    {"layers/0/breaks", "[0.1,0.2,0.3]", ERR_INPUT,
     "layers[0].breaks: found 3 breaks, expected at most 2 for 3 classes"},
    {"layers/0/breaks", "[0.1,0.2,0.3,0.4,0.5]", ERR_INPUT,
     "layers[0].breaks: found 5 breaks, expected at most 3"},
    {"layers/0/breaks/0", "true", ERR_INPUT, "layers[0].breaks[0]: expected a number"},
    {"layers/2/experts/4", NULL, ERR_INPUT,
     "layers[2].experts: found 4 experts, expected 5 as in the first layer"},
    {"layers/1/experts/2/bits", "5", ERR_INPUT,
     "layers[1].experts[2].bits: found 5, expected 2, 3, 4, 8 or 16"},
    {"layers/1/experts/2/bits", "2.0", ERR_INPUT,
     "layers[1].experts[2].bits: found a number, expected an integer"},
    {"layers/1/experts/2/group", "4", ERR_INPUT,
     "layers[1].experts[2].group: found 4, expected 1 to 3"},
    {"layers/0/experts/2/group", "3", ERR_INPUT,
     "layers[0].experts[2].group: found 3, expected 1 to 2"},
    {"layers/1/experts/0/significance", "-1", ERR_INPUT,
     "layers[1].experts[0].significance: found -1, expected a number of at least 0"},
    {"layers/1/experts/0/pinned", "1", ERR_INPUT,
     "layers[1].experts[0].pinned: found an integer, expected true or false"},
    {"layers/1/experts/0/channels/down", NULL, ERR_INPUT,
     "layers[1].experts[0].channels.down: found nothing, expected an integer"},
    {"layers/1/experts/3/channels/down", "4", ERR_INPUT,
     "layers[1].experts[3].channels: found 4 in down of 8 bits, expected none: "
     "bits_channel is 8"},
    {"summary/nominal_bits", "99", ERR_INPUT, "summary.nominal_bits: found 99, expected 0 to 64"},
    {"summary/bytes_after", "1.5", ERR_INPUT,
     "summary.bytes_after: found a number, expected an integer"},
    {"summary", NULL, ERR_INPUT, "summary: found nothing, expected an object"},
};

static void test_every_spoiled_plan_is_refused_in_its_own_words(void **state)
{
    (void)state;
    struct plan p;
    struct err err = {0};
    make_plan(&p);
    assert_int_equal(plan_save(&p, path, &err), 0);
    plan_release(&p);
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        json_t *root;
        err_clear(&err);
        assert_int_equal(jsonio_load(&root, path, 1u << 20, &err), 0);
        edit(root, edits[i].where, edits[i].json);
        assert_int_equal(jsonio_save(root, second, &err), 0);
        json_decref(root);
        int rc = plan_load(&p, second, &err);
        if (rc != edits[i].code || strcmp(err.message, edits[i].message) != 0)
            fail_msg("%s = %s: code %d, \"%s\"", edits[i].where,
                     edits[i].json ? edits[i].json : "(nothing)", rc, err.message);
        assert_string_equal(err.file, second);
        assert_null(p.layers);
    }
}

static void test_a_plan_cut_short_anywhere_is_refused(void **state)
{
    (void)state;
    struct plan p;
    struct err err = {0};
    char *text;
    size_t size;
    make_plan(&p);
    assert_int_equal(plan_save(&p, path, &err), 0);
    plan_release(&p);
    assert_int_equal(str_read_file(&text, &size, path, 1u << 20, &err), 0);
    for (size_t cut = 0; cut + 2 < size; cut += 37) {
        err_clear(&err);
        assert_int_equal(atomic_file_save(second, text, cut, &err), 0);
        assert_int_equal(plan_load(&p, second, &err), ERR_INPUT);
        assert_null(p.layers);
    }
    free(text);
}

static void test_a_missing_file_is_named(void **state)
{
    (void)state;
    struct plan p;
    struct err err = {0};
    assert_true(plan_load(&p, "/tmp/no such folder/plan.json", &err) < 0);
    assert_string_equal(err.file, "/tmp/no such folder/plan.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_plan_comes_back_exactly),
        cmocka_unit_test(test_widths_of_single_linears_come_back_under_a_version_of_their_own),
        cmocka_unit_test(test_channels_of_single_linears_come_back_under_a_version_of_their_own),
        cmocka_unit_test(test_a_copy_is_equal_and_of_its_own),
        cmocka_unit_test(test_an_invalid_plan_is_never_written),
        cmocka_unit_test(test_a_name_that_is_not_utf8_is_kept),
        cmocka_unit_test(test_every_spoiled_plan_is_refused_in_its_own_words),
        cmocka_unit_test(test_a_plan_cut_short_anywhere_is_refused),
        cmocka_unit_test(test_a_missing_file_is_named),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
