/* Packed linears to and from the tensors of the gptq and moqa layouts. */
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/str.h"
#include "data/packed.h"

/* Outputs handled together: a row of qweight then moves in whole cache lines. */
enum { BLOCK = 16 };

static size_t word_count(size_t count, unsigned bits)
{
    return (count * bits + 31) / 32;
}

/* Version 1 of gptq stores zero points less one: the tool takes this constant from the whole word
 * at 2, 4 and 8 bits, so that a borrow runs into the next field; at 3 bits it works by fields. */
static uint32_t version_1_constant(unsigned bits)
{
    static const uint32_t constants[9] = {[2] = 0x55555555, [4] = 0x11111111, [8] = 0x01010101};
    return constants[bits];
}

static bool is_version_1(enum checkpoint_format format, unsigned bits, bool by_fields)
{
    return format == CHECKPOINT_GPTQ && (bits == 3) == by_fields;
}

/* --- Sets: the codes of some inputs with the grid they share --- */

struct set {
    const char *prefix; /* of the tensors' names */
    unsigned bits;
    size_t count;        /* inputs */
    const size_t *input; /* [count], rising */
    uint16_t *scales;    /* [out][group] */
    uint8_t *zeros;
};

/* Splits the inputs: low[] without mixed channels, then the channels. `inputs` has p->in places. */
static void split(const struct packed_linear *p, size_t *inputs, struct set *low,
                  struct set *channels)
{
    size_t rest = 0, k = 0, others = p->in - p->channels;
    for (size_t i = 0; i < p->in; i++) {
        if (k < p->channels && p->channel_index[k] == i)
            inputs[others + k++] = i;
        else
            inputs[rest++] = i;
    }
    *low = (struct set){"", p->bits, others, inputs, p->scales, p->zeros};
    *channels = (struct set){"channel_",      p->channel_bits,   p->channels,
                             inputs + others, p->channel_scales, p->channel_zeros};
}

/* --- Encoding --- */

static int add_tensor(struct packed_tensors *t, const char *linear, const char *prefix,
                      const char *part, enum dtype dtype, size_t rows, size_t columns,
                      struct err *err)
{
    struct str name = {0};
    size_t count;
    str_appendf(&name, "%s.%s%s", linear, prefix, part);
    if (str_ok(&name, err) < 0 || !mem_mul(&count, rows, columns ? columns : 1)) {
        str_release(&name);
        return err_set(err, ERR_NOMEM, NULL, "no memory for tensor %s of %s", part, linear);
    }
    size_t i = t->count;
    t->spec[i] = (struct safetensors_spec){name.data, dtype, columns ? 2 : 1, {rows, columns}};
    t->bytes[i] = count * dtype_size(dtype);
    t->data[i] = mem_array(count, dtype_size(dtype), err);
    t->count++;
    return t->data[i] ? 0 : ERR_NOMEM;
}

static int encode_codes(struct packed_tensors *t, const struct packed_linear *p,
                        const struct set *s, const char *linear, struct err *err)
{
    size_t rows = word_count(s->count, s->bits);
    int rc = add_tensor(t, linear, s->prefix, "qweight", DTYPE_I32, rows, p->out, err);
    if (rc < 0)
        return rc;
    uint32_t *qweight = t->data[t->count - 1];
    uint32_t *packed = mem_array(rows * BLOCK, sizeof *packed, err);
    uint8_t *codes = mem_array(s->count, 1, err);
    if (!packed || !codes)
        rc = ERR_NOMEM;
    for (size_t first = 0; first < p->out && rc == 0; first += BLOCK) {
        size_t n = p->out - first < BLOCK ? p->out - first : BLOCK;
        for (size_t o = 0; o < n; o++) {
            for (size_t i = 0; i < s->count; i++)
                codes[i] = p->codes[(first + o) * p->in + s->input[i]];
            packed_pack(packed + o * rows, codes, s->count, s->bits);
        }
        for (size_t r = 0; r < rows; r++) {
            for (size_t o = 0; o < n; o++)
                qweight[r * p->out + first + o] = packed[o * rows + r];
        }
    }
    free(packed);
    free(codes);
    return rc;
}

