#include "ui/app/find.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/base/mem.h"
#include "data/base/sanitize.h"

/* --- Places --- */

/* A number without sign or blanks before it; false if there is none or it is absurd. */
static bool read_number(const char **text, size_t *out)
{
    size_t digits = strspn(*text, "0123456789");
    if (digits == 0 || digits > 9)
        return false;
    *out = strtoul(*text, NULL, 10);
    *text += digits;
    return true;
}

static bool read_named(const char **text, char name, size_t *out)
{
    const char *p = *text;
    if (tolower((unsigned char)*p) != name)
        return false;
    p++;
    if (!read_number(&p, out))
        return false;
    *text = p;
    return true;
}

struct named {
    bool layer, expert, bare;
    size_t layer_number, expert_number;
};

/* "L3 E17", "L3E17", "L3", "E17", "3.17", "17", and nothing after it. */
static bool read_place(struct named *n, const char *p)
{
    *n = (struct named){0};
    p += strspn(p, " ");
    n->layer = read_named(&p, 'l', &n->layer_number);
    p += n->layer ? strspn(p, " ,.") : 0;
    n->expert = read_named(&p, 'e', &n->expert_number);
    if (!n->layer && !n->expert) {
        n->expert = read_number(&p, &n->expert_number);
        n->bare = n->expert;
        if (n->expert && *p == '.') {
            p++;
            n->layer = true;
            n->bare = false;
            n->layer_number = n->expert_number;
            if (!read_number(&p, &n->expert_number))
                return false;
        }
    }
    p += strspn(p, " ");
    return *p == '\0' && (n->expert || (n->layer && !n->bare));
}

static bool index_of_layer(const struct analysis_result *r, size_t number, size_t *out)
{
    for (size_t l = 0; l < r->layers; l++)
        if (r->layer[l].layer == number) {
            *out = l;
            return true;
        }
    return false;
}

struct find_place find_place(const struct analysis_result *r, size_t layer, const char *text)
{
    struct named n;
    struct find_place out = {.layer = layer};
    if (!read_place(&n, text))
        return out;
    out.bare = n.bare;
    out.kind = n.expert ? FIND_EXPERT : FIND_LAYER;
    out.expert = n.expert_number;
    if (n.layer && !index_of_layer(r, n.layer_number, &out.layer)) {
        out.kind = FIND_ABSENT;
        snprintf(out.absent, sizeof out.absent,
                 "no layer %zu; this trace has %zu layers, %zu to %zu", n.layer_number, r->layers,
                 r->layer[0].layer, r->layer[r->layers - 1].layer);
    } else if (n.expert && n.expert_number >= r->experts) {
        out.kind = FIND_ABSENT;
        snprintf(out.absent, sizeof out.absent, "no expert %zu; a layer has experts 0 to %zu",
                 n.expert_number, r->experts - 1);
    }
    return out;
}

/* --- Tokens --- */

enum match { MATCH_WHOLE, MATCH_BEGINNING, MATCH_ANYWHERE, MATCH_NOT };

struct needle {
    const char *text;
    size_t size;
    bool any_case, shown; /* shown: compared with what the screen shows, too */
};

static bool same(const struct needle *n, const char *at)
{
    return n->any_case ? strncasecmp(at, n->text, n->size) == 0 : memcmp(at, n->text, n->size) == 0;
}

static bool holds(const struct needle *n, const char *bytes, size_t size)
{
    if (!n->any_case)
        return memmem(bytes, size, n->text, n->size) != NULL;
    for (size_t i = 0; i + n->size <= size; i++)
        if (same(n, bytes + i))
            return true;
    return false;
}

static enum match match_bytes(const struct needle *n, const char *bytes, size_t size)
{
    for (size_t skip = 0; skip <= (size > 0 && bytes[0] == ' '); skip++)
        if (size - skip == n->size && same(n, bytes + skip))
            return MATCH_WHOLE;
    for (size_t skip = 0; skip <= (size > 0 && bytes[0] == ' '); skip++)
        if (size - skip >= n->size && same(n, bytes + skip))
            return MATCH_BEGINNING;
    return holds(n, bytes, size) ? MATCH_ANYWHERE : MATCH_NOT;
}

