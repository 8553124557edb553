/* From the shared file of a (perhaps hostile) reader to a validated trace. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "data/base/mem.h"
#include "data/trace_h5_wire.h"

const struct wire_spec wire_specs[WIRE_DATASETS] = {
    [WIRE_IDS] = {"/tokens", "/tokens/ids", 1, false, false},
    [WIRE_STARTS] = {"/tokens", "/tokens/window_starts", 1, false, false},
    [WIRE_EXPERTS] = {"/routing", "/routing/experts", 3, false, false},
    [WIRE_GATES] = {"/routing", "/routing/gates", 3, true, true},
    [WIRE_INDEX] = {"/layers", "/layers/index", 1, false, false},
    [WIRE_VOCAB_BYTES] = {"/vocab", "/vocab/bytes", 1, false, true},
    [WIRE_VOCAB_OFFSETS] = {"/vocab", "/vocab/offsets", 1, false, true},
};

struct source {
    const struct wire *wire;
    const unsigned char *base;
    uint64_t size;
    const char *path;
};

int wire_attributes(struct trace *out, const struct wire *w, const char *path, struct err *err)
{
    *out = (struct trace){
        .layers = (size_t)w->layers,
        .experts = (size_t)w->experts,
        .top_k = (size_t)w->top_k,
        .shared_experts = (size_t)w->shared_experts,
        .vocab = (size_t)w->vocab,
        .window = (size_t)w->window,
        .norm_topk_prob = w->norm_topk_prob != 0,
    };
    const struct {
        const char *name;
        char *to;
        const char *from;
        size_t size;
    } texts[] = {
        {"creator", out->creator, w->creator, sizeof out->creator},
        {"created", out->created, w->created, sizeof out->created},
        {"model_name", out->model_name, w->model_name, sizeof out->model_name},
        {"model_type", out->model_type, w->model_type, sizeof out->model_type},
        {"dataset", out->dataset, w->dataset, sizeof out->dataset},
        {"config_sha256", out->config_sha256, w->config_sha256, sizeof out->config_sha256},
        {"tokenizer_sha256", out->tokenizer_sha256, w->tokenizer_sha256,
         sizeof out->tokenizer_sha256},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t length = strnlen(texts[i].from, TRACE_NAME_MAX);
        if (length >= texts[i].size)
            return err_set(err, ERR_INPUT, path,
                           "attribute %s: found %zu bytes, expected at most %zu", texts[i].name,
                           length, texts[i].size - 1);
        memcpy(texts[i].to, texts[i].from, length);
    }
    return trace_validate_attributes(out, path, err);
}

/* The reader broke its word: no file makes a sound one do this. */
static int inconsistent(const struct source *s, const char *what, struct err *err)
{
    return err_set(err, ERR_INPUT, s->path,
                   "the process that reads the file handed over %s; the file is damaged", what);
}

static int bad_array(const struct source *s, size_t d, struct err *err)
{
    char what[96];
    snprintf(what, sizeof what, "an impossible %s", wire_specs[d].path);
    return inconsistent(s, what, err);
}

/* Everything that later code relies on when it follows the offsets. */
static int check_arrays(const struct source *s, struct err *err)
{
    for (size_t d = 0; d < WIRE_DATASETS; d++) {
        const struct wire_array *a = &s->wire->array[d];
        if (a->kind == WIRE_ABSENT && wire_specs[d].optional)
            continue;
        bool floating = a->kind == WIRE_FLOAT;
        bool kind_ok =
            wire_specs[d].floating ? floating : a->kind == WIRE_UNSIGNED || a->kind == WIRE_SIGNED;
        bool width_ok =
            a->width == 2 || a->width == 4 || a->width == 8 || (a->width == 1 && !floating);
        if (!kind_ok || !width_ok || a->offset % 8 || a->offset < sizeof(struct wire) ||
            a->offset > s->size || a->count > (s->size - a->offset) / a->width)
            return bad_array(s, d, err);
    }
    return 0;
}

