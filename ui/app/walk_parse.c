#include "ui/app/walk_parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

#include "data/base/mem.h"
#include "ui/app/walk.h"

enum { WORD_MAX = 4096, REPEAT_MAX = 100000 };

static const struct {
    const char *name;
    uint32_t key;
} names[] = {
    {"Tab", TERM_KEY_TAB},
    {"Shift-Tab", TERM_KEY_BACKTAB},
    {"Enter", TERM_KEY_ENTER},
    {"Esc", TERM_KEY_ESC},
    {"Space", ' '},
    {"Backspace", TERM_KEY_BACKSPACE},
    {"Up", TERM_KEY_UP},
    {"Down", TERM_KEY_DOWN},
    {"Left", TERM_KEY_LEFT},
    {"Right", TERM_KEY_RIGHT},
    {"Shift-Up", TERM_KEY_SHIFT_UP},
    {"Shift-Down", TERM_KEY_SHIFT_DOWN},
    {"Shift-Left", TERM_KEY_SHIFT_LEFT},
    {"Shift-Right", TERM_KEY_SHIFT_RIGHT},
    {"Home", TERM_KEY_HOME},
    {"End", TERM_KEY_END},
    {"PageUp", TERM_KEY_PAGE_UP},
    {"PageDown", TERM_KEY_PAGE_DOWN},
    {"Insert", TERM_KEY_INSERT},
    {"Delete", TERM_KEY_DELETE},
    {"Ctrl-C", TERM_KEY_CTRL_C},
    {"Ctrl-L", TERM_KEY_CTRL_L},
};

static int add(struct walk *w, struct walk_step step, struct err *err)
{
    int rc = mem_grow((void **)&w->step, &w->capacity, w->count + 1, sizeof *w->step, err);
    if (rc == 0)
        w->step[w->count++] = step;
    return rc;
}

static int add_key(struct walk *w, size_t word, uint32_t key, size_t times, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < times && rc == 0; i++)
        rc = add(w, (struct walk_step){WALK_EVENT, word, {.key = key}, 0, 0, NULL}, err);
    return rc;
}

/* The key of a name or of a single character; 0: neither. */
static uint32_t key_of(const char *text)
{
    utf8proc_int32_t code;
    char end;
    unsigned number;
    size_t size = strlen(text);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(text, names[i].name) == 0)
            return names[i].key;
    if (size > 1 && sscanf(text + 1, "%2u%c", &number, &end) == 1 && strchr("Ff", text[0]) &&
        number >= 1 && number <= 12)
        return TERM_KEY_F1 + number - 1;
    if (utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, &code) ==
            (utf8proc_ssize_t)size &&
        code >= ' ')
        return (uint32_t)code;
    return 0;
}

static int add_typed(struct walk *w, size_t word, const char *text, size_t size, struct err *err)
{
    int rc = 0;
    for (size_t used = 0; used < size && rc == 0;) {
        utf8proc_int32_t code;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text + used,
                                              (utf8proc_ssize_t)(size - used), &code);
        if (n <= 0)
            return err_set(err, ERR_USAGE, NULL, "--keys: word %zu is not UTF-8", word);
        rc = add_key(w, word, (uint32_t)code, 1, err);
        used += (size_t)n;
    }
    return rc;
}

static int add_mouse(struct walk *w, size_t word, enum term_mouse what, int x, int y, int wheel,
                     struct err *err)
{
    struct walk_step s = {.kind = WALK_EVENT, .word = word};
    s.event = (struct term_event){.key = TERM_KEY_MOUSE,
                                  .mouse = what,
                                  .button = what == TERM_MOUSE_WHEEL ? 0 : 1,
                                  .wheel = wheel,
                                  .x = x,
                                  .y = y};
    return add(w, s, err);
}

