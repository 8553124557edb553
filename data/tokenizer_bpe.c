#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/tokenizer_parts.h"

/*
 * Byte pair encoding of one word: of all neighbours that merge, the pair of lowest rank (the
 * leftmost of equals) becomes one symbol, until none is left. Short words look for it by a scan,
 * long ones keep the candidates in a heap. Words that occur again are remembered.
 */

enum {
    SCAN_MAX = 48,
    CACHE_SLOTS_MAX = 1 << 14,
    BYTES_A_SLOT = 16,
    CACHE_WORD_MAX = 32,
    CACHE_IDS_MAX = 12
};

struct cached {
    uint8_t size; /* 0: empty */
    uint8_t count;
    char word[CACHE_WORD_MAX];
    uint32_t ids[CACHE_IDS_MAX];
};

struct symbol {
    uint32_t id; /* TOKENIZER_NO_ID: merged into its left neighbour */
    uint32_t previous, next;
};

struct candidate {
    uint32_t rank, position;
    uint32_t left, right, id;
};

struct tokenizer_run {
    const struct tokenizer *tokenizer;
    struct token_ids *ids;
    struct cached *cache; /* [cache_slots], a power of two */
    size_t cache_slots;
    uint32_t *scan; /* ids of a short word */
    struct symbol *symbols;
    size_t symbols_capacity;
    struct candidate *heap;
    size_t heap_count, heap_capacity;
};

uint32_t tokenizer_hash(const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a, 64 bits */
    for (size_t i = 0; i < size; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return (uint32_t)(h ^ h >> 32);
}

uint32_t tokenizer_hash_pair(uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32);
}

uint32_t tokenizer_find_word(const struct tokenizer *t, const uint8_t *bytes, size_t size)
{
    for (size_t i = tokenizer_hash(bytes, size) & t->words_mask;; i = (i + 1) & t->words_mask) {
        uint32_t id = t->words[i];
        if (id == TOKENIZER_NO_ID)
            return id;
        if (t->tokens[id].size == size &&
            memcmp(t->bytes.data + t->tokens[id].offset, bytes, size) == 0)
            return id;
    }
}

const struct tokenizer_merge *tokenizer_find_merge(const struct tokenizer *t, uint32_t left,
                                                   uint32_t right)
{
    for (size_t i = tokenizer_hash_pair(left, right) & t->merges_mask;;
         i = (i + 1) & t->merges_mask) {
        const struct tokenizer_merge *m = &t->merges[i];
        if (m->left == TOKENIZER_NO_ID)
            return NULL;
        if (m->left == left && m->right == right)
            return m;
    }
}

int tokenizer_run_new(struct tokenizer_run **out, const struct tokenizer *t, size_t size,
                      struct token_ids *ids, struct err *err)
{
    struct tokenizer_run *r = mem_array(1, sizeof *r, err);
    *out = r;
    if (!r)
        return ERR_NOMEM;
    r->tokenizer = t;
    r->ids = ids;
    r->cache_slots = 1;
    while (r->cache_slots < CACHE_SLOTS_MAX && r->cache_slots < size / BYTES_A_SLOT)
        r->cache_slots *= 2;
    r->cache = mem_array(r->cache_slots, sizeof *r->cache, err);
    r->scan = mem_array(SCAN_MAX, sizeof *r->scan, err);
    if (r->cache && r->scan)
        return 0;
    tokenizer_run_free(r);
    *out = NULL;
    return ERR_NOMEM;
}

void tokenizer_run_free(struct tokenizer_run *r)
{
    if (!r)
        return;
    free(r->heap);
    free(r->symbols);
    free(r->scan);
    free(r->cache);
    free(r);
}