static int check_count(const struct source *s, enum wire_dataset d, size_t expected,
                       struct err *err)
{
    const struct wire_array *a = &s->wire->array[d];
    return a->kind == WIRE_ABSENT || a->count == expected ? 0 : bad_array(s, d, err);
}

static int check_counts(const struct source *s, const struct trace *t, struct err *err)
{
    size_t slots;
    if (!mem_mul(&slots, t->layers, t->positions) || !mem_mul(&slots, slots, t->top_k))
        return inconsistent(s, "sizes that overflow", err);
    const struct {
        enum wire_dataset dataset;
        size_t count;
    } expected[] = {
        {WIRE_EXPERTS, slots},
        {WIRE_GATES, slots},
        {WIRE_INDEX, t->layers},
        {WIRE_VOCAB_OFFSETS, t->vocab + 1},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (check_count(s, expected[i].dataset, expected[i].count, err) < 0)
            return ERR_INPUT;
    return 0;
}

static const void *data_of(const struct source *s, enum wire_dataset d)
{
    return s->base + s->wire->array[d].offset;
}

/* Element `i` as two's complement; `*negative` tells -1 from UINT64_MAX. */
static uint64_t integer_at(const struct source *s, enum wire_dataset d, size_t i, bool *negative)
{
    const struct wire_array *a = &s->wire->array[d];
    const unsigned char *p = s->base + a->offset + i * a->width;
    uint64_t value = 0;
    memcpy(&value, p, a->width);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value >>= 64 - 8 * a->width;
#endif
    *negative = a->kind == WIRE_SIGNED && (value >> (8 * a->width - 1)) & 1;
    if (*negative && a->width < 8)
        value |= UINT64_MAX << (8 * a->width);
    return value;
}

static void format_integer(char *out, size_t size, uint64_t value, bool negative)
{
    if (negative)
        snprintf(out, size, "%" PRId64, (int64_t)value);
    else
        snprintf(out, size, "%" PRIu64, value);
}

/* Element `i`, which must not be above `max`. */
static int get_integer(uint64_t *out, const struct source *s, enum wire_dataset d, size_t i,
                       uint64_t max, struct err *err)
{
    bool negative;
    *out = integer_at(s, d, i, &negative);
    if (!negative && *out <= max)
        return 0;
    char found[32];
    format_integer(found, sizeof found, *out, negative);
    return err_set(err, ERR_INPUT, s->path, "%s[%zu]: found %s, expected 0 to %" PRIu64,
                   wire_specs[d].path, i, found, max);
}

/*
 * Widens one layer's slots. An id below N is an expert even where it is the type's maximum; else
 * -1 and the maximum mean not routed. The return value is the first slot that is neither.
 */
#define WIDEN(name, type, maximum)                                                         \
    static size_t name(uint16_t *out, const void *in, size_t count, size_t experts)        \
    {                                                                                      \
        const type *slot = in;                                                             \
        bool bad = false;                                                                  \
        for (size_t i = 0; i < count; i++) {                                               \
            bool expert = slot[i] >= 0 && (uint64_t)slot[i] < experts;                     \
            bad |= !expert && slot[i] != (type)-1 && slot[i] != (maximum);                 \
            out[i] = expert ? (uint16_t)slot[i] : TRACE_NOT_ROUTED;                        \
        }                                                                                  \
        for (size_t i = 0; bad && i < count; i++)                                          \
            if (out[i] == TRACE_NOT_ROUTED && slot[i] != (type)-1 && slot[i] != (maximum)) \
                return i;                                                                  \
        return count;                                                                      \
    }

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtype-limits"
WIDEN(widen_u8, uint8_t, UINT8_MAX)
WIDEN(widen_u16, uint16_t, UINT16_MAX)
WIDEN(widen_u32, uint32_t, UINT32_MAX)
WIDEN(widen_u64, uint64_t, UINT64_MAX)
WIDEN(widen_i8, int8_t, INT8_MAX)
WIDEN(widen_i16, int16_t, INT16_MAX)
WIDEN(widen_i32, int32_t, INT32_MAX)
WIDEN(widen_i64, int64_t, INT64_MAX)
#pragma GCC diagnostic pop

typedef size_t (*widen_fn)(uint16_t *, const void *, size_t, size_t);

static widen_fn find_widen(const struct wire_array *a)
{
    static const struct {
        uint32_t kind, width;
        widen_fn fn;
    } table[] = {
        {WIRE_UNSIGNED, 1, widen_u8},  {WIRE_UNSIGNED, 2, widen_u16}, {WIRE_UNSIGNED, 4, widen_u32},
        {WIRE_UNSIGNED, 8, widen_u64}, {WIRE_SIGNED, 1, widen_i8},    {WIRE_SIGNED, 2, widen_i16},
        {WIRE_SIGNED, 4, widen_i32},   {WIRE_SIGNED, 8, widen_i64},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].kind == a->kind && table[i].width == a->width)
            return table[i].fn;
    return NULL;
}

