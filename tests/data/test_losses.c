/* Losses files: exact round trips, unfinished ones, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/base/jsonio.h"
#include "data/losses.h"

static char folder[] = "/tmp/moqa_losses_XXXXXX";
static char path[64];

static uint64_t random_state = 7;

static double uniform(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 11) * 0x1p-53;
}

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/losses.json", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void fill_expert(struct losses_expert *x)
{
    x->tokens = (size_t)(uniform() * 1e6);
    x->outlier = 1 + uniform() / 3;
    for (size_t k = 0; k < PLAN_LINEARS; k++)
        for (size_t w = 0; w < 3; w++)
            x->loss[k][w] = uniform() * 1e-9;
}

/* Shares of channels at 2 and 4 bits, not at the 8 of the channels. */
static void add_channels(struct losses *l)
{
    l->shares_count = 2;
    l->shares[0] = 0.1 / 3;
    l->shares[1] = 0.125;
    for (size_t i = 0; i < l->layers_count * l->experts; i++) {
        struct losses_expert *x = &l->layers[i / l->experts].experts[i % l->experts];
        for (size_t k = 0; k < PLAN_LINEARS * 2 * 2; k++)
            x->channel_loss[k / 4][k / 2 % 2][k % 2] = uniform() * 1e-9;
    }
}

static void make_losses(struct losses *l)
{
    static const unsigned widths[] = {2, 4, 8};
    memset(l, 0, sizeof *l);
    assert_int_equal(losses_alloc(l, 3, 5, NULL), 0);
    settings_defaults(&l->settings);
    l->settings.scale_search = true;
    snprintf(l->model_name, sizeof l->model_name, "modèle \"tiny\"");
    snprintf(l->model_type, sizeof l->model_type, "olmoe");
    memset(l->config_sha256, 'a', HASH_HEX_SIZE - 1);
    memset(l->model_sha256, 'b', HASH_HEX_SIZE - 1);
    memset(l->calibration_sha256, 'c', HASH_HEX_SIZE - 1);
    l->positions = 123456789;
    l->probe_positions = 4096;
    l->widths_count = 3;
    memcpy(l->widths, widths, sizeof widths);
    l->layers_done = 3;
    l->complete = true;
    for (size_t i = 0; i < 3; i++) {
        l->layers[i].layer = 2 * i + 1;
        l->layers[i].sensitivity = uniform() / 7;
        l->layers[i].importance = uniform() / 7;
        for (size_t e = 0; e < 5; e++)
            fill_expert(&l->layers[i].experts[e]);
        fill_expert(&l->layers[i].shared);
    }
}

static void assert_same(const struct losses *a, const struct losses *b)
{
    assert_string_equal(a->model_name, b->model_name);
    assert_string_equal(a->model_sha256, b->model_sha256);
    assert_int_equal(a->positions, b->positions);
    assert_int_equal(a->layers_done, b->layers_done);
    assert_int_equal(a->complete, b->complete);
    assert_int_equal(losses_check_same(a, "a", b, NULL), 0);
    for (size_t i = 0; i < a->layers_done; i++) {
        const struct losses_layer *x = &a->layers[i], *y = &b->layers[i];
        assert_int_equal(x->layer, y->layer);
        assert_true(x->sensitivity == y->sensitivity && x->importance == y->importance);
        assert_memory_equal(&x->shared, &y->shared, sizeof x->shared);
        assert_memory_equal(x->experts, y->experts, a->experts * sizeof *x->experts);
    }
}

static void test_losses_come_back_exactly_also_unfinished_ones(void **state)
{
    (void)state;
    for (size_t i = 0; i < 8; i++) {
        struct losses a, b;
        size_t done = i / 2;
        make_losses(&a);
        if (i % 2)
            add_channels(&a);
        a.layers_done = done;
        a.complete = done == 3;
        assert_int_equal(losses_save(&a, path, NULL), 0);
        assert_int_equal(losses_load(&b, path, NULL), 0);
        assert_same(&a, &b);
        losses_release(&a);
        losses_release(&b);
    }
}

static const struct {
    const char *key; /* "layers/1/sensitivity" */
    const char *json;
    const char *message;
} edits[] = {
    {"schema_version", "2", "schema_version: found 2, expected 1; made by another version of moqa"},
    {"widths", "[2, 2, 4]", "widths[1]: expected 2, 3, 4 or 8, each more than the one before"},
    {"widths", "[]", "widths: found 0, expected 1 to 4"},
    {"widths", "[2, 8]", "layers[0].experts[0].gate: found 3 losses, expected 2"},
    {"moe_layers", "4", "layers: found 3, expected 4"},
    {"experts", "6", "layers[0].experts: found 5 experts, expected 6"},
    {"layers/1/sensitivity", "-1",
     "layers[1].sensitivity: found -1, expected a number of at least 0"},
    {"layers/2/shared", "null", "layers[2].shared: found null, expected an object"},
    {"layers/0/experts/4/down", "[1, 2]", "layers[0].experts[4].down: found 2 losses, expected 3"},
    {"layers/0/experts/4/up", "[1, -2, 3]",
     "layers[0].experts[4].up[1]: expected a number of at least 0"},
    {"calibration", "null", "calibration: found null, expected an object"},
    {"channel_shares", "[]",
     "channel_shares: expected 1 to 4 numbers above 0, at most 0.5, rising"},
    {"channel_shares", "[0.1, 0.1]",
     "channel_shares: expected 1 to 4 numbers above 0, at most 0.5, rising"},
    {"channel_shares", "[0.1, 0.6]",
     "channel_shares: expected 1 to 4 numbers above 0, at most 0.5, rising"},
    {"channel_shares", "[0.01, 0.02, 0.03, 0.04, 0.05]",
     "channel_shares: expected 1 to 4 numbers above 0, at most 0.5, rising"},
    {"channel_shares", "[0.125]",
     "layers[0].experts[0].channels.gate[0]: found 2 losses, expected 1"},
    {"settings/bits_channel", "3",
     "layers[0].experts[0].channels.gate: found 2 widths, expected 1"},
    {"layers/1/experts/3/channels", "null",
     "layers[1].experts[3].channels: found null, expected an object"},
    {"layers/1/experts/3/channels/down", "[[1, 2], [3, \"4\"]]",
     "layers[1].experts[3].channels.down[1][1]: expected a number of at least 0"},
};

