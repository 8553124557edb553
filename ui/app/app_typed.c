/* A text that is typed into a row: editing and drawing. */
#include <string.h>

#include "ui/app/app_state.h"

enum { CTRL_A = 1, CTRL_E = 5, CTRL_U = 21, CTRL_W = 23, SHORT_TEXT = 64 };

static bool continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Start of the character before `at`, and of the one behind. */
static size_t before(const char *text, size_t at)
{
    while (at > 0 && continues(text[--at]))
        continue;
    return at;
}

static size_t behind(const char *text, size_t at)
{
    if (text[at])
        at++;
    while (continues(text[at]))
        at++;
    return at;
}

static size_t word_before(const char *text, size_t at)
{
    while (at > 0 && (text[at - 1] == ' ' || text[at - 1] == '/'))
        at--;
    while (at > 0 && text[at - 1] != ' ' && text[at - 1] != '/')
        at--;
    return at;
}

static void cut(struct app *a, size_t from, size_t to)
{
    memmove(a->typed + from, a->typed + to, strlen(a->typed + to) + 1);
    a->typed_at = from;
}

static size_t encode(char out[4], uint32_t key)
{
    if (key < 0x80) {
        out[0] = (char)key;
        return 1;
    }
    size_t size = key < 0x800 ? 2 : key < 0x10000 ? 3 : 4;
    static const unsigned first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = size; i-- > 1; key >>= 6)
        out[i] = (char)(0x80 | (key & 0x3f));
    out[0] = (char)(first[size] | key);
    return size;
}

static bool insert(struct app *a, uint32_t key)
{
    size_t length = strlen(a->typed), most = a->mode == APP_PICTURE ? sizeof a->typed : SHORT_TEXT;
    char bytes[4];
    if (key < ' ' || key >= TERM_KEY_FIRST || key == TERM_KEY_BACKSPACE || length + 5 > most)
        return false;
    size_t size = encode(bytes, key);
    memmove(a->typed + a->typed_at + size, a->typed + a->typed_at, length - a->typed_at + 1);
    memcpy(a->typed + a->typed_at, bytes, size);
    a->typed_at += size;
    return true;
}

bool app_typed_event(struct app *a, uint32_t key)
{
    size_t at = a->typed_at;
    if (key == TERM_KEY_BACKSPACE)
        cut(a, before(a->typed, at), at);
    else if (key == TERM_KEY_DELETE)
        cut(a, at, behind(a->typed, at));
    else if (key == CTRL_U)
        cut(a, 0, at);
    else if (key == CTRL_W)
        cut(a, word_before(a->typed, at), at);
    else if (key == TERM_KEY_LEFT)
        a->typed_at = before(a->typed, at);
    else if (key == TERM_KEY_RIGHT)
        a->typed_at = behind(a->typed, at);
    else if (key == TERM_KEY_HOME || key == CTRL_A)
        a->typed_at = 0;
    else if (key == TERM_KEY_END || key == CTRL_E)
        a->typed_at = strlen(a->typed);
    else
        return insert(a, key);
    return true;
}

/* Columns of the bytes from `from` to `to`. */
static int width_of(const char *text, size_t from, size_t to)
{
    char part[APP_TEXT_MAX];
    memcpy(part, text + from, to - from);
    part[to - from] = '\0';
    return cells_width(part);
}

int app_typed_draw(const struct app *a, struct cells *c, int x, int y, int end)
{
    const char *text = a->typed;
    size_t first = 0, at = a->typed_at;
    while (first < at && width_of(text, first, at) + 1 > end - x)
        first = behind(text, first);
    int cursor = x + width_of(text, first, at);
    int used = cells_text(c, x, y, end - x, text + first, STYLE(STYLE_DEFAULT));
    if (!text[at])
        return x + used + cells_text(c, cursor, y, end - cursor, "_", STYLE(STYLE_DEFAULT));
    char under[8];
    size_t size = behind(text, at) - at;
    memcpy(under, text + at, size);
    under[size] = '\0';
    cells_text(c, cursor, y, end - cursor, under, (struct style){.attr = STYLE_REVERSE});
    return x + used;
}
