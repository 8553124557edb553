#include "xml_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { DEEP = 64, NAME = 64, ATTRIBUTES = 32 };

struct reader {
    const char *p;
    char open[DEEP][NAME];
    size_t depth, roots;
};

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == ':' || c == '.';
}

static size_t read_name(struct reader *r, char out[NAME])
{
    size_t n = 0;
    while (is_name(r->p[n]))
        n++;
    snprintf(out, NAME, "%.*s", (int)n, r->p);
    r->p += n;
    return n < NAME ? n : 0;
}

static void skip_space(struct reader *r)
{
    r->p += strspn(r->p, " \n\t");
}

static const char *check_entity(struct reader *r)
{
    static const char *const known[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&apos;"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(r->p, known[i], strlen(known[i])) == 0) {
            r->p += strlen(known[i]);
            return NULL;
        }
    return "an unknown entity";
}

/* Characters up to one of `end`. */
static const char *check_text(struct reader *r, const char *end)
{
    while (*r->p && !strchr(end, *r->p)) {
        utf8proc_int32_t code;
        const char *wrong = NULL;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)r->p, -1, &code);
        if (n <= 0)
            return "bytes that are no UTF-8";
        if (code < ' ' && code != '\n' && code != '\t')
            return "a control character";
        if (*r->p == '&')
            wrong = check_entity(r);
        else
            r->p += n;
        if (wrong)
            return wrong;
    }
    return NULL;
}

static const char *check_attributes(struct reader *r)
{
    char seen[ATTRIBUTES][NAME];
    for (size_t n = 0;; n++) {
        const char *before = r->p;
        skip_space(r);
        if (*r->p == '>' || *r->p == '/' || *r->p == '\0')
            return NULL;
        if (before == r->p)
            return "no space before an attribute";
        if (n == ATTRIBUTES || !read_name(r, seen[n]))
            return "no attribute where one is expected";
        for (size_t i = 0; i < n; i++)
            if (strcmp(seen[i], seen[n]) == 0)
                return "an attribute twice";
        if (strncmp(r->p, "=\"", 2) != 0)
            return "an attribute without a quoted value";
        r->p += 2;
        const char *wrong = check_text(r, "\"<");
        if (wrong || *r->p != '"')
            return wrong ? wrong : "a value without an end";
        r->p++;
    }
}

static const char *check_tag(struct reader *r)
{
    char name[NAME];
    bool closes = *++r->p == '/';
    r->p += closes;
    if (!read_name(r, name))
        return "a tag without a name";
    if (closes) {
        if (r->depth == 0 || strcmp(r->open[--r->depth], name) != 0)
            return "a tag that closes another";
        return *r->p++ == '>' ? NULL : "a tag without an end";
    }
    const char *wrong = check_attributes(r);
    if (wrong)
        return wrong;
    bool empty = *r->p == '/';
    r->p += empty;
    if (*r->p++ != '>')
        return "a tag without an end";
    r->roots += r->depth == 0;
    if (empty)
        return NULL;
    if (r->depth == DEEP)
        return "too deep";
    memcpy(r->open[r->depth++], name, NAME);
    return NULL;
}

const char *xml_check(const char *text)
{
    struct reader r = {.p = text};
    while (*r.p) {
        const char *wrong = *r.p == '<' ? check_tag(&r) : check_text(&r, "<");
        if (wrong)
            return wrong;
        if (r.depth == 0 && *r.p && *r.p != '<' && *r.p != '\n')
            return "text outside the root";
    }
    return r.depth ? "a tag that is not closed" : r.roots != 1 ? "not one root" : NULL;
}

static const char *find_tag(const char *text, const char *name, size_t nth)
{
    size_t size = strlen(name);
    for (const char *p = strchr(text, '<'); p; p = strchr(p + 1, '<'))
        if (strncmp(p + 1, name, size) == 0 && !is_name(p[1 + size]) && nth-- == 0)
            return p;
    return NULL;
}

size_t xml_count(const char *text, const char *name)
{
    size_t n = 0;
    while (find_tag(text, name, n))
        n++;
    return n;
}

bool xml_number(const char *text, const char *name, size_t nth, const char *attribute, double *out)
{
    char key[NAME];
    const char *tag = find_tag(text, name, nth), *end = tag ? strchr(tag, '>') : NULL;
    snprintf(key, sizeof key, " %s=\"", attribute);
    const char *at = tag ? strstr(tag, key) : NULL;
    if (!at || at > end)
        return false;
    *out = strtod(at + strlen(key), NULL);
    return true;
}
