#include "ui/app/app_keys.h"

#include <stdio.h>
#include <string.h>

#include "ui/app/app_find.h"

enum { ZOOM_IN = 1, ZOOM_OUT = -1, MANY = 10 };

/* --- What the keys of all screens do --- */

static void choose_view(struct app *a, int view)
{
    app_choose_view(a, (size_t)view);
}

static void move_slider(struct app *a, int by)
{
    size_t count = 0;
    while (app_sliders(a)[count])
        count++;
    if (count)
        a->slider[a->view] = (a->slider[a->view] + count + (size_t)(by + (int)count)) % count;
    else
        app_say(a, STYLE_TEXT_DIM, "this screen has no sliders");
}

static void step_slider(struct app *a, int steps)
{
    if (!app_slider(a))
        app_say(a, STYLE_TEXT_DIM, "this screen has no sliders");
    app_step_slider(a, steps);
}

static void type_value(struct app *a, int dot)
{
    if (app_slider(a))
        app_prompt_begin(a, APP_VALUE, dot ? "0." : "");
    else
        app_say(a, STYLE_TEXT_DIM, "this screen has no sliders to type a value for");
}

static void reset_slider(struct app *a, int argument)
{
    (void)argument;
    app_reset_slider(a);
}

static void undo(struct app *a, int argument)
{
    (void)argument;
    app_undo(a);
}

static void redo(struct app *a, int argument)
{
    (void)argument;
    app_redo(a);
}

static void take_snapshot(struct app *a, int which)
{
    app_take_snapshot(a, (size_t)which);
}

static void compare(struct app *a, int argument)
{
    (void)argument;
    app_compare_begin(a);
}

static void cycle_pin(struct app *a, int argument)
{
    (void)argument;
    app_cycle_pin(a);
}

static void move_layer(struct app *a, int by)
{
    app_move_layer(a, by);
}

static void expand(struct app *a, int argument)
{
    (void)argument;
    a->expanded = !a->expanded;
    app_say(a, STYLE_TEXT_DIM, a->expanded ? "the plot has the whole width" : "sliders are back");
}

static void change_axis(struct app *a, int argument)
{
    (void)argument;
    app_change_axis(a);
}

static void cycle_theme(struct app *a, int argument)
{
    (void)argument;
    a->look.theme = (a->look.theme + 1) % STYLE_THEMES;
    app_say(a, STYLE_TEXT_DIM, "theme: %s", style_theme_name(a->look.theme));
}

static void cycle_glyphs(struct app *a, int argument)
{
    (void)argument;
    a->look.glyphs = (a->look.glyphs + 1) % STYLE_GLYPHS;
    app_say(a, STYLE_TEXT_DIM, "glyphs: %s", style_glyphs_name(a->look.glyphs));
}

static void switch_mouse(struct app *a, int argument)
{
    (void)argument;
    a->mouse = !a->mouse;
    app_say(a, STYLE_TEXT_DIM,
            a->mouse ? "mouse on; the terminal's own selection needs Shift"
                     : "mouse off: the terminal selects again");
}

static void ask(struct app *a, int mode)
{
    app_prompt_begin(a, (enum app_mode)mode, "");
}

static void write_plan(struct app *a, int argument)
{
    (void)argument;
    app_write_plan(a, false);
}

static void ask_picture(struct app *a, int argument)
{
    (void)argument;
    app_picture_ask(a);
}

static void copy_command(struct app *a, int argument)
{
    (void)argument;
    app_copy_command(a);
}

static void save_session(struct app *a, int argument)
{
    (void)argument;
    app_save_session(a);
}

static void ask_run(struct app *a, int argument)
{
    (void)argument;
    app_ask_run(a);
}

static void cancel_run(struct app *a, int argument)
{
    (void)argument;
    app_cancel_run(a);
}

static void redraw(struct app *a, int argument)
{
    (void)argument;
    app_say(a, STYLE_TEXT_DIM, "drawn again");
}

static void toggle_card(struct app *a, int argument)
{
    (void)argument;
    app_find_toggle(a);
}

static void quit(struct app *a, int argument)
{
    (void)argument;
    app_quit(a);
}

