#include "src/eval/loglikelihood.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/unicode.h"
#include "src/model/forward.h"

/* Hidden states held at a time; every round reads all layers once more. */
static const size_t hidden_budget = (size_t)256 << 20;

enum { SHORTEST_WINDOW = 16 };

/* A pair in tokens: context and continuation in one row. */
struct sequence {
    struct token_ids ids;
    size_t predicted; /* tokens at its end that are the continuation */
    size_t index;     /* of the pair */
    size_t window;    /* length it is filled up to */
};

/* --- Tokens --- */

static int encode(const struct model *m, const char *text, size_t size, struct token_ids *ids,
                  struct err *err)
{
    return tokenizer_encode(m->tokenizer, text, size, ids, err);
}

static int encode_alone(struct sequence *s, const struct model *m, const char *continuation,
                        struct err *err)
{
    const struct model_config *c = m->config;
    struct token_ids rest = {0};
    if (!c->has_prefix_token)
        return err_set(err, ERR_INPUT, NULL,
                       "pair %zu has an empty context, and config.json names neither bos_token_id "
                       "nor eos_token_id to stand for it",
                       s->index);
    int rc = encode(m, continuation, strlen(continuation), &rest, err);
    bool leads = rc == 0 && rest.count && rest.data[0] == c->prefix_token;
    if (rc == 0 && !leads) {
        s->ids.data = mem_array(rest.count + 1, sizeof *s->ids.data, err);
        rc = s->ids.data ? 0 : ERR_NOMEM;
        if (rc == 0) {
            s->ids.data[0] = c->prefix_token;
            if (rest.count)
                memcpy(s->ids.data + 1, rest.data, rest.count * sizeof *rest.data);
            s->ids.count = s->ids.capacity = rest.count + 1;
        }
    } else if (rc == 0) {
        s->ids = rest;
        rest = (struct token_ids){0};
    }
    token_ids_release(&rest);
    s->predicted = s->ids.count ? s->ids.count - 1 : 0;
    return rc;
}

/* The tokens of the context alone, then those that the whole has more than it. */
static int encode_pair(struct sequence *s, const struct model *m,
                       const struct loglikelihood_pair *pair, struct err *err)
{
    size_t size = strlen(pair->context), kept = size - unicode_space_tail(pair->context, size);
    struct token_ids whole = {0};
    struct str text = {0};
    if (size && kept == 0)
        return err_set(err, ERR_INPUT, NULL, "pair %zu has a context of white space alone",
                       s->index);
    str_append(&text, pair->context);
    str_append(&text, pair->continuation);
    int rc = str_ok(&text, err);
    if (rc == 0)
        rc = encode(m, pair->context, kept, &s->ids, err);
    if (rc == 0)
        rc = encode(m, str_get(&text), text.length, &whole, err);
    size_t context = s->ids.count;
    if (rc == 0 && whole.count > context) {
        s->predicted = whole.count - context;
        uint32_t *ids = realloc(s->ids.data, whole.count * sizeof *ids);
        if (ids) {
            s->ids.data = ids;
            s->ids.count = s->ids.capacity = whole.count;
            memcpy(ids + context, whole.data + context, s->predicted * sizeof *ids);
        } else {
            rc = err_set(err, ERR_NOMEM, NULL, "no memory for %zu tokens", whole.count);
        }
    }
    token_ids_release(&whole);
    str_release(&text);
    return rc;
}

/* The windows come in few lengths, so that one forward pass serves many sequences. */
static size_t window_of(size_t length)
{
    size_t window = SHORTEST_WINDOW;
    while (window < length)
        window = window + window / 2 >= length ? window + window / 2 : 2 * window;
    return window;
}

static int make_sequence(struct sequence *s, const struct model *m,
                         const struct loglikelihood_pair *pair, struct err *err)
{
    size_t most = m->config->max_positions + 1;
    int rc = pair->context[0] ? encode_pair(s, m, pair, err)
                              : encode_alone(s, m, pair->continuation, err);
    if (rc < 0)
        return rc;
    if (s->predicted == 0)
        return err_set(err, ERR_INPUT, NULL, "pair %zu: its continuation has no token of its own",
                       s->index);
    if (s->ids.count > most) {
        memmove(s->ids.data, s->ids.data + (s->ids.count - most), most * sizeof *s->ids.data);
        s->ids.count = most;
        s->predicted = s->predicted < most ? s->predicted : most - 1;
    }
    s->window = window_of(s->ids.count);
    return 0;
}