static int import_experts(struct trace *t, const struct source *s, const struct watch *watch,
                          struct err *err)
{
    const struct wire_array *a = &s->wire->array[WIRE_EXPERTS];
    widen_fn widen = find_widen(a);
    if (!widen)
        return bad_array(s, WIRE_EXPERTS, err);
    const unsigned char *in = data_of(s, WIRE_EXPERTS);
    size_t per_layer = t->positions * t->top_k;
    for (size_t l = 0; l < t->layers; l++) {
        if (watch_cancelled(watch))
            return err_set(err, ERR_CANCELLED, s->path, "reading was cancelled");
        watch_tell(watch, WATCH_CHECK, l, t->layers);
        size_t bad =
            widen(t->routed + l * per_layer, in + l * per_layer * a->width, per_layer, t->experts);
        if (bad == per_layer)
            continue;
        char found[32];
        bool negative;
        uint64_t value = integer_at(s, WIRE_EXPERTS, l * per_layer + bad, &negative);
        format_integer(found, sizeof found, value, negative);
        return err_set(err, ERR_INPUT, s->path,
                       "/routing/experts[%zu][%zu][%zu]: found %s, expected below num_experts "
                       "%zu, or -1 or the type's maximum for not routed",
                       l, bad / t->top_k, bad % t->top_k, found, t->experts);
    }
    return 0;
}

/* IEEE 754 binary16. */
static float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = half >> 10 & 31;
    uint32_t fraction = half & 1023;
    if (exponent == 0) {
        float small = (float)fraction * 0x1p-24f;
        return sign ? -small : small;
    }
    uint32_t bits = sign | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void import_gates(struct trace *t, const struct source *s)
{
    const struct wire_array *a = &s->wire->array[WIRE_GATES];
    if (a->kind == WIRE_ABSENT)
        return;
    const void *in = data_of(s, WIRE_GATES);
    if (a->width == sizeof(float))
        memcpy(t->gates, in, a->count * sizeof(float));
    for (size_t i = 0; a->width == 2 && i < a->count; i++)
        t->gates[i] = half_to_float(((const uint16_t *)in)[i]);
    for (size_t i = 0; a->width == 8 && i < a->count; i++)
        t->gates[i] = (float)((const double *)in)[i];
}

static int import_small(struct trace *t, const struct source *s, struct err *err)
{
    uint64_t value;
    for (size_t i = 0; i < t->positions; i++) {
        if (get_integer(&value, s, WIRE_IDS, i, UINT32_MAX, err) < 0)
            return ERR_INPUT;
        t->ids[i] = (uint32_t)value;
    }
    for (size_t i = 0; i < t->windows; i++) {
        if (get_integer(&value, s, WIRE_STARTS, i, INT64_MAX, err) < 0)
            return ERR_INPUT;
        t->window_starts[i] = value;
    }
    for (size_t i = 0; i < t->layers; i++) {
        if (get_integer(&value, s, WIRE_INDEX, i, UINT16_MAX, err) < 0)
            return ERR_INPUT;
        t->layer_index[i] = (uint16_t)value;
    }
    return 0;
}

