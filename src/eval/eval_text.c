#include "src/eval/eval_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/base/sanitize.h"
#include "data/base/str.h"

enum { TEXT_LIMIT = 1 << 30 };

static int hash_content(struct hash *h, const char *path, struct err *err)
{
    char *content = NULL;
    size_t size;
    int rc = str_read_file(&content, &size, path, TEXT_LIMIT, err);
    if (rc == 0) {
        uint64_t length = size;
        rc = hash_update(h, &length, sizeof length, err);
    }
    if (rc == 0)
        rc = hash_update(h, content, size, err);
    free(content);
    return rc;
}

int eval_text_hash(char out[HASH_HEX_SIZE], const char *model_dir, const char *const *texts,
                   size_t count, struct err *err)
{
    struct hash *h = NULL;
    char *tokenizer = str_path(model_dir, "tokenizer.json", err);
    int rc = tokenizer ? hash_new(&h, err) : ERR_NOMEM;
    if (rc == 0 && access(tokenizer, F_OK) == 0)
        rc = hash_content(h, tokenizer, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = hash_content(h, texts[i], err);
    if (rc == 0)
        rc = hash_finish(h, out, err);
    hash_free(h);
    free(tokenizer);
    return rc;
}

static void make_name(char out[EVAL_TEXT_NAME_MAX], const char *path, size_t others)
{
    const char *slash = strrchr(path, '/'), *base = slash && slash[1] ? slash + 1 : path;
    char more[24] = "";
    if (others)
        snprintf(more, sizeof more, " +%zu", others);
    sanitize(out, EVAL_TEXT_NAME_MAX - strlen(more), base, strlen(base));
    strcat(out, more);
}

int eval_text_read(struct eval_text *out, const char *model_dir, const char *const *texts,
                   size_t count, struct err *err)
{
    make_name(out->name, texts[0], count - 1);
    return eval_text_hash(out->sha256, model_dir, texts, count, err);
}