static int by_window(const void *x, const void *y)
{
    const struct sequence *a = x, *b = y;
    if (a->window != b->window)
        return a->window < b->window ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

/* --- Through the model --- */

/* The sequences of one window length in a round. */
struct bucket {
    const struct sequence *sequences;
    size_t count, window;
    uint32_t *ids; /* [count][window], filled up with token 0 behind each sequence */
    size_t *starts;
    struct forward *forward;
};

static int open_bucket(struct bucket *k, const struct model *m, struct backend *b,
                       struct progress *progress, struct err *err)
{
    k->ids = mem_array(k->count, k->window * sizeof *k->ids, err);
    k->starts = mem_array(k->count, sizeof *k->starts, err);
    if (!k->ids || !k->starts)
        return ERR_NOMEM;
    for (size_t i = 0; i < k->count; i++) {
        const struct token_ids *ids = &k->sequences[i].ids;
        k->starts[i] = i * k->window;
        memcpy(k->ids + k->starts[i], ids->data, ids->count * sizeof *ids->data);
    }
    int rc = forward_new(&k->forward, m, b, k->ids, k->starts, k->count, k->window, err);
    if (rc == 0 && progress)
        forward_set_cancel(k->forward, &progress->cancel);
    return rc;
}

static int close_bucket(struct loglikelihood *out, struct bucket *k, struct err *err)
{
    double *nll = mem_array(k->count, (k->window - 1) * sizeof *nll, err);
    int rc = nll ? forward_nll(k->forward, nll, err) : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < k->count; i++) {
        const struct sequence *s = &k->sequences[i];
        const double *row = nll + i * (k->window - 1) + s->ids.count - 1;
        double sum = 0;
        for (size_t t = s->predicted; t > 0; t--)
            sum -= row[-(ptrdiff_t)t];
        if (!isfinite(sum))
            rc = err_set(err, ERR_NUMERIC, NULL,
                         "pair %zu: its log-likelihood is not finite: weights or activations of "
                         "the model overflow",
                         s->index);
        out[s->index] = (struct loglikelihood){sum, s->predicted};
    }
    free(nll);
    return rc;
}

static int run_layers(struct bucket *k, size_t buckets, const struct model *m, struct backend *b,
                      struct progress *progress, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < m->config->layers; i++) {
        struct model_layer l = {0};
        progress_stage(progress, "layer %zu of %zu", i + 1, m->config->layers);
        rc = model_layer_load(&l, m, b, i, err);
        for (size_t j = 0; rc == 0 && j < buckets; j++) {
            rc = forward_attention(k[j].forward, &l, NULL, true, err);
            if (rc == 0)
                rc = forward_mlp(k[j].forward, &l, NULL, true, err);
            progress_step(progress, k[j].count);
        }
        model_layer_release(&l, b);
    }
    return rc;
}

/* Sequences that lie side by side, sorted by window. */
static int run_round(struct loglikelihood *out, const struct sequence *s, size_t count,
                     const struct model *m, struct backend *b, struct progress *progress,
                     struct err *err)
{
    size_t buckets = 0;
    int rc = 0;
    struct bucket *k = mem_array(count, sizeof *k, err);
    if (!k)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || s[i].window != s[i - 1].window)
            k[buckets++] = (struct bucket){.sequences = s + i, .window = s[i].window};
        k[buckets - 1].count++;
    }
    for (size_t i = 0; rc == 0 && i < buckets; i++)
        rc = open_bucket(&k[i], m, b, progress, err);
    if (rc == 0)
        rc = run_layers(k, buckets, m, b, progress, err);
    for (size_t i = 0; rc == 0 && i < buckets; i++)
        rc = close_bucket(out, &k[i], err);
    for (size_t i = 0; i < buckets; i++) {
        forward_free(k[i].forward);
        free(k[i].ids);
        free(k[i].starts);
    }
    free(k);
    return rc;
}

static size_t fits(const struct sequence *s, size_t count, size_t hidden)
{
    size_t n = 0, tokens = 0, most = hidden_budget / sizeof(float) / hidden;
    while (n < count && (n == 0 || tokens + s[n].window <= most))
        tokens += s[n++].window;
    return n;
}

int loglikelihood_run(struct loglikelihood *out, const struct model *m, struct backend *b,
                      const struct loglikelihood_pair *pairs, size_t count,
                      struct progress *progress, struct err *err)
{
    struct sequence *s = mem_array(count, sizeof *s, err);
    int rc = s ? 0 : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        s[i].index = i;
        rc = make_sequence(&s[i], m, &pairs[i], err);
    }
    progress_start(progress, count * m->config->layers);
    if (rc == 0)
        qsort(s, count, sizeof *s, by_window);
    for (size_t first = 0, n; rc == 0 && first < count; first += n) {
        n = fits(s + first, count - first, m->config->hidden);
        rc = run_round(out, s + first, n, m, b, progress, err);
    }
    for (size_t i = 0; s && i < count; i++)
        token_ids_release(&s[i].ids);
    free(s);
    return rc;
}
