/* What tokens count by their gate values: weighted Hessians, and the guard against few tokens that
 * carry all of the weight. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/quant/hessians.h"
#include "src/quant/quantizer.h"
#include "src/quant/shifts.h"

enum { D = 32, ROWS = 24, EXPERTS = 3, TOKENS = 600 };

static uint64_t seed = 99;

static double uniform(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(seed >> 11) * 0x1p-53;
}

/* Tokens of three experts with one choice each: expert 1 has every second one, expert 2 none. */
struct fixture {
    struct backend *b;
    struct backend_groups g;
    struct tensor *x;
    float cells[TOKENS][D]; /* in the order of the slots */
    double gate[TOKENS];    /* the same */
    struct gates gates;
    struct model_config config;
};

typedef double (*gate_of)(size_t token);

static void open_fixture(struct fixture *f, gate_of gate, double common)
{
    double shared[D];
    memset(f, 0, sizeof *f);
    assert_int_equal(backend_cpu_new(&f->b, 1, NULL), 0);
    f->g.tokens = TOKENS;
    f->g.experts = EXPERTS;
    f->g.top_k = 1;
    assert_int_equal(backend_groups_alloc(&f->g, NULL), 0);
    for (size_t t = 0; t < TOKENS; t++) {
        f->g.expert[t] = t % 2;
        f->g.gate[t] = (float)gate(t);
    }
    assert_int_equal(backend_groups_sort(&f->g, NULL), 0);
    for (size_t j = 0; j < D; j++)
        shared[j] = uniform() - 0.5;
    for (size_t t = 0; t < TOKENS; t++) {
        f->gate[f->g.slot[t]] = (double)f->g.gate[t];
        for (size_t j = 0; j < D; j++)
            f->cells[f->g.slot[t]][j] = (float)(uniform() - 0.5 + common * shared[j]);
    }
    assert_int_equal(f->b->ops->tensor_new(f->b, &f->x, TENSOR_F32, TOKENS, D, NULL), 0);
    assert_int_equal(f->b->ops->upload(f->b, f->x, 0, TOKENS, SOURCE_F32, f->cells, NULL), 0);
    assert_int_equal(gates_init(&f->gates, f->b, EXPERTS, NULL), 0);
    struct forward_tap tap = gates_tap(&f->gates);
    assert_int_equal(tap.routing(tap.context, 0, &f->g, NULL), 0);
    f->config = (struct model_config){
        .experts = EXPERTS, .top_k = 1, .hidden = D, .expert_size = D, .heads = 1, .head_dim = D};
}

static void close_fixture(struct fixture *f)
{
    gates_release(&f->gates);
    f->b->ops->tensor_free(f->b, f->x);
    backend_groups_release(&f->g);
    backend_free(f->b);
}

/* The Hessian of an expert's gate and up, nothing borrowed from the layer. */
static void take_hessian(struct fixture *f, struct gates *gates, size_t expert, double *out)
{
    struct hessians h;
    assert_int_equal(hessians_init(&h, f->b, &f->config, 1u << HESSIANS_IN, false, gates, NULL), 0);
    struct forward_tap tap = hessians_tap(&h);
    assert_int_equal(tap.routing(tap.context, 0, &f->g, NULL), 0);
    assert_int_equal(tap.expert_in(tap.context, f->x, &f->g, NULL), 0);
    assert_int_equal(hessians_take(&h, HESSIANS_IN, expert, 0, out, NULL), 0);
    hessians_release(&h);
}

/* sum of weight x x^T over an expert's slots, divided by the sum of weights. */
static void expected_hessian(const struct fixture *f, size_t expert, const double *weight,
                             double *out)
{
    double all = 0;
    memset(out, 0, D * D * sizeof *out);
    for (size_t s = f->g.offset[expert]; s < f->g.offset[expert + 1]; s++)
        all += weight[s];
    for (size_t s = f->g.offset[expert]; s < f->g.offset[expert + 1]; s++)
        for (size_t i = 0; i < D; i++)
            for (size_t j = 0; j < D; j++)
                out[i * D + j] += weight[s] / all * (double)f->cells[s][i] * (double)f->cells[s][j];
}

static double any_gate(size_t token)
{
    (void)token;
    return 0.05 + 0.9 * uniform();
}

static double equal_gate(size_t token)
{
    (void)token;
    return 0.25;
}

/* One token in each expert has all, the others next to nothing. */
static double one_gate(size_t token)
{
    return token < 2 ? 1.0 : 1e-3;
}

static double no_gate(size_t token)
{
    (void)token;
    return 0.0;
}