static int encode_by_scan(struct tokenizer_run *r, const uint8_t *word, size_t size,
                          struct err *err)
{
    const struct tokenizer *t = r->tokenizer;
    uint32_t *id = r->scan;
    size_t count = 0;
    for (size_t i = 0; i < size; i++)
        if (t->byte_id[word[i]] != TOKENIZER_NO_ID)
            id[count++] = t->byte_id[word[i]];
    for (;;) {
        const struct tokenizer_merge *best = NULL;
        size_t at = 0;
        for (size_t i = 0; i + 1 < count; i++) {
            const struct tokenizer_merge *m = tokenizer_find_merge(t, id[i], id[i + 1]);
            if (m && (!best || m->rank < best->rank)) {
                best = m;
                at = i;
            }
        }
        if (!best)
            break;
        id[at] = best->id;
        memmove(id + at + 1, id + at + 2, (count - at - 2) * sizeof *id);
        count--;
    }
    for (size_t i = 0; i < count; i++) {
        int rc = tokenizer_push(r->ids, id[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static bool before(const struct candidate *a, const struct candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->position < b->position;
}

static void heap_swap(struct candidate *a, struct candidate *b)
{
    struct candidate c = *a;
    *a = *b;
    *b = c;
}

static int heap_push(struct tokenizer_run *r, struct candidate c, struct err *err)
{
    int rc =
        mem_grow((void **)&r->heap, &r->heap_capacity, r->heap_count + 1, sizeof *r->heap, err);
    if (rc < 0)
        return rc;
    size_t i = r->heap_count++;
    r->heap[i] = c;
    for (; i > 0 && before(&r->heap[i], &r->heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap_swap(&r->heap[i], &r->heap[(i - 1) / 2]);
    return 0;
}

static struct candidate heap_pop(struct tokenizer_run *r)
{
    struct candidate top = r->heap[0];
    r->heap[0] = r->heap[--r->heap_count];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++)
            if (child < r->heap_count && before(&r->heap[child], &r->heap[least]))
                least = child;
        if (least == i)
            return top;
        heap_swap(&r->heap[i], &r->heap[least]);
        i = least;
    }
}

/* Offers the pair that begins at `position`, if it merges. */
static int offer(struct tokenizer_run *r, uint32_t position, uint32_t end, struct err *err)
{
    const struct symbol *s = r->symbols;
    uint32_t next = s[position].next;
    if (next == end)
        return 0;
    const struct tokenizer_merge *m =
        tokenizer_find_merge(r->tokenizer, s[position].id, s[next].id);
    if (!m)
        return 0;
    return heap_push(r, (struct candidate){m->rank, position, m->left, m->right, m->id}, err);
}

static int merge_all(struct tokenizer_run *r, uint32_t end, struct err *err)
{
    struct symbol *s = r->symbols;
    int rc = 0;
    while (rc == 0 && r->heap_count) {
        struct candidate c = heap_pop(r);
        uint32_t next = s[c.position].id == c.left ? s[c.position].next : end;
        if (next == end || s[next].id != c.right)
            continue; /* one of the two was merged since */
        s[c.position].id = c.id;
        s[c.position].next = s[next].next;
        s[next].id = TOKENIZER_NO_ID;
        if (s[next].next != end)
            s[s[next].next].previous = c.position;
        if (c.position > 0)
            rc = offer(r, s[c.position].previous, end, err);
        if (rc == 0)
            rc = offer(r, c.position, end, err);
    }
    return rc;
}

static int encode_by_heap(struct tokenizer_run *r, const uint8_t *word, size_t size,
                          struct err *err)
{
    if (size >= TOKENIZER_NO_ID)
        return err_set(err, ERR_INPUT, NULL, "a word of %zu bytes is too long", size);
    int rc = mem_grow((void **)&r->symbols, &r->symbols_capacity, size, sizeof *r->symbols, err);
    uint32_t end = 0;
    r->heap_count = 0;
    for (size_t i = 0; rc == 0 && i < size; i++) {
        uint32_t id = r->tokenizer->byte_id[word[i]];
        if (id == TOKENIZER_NO_ID)
            continue;
        r->symbols[end] = (struct symbol){id, end ? end - 1 : 0, end + 1};
        end++;
    }
    for (uint32_t i = 0; rc == 0 && i < end; i++)
        rc = offer(r, i, end, err);
    if (rc == 0)
        rc = merge_all(r, end, err);
    for (uint32_t i = 0; rc == 0 && i < end; i = r->symbols[i].next)
        rc = tokenizer_push(r->ids, r->symbols[i].id, err);
    return rc;
}

static int encode(struct tokenizer_run *r, const uint8_t *word, size_t size, struct err *err)
{
    if (r->tokenizer->ignore_merges) {
        uint32_t id = tokenizer_find_word(r->tokenizer, word, size);
        if (id != TOKENIZER_NO_ID)
            return tokenizer_push(r->ids, id, err);
    }
    return size <= SCAN_MAX ? encode_by_scan(r, word, size, err)
                            : encode_by_heap(r, word, size, err);
}

int tokenizer_run_word(struct tokenizer_run *r, const char *word, size_t size, struct err *err)
{
    if (size == 0)
        return 0;
    if (size > CACHE_WORD_MAX)
        return encode(r, (const uint8_t *)word, size, err);
    struct cached *c = &r->cache[tokenizer_hash(word, size) & (r->cache_slots - 1)];
    int rc = 0;
    if (c->size == size && memcmp(c->word, word, size) == 0) {
        for (size_t i = 0; rc == 0 && i < c->count; i++)
            rc = tokenizer_push(r->ids, c->ids[i], err);
        return rc;
    }
    size_t first = r->ids->count;
    rc = encode(r, (const uint8_t *)word, size, err);
    size_t count = r->ids->count - first;
    if (rc == 0 && count <= CACHE_IDS_MAX) {
        c->size = (uint8_t)size;
        c->count = (uint8_t)count;
        memcpy(c->word, word, size);
        memcpy(c->ids, r->ids->data + first, count * sizeof *c->ids);
    }
    return rc;
}
