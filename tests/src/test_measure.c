/* Measured losses against what the layer's output really loses, and interrupted measurements. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/base/jsonio.h"
#include "data/base/str.h"
#include "src/model/forward.h"
#include "src/quant/measure.h"
#include "tests/src/quant_run.h"

enum { WINDOWS = 32 };

static const unsigned widths[] = {2, 3, 4, 8};
static const double shares[] = {0.0625, 0.25};
enum { SHARES = 2 };

static struct measure_options options_of(const struct quant_run *r, const char *out)
{
    return (struct measure_options){.model = &r->model,
                                    .backend = r->backend,
                                    .ids = r->options.ids,
                                    .starts = r->options.starts,
                                    .windows = r->options.windows,
                                    .window = r->options.window,
                                    .settings = &r->plan.settings,
                                    .widths = widths,
                                    .widths_count = 4,
                                    .out = out,
                                    .precision = BACKEND_FP64};
}

static void measure_channels(struct losses *l, const struct quant_run *r, const char *name,
                             size_t shares_count)
{
    char path[160];
    struct err err = {0};
    snprintf(path, sizeof path, "%s/%s", r->folder, name);
    struct measure_options o = options_of(r, path);
    o.shares = shares;
    o.shares_count = shares_count;
    if (measure_run(&o, &err) < 0 || losses_load(l, path, &err) < 0)
        fail_msg("%s", err.message);
}

static void measure(struct losses *l, const struct quant_run *r, const char *name)
{
    measure_channels(l, r, name, 0);
}

/* Hidden states behind layer 0. */
static float *behind_first_layer(const struct quant_run *r, const struct model *m)
{
    struct forward *f = NULL;
    struct model_layer layer = {0};
    size_t count = r->options.windows * r->options.window * m->config->hidden;
    float *hidden = malloc(count * sizeof *hidden);
    assert_non_null(hidden);
    assert_int_equal(forward_new(&f, m, r->backend, r->options.ids, r->options.starts,
                                 r->options.windows, r->options.window, NULL),
                     0);
    assert_int_equal(model_layer_load(&layer, m, r->backend, 0, NULL), 0);
    assert_int_equal(forward_attention(f, &layer, NULL, true, NULL), 0);
    assert_int_equal(forward_mlp(f, &layer, NULL, true, NULL), 0);
    assert_int_equal(forward_get_hidden(f, hidden, NULL), 0);
    model_layer_release(&layer, r->backend);
    forward_free(f);
    return hidden;
}

/* Quantizes one linear of layer 0 alone. expert: SIZE_MAX for the shared one. */
static void quantize_one(struct quant_run *r, size_t expert, size_t linear, uint8_t bits,
                         size_t channels)
{
    for (size_t l = 0; l < r->plan.layers_count; l++) {
        memset(r->plan.layers[l].shared_bits, 16, PLAN_LINEARS);
        for (size_t e = 0; e < r->plan.experts; e++) {
            r->plan.layers[l].experts[e].bits = 16;
            memset(r->plan.layers[l].experts[e].linear_bits, 0, PLAN_LINEARS);
            memset(r->plan.layers[l].experts[e].channels, 0,
                   sizeof r->plan.layers[l].experts[e].channels);
        }
    }
    if (expert == SIZE_MAX) {
        r->plan.layers[0].shared_bits[linear] = bits;
    } else {
        memset(r->plan.layers[0].experts[expert].linear_bits, 16, PLAN_LINEARS);
        r->plan.layers[0].experts[expert].linear_bits[linear] = bits;
        r->plan.layers[0].experts[expert].channels[linear] = channels;
    }
    quant_run_remove(r->out);
    quant_run_pass(r);
}

