#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ui/app/app_find.h"

/* Modes in which keys go elsewhere: a value, a search, help, questions. */

void app_prompt_begin(struct app *a, enum app_mode mode, const char *text)
{
    a->mode = mode;
    a->prompt_scroll = 0;
    snprintf(a->typed, sizeof a->typed, "%s", text);
    a->typed_at = strlen(a->typed);
}

bool app_prompt_scroll(struct app *a, uint32_t key)
{
    enum { PAGE = 10, LINES_MAX = 1 << 20 };
    size_t at = a->prompt_scroll;
    switch (key) {
    case TERM_KEY_DOWN:
        at++;
        break;
    case TERM_KEY_UP:
        at -= at > 0;
        break;
    case TERM_KEY_PAGE_DOWN:
        at += PAGE;
        break;
    case TERM_KEY_PAGE_UP:
        at = at > PAGE ? at - PAGE : 0;
        break;
    case TERM_KEY_HOME:
        at = 0;
        break;
    case TERM_KEY_END:
        at = LINES_MAX;
        break;
    default:
        return false;
    }
    a->prompt_scroll = at;
    return true;
}

/* --- Events --- */

static void answer_replace(struct app *a, uint32_t key)
{
    bool plan = a->mode == APP_CONFIRM_PLAN;
    a->mode = APP_NORMAL;
    if (key != 'y' && key != 'Y')
        app_say(a, STYLE_TEXT_DIM, "not written");
    else if (plan)
        app_write_plan(a, true);
    else
        app_picture_write(a, true);
}

static void answer_run(struct app *a, uint32_t key)
{
    bool yes = key == 'y' || key == 'Y';
    if (yes && a->dry_run_phase != APP_ASK_READY)
        return; /* nobody agrees to what is not on the screen yet */
    if (app_prompt_scroll(a, key))
        return;
    a->mode = APP_NORMAL;
    if (yes)
        app_start_run(a, false);
    else
        app_say(a, STYLE_TEXT_DIM, "not started");
}

static bool answer_quit(struct app *a, uint32_t key)
{
    if (key == 'y' || key == 'Y')
        return false;
    a->mode = APP_NORMAL;
    if (key == 'w') {
        app_write_plan(a, false);
        app_write_finish(a);
        return !app_document_equal(&a->document, &a->saved, a);
    }
    app_say(a, STYLE_TEXT_DIM, "not left");
    return true;
}

bool app_prompt_event(struct app *a, const struct term_event *e)
{
    enum app_mode mode = a->mode;
    const struct setting_info *info = app_slider(a);
    if (e->key == TERM_KEY_RESIZE || e->key == TERM_KEY_NONE)
        return true;
    if (mode == APP_COMPARE) {
        app_compare_event(a, e->key);
        return true;
    }
    if (mode == APP_CONFIRM_QUIT)
        return answer_quit(a, e->key);
    if (mode == APP_COPIED) {
        a->mode = APP_NORMAL;
        app_say(a, STYLE_GOOD, "copied");
        return true;
    }
    if (mode == APP_CONFIRM_RUN) {
        answer_run(a, e->key);
        return true;
    }
    if (mode == APP_CONFIRM_PICTURE || mode == APP_CONFIRM_PLAN) {
        answer_replace(a, e->key);
        return true;
    }
    if (e->key == TERM_KEY_ESC || e->key == TERM_KEY_CTRL_C) {
        a->mode = APP_NORMAL;
    } else if (e->key == TERM_KEY_ENTER) {
        a->mode = APP_NORMAL;
        if (mode == APP_VALUE && info && a->typed[0])
            app_set(a, info->name, a->typed);
        else if (mode == APP_SEARCH)
            app_find_search(a);
        else if (mode == APP_PICTURE)
            app_picture_write(a, false);
    } else if (mode == APP_HELP) {
        if (e->key == '?' || (e->key == 'q' && !a->typed[0]))
            a->mode = APP_NORMAL;
        else
            app_help_event(a, e->key);
    } else {
        app_typed_event(a, e->key);
    }
    return true;
}

