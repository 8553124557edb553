#include "ui/app/app_find.h"

#include <stdio.h>
#include <string.h>

#include "ui/app/view_card.h"
#include "ui/app/view_parts.h"

enum { BESIDE_MIN = 40, CHART_MIN = 38, PANE_MAX = 64, VIEW_DATA = 0 };

/* --- Finding --- */

static void open_pane(struct app *a, enum app_pane pane)
{
    a->find.pane = pane;
    a->find.scroll = 0;
    a->find.rows = a->find.page = 0;
    a->find.layer = a->layer;
}

static void show_token(struct app *a, size_t at)
{
    a->find.at = at;
    a->token_rank = a->find.tokens.rank[at];
    open_pane(a, APP_PANE_TOKEN);
}

static void tell_count(struct app *a)
{
    const struct find_tokens *t = &a->find.tokens;
    if (t->count > 1)
        app_say(a, STYLE_GOOD,
                "%zu tokens match \"%s\"%s: %zu whole, %zu at the beginning, then anywhere",
                t->count, a->find.text, t->any_case ? " in any case" : "", t->whole, t->beginning);
    else
        app_say(a, STYLE_GOOD, "one token matches \"%s\"%s", a->find.text,
                t->any_case ? " in any case" : "");
}

static void show_tokens(struct app *a)
{
    a->find.at = 0;
    if (a->find.tokens.count == 1) {
        show_token(a, 0);
    } else {
        open_pane(a, APP_PANE_LIST);
        a->token_rank = a->find.tokens.rank[0];
    }
    tell_count(a);
}

static void show_place(struct app *a, const struct find_place *place)
{
    size_t also = a->find.tokens.count, number;
    a->layer = place->layer;
    number = a->result->layer[a->layer].layer;
    if (place->kind == FIND_LAYER) {
        app_say(a, STYLE_GOOD, "layer %zu", number);
        return;
    }
    a->expert = place->expert;
    a->find.at = also; /* n goes to the first */
    open_pane(a, APP_PANE_EXPERT);
    if (also)
        app_say(a, STYLE_GOOD, "expert %zu of layer %zu; also %zu token%s with \"%s\": n",
                a->expert, number, also, also == 1 ? "" : "s", a->find.text);
    else
        app_say(a, STYLE_GOOD, "expert %zu of layer %zu", a->expert, number);
}

static void tell_nothing(struct app *a, const struct find_place *place)
{
    if (place->kind == FIND_ABSENT)
        app_say(a, STYLE_WARN, "%s", place->absent);
    else if (a->find.tokens.no_texts)
        app_say(a, STYLE_WARN,
                "this trace has no texts of tokens; #262 finds one by its id, rank 12 by its rank");
    else
        app_say(a, STYLE_WARN, "no expert and no token of this trace matches \"%s\"", a->typed);
}

/* The digits of an expert may be in tokens as well; what is no place may be a text. */
static bool look_for(struct find_place *place, struct find_tokens *tokens, const struct app *a)
{
    struct err err = {0};
    *tokens = (struct find_tokens){0};
    *place = find_place(a->result, a->layer, a->typed);
    bool texts = place->kind == FIND_NONE || place->kind == FIND_ABSENT || place->bare;
    return !texts || find_tokens(tokens, a->options->trace, a->analysis, a->typed, &err) == 0;
}

void app_find_search(struct app *a)
{
    struct find_place place;
    struct find_tokens tokens;
    if (!a->typed[0])
        return;
    if (!look_for(&place, &tokens, a)) {
        app_say(a, STYLE_ERROR, "no memory for the search");
        return;
    }
    find_tokens_release(&a->find.tokens);
    a->find.tokens = tokens;
    snprintf(a->find.text, sizeof a->find.text, "%.*s", (int)sizeof a->find.text - 1, a->typed);
    if (place.kind == FIND_EXPERT || place.kind == FIND_LAYER)
        show_place(a, &place);
    else if (tokens.count)
        show_tokens(a);
    else
        tell_nothing(a, &place);
}