/* In the order of the hint row and of the help. */
const struct app_key app_keys[] = {
    {{{TERM_KEY_TAB, 1}}, "slider", "select the next slider", move_slider},
    {{{TERM_KEY_LEFT, -1}, {TERM_KEY_RIGHT, 1}},
     "change",
     "change the slider one step",
     step_slider},
    {{{TERM_KEY_ENTER, 0}},
     "value",
     "type a value: a number, auto, a name, or LAYER:VALUE; Enter takes it, Esc does not",
     type_value},
    {{{'u', 0}}, "undo", "undo the last change", undo},
    {{{'[', -1}, {']', 1}}, "layer", "the layer before, after", move_layer},
    {{{'/', APP_SEARCH}},
     "find",
     "find an expert (17, L3 E17 or 3.17), or a token by its text, as #ID or as rank N",
     ask},
    {{{'n', 1}, {'N', -1}}, NULL, "the next token that matches, the one before", app_find_next},
    {{{'i', 0}}, "card", "card of the selected expert, on Data of the token", toggle_card},
    {{{'y', 0}}, "copy", "copy the command line that gives the same", copy_command},
    {{{'t', 0}}, "theme", "theme: dark, light, mono", cycle_theme},
    {{{'p', 0}}, "pin", "pin the selected expert's bits: 2, 3, 4, 8, 16, not pinned", cycle_pin},
    {{{'w', 0}}, "write", "write the plan", write_plan},
    {{{'W', 0}},
     "picture",
     "write the chart as .svg or .png, all charts of the screen as .pdf",
     ask_picture},
    {{{'x', 0}}, "run", "run the plan: shows what would be done, then asks", ask_run},
    {{{'A', 0}, {'B', 1}}, "snapshot", "take a snapshot of settings, pins and plan", take_snapshot},
    {{{'c', 0}},
     "compare",
     "compare snapshots and the screen: settings, sizes, predicted loss, experts",
     compare},
    {{{'s', 0}},
     "save",
     "save the session: settings, pins and screen come back next time",
     save_session},
    {{{'U', 0}}, "redo", "redo what was undone", redo},
    {{{'.', 1}}, NULL, "type a value that begins with 0.", type_value},
    {{{TERM_KEY_BACKTAB, -1}}, NULL, "select the slider before", move_slider},
    {{{'0', 0}}, "default", "the slider's default", reset_slider},
    {{{'H', -MANY}, {'L', MANY}, {TERM_KEY_SHIFT_LEFT, -MANY}, {TERM_KEY_SHIFT_RIGHT, MANY}},
     "ten steps",
     "change the slider ten steps",
     step_slider},
    {{{'e', 0}}, "wide", "the plot takes the whole width, and gives it back", expand},
    {{{'l', 0}}, "axes", "logarithmic or linear axes", change_axis},
    {{{'+', ZOOM_IN}, {'-', ZOOM_OUT}, {'=', ZOOM_IN}}, "zoom", "zoom in, out", app_zoom},
    {{{'g', 0}}, "glyphs", "glyphs: braille, blocks, ASCII", cycle_glyphs},
    {{{'m', 0}},
     "mouse",
     "mouse on or off: click screens, sliders and experts, wheel, drag the threshold line",
     switch_mouse},
    {{{TERM_KEY_CTRL_C, 0}}, "cancel", "cancel what runs, at the next safe point", cancel_run},
    {{{'1', 0}, {'2', 1}, {'3', 2}, {'4', 3}, {'5', 4}, {'6', 5}, {'7', 6}},
     NULL,
     "screens: data, mapping, significance, similarity, plan, run, results",
     choose_view},
    {{{TERM_KEY_CTRL_L, 0}}, NULL, "draw the screen again", redraw},
    {{{'?', APP_HELP}}, NULL, "help", ask},
    {{{'q', 0}}, NULL, "quit; asks if the plan is not written", quit},
    {{{0, 0}}, NULL, NULL, NULL},
};

/* --- The tables --- */

const char *app_keys_hint(const struct app *a, const struct app_key *key)
{
    const struct view *v = views[a->view];
    bool slider = key->act == move_slider || key->act == step_slider || key->act == type_value ||
                  key->act == reset_slider;
    if ((slider && !app_slider(a)) || (key->act == cancel_run && !app_can_cancel(a)))
        return NULL;
    return v->offers && !v->offers(a, key->on[0].code) ? NULL : key->hint;
}

