#include "src/quant/learn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "gpu/products.h"
#include "src/quant/learn_batch.h"

enum {
    HELD_EVERY = 8,     /* one window of so many is held out, */
    HELD_TOKENS = 8192, /* up to about this many tokens */
    LOOKS = 5,          /* at the held-out windows */
};

struct learner {
    const struct learn_block *block;
    const struct learn_rule *rule;
    struct parallel *pool;
    struct progress *progress;
    struct learn_state *state; /* [units][LEARN_LINEARS] */
    struct learn_batch batch;
    size_t *train, trains, *held, helds; /* windows */
    size_t next;                         /* of `train` */
    uint64_t random;
};

/* --- Windows --- */

/* Held-out windows are spread over all; at least one, and one to train on. */
static int split_windows(struct learner *l, struct err *err)
{
    size_t n = l->block->windows, most = HELD_TOKENS / l->block->window, held = n / HELD_EVERY;
    if (n < 2)
        return err_set(err, ERR_USAGE, NULL, "learning from %zu windows, expected at least 2", n);
    held = held < most ? held : most;
    held = held ? held : 1;
    l->train = mem_array(n, sizeof *l->train, err);
    l->held = mem_array(n, sizeof *l->held, err);
    if (!l->train || !l->held)
        return ERR_NOMEM;
    for (size_t w = 0; w < n; w++)
        if ((w + 1) * held / n != w * held / n)
            l->held[l->helds++] = w;
        else
            l->train[l->trains++] = w;
    l->next = l->trains;
    return 0;
}

static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* The next windows of a random order, which is drawn anew when it is through. */
static void next_batch(struct learner *l)
{
    size_t count = l->batch.limit < l->trains ? l->batch.limit : l->trains;
    if (l->next + count > l->trains) {
        for (size_t i = l->trains; i > 1; i--) {
            size_t j = (size_t)(draw(&l->random) % i), w = l->train[i - 1];
            l->train[i - 1] = l->train[j];
            l->train[j] = w;
        }
        l->next = 0;
    }
    learn_batch_set(&l->batch, l->train + l->next, count);
    l->next += count;
}

/* Sets the batch to the held-out windows from number `at` on; the number behind them. */
static size_t held_batch(struct learner *l, size_t at)
{
    size_t left = l->helds - at, count = left < l->batch.limit ? left : l->batch.limit;
    learn_batch_set(&l->batch, l->held + at, count);
    return at + count;
}

/* Loss a token of the held-out windows. */
static double held_loss(struct learner *l)
{
    double sum = 0;
    for (size_t at = 0; at < l->helds;) {
        at = held_batch(l, at);
        sum += learn_batch_forward(&l->batch);
    }
    return sum / (double)(l->helds * l->block->window);
}

/* --- Learning --- */

static void each_state(struct learner *l, void (*fn)(struct learn_state *s))
{
    for (size_t i = 0; i < l->block->units * LEARN_LINEARS; i++)
        fn(&l->state[i]);
}

/* The rate rises over the first tenth, in which the moments know little yet, and falls linearly to
 * 0; its sum over all iterations is about 1. */
static struct learn_step step_of(size_t i, size_t n)
{
    double steps = (double)(i + 1), rise = 10.0 * steps / (double)n;
    double rate = 2.0 * (double)(n - i) / ((double)n * (double)(n + 1));
    return (struct learn_step){
        .rate = (float)(rise < 1.0 ? rise * rate : rate),
        .first_factor = (float)(1.0 / (1.0 - pow((double)learn_first_decay, steps))),
        .second_factor = (float)(1.0 / (1.0 - pow((double)learn_second_decay, steps)))};
}

/* best: held-out loss of the state that is kept. */
static int iterate(struct learner *l, double *best, size_t steps, struct err *err)
{
    size_t n = l->rule->iterations;
    for (size_t i = 0; i < n; i++) {
        if (progress_cancelled(l->progress))
            return err_set(err, ERR_CANCELLED, NULL, "stopped");
        l->batch.step = step_of(i, n);
        next_batch(l);
        learn_batch_forward(&l->batch);
        learn_batch_backward(&l->batch);
        progress_step(l->progress, (i + 1) * steps / n - i * steps / n);
        if ((i + 1) * LOOKS / n == i * LOOKS / n)
            continue;
        double held = held_loss(l);
        if (held < *best) {
            *best = held;
            each_state(l, learn_state_keep);
        }
    }
    each_state(l, learn_state_use_kept);
    return 0;
}

/* --- Judging --- */

/* On the held-out windows: residuals with the new codes, and what every slot's part of the output
 * would change by if its unit kept the codes that were given. */
struct judge {
    float *residual; /* [helds * window][hidden] */
    size_t *place;   /* [units][helds + 1] */
    float *change;   /* [slots][hidden] */
};

static int judge_init(struct judge *j, const struct learner *l, struct err *err)
{
    size_t d = l->block->hidden, slots = 0;
    j->place = mem_array(l->block->units * (l->helds + 1), sizeof *j->place, err);
    for (size_t u = 0; j->place && u < l->block->units; u++)
        for (size_t i = 0; i <= l->helds; i++) {
            j->place[u * (l->helds + 1) + i] = slots;
            if (i < l->helds)
                slots += learn_slots(&l->batch, u, l->held[i])[1] -
                         learn_slots(&l->batch, u, l->held[i])[0];
        }
    j->residual = mem_array(l->helds * l->block->window, d * sizeof *j->residual, err);
    j->change = mem_array(slots, d * sizeof *j->change, err);
    return j->place && j->residual && j->change ? 0 : ERR_NOMEM;
}

