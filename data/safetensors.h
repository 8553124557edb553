/*
 * Safetensors files: header checked in full before anything is allocated from it, data by pread
 * (never mmap: a file that shrinks gives an error, not a signal). Names, lengths, overlaps, holes,
 * overflowing shapes and truncation are errors that name tensor and offset.
 */
#ifndef MOQA_DATA_SAFETENSORS_H
#define MOQA_DATA_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/base/atomic_file.h"
#include "data/base/err.h"
#include "data/base/hash.h"

enum dtype {
    DTYPE_F64,
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_I64,
    DTYPE_I32,
    DTYPE_I16,
    DTYPE_I8,
    DTYPE_U8,
    DTYPE_BOOL,
    DTYPE_COUNT
};

size_t dtype_size(enum dtype dtype);      /* bytes of an element */
const char *dtype_name(enum dtype dtype); /* "BF16", as safetensors writes it */
bool dtype_parse(enum dtype *out, const char *name);
bool dtype_is_float(enum dtype dtype); /* one that dtype_to_float() converts */

enum { TENSOR_RANK_MAX = 8 };

struct tensor_info {
    const char *name; /* owned by the file */
    enum dtype dtype;
    size_t rank;
    size_t shape[TENSOR_RANK_MAX];
    uint64_t begin; /* absolute offset in the file */
    uint64_t bytes;
};

struct safetensors;

ERR_CHECK int safetensors_open(struct safetensors **out, const char *path, struct err *err);
/* From an open descriptor, which it takes over in every case; `path` is for messages. */
ERR_CHECK int safetensors_open_fd(struct safetensors **out, int fd, const char *path,
                                  struct err *err);
void safetensors_free(struct safetensors *s);

size_t safetensors_count(const struct safetensors *s);
const struct tensor_info *safetensors_at(const struct safetensors *s, size_t i); /* by offset */
const struct tensor_info *safetensors_find(const struct safetensors *s, const char *name);
const char *safetensors_path(const struct safetensors *s);
/* Adds what tells this file from others in an instant: the header and 64 blocks of 4 KiB spread
 * over the data. Two models of the same shapes differ in them; a single changed weight may not. */
ERR_CHECK int safetensors_digest(const struct safetensors *s, struct hash *h, struct err *err);
/* Adds size and time of the last change, in seconds, of the file: no weight changes without them,
 * but a copy may have another time. */
ERR_CHECK int safetensors_stamp(const struct safetensors *s, struct hash *h, struct err *err);
bool safetensors_owns(const struct safetensors *s, const struct tensor_info *info);

/* All bytes of a tensor into `out` (info->bytes of room). Safe from several threads. */
ERR_CHECK int safetensors_read(const struct safetensors *s, const struct tensor_info *info,
                               void *out, struct err *err);

/* --- Writing: shapes first, then the data of each tensor in the same order. --- */

struct safetensors_spec {
    const char *name;
    enum dtype dtype;
    size_t rank;
    size_t shape[TENSOR_RANK_MAX];
};

struct safetensors_writer;

/* Metadata is {"format":"pt"}. The file appears at `path` only when finished. Some readers want
 * every tensor to begin at a multiple of its element's size: where a tensor may have an odd number
 * of elements, give the wider types first. */
ERR_CHECK int safetensors_writer_new(struct safetensors_writer **out, const char *path,
                                     const struct safetensors_spec *specs, size_t count,
                                     struct err *err);
/* Bytes of the next tensor; `bytes` must be what its spec says. */
ERR_CHECK int safetensors_writer_add(struct safetensors_writer *w, const void *data, size_t bytes,
                                     struct err *err);
/* Commits when every tensor was added; frees `w` in every case. */
ERR_CHECK int safetensors_writer_finish(struct safetensors_writer *w, struct err *err);
void safetensors_writer_free(struct safetensors_writer *w); /* abandons */

/* Elementwise conversion to float32; F64, F32, F16 and BF16 only. */
ERR_CHECK int dtype_to_float(float *out, const void *in, enum dtype dtype, size_t count,
                             struct err *err);
/* Round to nearest even. */
uint16_t dtype_float_to_bf16(float value);
uint16_t dtype_float_to_f16(float value);
float dtype_f16_to_float(uint16_t bits);
float dtype_bf16_to_float(uint16_t bits);

#endif