void app_find_preview(const struct app *a, char *out, size_t size)
{
    struct find_place place;
    struct find_tokens tokens;
    out[0] = '\0';
    if (!a->typed[0]) {
        snprintf(out, size, "17, L3 E17, 3.17, a text, #ID or rank N");
        return;
    }
    if (!look_for(&place, &tokens, a))
        return;
    size_t layer = a->result->layer[place.layer].layer;
    if (place.kind == FIND_EXPERT)
        snprintf(out, size, "expert %zu of layer %zu%s", place.expert, layer,
                 tokens.count ? ", and tokens" : "");
    else if (place.kind == FIND_LAYER)
        snprintf(out, size, "layer %zu", layer);
    else if (tokens.count)
        snprintf(out, size, "%zu token%s", tokens.count, tokens.count == 1 ? "" : "s");
    else
        snprintf(out, size, "%s", place.kind == FIND_ABSENT ? place.absent : "nothing");
    find_tokens_release(&tokens);
}

void app_find_toggle(struct app *a)
{
    if (a->find.pane != APP_PANE_NONE)
        a->find.pane = APP_PANE_NONE;
    else
        open_pane(a, a->view == VIEW_DATA && a->token_rank ? APP_PANE_TOKEN : APP_PANE_EXPERT);
}

void app_find_next(struct app *a, int by)
{
    size_t count = a->find.tokens.count, at = a->find.at;
    if (count == 0) {
        app_say(a, STYLE_WARN, "no tokens to go through; / finds some by their text");
        return;
    }
    bool outside = at >= count; /* the card of an expert with the same digits */
    if (!outside && ((by < 0 && at == 0) || (by > 0 && at + 1 == count))) {
        if (count == 1)
            app_say(a, STYLE_TEXT_DIM, "the only token that matches \"%s\"", a->find.text);
        else
            app_say(a, STYLE_TEXT_DIM, "the %s of %zu tokens that match \"%s\"",
                    by < 0 ? "first" : "last", count, a->find.text);
        by = 0;
    }
    bool list = a->find.pane == APP_PANE_LIST;
    show_token(a, outside ? (by < 0 ? count - 1 : 0) : by < 0 ? at - 1 : at + (size_t)by);
    a->find.pane = list ? APP_PANE_LIST : APP_PANE_TOKEN;
    if (by)
        app_say(a, STYLE_TEXT_DIM, "%zu of %zu that match \"%s\"", a->find.at + 1, count,
                a->find.text);
}

void app_find_leave(struct app *a)
{
    if (a->find.covers)
        a->find.pane = APP_PANE_NONE;
}

void app_find_release(struct app *a)
{
    find_tokens_release(&a->find.tokens);
}

/* --- Keys --- */

static void close_pane(struct app *a, int argument)
{
    (void)argument;
    a->find.pane = APP_PANE_NONE;
}

static void select_token(struct app *a, size_t at)
{
    a->find.at = at;
    a->token_rank = a->find.tokens.rank[at];
}

static void move_in_list(struct app *a, int move)
{
    size_t count = a->find.tokens.count;
    size_t page = a->find.page > 1 ? a->find.page - 1 : 1;
    size_t to = app_keys_move(a->find.at, count, move, page);
    if (to == a->find.at)
        app_say(a, STYLE_TEXT_DIM, "this is the %s of %zu tokens", move < 0 ? "first" : "last",
                count);
    select_token(a, to);
}

static void open_token(struct app *a, int argument)
{
    (void)argument;
    show_token(a, a->find.at);
}

static void scroll_card(struct app *a, int move)
{
    enum { ANY_ROWS = 1 << 20, ANY_PAGE = 10 }; /* keys that come before the first frame */
    size_t rows = a->find.rows, page = a->find.page;
    size_t firsts = rows == 0 ? ANY_ROWS : rows > page ? rows - page + 1 : 1;
    size_t step = page > 1 ? page - 1 : rows == 0 ? ANY_PAGE : 1;
    size_t to = app_keys_move(a->find.scroll, firsts, move, step);
    if (to == a->find.scroll)
        app_say(a, STYLE_TEXT_DIM,
                firsts == 1 ? "the whole card is in sight"
                : move < 0  ? "this is the top of the card"
                            : "this is the end of the card");
    a->find.scroll = to;
}

static void next_expert(struct app *a, int by)
{
    size_t to = app_keys_move(a->expert, a->result->experts, by, 1);
    if (to == a->expert)
        app_say(a, STYLE_TEXT_DIM, "this is the %s expert", by < 0 ? "first" : "last");
    a->expert = to;
}

static void next_rank(struct app *a, int by)
{
    size_t to = 1 + app_keys_move(a->token_rank - 1, a->result->types, by, 1);
    if (to == a->token_rank)
        app_say(a, STYLE_TEXT_DIM, "this is the %s token", by < 0 ? "commonest" : "rarest");
    a->token_rank = to;
}