static void judge_release(struct judge *j)
{
    free(j->residual);
    free(j->place);
    free(j->change);
}

/* change += factor * gated outputs of the batch, whose first window is held-out number `at`. */
static void add_outputs(struct judge *j, const struct learner *l, size_t at, float factor)
{
    const struct learn_block *k = l->block;
    for (size_t u = 0; u < k->units; u++) {
        const float *y = learn_batch_rows(&l->batch, u).y;
        float *change = j->change + j->place[u * (l->helds + 1) + at] * k->hidden;
        for (size_t i = 0; i < l->batch.count; i++) {
            const size_t *slots = learn_slots(&l->batch, u, l->batch.window[i]);
            for (size_t s = slots[0]; s < slots[1]; s++, y += k->hidden, change += k->hidden)
                for (size_t c = 0; c < k->hidden; c++)
                    change[c] += factor * k->gate[s] * y[c];
        }
    }
}

/* A unit's slots, one after another: what going back would add to the sum of losses; `apply`: it
 * does go back. */
static double go_back(struct judge *j, const struct learner *l, size_t u, bool apply)
{
    const struct learn_block *k = l->block;
    double sum = 0;
    for (size_t i = 0; i < l->helds; i++) {
        const size_t *slots = learn_slots(&l->batch, u, l->held[i]);
        const float *change = j->change + j->place[u * (l->helds + 1) + i] * k->hidden;
        for (size_t s = slots[0]; s < slots[1]; s++, change += k->hidden) {
            size_t token = i * k->window + k->row[s] - l->held[i] * k->window;
            float *residual = j->residual + token * k->hidden;
            for (size_t c = 0; c < k->hidden; c++) {
                sum += (double)change[c] * (2.0 * (double)residual[c] + (double)change[c]);
                residual[c] += apply ? change[c] : 0.0f;
            }
        }
    }
    return sum;
}

static void measure_changes(struct judge *j, struct learner *l)
{
    const struct learn_block *k = l->block;
    for (size_t at = 0, next; at < l->helds; at = next) {
        next = held_batch(l, at);
        learn_batch_forward(&l->batch);
        memcpy(j->residual + at * k->window * k->hidden, l->batch.residual,
               l->batch.count * k->window * k->hidden * sizeof *j->residual);
        add_outputs(j, l, at, -1.0f);
    }
    each_state(l, learn_state_use_given);
    for (size_t at = 0, next; at < l->helds; at = next) {
        next = held_batch(l, at);
        learn_batch_forward(&l->batch);
        add_outputs(j, l, at, 1.0f);
    }
    each_state(l, learn_state_use_kept);
}

/* Unit by unit, beside what was decided for those before: new codes stay only where going back
 * would cost. */
static int judge_units(struct learner *l, struct learn_result *out, struct err *err)
{
    struct judge j = {0};
    double sum = out->after * (double)(l->helds * l->block->window);
    int rc = judge_init(&j, l, err);
    if (rc == 0)
        measure_changes(&j, l);
    for (size_t u = 0; rc == 0 && u < l->block->units; u++) {
        double cost = go_back(&j, l, u, false);
        out->unit_kept[u] = cost > 0.0;
        out->kept += cost > 0.0;
        if (cost <= 0.0)
            sum += go_back(&j, l, u, true);
        for (size_t i = 0; cost > 0.0 && i < LEARN_LINEARS; i++)
            learn_state_store(&l->state[u * LEARN_LINEARS + i]);
    }
    out->after = out->kept ? sum / (double)(l->helds * l->block->window) : out->before;
    judge_release(&j);
    return rc;
}

/* --- The whole --- */

static int learner_init(struct learner *l, struct err *err)
{
    const struct learn_block *k = l->block;
    int rc = split_windows(l, err);
    if (rc == 0) {
        l->state = mem_array(k->units * LEARN_LINEARS, sizeof *l->state, err);
        rc = l->state ? 0 : ERR_NOMEM;
    }
    for (size_t i = 0; rc == 0 && i < k->units * LEARN_LINEARS; i++) {
        const struct learn_unit *u = &k->unit[i / LEARN_LINEARS];
        bool down = i % LEARN_LINEARS == LEARN_LINEARS - 1;
        rc = learn_state_init(&l->state[i], &u->linear[i % LEARN_LINEARS],
                              down ? u->size : k->hidden, down ? k->hidden : u->size, err);
    }
    return rc == 0 ? learn_batch_init(&l->batch, k, l->state, l->pool, LEARN_BATCH_TOKENS, err)
                   : rc;
}

static void learner_release(struct learner *l)
{
    learn_batch_release(&l->batch);
    for (size_t i = 0; l->state && i < l->block->units * LEARN_LINEARS; i++)
        learn_state_release(&l->state[i]);
    free(l->state);
    free(l->train);
    free(l->held);
}

int learn_run(struct learn_result *out, const struct learn_block *block,
              const struct learn_rule *rule, struct parallel *pool, struct progress *progress,
              size_t steps, struct err *err)
{
    struct learner l = {
        .block = block, .rule = rule, .pool = pool, .progress = progress, .random = rule->seed};
    products_prepare();
    out->kept = 0;
    int rc = learner_init(&l, err);
    if (rc == 0) {
        each_state(&l, learn_state_keep);
        out->before = out->after = held_loss(&l);
        rc = iterate(&l, &out->after, steps, err);
    }
    if (rc == 0)
        rc = judge_units(&l, out, err);
    learner_release(&l);
    return rc;
}
