#include "ui/app/walk.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "data/base/atomic_file.h"
#include "ui/app/app.h"
#include "ui/app/walk_parse.h"
#include "ui/figure/cells_svg.h"

enum { NAP_NS = 5000000 };

int walk_size(int *w, int *h, const char *text, struct err *err)
{
    char end;
    if (sscanf(text, "%4dx%4d%c", w, h, &end) == 2 && *w > 0 && *h > 0 && *w <= WALK_SIZE_MAX &&
        *h <= WALK_SIZE_MAX)
        return 0;
    return err_set(err, ERR_USAGE, NULL, "size: found \"%s\", expected COLUMNSxROWS, 1x1 to %dx%d",
                   text, WALK_SIZE_MAX, WALK_SIZE_MAX);
}

static bool look_word(struct style_look *look, const char *word)
{
    static const char *const depths[] = {"0", "8", "16", "256"};
    for (int i = 0; i < STYLE_THEMES; i++)
        if (strcmp(word, style_theme_name((enum style_theme)i)) == 0) {
            look->theme = (enum style_theme)i;
            return true;
        }
    for (int i = 0; i < STYLE_GLYPHS; i++)
        if (strcmp(word, style_glyphs_name((enum style_glyphs)i)) == 0) {
            look->glyphs = (enum style_glyphs)i;
            return true;
        }
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++)
        if (strcmp(word, depths[i]) == 0) {
            look->depth = (enum style_depth)i;
            look->theme = i == 0 ? STYLE_MONO : look->theme;
            return true;
        }
    return false;
}

int walk_look(struct style_look *look, const char *text, struct err *err)
{
    while (*text) {
        char word[32];
        size_t size = strcspn(text, ",");
        snprintf(word, sizeof word, "%.*s", (int)size, text);
        if (size >= sizeof word || !look_word(look, word))
            return err_set(err, ERR_USAGE, NULL,
                           "look: found \"%.*s\", expected words of dark, light, mono; 256, 16, "
                           "8, 0; braille, block, ascii",
                           (int)size, text);
        text += size + (text[size] == ',');
    }
    return 0;
}

/* --- Pictures --- */

static int plain_text(struct str *out, const struct cells *c, const struct style_look *look,
                      struct err *err)
{
    (void)look;
    cells_plain(c, out);
    return str_ok(out, err);
}

static int colour_text(struct str *out, const struct cells *c, const struct style_look *look,
                       struct err *err)
{
    cells_sgr(c, look, out);
    return str_ok(out, err);
}

static int drawing(struct str *out, const struct cells *c, const struct style_look *look,
                   struct err *err)
{
    return cells_svg(out, c, look, "A screen of moqa's workbench", err);
}

static const struct {
    const char *ending;
    int (*make)(struct str *out, const struct cells *c, const struct style_look *look,
                struct err *err);
} kinds[] = {{".svg", drawing}, {".txt", plain_text}, {".ansi", colour_text}};

/* Index in kinds[]; a negative code for an unknown ending. */
static int kind_of(const char *path, struct err *err)
{
    size_t size = strlen(path);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t ending = strlen(kinds[i].ending);
        if (size > ending && strcmp(path + size - ending, kinds[i].ending) == 0)
            return (int)i;
    }
    return err_set(err, ERR_USAGE, path,
                   "not a kind of picture; expected a name that ends in .svg, .txt or .ansi");
}

int walk_picture(const char *path, const struct cells *c, const struct style_look *look,
                 struct err *err)
{
    struct str text = {0};
    int kind = kind_of(path, err);
    int rc = kind < 0 ? kind : kinds[kind].make(&text, c, look, err);
    if (rc == 0)
        rc = atomic_file_save(path, str_get(&text), text.length, err);
    str_release(&text);
    return rc;
}

/* --- Walking --- */

static void settle(struct app *a, bool (*busy)(const struct app *a))
{
    for (app_tick(a); busy(a); app_tick(a))
        nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
}

static int take(struct app *a, struct cells *c, const struct walk_step *s, struct err *err)
{
    int rc = 0;
    settle(a, app_waiting);
    if (s->kind == WALK_WAIT || s->kind == WALK_SHOT)
        settle(a, app_busy);
    else if (s->kind == WALK_RESIZE)
        rc = cells_resize(c, s->w, s->h, err);
    else if (!app_event(a, &s->event))
        return 1;
    settle(a, app_waiting);
    if (rc == 0)
        app_draw(a, c);
    if (rc == 0 && s->kind == WALK_SHOT)
        rc = walk_picture(s->path, c, app_look(a), err);
    return rc;
}

static int walk(struct app *a, struct cells *c, const struct walk *w, struct err *err)
{
    app_tick(a);
    app_draw(a, c);
    for (size_t i = 0; i < w->count; i++) {
        int rc = take(a, c, &w->step[i], err);
        if (rc < 0)
            return rc;
        if (rc > 0 && i + 1 < w->count)
            return err_set(err, ERR_USAGE, NULL,
                           "--keys: word %zu leaves the workbench, and more follow",
                           w->step[i].word);
    }
    return 0;
}

static int check_pictures(const struct walk *w, const char *picture, struct err *err)
{
    int rc = picture ? kind_of(picture, err) : 0;
    for (size_t i = 0; i < w->count && rc >= 0; i++)
        if (w->step[i].kind == WALK_SHOT)
            rc = kind_of(w->step[i].path, err);
    return rc < 0 ? rc : 0;
}

int walk_run(const struct app_options *app, const struct walk_options *options, struct cells *last,
             struct style_look *look, struct err *err)
{
    struct walk w = {0};
    struct app *a = NULL;
    *last = (struct cells){0};
    int rc = walk_parse(&w, options->keys ? options->keys : "", err);
    if (rc == 0)
        rc = check_pictures(&w, options->picture, err);
    if (rc == 0)
        rc = cells_init(last, options->w, options->h, err);
    if (rc == 0)
        rc = app_new(&a, app, &options->look, err);
    if (rc == 0)
        rc = walk(a, last, &w, err);
    if (rc == 0)
        *look = *app_look(a);
    if (rc == 0 && options->picture) {
        settle(a, app_busy);
        app_draw(a, last);
        rc = walk_picture(options->picture, last, look, err);
    }
    app_free(a);
    walk_release(&w);
    return rc;
}