static int encode_zeros(struct packed_tensors *t, const struct packed_linear *p,
                        const struct set *s, const char *linear, enum checkpoint_format format,
                        struct err *err)
{
    size_t columns = word_count(p->out, s->bits);
    int rc = add_tensor(t, linear, s->prefix, "qzeros", DTYPE_I32, p->groups, columns, err);
    if (rc < 0)
        return rc;
    uint32_t *qzeros = t->data[t->count - 1];
    uint32_t constant = is_version_1(format, s->bits, false) ? version_1_constant(s->bits) : 0;
    uint8_t less = is_version_1(format, s->bits, true), *row = mem_array(p->out, 1, err);
    if (!row)
        return ERR_NOMEM;
    for (size_t g = 0; g < p->groups; g++) {
        for (size_t o = 0; o < p->out; o++)
            row[o] = (uint8_t)(s->zeros[o * p->groups + g] - less);
        packed_pack(qzeros + g * columns, row, p->out, s->bits);
        for (size_t c = 0; c < columns; c++)
            qzeros[g * columns + c] -= constant;
    }
    free(row);
    return 0;
}

static int encode_set(struct packed_tensors *t, const struct packed_linear *p, const struct set *s,
                      const char *linear, enum checkpoint_format format, struct err *err)
{
    int rc = encode_codes(t, p, s, linear, err);
    if (rc == 0)
        rc = encode_zeros(t, p, s, linear, format, err);
    if (rc == 0)
        rc = add_tensor(t, linear, s->prefix, "scales", DTYPE_F16, p->groups, p->out, err);
    if (rc < 0)
        return rc;
    uint16_t *scales = t->data[t->count - 1];
    for (size_t g = 0; g < p->groups; g++) {
        for (size_t o = 0; o < p->out; o++)
            scales[g * p->out + o] = s->scales[o * p->groups + g];
    }
    return 0;
}

static int encode_index(struct packed_tensors *t, const struct packed_linear *p, const char *linear,
                        enum checkpoint_format format, struct err *err)
{
    bool moqa = format == CHECKPOINT_MOQA;
    int rc = add_tensor(t, linear, "", moqa ? "channel_index" : "g_idx", DTYPE_I32,
                        moqa ? p->channels : p->in, 0, err);
    if (rc < 0)
        return rc;
    uint32_t *index = t->data[t->count - 1];
    if (moqa) {
        memcpy(index, p->channel_index, p->channels * sizeof *index);
        return 0;
    }
    for (size_t i = 0; i < p->in; i++)
        index[i] = (uint32_t)(i / p->group_size);
    return 0;
}

/* --- Checks of values, the same for writing and reading --- */

static int check_cells(const struct packed_linear *p, const struct set *s, const char *linear,
                       const char *file, struct err *err)
{
    for (size_t i = 0; i < p->out * p->groups; i++) {
        if ((s->scales[i] & 0x7c00) == 0x7c00)
            return err_set(err, ERR_INPUT, file,
                           "tensor \"%s.%sscales\": not a finite number at group %zu, output %zu",
                           linear, s->prefix, i % p->groups, i / p->groups);
        if (s->zeros[i] >> s->bits)
            return err_set(err, ERR_USAGE, file,
                           "%s: zero point %u at group %zu, output %zu does not fit %u bits",
                           linear, s->zeros[i], i % p->groups, i / p->groups, s->bits);
    }
    return 0;
}

static int check_channels(const struct packed_linear *p, const char *linear, const char *file,
                          struct err *err)
{
    for (size_t k = 0; k < p->channels; k++) {
        size_t index = p->channel_index[k];
        if (index >= p->in || (k && index <= p->channel_index[k - 1]))
            return err_set(err, ERR_INPUT, file,
                           "tensor \"%s.channel_index\": found %zu at %zu, expected rising numbers "
                           "below %zu",
                           linear, index, k, p->in);
    }
    return 0;
}