/* --- Drawing --- */

/* A line "NAME    VALUE", its value wrapped in a column of its own, which is further left where the
 * window is narrow. Returns the rows used. */
static int draw_dry_line(struct cells *c, struct rect r, const char *line)
{
    enum { NAME = 24, NARROW = 17, WIDE = 60 };
    int column = r.w < WIDE ? NARROW : NAME;
    const char *gap = strstr(line + strspn(line, " "), "  ");
    if (!gap || r.w < 2 * NARROW)
        return cells_paragraph(c, r, line, STYLE(STYLE_DEFAULT));
    cells_textf(c, r.x, r.y, column - 1, STYLE(STYLE_TEXT_DIM), "%.*s", (int)(gap - line), line);
    int used = cells_paragraph(c, rect_inset(r, column, 0, 0, 0), gap + strspn(gap, " "),
                               STYLE(STYLE_DEFAULT));
    return used ? used : 1;
}

/* The text's lines from row y on, of which c->clip is in sight. Returns the rows used. */
static int draw_dry_lines(struct cells *c, struct rect r, const char *text)
{
    enum { TALL = 999 };
    int y = r.y;
    struct str line = {0};
    for (const char *at = text; *at;) {
        size_t length = strcspn(at, "\n");
        str_clear(&line);
        str_append_bytes(&line, at, length);
        y += draw_dry_line(c, (struct rect){r.x, y, r.w, TALL}, str_get(&line));
        at += length + (at[length] == '\n');
    }
    str_release(&line);
    return y - r.y;
}

/* As much of the text as fits, scrolled; false where that is not all. */
static bool draw_dry_run(struct app *a, struct cells *c, struct rect r, const char *text)
{
    struct rect clip = c->clip;
    c->clip = (struct rect){0}; /* only measures */
    int rows = draw_dry_lines(c, r, text);
    size_t most = rows > r.h ? (size_t)(rows - r.h) : 0;
    a->prompt_scroll = a->prompt_scroll < most ? a->prompt_scroll : most;
    c->clip = r;
    draw_dry_lines(c, (struct rect){r.x, r.y - (int)a->prompt_scroll, r.w, r.h}, text);
    c->clip = clip;
    return most == 0;
}

static void draw_run_question(struct app *a, struct cells *c)
{
    enum { ROWS = 6, WRAPPED = 2 };
    int rows = ROWS;
    bool ready = a->dry_run_phase == APP_ASK_READY;
    const char *text = ready ? str_get(&a->dry_run) : "Working out what it would do ...\n";
    for (const char *p = text; *p; p++)
        rows += *p == '\n';
    struct rect r = app_window(a, c, 90, ready ? rows + WRAPPED : rows, "Run this plan?");
    struct rect body = {r.x, r.y, r.w, r.h > 4 ? r.h - 2 : r.h - 1};
    bool all = draw_dry_run(a, c, body, text);
    const char *keys = !ready ? "any key but y closes"
                       : all  ? "y runs it, any other key does not"
                              : "y runs it, Up Down: more, others: no";
    cells_text(c, r.x, r.y + r.h - 1, r.w, keys, STYLE(STYLE_ACCENT));
}

static void draw_quit_question(struct app *a, struct cells *c)
{
    struct rect r = app_window(a, c, 62, 6, "Quit?");
    cells_text(c, r.x, r.y, r.w, "The plan on the screen is not written.", STYLE(STYLE_WARN));
    if (app_run_is_active(a))
        cells_text(c, r.x, r.y + 1, r.w, "The run goes on; the next session finds it again.",
                   STYLE(STYLE_DEFAULT));
    cells_text(c, r.x, r.y + r.h - 1, r.w,
               "y quits, w writes the plan and quits, any other key stays", STYLE(STYLE_ACCENT));
}