static void back_to_list(struct app *a, int argument)
{
    (void)argument;
    if (a->find.tokens.count == 0) {
        app_say(a, STYLE_TEXT_DIM, "there is no list of tokens; / finds some by their text");
        return;
    }
    a->find.at = a->find.at < a->find.tokens.count ? a->find.at : 0;
    open_pane(a, APP_PANE_LIST);
    select_token(a, a->find.at);
}

static const struct app_key list_keys[] = {
    {{{TERM_KEY_ENTER, 0}}, "card", "card of the selected token", open_token},
    {{APP_KEYS_ARROWS}, "token", "select a token of the list", move_in_list},
    {{{TERM_KEY_ESC, 0}}, "close", "close the list", close_pane},
    {{{0, 0}}, NULL, NULL, NULL},
};

static const struct app_key expert_keys[] = {
    {{{'<', APP_BACK}, {'>', APP_ON}}, "expert", "the expert before, after", next_expert},
    {{APP_KEYS_ARROWS}, "scroll", "scroll the card", scroll_card},
    {{{TERM_KEY_ESC, 0}, {TERM_KEY_ENTER, 0}}, "close", "close the card", close_pane},
    {{{0, 0}}, NULL, NULL, NULL},
};

static const struct app_key token_keys[] = {
    {{{'n', 1}, {'N', -1}}, "match", "the next token that matches, the one before", app_find_next},
    {{{'<', APP_BACK}, {'>', APP_ON}}, "rank", "the token of the rank before, after", next_rank},
    {{APP_KEYS_ARROWS}, "scroll", "scroll the card", scroll_card},
    {{{TERM_KEY_BACKSPACE, 0}}, "list", "back to the list of all that match", back_to_list},
    {{{TERM_KEY_ESC, 0}, {TERM_KEY_ENTER, 0}}, "close", "close the card", close_pane},
    {{{0, 0}}, NULL, NULL, NULL},
};

const struct app_find_table app_find_tables[APP_PANES] = {
    [APP_PANE_LIST] = {"a list of tokens", list_keys},
    [APP_PANE_EXPERT] = {"the card of an expert", expert_keys},
    [APP_PANE_TOKEN] = {"the card of a token", token_keys},
};

/* A card without its subject cannot be: the token may have been let go, the list emptied. */
static enum app_pane pane_of(const struct app *a)
{
    bool gone = (a->find.pane == APP_PANE_TOKEN && a->token_rank == 0) ||
                (a->find.pane == APP_PANE_LIST && a->find.tokens.count == 0);
    return gone ? APP_PANE_NONE : a->find.pane;
}

const struct app_key *app_find_keys(const struct app *a)
{
    return app_find_tables[pane_of(a)].keys;
}

bool app_find_mouse(struct app *a, const struct term_event *e)
{
    enum app_pane pane = pane_of(a);
    if (pane == APP_PANE_NONE || !rect_contains(a->find.rect, e->x, e->y))
        return false;
    if (e->mouse == TERM_MOUSE_WHEEL && e->wheel) {
        if (pane == APP_PANE_LIST)
            move_in_list(a, e->wheel < 0 ? APP_BACK : APP_ON);
        else
            scroll_card(a, e->wheel < 0 ? APP_BACK : APP_ON);
    }
    long row = (long)a->find.scroll + e->y - a->find.rect.y - 1;
    if (pane == APP_PANE_LIST && e->mouse == TERM_MOUSE_PRESS && row >= 0 &&
        row < (long)a->find.tokens.count)
        select_token(a, (size_t)row);
    return true;
}

/* --- The pane --- */

struct rect app_find_place(struct app *a, struct rect r, int screen_width, struct rect *chart)
{
    int w = screen_width / 3;
    a->find.pane = pane_of(a);
    w = w < BESIDE_MIN ? BESIDE_MIN : w > PANE_MAX ? PANE_MAX : w;
    *chart = r;
    a->find.covers = r.w - w - 1 < CHART_MIN;
    if (a->find.pane == APP_PANE_NONE) {
        a->find.rect = (struct rect){0};
        a->find.covers = false;
    } else if (a->find.covers) {
        a->find.rect = r;
    } else {
        chart->w -= w + 1;
        a->find.rect = (struct rect){r.x + r.w - w, r.y, w, r.h};
    }
    return a->find.rect;
}

