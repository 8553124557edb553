/*
 * Loading a tokenizer, encoding and decoding: the given texts joined (repeated up to 1.25 MB), one
 * word of 1 MB, a run of spaces of 1 MB, and short strings one by one. One JSON line a case; times
 * are the best of three.
 *
 *     bench_tokenizer TOKENIZER.json TEXT...
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "data/base/str.h"
#include "data/tokenizer.h"

enum { TEXT_SIZE = 1250000, BLOB_SIZE = 1 << 20, SHORT_SIZE = 64, ROUNDS = 3 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

static int bench_load(const char *path, struct err *err)
{
    double best = 1e9;
    size_t vocab = 0;
    for (int i = 0; i < ROUNDS; i++) {
        struct tokenizer *t;
        double start = now();
        int rc = tokenizer_load(&t, path, err);
        if (rc < 0)
            return rc;
        best = least(best, now() - start);
        vocab = tokenizer_vocab(t);
        tokenizer_free(t);
    }
    printf("{\"bench\": \"tokenizer\", \"case\": \"load\", \"vocab\": %zu, \"seconds\": %.4f}\n",
           vocab, best);
    return 0;
}

/* The text in pieces of `piece` bytes (cut anywhere, as no byte sequence is an error). */
static int bench_text(const struct tokenizer *t, const char *name, const char *text, size_t size,
                      size_t piece, struct err *err)
{
    double encode = 1e9, decode = 1e9;
    struct token_ids ids = {0};
    int rc = 0;
    for (int i = 0; rc == 0 && i < ROUNDS; i++) {
        ids.count = 0;
        double start = now();
        for (size_t at = 0; rc == 0 && at < size; at += piece)
            rc = tokenizer_encode(t, text + at, size - at < piece ? size - at : piece, &ids, err);
        encode = least(encode, now() - start);
        char *back = NULL;
        size_t back_size;
        start = now();
        if (rc == 0)
            rc = tokenizer_decode(t, ids.data, ids.count, &back, &back_size, err);
        decode = least(decode, now() - start);
        free(back);
    }
    if (rc == 0)
        printf("{\"bench\": \"tokenizer\", \"case\": \"%s\", \"bytes\": %zu, \"tokens\": %zu, "
               "\"encode_s\": %.4f, \"encode_mb_s\": %.1f, \"decode_s\": %.4f}\n",
               name, size, ids.count, encode, 1e-6 * (double)size / encode, decode);
    token_ids_release(&ids);
    return rc;
}

static int join_texts(struct str *out, char **paths, int count, struct err *err)
{
    while (out->length < TEXT_SIZE) {
        size_t before = out->length;
        for (int i = 0; i < count; i++) {
            char *text;
            size_t size;
            int rc = str_read_file(&text, &size, paths[i], (size_t)1 << 30, err);
            if (rc < 0)
                return rc;
            str_append_bytes(out, text, size);
            free(text);
        }
        if (out->length == before)
            return err_set(err, ERR_USAGE, NULL, "the texts are empty");
    }
    return str_ok(out, err);
}

static int bench_all(const char *path, char **texts, int count, struct err *err)
{
    struct tokenizer *t = NULL;
    struct str text = {0}, word = {0}, spaces = {0};
    int rc = bench_load(path, err);
    if (rc == 0)
        rc = tokenizer_load(&t, path, err);
    if (rc == 0)
        rc = join_texts(&text, texts, count, err);
    uint32_t x = 12345;
    for (size_t i = 0; i < BLOB_SIZE; i++) {
        x = x * 1664525u + 1013904223u;
        str_append_bytes(&word, &"etaoinshrdlu"[(x >> 16) % 12], 1);
        str_append(&spaces, " ");
    }
    if (rc == 0)
        rc = bench_text(t, "text", text.data, text.length, text.length, err);
    if (rc == 0)
        rc = bench_text(t, "short_strings", text.data, text.length, SHORT_SIZE, err);
    if (rc == 0)
        rc = bench_text(t, "one_word", str_get(&word), word.length, BLOB_SIZE, err);
    if (rc == 0)
        rc = bench_text(t, "spaces", str_get(&spaces), spaces.length, BLOB_SIZE, err);
    str_release(&spaces);
    str_release(&word);
    str_release(&text);
    tokenizer_free(t);
    return rc;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    if (argc < 3) {
        fprintf(stderr, "usage: bench_tokenizer TOKENIZER.json TEXT...\n");
        return 2;
    }
    if (bench_all(argv[1], argv + 2, argc - 2, &err) == 0)
        return 0;
    fprintf(stderr, "%s: %s\n", err.file, err.message);
    return 1;
}