static int check_codes(const struct packed_linear *p, const struct set *s, const char *linear,
                       struct err *err)
{
    for (size_t o = 0; o < p->out; o++) {
        for (size_t k = 0; k < s->count; k++) {
            unsigned code = p->codes[o * p->in + s->input[k]];
            if (code >> s->bits)
                return err_set(err, ERR_USAGE, NULL,
                               "%s: code %u at output %zu, input %zu does not fit %u bits", linear,
                               code, o, s->input[k], s->bits);
        }
    }
    return 0;
}

static int check_gptq(const struct packed_linear *p, const char *linear,
                      enum checkpoint_format format, struct err *err)
{
    if (p->channels)
        return err_set(err, ERR_UNSUPPORTED, NULL,
                       "%s: the gptq layout has no mixed channels; use the moqa format or switch "
                       "them off",
                       linear);
    if (p->bits == 3 && (p->in % 32 || p->out % 32))
        return err_set(err, ERR_UNSUPPORTED, NULL,
                       "%s: %zu x %zu at 3 bits; the gptq layout needs multiples of 32 there",
                       linear, p->in, p->out);
    for (size_t i = 0; i < p->out * p->groups && format == CHECKPOINT_GPTQ; i++) {
        if (p->zeros[i] == 0)
            return err_set(err, ERR_UNSUPPORTED, NULL,
                           "%s: a zero point of 0 at group %zu, output %zu, which readers of gptq "
                           "version 1 decode in two ways; shift the grid or write gptq_v2",
                           linear, i % p->groups, i / p->groups);
    }
    return 0;
}

static int check_linear(const struct packed_linear *p, const struct set *low,
                        const struct set *channels, const char *linear,
                        enum checkpoint_format format, struct err *err)
{
    int rc = check_channels(p, linear, NULL, err);
    if (rc == 0 && format != CHECKPOINT_MOQA)
        rc = check_gptq(p, linear, format, err);
    if (rc == 0)
        rc = check_cells(p, low, linear, NULL, err);
    if (rc == 0)
        rc = check_codes(p, low, linear, err);
    if (rc == 0 && p->channels)
        rc = check_cells(p, channels, linear, NULL, err);
    if (rc == 0 && p->channels)
        rc = check_codes(p, channels, linear, err);
    return rc;
}

int packed_encode(struct packed_tensors *out, const struct packed_linear *p, const char *linear,
                  enum checkpoint_format format, struct err *err)
{
    struct set low, channels;
    *out = (struct packed_tensors){0};
    if (format == CHECKPOINT_PLAIN)
        return err_set(err, ERR_USAGE, NULL, "%s: a plain checkpoint packs nothing", linear);
    int rc = check_channels(p, linear, NULL, err);
    if (rc < 0)
        return rc;
    size_t *inputs = mem_array(p->in, sizeof *inputs, err);
    if (!inputs)
        return ERR_NOMEM;
    split(p, inputs, &low, &channels);
    rc = check_linear(p, &low, &channels, linear, format, err);
    if (rc == 0)
        rc = encode_set(out, p, &low, linear, format, err);
    if (rc == 0 && p->channels)
        rc = encode_set(out, p, &channels, linear, format, err);
    if (rc == 0 && (p->channels || format != CHECKPOINT_MOQA))
        rc = encode_index(out, p, linear, format, err);
    if (rc < 0)
        packed_tensors_release(out);
    free(inputs);
    return rc;
}

void packed_tensors_release(struct packed_tensors *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free((char *)(uintptr_t)t->spec[i].name);
        free(t->data[i]);
    }
    *t = (struct packed_tensors){0};
}

/* --- Reading --- */

struct source {
    const struct checkpoint *c;
    const char *linear;
    enum checkpoint_format format;
    struct err *err;
};

