#include "data/trace.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"

int trace_alloc(struct trace *t, bool with_gates, struct err *err)
{
    t->vocab_bytes = NULL;
    t->vocab_offsets = NULL;
    t->gates = NULL;
    t->ids = NULL;
    t->window_starts = NULL;
    t->layer_index = NULL;
    t->routed = NULL;
    size_t slots;
    if (!mem_mul(&slots, t->positions, t->top_k) || !mem_mul(&slots, slots, t->layers))
        return err_set(err, ERR_NOMEM, NULL, "a trace of %zu x %zu x %zu slots is too large",
                       t->layers, t->positions, t->top_k);
    t->ids = mem_array(t->positions, sizeof *t->ids, err);
    t->window_starts = mem_array(t->windows, sizeof *t->window_starts, err);
    t->layer_index = mem_array(t->layers, sizeof *t->layer_index, err);
    t->routed = mem_array(slots, sizeof *t->routed, err);
    if (with_gates)
        t->gates = mem_array(slots, sizeof *t->gates, err);
    if (t->ids && t->window_starts && t->layer_index && t->routed && (t->gates || !with_gates))
        return 0;
    trace_release(t);
    return ERR_NOMEM;
}

void trace_release(struct trace *t)
{
    free(t->ids);
    free(t->window_starts);
    free(t->layer_index);
    free(t->routed);
    free(t->gates);
    free(t->vocab_bytes);
    free(t->vocab_offsets);
    *t = (struct trace){0};
}

static int check_range(const char *name, size_t value, size_t low, size_t high, const char *file,
                       struct err *err)
{
    if (value >= low && value <= high)
        return 0;
    return err_set(err, ERR_INPUT, file, "attribute %s: found %zu, expected %zu to %zu", name,
                   value, low, high);
}

/* Empty: not known. */
static int check_sha256(const char *name, const char *text, const char *file, struct err *err)
{
    size_t length = strnlen(text, HASH_HEX_SIZE);
    if (length == 0 ||
        (length == HASH_HEX_SIZE - 1 && strspn(text, "0123456789abcdef") == HASH_HEX_SIZE - 1))
        return 0;
    return err_set(err, ERR_INPUT, file,
                   "attribute %s: found \"%.64s\", expected 64 lower-case hexadecimal digits", name,
                   text);
}