static void test_weights_have_the_mean_one_and_follow_squared_gates(void **state)
{
    (void)state;
    static struct fixture f;
    open_fixture(&f, any_gate, 0);
    for (size_t e = 0; e < 2; e++) {
        double sum = 0, square = 0, fourth = 0;
        size_t n = f.g.offset[e + 1] - f.g.offset[e];
        for (size_t s = f.g.offset[e]; s < f.g.offset[e + 1]; s++) {
            sum += gates_weight(&f.gates, e, f.gate[s], D);
            square += f.gate[s] * f.gate[s];
            fourth += pow(f.gate[s], 4);
        }
        assert_true(fabs(sum / (double)n - 1) < 1e-12);
        double worth = square * square / fourth, part = 0.5 * worth / (worth + D);
        double expected = 1 + part * (0.81 * (double)n / square - 1);
        assert_true(fabs(gates_weight(&f.gates, e, 0.9, D) - expected) < 1e-12);
        assert_true(part > 0.35); /* most of the weight follows the gates here */
    }
    assert_true(gates_weight(&f.gates, 2, 0.5, D) == 1.0);
    close_fixture(&f);
}

static void test_weighted_hessian_is_the_weighted_mean(void **state)
{
    (void)state;
    static struct fixture f;
    static double h[D * D], expected[D * D], weight[TOKENS];
    open_fixture(&f, any_gate, 1);
    for (size_t e = 0; e < 2; e++) {
        for (size_t s = f.g.offset[e]; s < f.g.offset[e + 1]; s++)
            weight[s] = gates_weight(&f.gates, e, f.gate[s], D);
        take_hessian(&f, &f.gates, e, h);
        expected_hessian(&f, e, weight, expected);
        for (size_t i = 0; i < D * D; i++)
            assert_true(fabs(h[i] - expected[i]) < 1e-6 * expected[i / D * (D + 1)]);
    }
    close_fixture(&f);
}

static void test_equal_gates_and_none_at_all_change_nothing(void **state)
{
    (void)state;
    static struct fixture f;
    static double plain[D * D], weighted[D * D];
    static const gate_of gates[] = {equal_gate, no_gate};
    for (size_t i = 0; i < 2; i++) {
        open_fixture(&f, gates[i], 1);
        take_hessian(&f, NULL, 1, plain);
        take_hessian(&f, &f.gates, 1, weighted);
        assert_memory_equal(plain, weighted, sizeof plain);
        close_fixture(&f);
    }
}

/* Mean squared error of an output over an expert's tokens, all of the same weight. */
static double output_error(const double *h, const float *w, const struct quantizer_item *item)
{
    double sum = 0;
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < D; i++)
            for (size_t j = 0; j < D; j++) {
                const struct grid *g = &item->grid;
                double a = ((double)item->codes[r * D + i] - g->zero[r * g->grids + g->column[i]]) *
                               g->scale[r * g->grids + g->column[i]] -
                           (double)w[r * D + i];
                double b = ((double)item->codes[r * D + j] - g->zero[r * g->grids + g->column[j]]) *
                               g->scale[r * g->grids + g->column[j]] -
                           (double)w[r * D + j];
                sum += a * h[i * D + j] * b / ROWS;
            }
    return sum;
}

/* Error on all tokens of weights rounded for a Hessian. */
static double error_of(struct fixture *f, const double *hessian, const double *truth,
                       const float *w)
{
    static uint8_t codes[ROWS * D];
    struct quantizer_hessian h = {.d = D, .h = hessian};
    struct quantizer_item item = {.rows = ROWS, .weights = w, .bits = {.bits = 2}, .codes = codes};
    struct quantizer_rule rule = {
        .grid = {.group_size = 16, .half = true}, .damping = 0.01, .precision = BACKEND_FP64};
    assert_int_equal(quantizer_gptq.run(f->b, &rule, &h, 1, &item, 1, NULL), 0);
    double error = output_error(truth, w, &item);
    grid_release(&item.grid);
    return error;
}

static void make_weights(float *w)
{
    for (size_t i = 0; i < ROWS * D; i++)
        w[i] = (float)(uniform() + uniform() - 1);
}

static void test_one_token_with_all_the_weight_cannot_spoil_the_rounding(void **state)
{
    (void)state;
    static struct fixture f;
    static double plain[D * D], guarded[D * D], bare[D * D], weight[TOKENS];
    static float w[ROWS * D];
    open_fixture(&f, one_gate, 2);
    make_weights(w);
    for (size_t s = 0; s < TOKENS; s++)
        weight[s] = f.gate[s] * f.gate[s];
    take_hessian(&f, NULL, 0, plain);
    take_hessian(&f, &f.gates, 0, guarded);
    expected_hessian(&f, 0, weight, bare);
    double least = error_of(&f, plain, plain, w);
    double with_guard = error_of(&f, guarded, plain, w);
    double without = error_of(&f, bare, plain, w);
    print_message("error %.4f, weighted %.4f, without the guard %.4f\n", least, with_guard,
                  without);
    assert_true(without > 1.3 * least); /* what the guard is against does happen */
    assert_true(with_guard < 1.03 * least);
    close_fixture(&f);
}