static void edit(const char *keys, const char *json)
{
    json_t *root, *value = json_loads(json, JSON_DECODE_ANY, NULL);
    char text[64], *rest = text, *part;
    assert_int_equal(jsonio_load(&root, path, 1u << 20, NULL), 0);
    json_t *at = root;
    snprintf(text, sizeof text, "%s", keys);
    while ((part = strsep(&rest, "/")) && rest)
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(part)) : json_object_get(at, part);
    assert_int_equal(json_object_set_new(at, part, value), 0);
    assert_int_equal(jsonio_save(root, path, NULL), 0);
    json_decref(root);
}

static void test_every_spoiled_file_is_refused_in_its_own_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        struct losses l;
        struct err err = {0};
        make_losses(&l);
        add_channels(&l);
        assert_int_equal(losses_save(&l, path, NULL), 0);
        losses_release(&l);
        edit(edits[i].key, edits[i].json);
        assert_true(losses_load(&l, path, &err) < 0);
        assert_string_equal(err.message, edits[i].message);
        assert_null(l.layers);
    }
}

static void test_settings_of_another_rounding_are_refused(void **state)
{
    (void)state;
    struct losses l;
    struct settings s;
    struct err err = {0};
    make_losses(&l);
    s = l.settings;
    s.alpha = 0.7; /* of the analysis: of no account */
    assert_int_equal(losses_check_settings(&l, "l.json", &s, NULL), 0);
    s.group_size = 32;
    assert_int_equal(losses_check_settings(&l, "l.json", &s, &err), ERR_USAGE);
    assert_string_equal(err.message, "the losses were measured with group_size = 128, the plan has "
                                     "32; give both the same");
    losses_release(&l);
}

/* How channels are chosen matters to losses that have some, and only to those. */
static void test_channels_have_settings_of_their_own(void **state)
{
    (void)state;
    struct losses plain, mixed;
    struct settings s;
    struct err err = {0};
    make_losses(&plain);
    make_losses(&mixed);
    add_channels(&mixed);
    s = plain.settings;
    assert_int_equal(losses_channel_widths(&plain), 0);
    assert_int_equal(losses_channel_widths(&mixed), 2);
    assert_int_equal(losses_check_channels(&mixed, "l.json", &s, NULL), 0);
    assert_int_equal(losses_check_channels(&plain, "l.json", &s, &err), ERR_USAGE);
    assert_string_equal(err.message,
                        "measured without mixed channels; moqa losses --channels measures them");
    err_clear(&err);
    assert_int_equal(losses_check_same(&plain, "l.json", &mixed, &err), ERR_INPUT);
    assert_string_equal(err.message, "holds losses of other shares of channels");
    err_clear(&err);
    s.bits_channel = 4;
    assert_int_equal(losses_check_channels(&mixed, "l.json", &s, &err), ERR_USAGE);
    assert_string_equal(err.message, "the losses were measured with bits_channel = 8, the plan has "
                                     "4; give both the same");
    err_clear(&err);
    assert_int_equal(losses_check_settings(&mixed, "l.json", &s, NULL), 0);
    plain.settings.channel_score = SCORE_HESSIAN;
    losses_release(&mixed);
    make_losses(&mixed);
    assert_int_equal(losses_check_same(&plain, "l.json", &mixed, NULL), 0);
    add_channels(&plain);
    add_channels(&mixed);
    assert_int_equal(losses_check_same(&plain, "l.json", &mixed, &err), ERR_INPUT);
    assert_string_equal(err.message, "holds losses for channel_score = hessian, expected error");
    losses_release(&plain);
    losses_release(&mixed);
}

static void test_shares_are_rounded_to_at_least_one_channel(void **state)
{
    (void)state;
    assert_int_equal(losses_channels(0.001, 64), 1);
    assert_int_equal(losses_channels(0.03, 48), 1);
    assert_int_equal(losses_channels(0.0625, 2048), 128);
    assert_int_equal(losses_channels(0.5, 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channels_have_settings_of_their_own),
        cmocka_unit_test(test_shares_are_rounded_to_at_least_one_channel),
        cmocka_unit_test(test_losses_come_back_exactly_also_unfinished_ones),
        cmocka_unit_test(test_every_spoiled_file_is_refused_in_its_own_words),
        cmocka_unit_test(test_settings_of_another_rounding_are_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