/* Squared error a position of the output of layer 0 with one linear alone quantized. */
static double real_loss(struct quant_run *r, const float *original, size_t expert, size_t linear,
                        uint8_t bits, size_t channels)
{
    struct model m;
    double sum = 0;
    quantize_one(r, expert, linear, bits, channels);
    assert_int_equal(model_open(&m, r->out, NULL), 0);
    float *changed = behind_first_layer(r, &m);
    size_t positions = r->options.windows * r->options.window;
    for (size_t i = 0; i < positions * m.config->hidden; i++)
        sum += pow((double)changed[i] - (double)original[i], 2) / (double)positions;
    free(changed);
    model_release(&m);
    return sum;
}

static size_t busiest(const struct losses_layer *l, size_t experts)
{
    size_t best = 0;
    for (size_t e = 1; e < experts; e++)
        if (l->experts[e].tokens > l->experts[best].tokens)
            best = e;
    return best;
}

/* Down knows its inputs, gate and up go through a slope. */
static void check_loss(struct quant_run *r, const float *original, double measured, size_t expert,
                       size_t linear, unsigned bits, size_t channels)
{
    double real = real_loss(r, original, expert, linear, (uint8_t)bits, channels);
    double ratio = measured / real, room = linear == PLAN_DOWN ? 0.1 : 0.45;
    if (!(ratio > 1 / (1 + room) && ratio < 1 + room))
        fail_msg("linear %zu at %u bits, %zu channels: measured %g, real %g", linear, bits,
                 channels, measured, real);
}

static void check_model(const char *name)
{
    struct quant_run r;
    struct losses l;
    quant_run_open(&r, name, "gptq-4", WINDOWS, 0);
    quant_run_plan(&r, "gptq-4", "shrink=0");
    measure_channels(&l, &r, "losses.json", SHARES);
    assert_true(l.complete);
    float *original = behind_first_layer(&r, &r.model);
    size_t expert = busiest(&l.layers[0], l.experts);
    for (size_t pass = 0; pass < (r.model.config->shared_size ? 2 : 1); pass++) {
        const struct losses_expert *x = pass ? &l.layers[0].shared : &l.layers[0].experts[expert];
        for (size_t k = 0; k < PLAN_LINEARS; k++)
            for (size_t w = 0; w < 3; w++)
                check_loss(&r, original, x->loss[k][w], pass ? SIZE_MAX : expert, k, widths[w], 0);
    }
    for (size_t k = 0; k < PLAN_LINEARS; k++) {
        size_t in = k == PLAN_DOWN ? r.model.config->expert_size : r.model.config->hidden;
        check_loss(&r, original, l.layers[0].experts[expert].channel_loss[k][0][1], expert, k, 2,
                   losses_channels(shares[1], in));
    }
    free(original);
    losses_release(&l);
    quant_run_close(&r);
}

static void test_losses_are_what_the_layers_output_loses(void **state)
{
    (void)state;
    check_model("tiny-olmoe");
    check_model("tiny-qwen2moe");
}

/* tr(E H E^T) of the one linear that the pass has quantized, by its report. */
static double reported_loss(const struct quant_run *r, size_t expert)
{
    char path[160];
    json_t *root;
    snprintf(path, sizeof path, "%s/moqa_report.json", r->out);
    assert_int_equal(jsonio_load(&root, path, 1u << 24, NULL), 0);
    const json_t *layer = json_array_get(json_object_get(root, "layers"), 0);
    const json_t *part = json_array_get(json_object_get(layer, "experts"), expert);
    double loss = json_number_value(json_object_get(part, "loss"));
    json_decref(root);
    return loss;
}

/* Both round down on the same Hessian: its loss falls in the measurement by what it falls in the
 * pass, whose scales alone are rounded, when channels are chosen; others would be far off. */