/* --- Together with the shift --- */

/* Lower Cholesky factor of h + 0.01 of its mean diagonal. */
static void factorize(double *l, const double *h)
{
    double mean = 0;
    for (size_t j = 0; j < D; j++)
        mean += h[j * (D + 1)] / D;
    memcpy(l, h, D * D * sizeof *l);
    for (size_t j = 0; j < D; j++) {
        l[j * (D + 1)] += 0.01 * mean;
        for (size_t k = 0; k < j; k++)
            l[j * (D + 1)] -= l[j * D + k] * l[j * D + k];
        l[j * (D + 1)] = sqrt(l[j * (D + 1)]);
        for (size_t i = j + 1; i < D; i++) {
            for (size_t k = 0; k < j; k++)
                l[i * D + j] -= l[i * D + k] * l[j * D + k];
            l[i * D + j] /= l[j * (D + 1)];
        }
    }
}

/* The shift of expert 0 from tokens as they are, `original`, and the fixture's as the quantized
 * model sees them. */
static void take_shift(struct fixture *f, const struct gates *gates, const struct tensor *original,
                       double *out)
{
    struct shifts s;
    assert_int_equal(shifts_init(&s, f->b, &f->config, 1u << HESSIANS_IN, TOKENS, gates, NULL), 0);
    struct forward_pair_tap tap = shifts_tap(&s);
    assert_int_equal(tap.routing(tap.context, 0, &f->g, NULL), 0);
    assert_int_equal(tap.expert_in(tap.context, original, f->x, &f->g, NULL), 0);
    assert_int_equal(shifts_take(&s, HESSIANS_IN, 0, 0, out, NULL), 0);
    shifts_release(&s);
}

/* Squared distance of moved x_q from w x_o over all tokens of expert 0. */
static double distance(const struct fixture *f, float (*original)[D], const float *w,
                       const float *moved)
{
    double sum = 0;
    for (size_t s = f->g.offset[0]; s < f->g.offset[1]; s++)
        for (size_t r = 0; r < ROWS; r++) {
            double e = 0;
            for (size_t j = 0; j < D; j++)
                e += (double)moved[r * D + j] * (double)f->cells[s][j] -
                     (double)w[r * D + j] * (double)original[s][j];
            sum += e * e;
        }
    return sum;
}

/* Distance after the shift with a Hessian; whether weights moved at all. */
static double shifted(struct fixture *f, float (*original)[D], const double *h, const double *shift,
                      const float *w, bool *applied)
{
    static double factor[D * D];
    static float moved[ROWS * D];
    factorize(factor, h);
    memcpy(moved, w, sizeof moved);
    assert_int_equal(shifts_apply(applied, moved, ROWS, D, shift, factor, NULL), 0);
    return distance(f, original, w, moved);
}

static void test_weights_and_shift_together_do_not_blow_up(void **state)
{
    (void)state;
    static struct fixture f;
    static double h[D * D], bare[D * D], plain_shift[D * D], shift[D * D], weight[TOKENS];
    static float w[ROWS * D], original[TOKENS][D];
    struct tensor *x;
    bool applied;
    open_fixture(&f, one_gate, 2);
    make_weights(w);
    for (size_t s = 0; s < TOKENS; s++) {
        weight[s] = f.gate[s] * f.gate[s];
        for (size_t j = 0; j < D; j++)
            original[s][j] = f.cells[s][j] * 1.2f + (float)(0.2 * uniform() - 0.1);
    }
    assert_int_equal(f.b->ops->tensor_new(f.b, &x, TENSOR_F32, TOKENS, D, NULL), 0);
    assert_int_equal(f.b->ops->upload(f.b, x, 0, TOKENS, SOURCE_F32, original, NULL), 0);
    take_shift(&f, NULL, x, plain_shift);
    take_shift(&f, &f.gates, x, shift);
    take_hessian(&f, &f.gates, 0, h);
    expected_hessian(&f, 0, weight, bare);
    double still = distance(&f, original, w, w);
    double both = shifted(&f, original, h, shift, w, &applied);
    assert_true(applied && both < 0.3 * still);
    /* A shift that is not weighted as the Hessian is, which one token rules: weights would leave
     * for the far distance, and stay instead. */
    double torn = shifted(&f, original, bare, plain_shift, w, &applied);
    assert_false(applied);
    assert_true(torn == still);
    f.b->ops->tensor_free(f.b, x);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights_have_the_mean_one_and_follow_squared_gates),
        cmocka_unit_test(test_weighted_hessian_is_the_weighted_mean),
        cmocka_unit_test(test_equal_gates_and_none_at_all_change_nothing),
        cmocka_unit_test(test_one_token_with_all_the_weight_cannot_spoil_the_rounding),
        cmocka_unit_test(test_weights_and_shift_together_do_not_blow_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
