#include "data/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

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

/* Length of the longest prefix that could still begin a valid sequence: the "maximal subpart"
 * that one U+FFFD stands for (Unicode, chapter 3.9). At least 1. */
static size_t invalid_length(const uint8_t *p, size_t size)
{
    uint8_t lead = p[0], low = 0x80, high = 0xbf;
    size_t wanted = lead >= 0xc2 && lead <= 0xdf   ? 1
                    : (lead & 0xf0) == 0xe0        ? 2
                    : lead >= 0xf0 && lead <= 0xf4 ? 3
                                                   : 0;
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;
    size_t n = 1;
    while (n <= wanted && n < size && p[n] >= low && p[n] <= high) {
        low = 0x80;
        high = 0xbf;
        n++;
    }
    return n;
}

void tokenizer_append_lossy(struct str *out, const char *text, size_t size)
{
    size_t valid = 0;
    while (valid < size) {
        utf8proc_int32_t code;
        const uint8_t *p = (const uint8_t *)text + valid;
        utf8proc_ssize_t got = utf8proc_iterate(p, (utf8proc_ssize_t)(size - valid), &code);
        if (got > 0) {
            valid += (size_t)got;
            continue;
        }
        size_t bad = invalid_length(p, size - valid);
        str_append_bytes(out, text, valid);
        str_append(out, "\xef\xbf\xbd");
        text += valid + bad;
        size -= valid + bad;
        valid = 0;
    }
    str_append_bytes(out, text, valid);
}

int tokenizer_normalize(const struct tokenizer *t, struct str *out, const char *text, size_t size,
                        struct err *err)
{
    str_append_bytes(out, text, size);
    for (size_t i = 0; i < t->normalizers_count && str_ok(out, err) == 0; i++) {
        utf8proc_uint8_t *mapped = NULL;
        utf8proc_ssize_t length =
            utf8proc_map((const utf8proc_uint8_t *)out->data, (utf8proc_ssize_t)out->length,
                         &mapped, (utf8proc_option_t)t->normalizers[i]);
        if (length < 0)
            return err_set(err, length == UTF8PROC_ERROR_NOMEM ? ERR_NOMEM : ERR_INPUT, NULL,
                           "cannot normalize a text of %zu bytes: %s", out->length,
                           utf8proc_errmsg(length));
        str_clear(out);
        str_append_bytes(out, mapped, (size_t)length);
        free(mapped);
    }
    return str_ok(out, err);
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t size,
                     struct token_ids *ids, struct err *err)
{
    struct str valid = {0};
    struct tokenizer_run *run = NULL;
    tokenizer_append_lossy(&valid, text, size);
    int rc = str_ok(&valid, err);
    if (rc == 0)
        rc = tokenizer_run_new(&run, t, ids, err);
    if (rc == 0)
        rc = tokenizer_split_text(t, run, ids, str_get(&valid), valid.length, err);
    tokenizer_run_free(run);
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
        if (tokenizer_token_bytes(t, ids[i], &bytes, &length)) /* an unused id has no text */
            str_append_bytes(&raw, bytes, length);
    }
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