static enum match match_token(const struct needle *n, const struct trace *t, uint32_t id)
{
    const uint8_t *bytes;
    size_t size;
    char shown[FIND_TEXT_MAX];
    if (!trace_token_text(t, id, &bytes, &size) || size == 0)
        return MATCH_NOT;
    enum match how = match_bytes(n, (const char *)bytes, size);
    if (!n->shown)
        return how;
    sanitize(shown, sizeof shown, (const char *)bytes, size);
    enum match other = match_bytes(n, shown, strlen(shown));
    return other < how ? other : how;
}

/* Fills out->rank with the matches in their order; `how` has room for every rank. */
static void gather(struct find_tokens *out, uint8_t *how, const struct needle *n,
                   const struct trace *t, const struct analysis_result *r)
{
    size_t next[MATCH_NOT + 1] = {0};
    for (size_t i = 0; i < r->types; i++) {
        how[i] = (uint8_t)match_token(n, t, r->rank_id[i]);
        next[how[i]]++;
    }
    out->whole = next[MATCH_WHOLE];
    out->beginning = next[MATCH_BEGINNING];
    out->count = out->whole + out->beginning + next[MATCH_ANYWHERE];
    next[MATCH_ANYWHERE] = out->whole + out->beginning;
    next[MATCH_BEGINNING] = out->whole;
    next[MATCH_WHOLE] = 0;
    for (size_t i = 0; i < r->types; i++)
        if (how[i] != MATCH_NOT)
            out->rank[next[how[i]]++] = i + 1;
}

static int by_text(struct find_tokens *out, const struct trace *t, const struct analysis_result *r,
                   const char *text, struct err *err)
{
    size_t size = strlen(text);
    uint8_t *how = mem_array(r->types, 1, err);
    if (!how)
        return ERR_NOMEM;
    if (size > 2 && text[0] == '"' && text[size - 1] == '"') {
        text++;
        size -= 2;
    }
    struct needle n = {.text = text, .size = size, .shown = memchr(text, '\\', size) != NULL};
    gather(out, how, &n, t, r);
    if (out->count == 0) {
        n.any_case = true;
        gather(out, how, &n, t, r);
        out->any_case = out->count > 0;
    }
    free(how);
    return 0;
}

/* "#262" and "rank 12": true where the text is one of them, whether there is such a token or not.
 */
static bool by_number(struct find_tokens *out, const struct analysis *a, const char *text)
{
    static const char word[] = "rank ";
    bool is_id = text[0] == '#', is_rank = strncasecmp(text, word, sizeof word - 1) == 0;
    const char *p = text + (is_id ? 1 : sizeof word - 1);
    size_t number;
    if ((!is_id && !is_rank) || !read_number(&p, &number) || *p)
        return false;
    out->rank[0] = is_id ? analysis_rank(a, (uint32_t)number) : number;
    out->count = out->rank[0] > 0 && out->rank[0] <= analysis_result(a)->types;
    out->whole = out->count;
    return true;
}

int find_tokens(struct find_tokens *out, const struct trace *t, const struct analysis *a,
                const char *text, struct err *err)
{
    const struct analysis_result *r = analysis_result(a);
    *out = (struct find_tokens){.no_texts = !t->vocab_offsets};
    if (!text[0])
        return 0;
    out->rank = mem_array(r->types, sizeof *out->rank, err);
    if (!out->rank)
        return ERR_NOMEM;
    if (by_number(out, a, text) || out->no_texts)
        return 0;
    return by_text(out, t, r, text, err);
}

void find_tokens_release(struct find_tokens *f)
{
    free(f->rank);
    *f = (struct find_tokens){0};
}
