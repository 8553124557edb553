#include "analysis/cosine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"

/*
 * The Gram matrix in tiles of experts, over stretches of SPAN floats: a stretch is summed in
 * float32 lanes (at most SPAN / lanes terms each, far too few to lose what the eye or the
 * correlation needs), every stretch is added in float64. One kernel for each width of vectors;
 * LANES, ROWS and COLUMNS are chosen so that a tile's sums stay in registers. A stretch is copied
 * into one small block first: rows lie powers of two apart and would push each other out of the
 * caches.
 */
enum { SPAN = 1024, STRIDE = SPAN + 16, TILE_MAX = 4 };

#define COSINE_KERNEL(NAME, TARGET, LANES, ROWS, COLUMNS)                                          \
    typedef float NAME##_vector __attribute__((vector_size(LANES * 4), aligned(4), may_alias));    \
    TARGET static void NAME(double *tile, const float *const *a, const float *const *b, size_t at, \
                            size_t vectors)                                                        \
    {                                                                                              \
        NAME##_vector sum[ROWS][COLUMNS] = {0};                                                    \
        for (size_t v = 0; v < vectors; v++) {                                                     \
            NAME##_vector y[COLUMNS];                                                              \
            _Pragma("GCC unroll 4") for (size_t j = 0; j < COLUMNS; j++) y[j] =                    \
                *(const NAME##_vector *)(b[j] + at + v * LANES);                                   \
            _Pragma("GCC unroll 4") for (size_t i = 0; i < ROWS; i++)                              \
            {                                                                                      \
                NAME##_vector x = *(const NAME##_vector *)(a[i] + at + v * LANES);                 \
                _Pragma("GCC unroll 4") for (size_t j = 0; j < COLUMNS; j++) sum[i][j] +=          \
                    x * y[j];                                                                      \
            }                                                                                      \
        }                                                                                          \
        for (size_t i = 0; i < ROWS; i++)                                                          \
            for (size_t j = 0; j < COLUMNS; j++) {                                                 \
                double total = 0;                                                                  \
                for (size_t l = 0; l < LANES; l++)                                                 \
                    total += (double)sum[i][j][l];                                                 \
                tile[i * COLUMNS + j] += total;                                                    \
            }                                                                                      \
    }

struct kernel {
    size_t lanes, rows, columns;
    void (*run)(double *tile, const float *const *a, const float *const *b, size_t at,
                size_t vectors);
};

COSINE_KERNEL(plain, , 4, 2, 4)
static const struct kernel kernel_plain = {4, 2, 4, plain};

#if defined(__x86_64__) && defined(__GNUC__)
#define WITH_AVX2 __attribute__((target("avx2,fma"), optimize("fp-contract=fast")))
#define WITH_AVX512 __attribute__((target("avx512f"), optimize("fp-contract=fast")))
COSINE_KERNEL(avx2, WITH_AVX2, 8, 2, 4)
COSINE_KERNEL(avx512, WITH_AVX512, 16, 4, 4)
static const struct kernel kernel_avx2 = {8, 2, 4, avx2};
static const struct kernel kernel_avx512 = {16, 4, 4, avx512};

static const struct kernel *best_kernel(void)
{
    if (__builtin_cpu_supports("avx512f"))
        return &kernel_avx512;
    bool fast = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return fast ? &kernel_avx2 : &kernel_plain;
}
#else
static const struct kernel *best_kernel(void)
{
    return &kernel_plain;
}
#endif

/* Beyond the last expert a tile repeats that one; what it computes there is not used. */
static void take_rows(const float **out, const float *const *rows, size_t from, size_t count,
                      size_t experts)
{
    for (size_t i = 0; i < count; i++)
        out[i] = rows[from + i < experts ? from + i : experts - 1];
}

/* What is left of a stretch that is no multiple of the vectors. */
static void add_rest(double *tile, const float *const *a, const float *const *b, size_t rows,
                     size_t columns, size_t from, size_t to)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            for (size_t k = from; k < to; k++)
                tile[i * columns + j] += (double)a[i][k] * (double)b[j][k];
}

static void add_tile(double *gram, const struct kernel *k, const float *const *rows, size_t experts,
                     size_t i, size_t j, size_t at, size_t span)
{
    const float *a[TILE_MAX], *b[TILE_MAX];
    double tile[TILE_MAX * TILE_MAX] = {0};
    size_t vectors = span / k->lanes;
    take_rows(a, rows, i, k->rows, experts);
    take_rows(b, rows, j, k->columns, experts);
    k->run(tile, a, b, at, vectors);
    add_rest(tile, a, b, k->rows, k->columns, at + vectors * k->lanes, at + span);
    for (size_t r = 0; r < k->rows && i + r < experts; r++)
        for (size_t c = 0; c < k->columns && j + c < experts; c++)
            gram[(i + r) * experts + j + c] += tile[r * k->columns + c];
}