int trace_validate_attributes(const struct trace *t, const char *file, struct err *err)
{
    const struct {
        const char *name;
        size_t value, low, high;
    } ranges[] = {
        {"num_moe_layers", t->layers, 1, TRACE_LAYERS_MAX},
        {"num_experts", t->experts, 1, TRACE_EXPERTS_MAX},
        {"top_k", t->top_k, 1, t->experts},
        {"num_shared_experts", t->shared_experts, 0, TRACE_EXPERTS_MAX},
        {"vocab_size", t->vocab, 1, TRACE_VOCAB_MAX},
        {"window", t->window, 1, TRACE_WINDOW_MAX},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (check_range(ranges[i].name, ranges[i].value, ranges[i].low, ranges[i].high, file, err) <
            0)
            return ERR_INPUT;
    if (check_sha256("config_sha256", t->config_sha256, file, err) < 0)
        return ERR_INPUT;
    return check_sha256("tokenizer_sha256", t->tokenizer_sha256, file, err);
}

static int check_tokens(const struct trace *t, const char *file, struct err *err)
{
    if (t->positions == 0)
        return err_set(err, ERR_INPUT, file, "/tokens/ids: found no positions, expected some");
    if (t->windows == 0)
        return err_set(err, ERR_INPUT, file,
                       "/tokens/window_starts: found no windows, expected at least one");
    for (size_t p = 0; p < t->positions; p++)
        if (t->ids[p] >= t->vocab)
            return err_set(err, ERR_INPUT, file,
                           "/tokens/ids[%zu]: found %" PRIu32 ", expected below vocab_size %zu", p,
                           t->ids[p], t->vocab);
    return 0;
}

static int check_windows(const struct trace *t, const char *file, struct err *err)
{
    const uint64_t *start = t->window_starts;
    if (start[0] != 0)
        return err_set(err, ERR_INPUT, file,
                       "/tokens/window_starts[0]: found %" PRIu64 ", expected 0", start[0]);
    for (size_t w = 1; w < t->windows; w++) {
        if (start[w] <= start[w - 1])
            return err_set(err, ERR_INPUT, file,
                           "/tokens/window_starts[%zu]: found %" PRIu64 ", expected above %" PRIu64
                           ", the start before it",
                           w, start[w], start[w - 1]);
        if (start[w] >= t->positions)
            return err_set(err, ERR_INPUT, file,
                           "/tokens/window_starts[%zu]: found %" PRIu64
                           ", expected below %zu, the number of positions",
                           w, start[w], t->positions);
    }
    return 0;
}

static int check_layers(const struct trace *t, const char *file, struct err *err)
{
    for (size_t l = 1; l < t->layers; l++)
        if (t->layer_index[l] <= t->layer_index[l - 1])
            return err_set(err, ERR_INPUT, file,
                           "/layers/index[%zu]: found %u, expected above %u, the layer before it",
                           l, t->layer_index[l], t->layer_index[l - 1]);
    return 0;
}

/* `seen[e]` is one more than the last position that was routed to e: a position with an expert
 * twice is found in one pass, whatever N and K are. */
static int check_routed_layer(const struct trace *t, size_t layer, uint64_t *seen, const char *file,
                              struct err *err)
{
    const uint16_t *slot = trace_routed(t, layer);
    for (size_t p = 0; p < t->positions; p++)
        for (size_t k = 0; k < t->top_k; k++, slot++) {
            if (*slot == TRACE_NOT_ROUTED)
                continue;
            if (*slot >= t->experts)
                return err_set(err, ERR_INPUT, file,
                               "/routing/experts[%zu][%zu][%zu]: found %u, expected below "
                               "num_experts %zu, or -1 or the type's maximum for not routed",
                               layer, p, k, *slot, t->experts);
            if (seen[*slot] == p + 1)
                return err_set(err, ERR_INPUT, file,
                               "/routing/experts[%zu][%zu][%zu]: found %u a second time, expected "
                               "the experts of a position to be distinct",
                               layer, p, k, *slot);
            seen[*slot] = p + 1;
        }
    return 0;
}

static int check_routed(const struct trace *t, const char *file, struct err *err)
{
    uint64_t *seen = mem_array(t->experts, sizeof *seen, err);
    if (!seen)
        return ERR_NOMEM;
    int rc = 0;
    for (size_t l = 0; l < t->layers && rc == 0; l++) {
        memset(seen, 0, t->experts * sizeof *seen);
        rc = check_routed_layer(t, l, seen, file, err);
    }
    free(seen);
    return rc;
}

static int check_gates(const struct trace *t, const char *file, struct err *err)
{
    size_t per_layer = t->positions * t->top_k;
    for (size_t i = 0; t->gates && i < t->layers * per_layer; i++)
        if (!isfinite(t->gates[i]) || t->gates[i] < 0)
            return err_set(err, ERR_INPUT, file,
                           "/routing/gates[%zu][%zu][%zu]: found %g, expected a finite number of "
                           "at least 0",
                           i / per_layer, i % per_layer / t->top_k, i % t->top_k,
                           (double)t->gates[i]);
    return 0;
}

static int check_vocabulary(const struct trace *t, const char *file, struct err *err)
{
    const uint64_t *offset = t->vocab_offsets;
    if (!offset != !t->vocab_bytes)
        return err_set(err, ERR_INPUT, file, "%s: missing, expected beside %s",
                       offset ? "/vocab/bytes" : "/vocab/offsets",
                       offset ? "/vocab/offsets" : "/vocab/bytes");
    if (!offset)
        return 0;
    if (offset[0] != 0)
        return err_set(err, ERR_INPUT, file, "/vocab/offsets[0]: found %" PRIu64 ", expected 0",
                       offset[0]);
    for (size_t v = 1; v <= t->vocab; v++)
        if (offset[v] < offset[v - 1])
            return err_set(err, ERR_INPUT, file,
                           "/vocab/offsets[%zu]: found %" PRIu64 ", expected at least %" PRIu64
                           ", the offset before it",
                           v, offset[v], offset[v - 1]);
    return 0;
}

int trace_validate(const struct trace *t, const char *file, struct err *err)
{
    static int (*const checks[])(const struct trace *, const char *, struct err *) = {
        trace_validate_attributes,
        check_tokens,
        check_windows,
        check_layers,
        check_routed,
        check_gates,
        check_vocabulary,
    };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        int rc = checks[i](t, file, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

const uint16_t *trace_routed(const struct trace *t, size_t layer)
{
    return t->routed + layer * t->positions * t->top_k;
}

const float *trace_gates(const struct trace *t, size_t layer)
{
    return t->gates ? t->gates + layer * t->positions * t->top_k : NULL;
}

static bool same_text(const struct trace *t, const struct tokenizer *k, uint32_t id)
{
    const uint8_t *mine, *other;
    size_t size, other_size;
    return trace_token_text(t, id, &mine, &size) &&
           tokenizer_token_bytes(k, id, &other, &other_size) && size == other_size &&
           memcmp(mine, other, size) == 0;
}

int trace_check_tokenizer(const struct trace *t, const char *file, const struct tokenizer *k,
                          struct err *err)
{
    const char *sha256 = tokenizer_sha256(k);
    if (!t->tokenizer_sha256[0] || strcmp(t->tokenizer_sha256, sha256) == 0)
        return 0;
    for (size_t p = 0; p < t->positions; p++)
        if (!same_text(t, k, t->ids[p]))
            return err_set(err, ERR_INPUT, file,
                           "was made with another tokenizer.json: found SHA-256 %.12s..., the "
                           "model's is %.12s..., in which token %" PRIu32
                           " is %s; make the trace again",
                           t->tokenizer_sha256, sha256, t->ids[p],
                           t->vocab_offsets ? "another text" : "not known to be the same text");
    return 0;
}

size_t trace_window_length(const struct trace *t, size_t window)
{
    size_t end = window + 1 < t->windows ? (size_t)t->window_starts[window + 1] : t->positions;
    return end - (size_t)t->window_starts[window];
}

bool trace_token_text(const struct trace *t, uint32_t id, const uint8_t **bytes, size_t *size)
{
    if (!t->vocab_offsets || id >= t->vocab)
        return false;
    *bytes = t->vocab_bytes + t->vocab_offsets[id];
    *size = (size_t)(t->vocab_offsets[id + 1] - t->vocab_offsets[id]);
    return true;
}