/* The tensor's bytes, its type and shape checked (columns 0: one dimension). NULL on error. */
static void *read_part(const struct source *src, const char *prefix, const char *part,
                       enum dtype dtype, size_t rows, size_t columns)
{
    struct str name = {0};
    void *data = NULL;
    str_appendf(&name, "%s.%s%s", src->linear, prefix, part);
    const struct tensor_info *t =
        str_ok(&name, src->err) == 0 ? checkpoint_find(src->c, str_get(&name)) : NULL;
    const char *dir = checkpoint_dir(src->c);
    if (!t)
        err_set(src->err, ERR_INPUT, dir, "tensor \"%s\" is missing", str_get(&name));
    else if (t->dtype != dtype)
        err_set(src->err, ERR_INPUT, dir, "tensor \"%s\": found type %s, expected %s", t->name,
                dtype_name(t->dtype), dtype_name(dtype));
    else if (t->rank != (columns ? 2 : 1) || t->shape[0] != rows ||
             (columns && t->shape[1] != columns))
        err_set(src->err, ERR_INPUT, dir,
                "tensor \"%s\": found %zu dimensions of [%zu, %zu], expected [%zu, %zu]", t->name,
                t->rank, t->rank > 0 ? t->shape[0] : 0, t->rank > 1 ? t->shape[1] : 0, rows,
                columns);
    else
        data = mem_aligned((size_t)t->bytes, 1, src->err);
    if (data && checkpoint_read(src->c, t, data, src->err) < 0) {
        free(data);
        data = NULL;
    }
    str_release(&name);
    return data;
}

static int decode_codes(const struct source *src, struct packed_linear *p, const struct set *s)
{
    size_t rows = word_count(s->count, s->bits);
    uint32_t *qweight = read_part(src, s->prefix, "qweight", DTYPE_I32, rows, p->out);
    uint32_t *packed = mem_array(rows * BLOCK, sizeof *packed, src->err);
    uint8_t *codes = mem_array(s->count, 1, src->err);
    int rc = qweight && packed && codes ? 0 : ERR_INPUT;
    for (size_t first = 0; first < p->out && rc == 0; first += BLOCK) {
        size_t n = p->out - first < BLOCK ? p->out - first : BLOCK;
        for (size_t r = 0; r < rows; r++) {
            for (size_t o = 0; o < n; o++)
                packed[o * rows + r] = qweight[r * p->out + first + o];
        }
        for (size_t o = 0; o < n; o++) {
            packed_unpack(codes, packed + o * rows, s->count, s->bits);
            for (size_t i = 0; i < s->count; i++)
                p->codes[(first + o) * p->in + s->input[i]] = codes[i];
        }
    }
    free(qweight);
    free(packed);
    free(codes);
    return rc;
}

static int decode_zeros(const struct source *src, struct packed_linear *p, const struct set *s)
{
    size_t columns = word_count(p->out, s->bits);
    uint32_t *qzeros = read_part(src, s->prefix, "qzeros", DTYPE_I32, p->groups, columns);
    uint8_t *row = mem_array(p->out, 1, src->err);
    uint32_t constant = is_version_1(src->format, s->bits, false) ? version_1_constant(s->bits) : 0;
    uint8_t more = is_version_1(src->format, s->bits, true);
    int rc = qzeros && row ? 0 : ERR_INPUT;
    for (size_t g = 0; g < p->groups && rc == 0; g++) {
        for (size_t c = 0; c < columns; c++)
            qzeros[g * columns + c] += constant;
        packed_unpack(row, qzeros + g * columns, p->out, s->bits);
        for (size_t o = 0; o < p->out; o++)
            s->zeros[o * p->groups + g] = (uint8_t)((row[o] + more) & ((1u << s->bits) - 1));
    }
    free(qzeros);
    free(row);
    return rc;
}

static int decode_scales(const struct source *src, struct packed_linear *p, const struct set *s)
{
    uint16_t *scales = read_part(src, s->prefix, "scales", DTYPE_F16, p->groups, p->out);
    if (!scales)
        return ERR_INPUT;
    for (size_t g = 0; g < p->groups; g++) {
        for (size_t o = 0; o < p->out; o++)
            s->scales[o * p->groups + g] = scales[g * p->out + o];
    }
    free(scales);
    return check_cells(p, s, src->linear, checkpoint_dir(src->c), src->err);
}