static const struct app_key *find_in(const struct app_key *table, uint32_t code, int *argument)
{
    for (; table && table->act; table++)
        for (size_t i = 0; i < APP_KEY_CODES && table->on[i].code; i++)
            if (table->on[i].code == code) {
                *argument = table->on[i].argument;
                return table;
            }
    return NULL;
}

const struct app_key *app_keys_find(const struct app *a, uint32_t code, int *argument)
{
    const struct app_key *own = find_in(app_find_keys(a), code, argument);
    if (!own)
        own = find_in(views[a->view]->keys, code, argument);
    return own ? own : find_in(app_keys, code, argument);
}

static const struct {
    uint32_t code;
    const char *word, *arrow; /* NULL: the word */
} named[] = {
    {TERM_KEY_CTRL_C, "Ctrl-C", NULL},
    {TERM_KEY_TAB, "Tab", NULL},
    {TERM_KEY_ENTER, "Enter", NULL},
    {TERM_KEY_CTRL_L, "Ctrl-L", NULL},
    {TERM_KEY_ESC, "Esc", NULL},
    {' ', "Space", NULL},
    {TERM_KEY_BACKSPACE, "Backspace", NULL},
    {TERM_KEY_UP, "Up", "\u2191"},
    {TERM_KEY_DOWN, "Down", "\u2193"},
    {TERM_KEY_LEFT, "Left", "\u2190"},
    {TERM_KEY_RIGHT, "Right", "\u2192"},
    {TERM_KEY_SHIFT_UP, "Shift-Up", NULL},
    {TERM_KEY_SHIFT_DOWN, "Shift-Down", NULL},
    {TERM_KEY_SHIFT_LEFT, "Shift-Left", NULL},
    {TERM_KEY_SHIFT_RIGHT, "Shift-Right", NULL},
    {TERM_KEY_HOME, "Home", NULL},
    {TERM_KEY_END, "End", NULL},
    {TERM_KEY_PAGE_UP, "PgUp", NULL},
    {TERM_KEY_PAGE_DOWN, "PgDn", NULL},
    {TERM_KEY_INSERT, "Insert", NULL},
    {TERM_KEY_DELETE, "Delete", NULL},
    {TERM_KEY_BACKTAB, "Shift-Tab", NULL},
};

void app_keys_name(char *out, size_t size, uint32_t code, enum style_glyphs glyphs)
{
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (named[i].code == code) {
            bool arrow = named[i].arrow && glyphs != STYLE_ASCII;
            snprintf(out, size, "%s", arrow ? named[i].arrow : named[i].word);
            return;
        }
    if (code >= TERM_KEY_F1 && code <= TERM_KEY_F12)
        snprintf(out, size, "F%u", (unsigned)(code - TERM_KEY_F1 + 1));
    else if (code < ' ')
        snprintf(out, size, "Ctrl-%c", (int)code + '@');
    else if (code < TERM_KEY_BACKSPACE)
        snprintf(out, size, "%c", (int)code);
    else
        snprintf(out, size, "this key");
}

void app_keys_names(char *out, size_t size, const struct app_key *key, size_t max,
                    enum style_glyphs glyphs)
{
    size_t used = 0, n = 0;
    char name[24];
    while (n < APP_KEY_CODES && key->on[n].code)
        n++;
    out[0] = '\0';
    if (n > 2 && key->on[0].code == '1' && key->on[n - 1].code == '0' + n) {
        snprintf(out, size, "1-%zu", n);
        return;
    }
    for (size_t i = 0; i < n && i < max && used < size; i++) {
        app_keys_name(name, sizeof name, key->on[i].code, glyphs);
        used += (size_t)snprintf(out + used, size - used, "%s%s", i ? " " : "", name);
    }
}

size_t app_keys_move(size_t selected, size_t count, int move, size_t page)
{
    size_t last = count ? count - 1 : 0, step = move == APP_BACK || move == APP_ON ? 1
                                                : page > 0                         ? page
                                                                                   : 1;
    if (move == APP_TO_FIRST)
        return 0;
    if (move == APP_TO_LAST)
        return last;
    if (move < 0)
        return selected > step ? selected - step : 0;
    return last - (selected < last ? selected : last) > step ? selected + step : last;
}