/* Only the upper triangle is summed; cosine_add() leaves the matrix symmetric. */
static void mirror(double *gram, size_t experts)
{
    for (size_t i = 0; i < experts; i++)
        for (size_t j = i + 1; j < experts; j++)
            gram[j * experts + i] = gram[i * experts + j];
}

/* One stretch of every row, end to end. */
static void pack(float *out, const float *const *rows, size_t experts, size_t at, size_t span)
{
    for (size_t e = 0; e < experts; e++)
        memcpy(out + e * STRIDE, rows[e] + at, span * sizeof *out);
}

void cosine_add(double *gram, const float *const *rows, size_t experts, size_t width)
{
    const struct kernel *k = best_kernel();
    float *packed = mem_aligned(experts, STRIDE * sizeof *packed, NULL);
    const float **packed_rows = mem_array(experts, sizeof *packed_rows, NULL);
    bool pack_rows = packed && packed_rows; /* without memory it only takes longer */
    for (size_t e = 0; pack_rows && e < experts; e++)
        packed_rows[e] = packed + e * STRIDE;
    for (size_t at = 0; at < width; at += SPAN) {
        size_t span = width - at < SPAN ? width - at : SPAN;
        if (pack_rows)
            pack(packed, rows, experts, at, span);
        for (size_t i = 0; i < experts; i += k->rows)
            for (size_t j = i / k->columns * k->columns; j < experts; j += k->columns)
                add_tile(gram, k, pack_rows ? packed_rows : rows, experts, i, j, pack_rows ? 0 : at,
                         span);
    }
    mirror(gram, experts);
    free(packed);
    free(packed_rows);
}

void cosine_finish(double *gram, size_t experts)
{
    for (size_t i = 0; i < experts; i++)
        for (size_t j = 0; j < i; j++) {
            double norm = sqrt(gram[i * experts + i]) * sqrt(gram[j * experts + j]);
            double value = norm > 0 ? gram[i * experts + j] / norm : 0;
            gram[i * experts + j] = gram[j * experts + i] = value;
        }
    for (size_t i = 0; i < experts; i++)
        gram[i * experts + i] = gram[i * experts + i] > 0 ? 1 : 0;
}

struct ranked {
    double significance;
    size_t expert;
};

static int rising(const void *x, const void *y)
{
    const struct ranked *a = x, *b = y;
    if (a->significance != b->significance)
        return a->significance < b->significance ? -1 : 1;
    return (a->expert > b->expert) - (a->expert < b->expert);
}

int cosine_pick(size_t *out, size_t count, const double *significance, size_t experts,
                struct err *err)
{
    if (count == 0 || count > experts)
        return err_set(err, ERR_USAGE, NULL, "%zu experts to choose, expected 1 to %zu", count,
                       experts);
    struct ranked *list = mem_array(experts, sizeof *list, err);
    if (!list)
        return ERR_NOMEM;
    for (size_t e = 0; e < experts; e++)
        list[e] = (struct ranked){significance[e], e};
    qsort(list, experts, sizeof *list, rising);
    for (size_t i = 0; i < count; i++) {
        size_t last = count > 1 ? count - 1 : 1;
        size_t at = count > 1 ? (i * (experts - 1) + last / 2) / last : (experts - 1) / 2;
        out[i] = list[at].expert;
    }
    free(list);
    return 0;
}

bool cosine_correlation(double *out, const double *cosine, const double *significance,
                        size_t experts)
{
    double n = 0, mean_x = 0, mean_y = 0, xx = 0, yy = 0, xy = 0;
    for (size_t i = 0; i < experts; i++)
        for (size_t j = i + 1; j < experts; j++) {
            /* Welford's update: one pass without the loss of a difference of sums. */
            double x = fabs(significance[i] - significance[j]), y = cosine[i * experts + j];
            double dx = x - mean_x, dy = y - mean_y;
            n++;
            mean_x += dx / n;
            mean_y += dy / n;
            xx += dx * (x - mean_x);
            yy += dy * (y - mean_y);
            xy += dx * (y - mean_y);
        }
    if (!(xx > 0) || !(yy > 0))
        return false;
    *out = xy / sqrt(xx * yy);
    return true;
}