static int decode_set(const struct source *src, struct packed_linear *p, const struct set *s)
{
    int rc = decode_codes(src, p, s);
    if (rc == 0)
        rc = decode_zeros(src, p, s);
    return rc < 0 ? rc : decode_scales(src, p, s);
}

static int check_g_idx(const struct source *src, const struct packed_linear *p)
{
    uint32_t *index = read_part(src, "", "g_idx", DTYPE_I32, p->in, 0);
    int rc = index ? 0 : ERR_INPUT;
    for (size_t i = 0; i < p->in && rc == 0; i++) {
        if (index[i] != i / p->group_size)
            rc = err_set(src->err, ERR_UNSUPPORTED, checkpoint_dir(src->c),
                         "tensor \"%s.g_idx\": found group %d for input %zu, expected %zu; only "
                         "groups of neighbouring inputs are supported",
                         src->linear, (int)index[i], i, i / p->group_size);
    }
    free(index);
    return rc;
}

static int read_channels(const struct source *src, struct packed_linear *p)
{
    uint32_t *index = read_part(src, "", "channel_index", DTYPE_I32, p->channels, 0);
    if (!index)
        return ERR_INPUT;
    memcpy(p->channel_index, index, p->channels * sizeof *index);
    free(index);
    return check_channels(p, src->linear, checkpoint_dir(src->c), src->err);
}

/* How many inputs the file holds apart; 0 without the tensor. */
static int count_channels(const struct source *src, size_t in, size_t *count)
{
    struct str name = {0};
    str_appendf(&name, "%s.channel_index", src->linear);
    int rc = str_ok(&name, src->err);
    const struct tensor_info *t = rc == 0 ? checkpoint_find(src->c, str_get(&name)) : NULL;
    *count = t && t->rank ? t->shape[0] : 0;
    if (t && (*count == 0 || *count > in))
        rc = err_set(src->err, ERR_INPUT, checkpoint_dir(src->c),
                     "tensor \"%s\": found %zu channels, expected 1 to %zu", t->name, *count, in);
    str_release(&name);
    return rc;
}

static int read_sets(const struct source *src, struct packed_linear *p)
{
    struct set low, channels;
    size_t *inputs = mem_array(p->in, sizeof *inputs, src->err);
    if (!inputs)
        return ERR_NOMEM;
    int rc = p->channels ? read_channels(src, p) : 0;
    if (rc == 0) {
        split(p, inputs, &low, &channels);
        rc = decode_set(src, p, &low);
    }
    if (rc == 0 && p->channels)
        rc = decode_set(src, p, &channels);
    if (rc == 0 && src->format != CHECKPOINT_MOQA)
        rc = check_g_idx(src, p);
    free(inputs);
    return rc;
}

int packed_read(struct packed_linear *out, const struct checkpoint *c, const char *linear,
                size_t in, size_t out_features, struct err *err)
{
    struct err own = {0}, *e = err ? err : &own;
    struct source src = {c, linear, checkpoint_quantization(c), e};
    struct checkpoint_linear config;
    size_t channels = 0;
    *out = (struct packed_linear){0};
    int rc = checkpoint_linear_config(c, linear, &config, e);
    if (rc < 0)
        return rc;
    if (!config.quantized)
        return err_set(e, ERR_USAGE, checkpoint_dir(c), "%s: not quantized in this checkpoint",
                       linear);
    if (src.format == CHECKPOINT_MOQA)
        rc = count_channels(&src, in, &channels);
    if (rc == 0 && channels && config.channel_bits == 0)
        rc =
            err_set(e, ERR_INPUT, checkpoint_dir(c),
                    "tensor \"%s.channel_index\": quantization_config names no channel_bits for it",
                    linear);
    if (rc == 0)
        rc = packed_alloc(out, in, out_features, config.bits, config.group_size,
                          config.channel_bits, channels, e);
    if (rc == 0)
        rc = read_sets(&src, out);
    if (rc < 0)
        packed_release(out);
    return rc < 0 ? (int)e->code : 0;
}
