/* Element types of tensors and their conversion to and from float32. */
#include <math.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "data/safetensors.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "safetensors data is little-endian");

static const struct {
    const char *name;
    size_t size;
} traits[DTYPE_COUNT] = {
    [DTYPE_F64] = {"F64", 8},   [DTYPE_F32] = {"F32", 4}, [DTYPE_F16] = {"F16", 2},
    [DTYPE_BF16] = {"BF16", 2}, [DTYPE_I64] = {"I64", 8}, [DTYPE_I32] = {"I32", 4},
    [DTYPE_I16] = {"I16", 2},   [DTYPE_I8] = {"I8", 1},   [DTYPE_U8] = {"U8", 1},
    [DTYPE_BOOL] = {"BOOL", 1},
};

size_t dtype_size(enum dtype dtype)
{
    return traits[dtype].size;
}

const char *dtype_name(enum dtype dtype)
{
    return traits[dtype].name;
}

bool dtype_parse(enum dtype *out, const char *name)
{
    for (int i = 0; i < DTYPE_COUNT; i++) {
        if (strcmp(name, traits[i].name) == 0) {
            *out = (enum dtype)i;
            return true;
        }
    }
    return false;
}

bool dtype_is_float(enum dtype dtype)
{
    return dtype == DTYPE_F64 || dtype == DTYPE_F32 || dtype == DTYPE_F16 || dtype == DTYPE_BF16;
}

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

float dtype_bf16_to_float(uint16_t bits)
{
    return from_bits((uint32_t)bits << 16);
}

float dtype_f16_to_float(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    uint32_t exponent = bits >> 10 & 31, mantissa = bits & 1023;
    if (exponent == 31) /* a NaN becomes quiet, as the processor's own conversion makes it */
        return from_bits(sign | 0x7f800000 | (mantissa ? 0x400000 | mantissa << 13 : 0));
    if (exponent == 0) {
        float value = (float)mantissa * 0x1p-24f; /* exact: subnormals have 10 bits */
        return sign ? -value : value;
    }
    return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t dtype_float_to_bf16(float value)
{
    uint32_t bits = to_bits(value);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40); /* rounding must not turn a NaN into infinity */
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* `bits` without its lowest `drop` bits, rounded to nearest, ties to even. */
static uint32_t shift_round(uint32_t bits, unsigned drop)
{
    uint32_t half = 1u << (drop - 1), rest = bits & (2 * half - 1), kept = bits >> drop;
    return kept + (rest > half || (rest == half && (kept & 1)));
}

uint16_t dtype_float_to_f16(float value)
{
    uint32_t bits = to_bits(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    if (magnitude >= 0x47800000) /* 65536 and more */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude >= 0x38800000) /* normal in half precision; a carry may reach infinity */
        return (uint16_t)(sign | shift_round(magnitude - 0x38000000, 13));
    if (magnitude < 0x33000000) /* below half of the smallest subnormal */
        return (uint16_t)sign;
    unsigned exponent = magnitude >> 23;
    uint32_t mantissa = (magnitude & 0x7fffff) | 0x800000;
    return (uint16_t)(sign | shift_round(mantissa, 126 - exponent));
}

static void f64_to_float(float *out, const void *in, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double value;
        memcpy(&value, (const char *)in + i * sizeof value, sizeof value);
        out[i] = (float)value;
    }
}

static void bf16_to_float(float *out, const void *in, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, (const char *)in + i * sizeof bits, sizeof bits);
        out[i] = dtype_bf16_to_float(bits);
    }
}

static void f16_to_float_plain(float *out, const void *in, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, (const char *)in + i * sizeof bits, sizeof bits);
        out[i] = dtype_f16_to_float(bits);
    }
}

#if defined(__x86_64__)
__attribute__((target("avx,f16c"))) static void f16_to_float_f16c(float *out, const void *in,
                                                                  size_t count)
{
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        __m128i half = _mm_loadu_si128((const __m128i *)((const char *)in + 2 * i));
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(half));
    }
    f16_to_float_plain(out + i, (const char *)in + 2 * i, count - i);
}
#endif

static void f16_to_float(float *out, const void *in, size_t count)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("f16c") && __builtin_cpu_supports("avx")) {
        f16_to_float_f16c(out, in, count);
        return;
    }
#endif
    f16_to_float_plain(out, in, count);
}

int dtype_to_float(float *out, const void *in, enum dtype dtype, size_t count, struct err *err)
{
    if (count == 0 && dtype_is_float(dtype))
        return 0;
    switch (dtype) {
    case DTYPE_F64:
        f64_to_float(out, in, count);
        return 0;
    case DTYPE_F32:
        memcpy(out, in, count * sizeof *out);
        return 0;
    case DTYPE_F16:
        f16_to_float(out, in, count);
        return 0;
    case DTYPE_BF16:
        bf16_to_float(out, in, count);
        return 0;
    default:
        return err_set(err, ERR_UNSUPPORTED, NULL,
                       "found elements of type %s, expected F64, F32, F16 or BF16",
                       dtype_name(dtype));
    }
}