static void draw_replace_question(struct app *a, struct cells *c, const char *file)
{
    struct rect r = app_window(a, c, 62, 5, "Replace?");
    cells_textf(c, r.x, r.y, r.w, STYLE(STYLE_WARN), "There is a file %s already.", file);
    cells_text(c, r.x, r.y + r.h - 1, r.w, "y replaces it, any other key does not",
               STYLE(STYLE_ACCENT));
}

/* All of the command, for terminals that take no clipboard from programs, too. */
static void draw_copied(struct app *a, struct cells *c)
{
    enum { WIDTH = 100, TALL = 99, AROUND = 6 };
    const char *text = str_get(&a->copy);
    int width = c->w < WIDTH ? c->w : WIDTH;
    int rows = cells_paragraph_rows(c, width - 4, TALL, text);
    struct rect r = app_window(a, c, width, rows + AROUND, "The same as a command");
    cells_paragraph(c, (struct rect){r.x, r.y, r.w, r.h - 3}, text, STYLE(STYLE_DEFAULT));
    cells_text(c, r.x, r.y + r.h - 2, r.w, "copied, where the terminal takes it (OSC 52)",
               STYLE(STYLE_GOOD));
    cells_text(c, r.x, r.y + r.h - 1, r.w, "any key closes", STYLE(STYLE_ACCENT));
}

/* Beside what is typed, or where it is longer than that, in rows above. */
static void draw_hint(struct app *a, struct cells *c, struct rect r, const char *hint)
{
    enum { ROWS_MAX = 3 };
    if (cells_width(hint) <= r.w || c->h < 12) {
        cells_label(c, r, CELLS_LEFT, hint, &a->look, STYLE(STYLE_TEXT_DIM));
        return;
    }
    int rows = cells_paragraph_rows(c, c->w - 2, ROWS_MAX, hint);
    cells_fill(c, (struct rect){0, r.y - rows, c->w, rows}, " ", STYLE(STYLE_DEFAULT));
    cells_paragraph(c, (struct rect){1, r.y - rows, c->w - 2, rows}, hint, STYLE(STYLE_TEXT_DIM));
}

/* One row in place of the message: a question and what was typed. */
static void draw_entry(struct app *a, struct cells *c)
{
    const struct setting_info *info = app_slider(a);
    struct rect r = {0, c->h - 2, c->w, 1};
    char question[160] = "find", found[160] = "";
    if (a->mode == APP_VALUE && info)
        snprintf(question, sizeof question, "%s", info->name);
    else if (a->mode == APP_PICTURE)
        snprintf(question, sizeof question, "picture (.svg, .png, .pdf)");
    cells_fill(c, r, " ", STYLE(STYLE_DEFAULT));
    int x = 1 + cells_textf(c, 1, r.y, c->w - 2, STYLE(STYLE_ACCENT), "%s: ", question);
    x = app_typed_draw(a, c, x, r.y, c->w);
    if (a->mode == APP_SEARCH)
        app_find_preview(a, found, sizeof found);
    const char *hint = a->mode == APP_PICTURE         ? "Enter writes, Esc does not"
                       : a->mode == APP_VALUE && info ? info->help
                                                      : found;
    if (x + 4 < c->w)
        draw_hint(a, c, (struct rect){x + 2, r.y, c->w - x - 2, 1}, hint);
}

void app_prompt_draw(struct app *a, struct cells *c)
{
    switch (a->mode) {
    case APP_VALUE:
    case APP_SEARCH:
    case APP_PICTURE:
        draw_entry(a, c);
        break;
    case APP_HELP:
        app_help_draw(a, c);
        break;
    case APP_COMPARE:
        app_compare_draw(a, c);
        break;
    case APP_CONFIRM_QUIT:
        draw_quit_question(a, c);
        break;
    case APP_CONFIRM_RUN:
        draw_run_question(a, c);
        break;
    case APP_CONFIRM_PICTURE:
        draw_replace_question(a, c, a->typed);
        break;
    case APP_COPIED:
        draw_copied(a, c);
        break;
    case APP_CONFIRM_PLAN:
        draw_replace_question(a, c, a->options->plan_path);
        break;
    case APP_NORMAL:
        break;
    }
}