/* The frame; at its lower edge what lies below, or the keys. Returns the room inside. */
static struct rect frame(struct app *a, struct cells *c, struct rect r, const char *title,
                         const char *keys, size_t below)
{
    char text[96];
    cells_fill(c, r, " ", STYLE(STYLE_DEFAULT));
    struct rect inner =
        cells_box(c, r, title, &a->look, STYLE(STYLE_BORDER_FOCUS), STYLE(STYLE_TITLE));
    if (below)
        snprintf(text, sizeof text, " %s %zu more  %s ", style_glyph(&a->look, STYLE_G_ARROW_DOWN),
                 below, keys);
    else
        snprintf(text, sizeof text, " %s ", keys);
    cells_text(c, r.x + 2, r.y + r.h - 1, r.w - 4, text, STYLE(STYLE_TEXT_DIM));
    return rect_inset(inner, 1, 0, 1, 0);
}

static void draw_list(struct app *a, struct cells *c, struct rect r)
{
    const struct find_tokens *t = &a->find.tokens;
    char title[APP_TEXT_MAX];
    size_t page = r.h > 2 ? (size_t)r.h - 2 : 0;
    a->find.page = page;
    a->find.rows = t->count;
    a->find.scroll = app_scroll_to(a->find.scroll, a->find.at, t->count, page);
    size_t end = a->find.scroll + page;
    snprintf(title, sizeof title, "%zu tokens with \"%s\"", t->count, a->find.text);
    struct rect in = frame(a, c, r, title, "Enter  Esc", t->count > end ? t->count - end : 0);
    struct card k = {.width = in.w};
    for (size_t i = a->find.scroll; i < t->count && i < end; i++) {
        char token[128], right[64];
        size_t rank = t->rank[i];
        app_token_text(a, a->result->rank_id[rank - 1], token, sizeof token);
        snprintf(right, sizeof right, "rank %zu %7llu", rank,
                 (unsigned long long)a->result->rank_count[rank - 1]);
        card_item(&k, i == a->find.at ? STYLE_ACCENT : STYLE_DEFAULT, token, right)->marked =
            i == a->find.at;
    }
    card_draw(c, in, &a->look, &k, 0);
    card_release(&k);
}

static void title_of(const struct app *a, char *out, size_t size)
{
    char token[160];
    const struct find_tokens *t = &a->find.tokens;
    if (a->find.pane == APP_PANE_EXPERT) {
        snprintf(out, size, "Expert %zu of layer %zu", a->expert, view_layer(a)->layer);
        return;
    }
    app_token_text(a, a->result->rank_id[a->token_rank - 1], token, sizeof token);
    bool listed = t->count > 1 && a->find.at < t->count && t->rank[a->find.at] == a->token_rank;
    if (listed)
        snprintf(out, size, "Token %s, %zu of %zu", token, a->find.at + 1, t->count);
    else
        snprintf(out, size, "Token %s", token);
}

/* The layer in view stays in sight when it changes, and not when the user scrolls away from it. */
static void follow_layer(struct app *a, const struct card *k, size_t page)
{
    if (k->has_focus && a->find.layer != a->layer)
        a->find.scroll = app_scroll_to(a->find.scroll, k->focus, k->count, page);
    a->find.layer = a->layer;
    if (k->count <= page)
        a->find.scroll = 0;
    else if (a->find.scroll > k->count - page)
        a->find.scroll = k->count - page;
}

static void draw_card(struct app *a, struct cells *c, struct rect r)
{
    char title[APP_TEXT_MAX];
    struct card k = {.width = r.w - 4};
    size_t page = r.h > 2 ? (size_t)r.h - 2 : 0;
    if (a->find.pane == APP_PANE_EXPERT)
        view_card_expert(&k, a);
    else
        view_card_token(&k, a);
    follow_layer(a, &k, page);
    a->find.rows = k.count;
    a->find.page = page;
    size_t end = a->find.scroll + page;
    title_of(a, title, sizeof title);
    struct rect in = frame(a, c, r, title, "Esc", k.count > end ? k.count - end : 0);
    card_draw(c, in, &a->look, &k, a->find.scroll);
    card_release(&k);
}

void app_find_draw(struct app *a, struct cells *c, struct rect r)
{
    if (rect_empty(r))
        return;
    if (a->find.pane == APP_PANE_LIST)
        draw_list(a, c, r);
    else
        draw_card(a, c, r);
}