static void check_against_the_pass(const char *settings)
{
    struct quant_run r;
    struct losses l;
    quant_run_open(&r, "tiny-qwen2moe", "gptq-4", 8, 0);
    quant_run_plan(&r, "gptq-4", settings);
    measure_channels(&l, &r, "losses.json", SHARES);
    size_t expert = busiest(&l.layers[0], l.experts), in = r.model.config->expert_size;
    const struct losses_expert *x = &l.layers[0].experts[expert];
    size_t mixed = losses_channel_widths(&l);
    assert_int_equal(mixed, r.plan.settings.bits_channel == 8 ? 3 : 2);
    for (size_t w = 0; w < mixed; w++) {
        quantize_one(&r, expert, PLAN_DOWN, (uint8_t)widths[w], 0);
        double plain = reported_loss(&r, expert);
        for (size_t s = 0; s < SHARES; s++) {
            quantize_one(&r, expert, PLAN_DOWN, (uint8_t)widths[w], losses_channels(shares[s], in));
            double falls = reported_loss(&r, expert) / plain;
            double measured = x->channel_loss[PLAN_DOWN][w][s] / x->loss[PLAN_DOWN][w];
            assert_true(falls < 0.95);
            if (!(fabs(measured / falls - 1) < 0.01))
                fail_msg("%s: %u bits, share %g: measured %g, in the pass %g", settings, widths[w],
                         shares[s], measured, falls);
        }
    }
    losses_release(&l);
    quant_run_close(&r);
}

static void test_channels_save_what_they_save_in_the_pass(void **state)
{
    (void)state;
    check_against_the_pass("bits_channel=8");
    check_against_the_pass("bits_channel=4,channel_score=awq,scale_search=on,refine=1");
    check_against_the_pass("channel_score=hessian,hessian_weight=gate,grid=symmetric");
}

/* They are measured beside what was measured before. */
static void test_channels_change_nothing_else(void **state)
{
    (void)state;
    struct quant_run r;
    struct losses plain, mixed;
    quant_run_open(&r, "tiny-qwen2moe", "gptq-4", 4, 0);
    measure(&plain, &r, "plain.json");
    measure_channels(&mixed, &r, "mixed.json", SHARES);
    for (size_t i = 0; i < plain.layers_count; i++) {
        const struct losses_layer *a = &plain.layers[i], *b = &mixed.layers[i];
        assert_true(a->sensitivity == b->sensitivity && a->importance == b->importance);
        for (size_t e = 0; e < plain.experts; e++) {
            const struct losses_expert *x = &b->experts[e];
            assert_memory_equal(a->experts[e].loss, x->loss, sizeof x->loss);
            for (size_t k = 0; k < PLAN_LINEARS; k++)
                for (size_t w = 0; w < 3; w++)
                    assert_true(x->channel_loss[k][w][1] > 0 &&
                                x->channel_loss[k][w][1] < x->loss[k][w]);
        }
    }
    losses_release(&plain);
    losses_release(&mixed);
    quant_run_close(&r);
}

static void test_every_linear_loses_less_at_more_bits_and_every_layer_matters(void **state)
{
    (void)state;
    struct quant_run r;
    struct losses l;
    quant_run_open(&r, "tiny-olmoe", "gptq-4", 8, 0);
    measure(&l, &r, "losses.json");
    for (size_t i = 0; i < l.layers_count; i++) {
        assert_true(l.layers[i].sensitivity > 0);
        assert_true(l.layers[i].importance > 0 && l.layers[i].importance < 2);
        for (size_t e = 0; e < l.experts; e++)
            for (size_t k = 0; k < PLAN_LINEARS; k++)
                for (size_t w = 1; w < l.widths_count; w++) {
                    assert_true(l.layers[i].experts[e].loss[k][w] > 0);
                    assert_true(l.layers[i].experts[e].loss[k][w] <
                                l.layers[i].experts[e].loss[k][w - 1]);
                }
    }
    losses_release(&l);
    quant_run_close(&r);
}

/* Stops the measurement when a layer is done, again and again. */
struct stopper {
    struct progress *progress;
    size_t next;
};

static void stop_behind(void *context, const struct progress_state *state)
{
    struct stopper *s = context;
    if (state->done >= s->next && strstr(state->stage, "rounding"))
        atomic_store(&s->progress->cancel, true);
}