static int import_vocabulary(struct trace *t, const struct source *s, struct err *err)
{
    const struct wire_array *bytes = &s->wire->array[WIRE_VOCAB_BYTES];
    const struct wire_array *offsets = &s->wire->array[WIRE_VOCAB_OFFSETS];
    if (bytes->kind == WIRE_ABSENT && offsets->kind == WIRE_ABSENT)
        return 0;
    if (bytes->kind == WIRE_ABSENT || offsets->kind == WIRE_ABSENT)
        return inconsistent(s, "half a vocabulary", err);
    t->vocab_offsets = mem_array(t->vocab + 1, sizeof *t->vocab_offsets, err);
    t->vocab_bytes = mem_array(bytes->count, 1, err);
    if (!t->vocab_offsets || !t->vocab_bytes)
        return ERR_NOMEM;
    for (size_t i = 0; i <= t->vocab; i++)
        if (get_integer(&t->vocab_offsets[i], s, WIRE_VOCAB_OFFSETS, i, INT64_MAX, err) < 0)
            return ERR_INPUT;
    for (size_t i = 0; i < bytes->count; i++) {
        uint64_t value;
        if (get_integer(&value, s, WIRE_VOCAB_BYTES, i, UINT8_MAX, err) < 0)
            return ERR_INPUT;
        t->vocab_bytes[i] = (uint8_t)value;
    }
    if (t->vocab_offsets[t->vocab] != bytes->count)
        return err_set(err, ERR_INPUT, s->path,
                       "/vocab/offsets[%zu]: found %" PRIu64 ", expected %" PRIu64
                       ", the length of /vocab/bytes",
                       t->vocab, t->vocab_offsets[t->vocab], bytes->count);
    return 0;
}

static int import_all(struct trace *t, const struct source *s, const struct watch *watch,
                      struct err *err)
{
    const struct wire *w = s->wire;
    int rc = wire_attributes(t, w, s->path, err);
    if (rc == 0)
        rc = check_arrays(s, err);
    if (rc < 0)
        return rc;
    t->positions = (size_t)w->array[WIRE_IDS].count;
    t->windows = (size_t)w->array[WIRE_STARTS].count;
    rc = check_counts(s, t, err);
    if (rc == 0)
        rc = trace_alloc(t, w->array[WIRE_GATES].kind != WIRE_ABSENT, err);
    if (rc == 0)
        rc = import_small(t, s, err);
    if (rc == 0)
        rc = import_experts(t, s, watch, err);
    if (rc == 0)
        rc = import_vocabulary(t, s, err);
    if (rc < 0)
        return rc;
    import_gates(t, s);
    return trace_validate(t, s->path, err);
}

/* The reader's own complaint, with its text made safe to use as a string. */
static int check_verdict(const struct source *s, struct err *err)
{
    const struct wire *w = s->wire;
    if (w->state != WIRE_DONE)
        return inconsistent(s, "nothing", err);
    if (w->code == ERR_OK)
        return 0;
    int code = w->code == ERR_UNSUPPORTED || w->code == ERR_NOMEM ? w->code : ERR_INPUT;
    int length = (int)strnlen(w->message, sizeof w->message);
    return err_set(err, (enum err_code)code, s->path, "%.*s", length, w->message);
}

int wire_import(struct trace *out, int fd, const char *path, const struct watch *watch,
                struct err *err)
{
    *out = (struct trace){0};
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_set_errno(err, ERR_IO, path, "cannot look at what the reader handed over");
    struct source s = {.size = (uint64_t)st.st_size, .path = path};
    if (s.size < sizeof(struct wire))
        return inconsistent(&s, "nothing", err);
    void *map = mmap(NULL, s.size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return err_set_errno(err, ERR_NOMEM, path, "cannot map what the reader handed over");
    s.base = map;
    s.wire = map;
    int rc = check_verdict(&s, err);
    if (rc == 0)
        rc = import_all(out, &s, watch, err);
    if (rc < 0)
        trace_release(out);
    munmap(map, s.size);
    return rc;
}