/* "click:3,4" and the like: 1 if the word is one, 0 if not. */
static int add_mouse_word(struct walk *w, size_t word, const char *text, struct err *err)
{
    int x, y, x2, y2, rc;
    char end, way[8];
    if (sscanf(text, "click:%d,%d%c", &x, &y, &end) == 2) {
        rc = add_mouse(w, word, TERM_MOUSE_PRESS, x, y, 0, err);
        rc = rc < 0 ? rc : add_mouse(w, word, TERM_MOUSE_RELEASE, x, y, 0, err);
    } else if (sscanf(text, "drag:%d,%d,%d,%d%c", &x, &y, &x2, &y2, &end) == 4) {
        rc = add_mouse(w, word, TERM_MOUSE_PRESS, x, y, 0, err);
        rc = rc < 0 ? rc : add_mouse(w, word, TERM_MOUSE_DRAG, x2, y2, 0, err);
        rc = rc < 0 ? rc : add_mouse(w, word, TERM_MOUSE_RELEASE, x2, y2, 0, err);
    } else if (sscanf(text, "wheel:%d,%d,%7s", &x, &y, way) == 3 &&
               (strcmp(way, "up") == 0 || strcmp(way, "down") == 0)) {
        rc = add_mouse(w, word, TERM_MOUSE_WHEEL, x, y, way[0] == 'u' ? -1 : 1, err);
    } else {
        return 0;
    }
    return rc < 0 ? rc : 1;
}

/* "size:80x24", "shot:FILE", "wait": 1 if the word is one, 0 if not. */
static int add_order(struct walk *w, size_t word, const char *text, struct err *err)
{
    struct walk_step s = {.kind = WALK_WAIT, .word = word};
    int rc = 0;
    if (strncmp(text, "size:", 5) == 0) {
        s.kind = WALK_RESIZE;
        rc = walk_size(&s.w, &s.h, text + 5, err);
    } else if (strncmp(text, "shot:", 5) == 0 && text[5]) {
        s.kind = WALK_SHOT;
        s.path = strdup(text + 5);
        rc = s.path ? 0 : err_set(err, ERR_NOMEM, NULL, "no memory for the keys");
    } else if (strcmp(text, "wait") != 0) {
        return add_mouse_word(w, word, text, err);
    }
    if (rc == 0 && (rc = add(w, s, err)) < 0)
        free(s.path);
    return rc < 0 ? rc : 1;
}

/* "Right*5" -> "Right" and 5; a lone "*" and "**3" are keys like any other. */
static size_t cut_repeat(char *text)
{
    char *star = strrchr(text, '*'), *end;
    if (!star || star == text || !star[1])
        return 1;
    unsigned long times = strtoul(star + 1, &end, 10);
    if (*end || star[1] < '0' || star[1] > '9' || times > REPEAT_MAX)
        return 1;
    *star = '\0';
    return times;
}

static int add_word(struct walk *w, size_t word, const char *text, struct err *err)
{
    char name[WORD_MAX];
    int rc = add_order(w, word, text, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    snprintf(name, sizeof name, "%s", text);
    size_t times = cut_repeat(name);
    uint32_t key = key_of(name);
    if (!key)
        return err_set(err, ERR_USAGE, NULL,
                       "--keys: word %zu is \"%s\", expected a character, the name of a key (Tab, "
                       "Enter, Right*5, ...), 'text', wait, shot:FILE, size:WxH, click:X,Y, "
                       "drag:X,Y,X2,Y2 or wheel:X,Y,up",
                       word, text);
    return add_key(w, word, key, times, err);
}

int walk_parse(struct walk *w, const char *text, struct err *err)
{
    static const char blanks[] = " \t\r\n";
    int rc = 0;
    *w = (struct walk){0};
    for (size_t word = 1; rc == 0 && *(text += strspn(text, blanks)); word++) {
        const char *closing = (*text == '\'' || *text == '"') ? strchr(text + 1, *text) : NULL;
        if (closing && closing > text + 1) {
            rc = add_typed(w, word, text + 1, (size_t)(closing - text - 1), err);
            text = closing + 1;
            continue;
        }
        char piece[WORD_MAX];
        size_t size = strcspn(text, blanks);
        if (size >= sizeof piece)
            return err_set(err, ERR_USAGE, NULL, "--keys: word %zu is too long", word);
        memcpy(piece, text, size);
        piece[size] = '\0';
        rc = add_word(w, word, piece, err);
        text += size;
    }
    return rc;
}

void walk_release(struct walk *w)
{
    for (size_t i = 0; i < w->count; i++)
        free(w->step[i].path);
    free(w->step);
    *w = (struct walk){0};
}