static void test_interrupted_measurement_ends_in_the_same_bytes(void **state)
{
    (void)state;
    struct quant_run r;
    struct losses l;
    char whole[HASH_HEX_SIZE], pieced[HASH_HEX_SIZE], path[160];
    size_t pieces = 0;
    int rc;
    quant_run_open(&r, "tiny-qwen2moe", "gptq-4", 4, 1);
    measure_channels(&l, &r, "whole.json", SHARES);
    losses_release(&l);
    snprintf(path, sizeof path, "%s/whole.json", r.folder);
    assert_int_equal(hash_file(whole, path, NULL), 0);
    snprintf(path, sizeof path, "%s/pieces.json", r.folder);
    do {
        struct progress progress;
        progress_init(&progress);
        struct stopper stopper = {&progress, 4 * ++pieces + 2};
        progress.changed = stop_behind;
        progress.context = &stopper;
        struct measure_options o = options_of(&r, path);
        o.progress = &progress;
        o.shares = shares;
        o.shares_count = SHARES;
        o.resume = pieces > 1;
        rc = measure_run(&o, NULL);
        assert_true(rc == 0 || rc == ERR_CANCELLED);
        progress_release(&progress);
    } while (rc < 0 && pieces < 20);
    assert_int_equal(rc, 0);
    assert_true(pieces >= 3);
    assert_int_equal(hash_file(pieced, path, NULL), 0);
    assert_string_equal(whole, pieced);
    quant_run_close(&r);
}

static void test_a_file_of_another_measurement_is_not_gone_on_with(void **state)
{
    (void)state;
    struct quant_run r;
    struct losses l;
    char path[160];
    struct err err = {0};
    quant_run_open(&r, "tiny-qwen2moe", "gptq-4", 2, 0);
    measure(&l, &r, "losses.json");
    losses_release(&l);
    snprintf(path, sizeof path, "%s/losses.json", r.folder);
    struct measure_options o = options_of(&r, path);
    assert_int_equal(measure_run(&o, &err), ERR_USAGE);
    assert_non_null(strstr(err.message, "--resume"));
    err_clear(&err);
    o.resume = true;
    assert_int_equal(measure_run(&o, &err), 0);
    r.plan.settings.damping = 0.02;
    assert_int_equal(measure_run(&o, &err), ERR_INPUT);
    assert_string_equal(err.message, "holds losses for damping = 0.01, expected 0.02");
    err_clear(&err);
    r.plan.settings.damping = 0.01;
    o.windows = 1;
    assert_int_equal(measure_run(&o, &err), ERR_INPUT);
    assert_string_equal(err.message, "holds losses of other calibration tokens");
    err_clear(&err);
    o.windows = 2;
    o.widths_count = 3;
    assert_int_equal(measure_run(&o, &err), ERR_INPUT);
    assert_string_equal(err.message, "holds losses of other widths");
    err_clear(&err);
    o.widths_count = 4;
    o.shares = shares;
    o.shares_count = SHARES;
    assert_int_equal(measure_run(&o, &err), ERR_INPUT);
    assert_string_equal(err.message, "holds losses of other shares of channels");
    err_clear(&err);
    r.plan.settings.bits_channel = 16;
    assert_int_equal(measure_run(&o, &err), ERR_USAGE);
    assert_string_equal(err.message, "bits_channel: found 16, expected at most 8 and more than 2, "
                                     "the least of the widths");
    quant_run_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channels_save_what_they_save_in_the_pass),
        cmocka_unit_test(test_channels_change_nothing_else),
        cmocka_unit_test(test_losses_are_what_the_layers_output_loses),
        cmocka_unit_test(test_every_linear_loses_less_at_more_bits_and_every_layer_matters),
        cmocka_unit_test(test_interrupted_measurement_ends_in_the_same_bytes),
        cmocka_unit_test(test_a_file_of_another_measurement_is_not_gone_on_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
