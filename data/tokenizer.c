#include "data/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/tokenizer_parts.h"

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->splits_count; i++)
        pcre2_code_free(t->splits[i].pattern);
    for (size_t i = 0; i < t->added_count; i++)
        free(t->added[i].content);
    free(t->added);
    free(t->merges);
    free(t->words);
    free(t->tokens);
    str_release(&t->bytes);
    free(t->path);
    free(t);
}

size_t tokenizer_vocab(const struct tokenizer *t)
{
    return t->vocab;
}

const char *tokenizer_sha256(const struct tokenizer *t)
{
    return t->sha256;
}

void token_ids_release(struct token_ids *ids)
{
    free(ids->data);
    *ids = (struct token_ids){0};
}

int tokenizer_push(struct token_ids *ids, uint32_t id, struct err *err)
{
    int rc = mem_grow((void **)&ids->data, &ids->capacity, ids->count + 1, sizeof *ids->data, err);
    if (rc == 0)
        ids->data[ids->count++] = id;
    return rc;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t size,
                     struct token_ids *ids, struct err *err)
{
    struct str valid = {0};
    size_t before = ids->count;
    struct tokenizer_run *run = NULL;
    tokenizer_append_lossy(&valid, text, size);
    int rc = str_ok(&valid, err);
    if (rc == 0)
        rc = tokenizer_run_new(&run, t, valid.length, ids, err);
    if (rc == 0)
        rc = tokenizer_split_text(t, run, ids, str_get(&valid), valid.length, err);
    tokenizer_run_free(run);
    if (rc < 0)
        ids->count = before;
    str_release(&valid);
    return rc;
}

int tokenizer_token_bytes(const struct tokenizer *t, uint32_t id, const uint8_t **bytes,
                          size_t *size)
{
    if (id >= t->vocab || !t->tokens[id].used)
        return false;
    *bytes = (const uint8_t *)str_get(&t->bytes) + t->tokens[id].offset;
    *size = t->tokens[id].size;
    return true;
}

int tokenizer_decode(const struct tokenizer *t, const uint32_t *ids, size_t count, char **out,
                     size_t *size, struct err *err)
{
    struct str raw = {0}, text = {0};
    for (size_t i = 0; i < count; i++) {
        const uint8_t *bytes;
        size_t length;
        if (!tokenizer_token_bytes(t, ids[i], &bytes, &length))
            continue;                /* an unused id has no text */
        if (t->tokens[ids[i]].added) /* the reference's decoder makes no exception for them */
            tokenizer_append_raw(&raw, (const char *)bytes, length);
        else
            str_append_bytes(&raw, bytes, length);
    }
    str_append(&text, "");
    tokenizer_append_lossy(&text, str_get(&raw), raw.length);
    int rc = str_ok(&raw, err);
    if (rc == 0)
        rc = str_ok(&text, err);
    str_release(&raw);
    if (rc < 0) {
        str_release(&text);
        return rc;
    }
    *size = text.length;
    *out = text.data;
    return 0;
}
