/* What `/` finds, and the cards that show it: keys in, cells out, against a direct search and
 * recounts over the trace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app_fixture.h"
#include "picture.h"
#include "ui/app/app_state.h"

static int open_olmoe(void **state)
{
    static struct fixture f;
    fixture_open(&f, "tiny-olmoe", TEST_SAMPLE "/tiny-olmoe");
    *state = &f;
    return 0;
}

static int open_without_model(void **state)
{
    static struct fixture f;
    fixture_open(&f, "tiny-olmoe", NULL);
    *state = &f;
    return 0;
}

static int close_fixture(void **state)
{
    fixture_close(*state);
    return 0;
}

static bool is_open(struct fixture *f)
{
    return strstr(fixture_frame(f, 80, 24), "Esc") != NULL;
}

/* --- Places --- */

static void test_places_are_read_in_all_their_spellings(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text;
        enum find_kind kind;
        size_t layer, expert;
    } cases[] = {
        {"7", FIND_EXPERT, 2, 7},       {"e7", FIND_EXPERT, 2, 7},
        {"E07", FIND_EXPERT, 2, 7},     {"1.7", FIND_EXPERT, 1, 7},
        {"L1 E7", FIND_EXPERT, 1, 7},   {"l1e7", FIND_EXPERT, 1, 7},
        {"L1, E7 ", FIND_EXPERT, 1, 7}, {" L3", FIND_LAYER, 3, 0},
        {"L99", FIND_ABSENT, 2, 0},     {"1.9999", FIND_ABSENT, 1, 9999},
        {"9999", FIND_ABSENT, 2, 9999}, {"L1.7x", FIND_NONE, 2, 0},
        {"Layer", FIND_NONE, 2, 0},     {"1.", FIND_NONE, 2, 0},
        {"-1", FIND_NONE, 2, 0},        {"1.7.3", FIND_NONE, 2, 0},
        {"E", FIND_NONE, 2, 0},         {"99999999999999999999", FIND_NONE, 2, 0},
        {"\"7\"", FIND_NONE, 2, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct find_place p = find_place(f->app->result, 2, cases[i].text);
        if (p.kind != cases[i].kind)
            fail_msg("\"%s\" is of kind %d", cases[i].text, (int)p.kind);
        if (p.kind == FIND_EXPERT || p.kind == FIND_LAYER)
            assert_int_equal(p.layer, cases[i].layer);
        if (p.kind == FIND_EXPERT)
            assert_int_equal(p.expert, cases[i].expert);
        assert_int_equal(p.kind == FIND_ABSENT, p.absent[0] != '\0');
    }
}

/* --- Tokens --- */

/* 0 whole, 1 beginning, 2 anywhere, 3 not; a leading space may be missing. */
static int direct_match(const struct trace *t, uint32_t id, const char *text)
{
    const uint8_t *bytes;
    size_t size;
    char token[512];
    assert_true(trace_token_text(t, id, &bytes, &size) && size < sizeof token);
    memcpy(token, bytes, size);
    token[size] = '\0';
    if (strlen(token) != size)
        return 3; /* a NUL inside: none of the texts below has one */
    const char *bare = token[0] == ' ' ? token + 1 : token;
    if (strcmp(token, text) == 0 || strcmp(bare, text) == 0)
        return 0;
    if (strncmp(token, text, strlen(text)) == 0 || strncmp(bare, text, strlen(text)) == 0)
        return 1;
    return strstr(token, text) ? 2 : 3;
}

static void find(struct find_tokens *out, struct fixture *f, const char *text)
{
    struct err err = {0};
    if (find_tokens(out, &f->trace, f->app->analysis, text, &err) < 0)
        fail_msg("%s", err.message);
}

static void test_tokens_come_whole_then_beginning_then_anywhere_each_by_rank(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {"the", "a", "s", " ", "in", " in", ",", "er"};
    const struct analysis_result *r = f->app->result;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct find_tokens found;
        size_t at = 0, class_end[3];
        find(&found, f, texts[i]);
        for (int how = 0; how < 3; how++) {
            for (size_t rank = 1; rank <= r->types; rank++)
                if (direct_match(&f->trace, r->rank_id[rank - 1], texts[i]) == how) {
                    assert_true(at < found.count);
                    assert_int_equal(found.rank[at++], rank);
                }
            class_end[how] = at;
        }
        assert_int_equal(at, found.count);
        assert_true(found.count > 1 && !found.any_case);
        assert_int_equal(found.whole, class_end[0]);
        assert_int_equal(found.whole + found.beginning, class_end[1]);
        find_tokens_release(&found);
    }
}

static void test_a_text_that_nothing_has_is_looked_for_in_any_case(void **state)
{
    struct fixture *f = *state;
    struct find_tokens upper, lower;
    find(&upper, f, "THE");
    find(&lower, f, "the");
    assert_true(upper.any_case && !lower.any_case);
    assert_true(upper.count >= lower.count);
    assert_int_equal(upper.rank[0], lower.rank[0]);
    find_tokens_release(&upper);
    find(&upper, f, "no such text");
    assert_true(upper.count == 0 && !upper.any_case);
    find_tokens_release(&upper);
    find_tokens_release(&lower);
}

static void test_ids_ranks_quotes_and_escapes_name_tokens(void **state)
{
    struct fixture *f = *state;
    const struct analysis_result *r = f->app->result;
    struct find_tokens found;
    char text[64];
    for (size_t rank = 1; rank <= r->types; rank += 41) {
        snprintf(text, sizeof text, "#%u", (unsigned)r->rank_id[rank - 1]);
        find(&found, f, text);
        assert_true(found.count == 1 && found.rank[0] == rank);
        find_tokens_release(&found);
        snprintf(text, sizeof text, "Rank %zu", rank);
        find(&found, f, text);
        assert_true(found.count == 1 && found.rank[0] == rank);
        find_tokens_release(&found);
    }
    snprintf(text, sizeof text, "rank %zu", r->types + 1);
    find(&found, f, text);
    assert_int_equal(found.count, 0);
    find_tokens_release(&found);
    find(&found, f, "#999999999");
    assert_int_equal(found.count, 0);
    find_tokens_release(&found);
    find(&found, f, "\\n");
    assert_true(found.count > 0);
    const uint8_t *bytes;
    size_t size;
    assert_true(trace_token_text(&f->trace, r->rank_id[found.rank[0] - 1], &bytes, &size));
    assert_non_null(memchr(bytes, '\n', size));
    find_tokens_release(&found);
}

/* --- The pane --- */

static void test_several_tokens_are_a_list_to_choose_from(void **state)
{
    struct fixture *f = *state;
    struct find_tokens found;
    char text[64];
    find(&found, f, "the");
    fixture_type(f, "1/the\n");
    snprintf(text, sizeof text, "%zu tokens with \"the\"", found.count);
    fixture_assert_shows(f, text);
    fixture_key(f, TERM_KEY_DOWN);
    fixture_key(f, TERM_KEY_DOWN);
    fixture_key(f, TERM_KEY_ENTER);
    assert_int_equal(f->app->token_rank, found.rank[2]);
    snprintf(text, sizeof text, ", 3 of %zu ", found.count);
    fixture_assert_shows(f, text);
    fixture_type(f, "n");
    assert_int_equal(f->app->token_rank, found.rank[3]);
    fixture_type(f, "NNNNNNNN");
    assert_int_equal(f->app->token_rank, found.rank[0]);
    fixture_assert_shows(f, "the first of");
    fixture_key(f, TERM_KEY_BACKSPACE);
    fixture_assert_shows(f, "tokens with \"the\"");
    fixture_key(f, TERM_KEY_ESC);
    assert_false(is_open(f));
    fixture_type(f, "n");
    assert_true(is_open(f));
    assert_int_equal(f->app->token_rank, found.rank[1]);
    find_tokens_release(&found);
}

static void test_going_through_the_list_reaches_both_ends_and_no_further(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "1/e\n");
    size_t count = f->app->find.tokens.count;
    assert_true(count > 30);
    fixture_frame(f, 80, 24);
    for (size_t i = 0; i < count + 5; i++)
        fixture_key(f, i % 7 ? TERM_KEY_PAGE_DOWN : TERM_KEY_DOWN);
    assert_int_equal(f->app->token_rank, f->app->find.tokens.rank[count - 1]);
    fixture_key(f, TERM_KEY_HOME);
    fixture_key(f, TERM_KEY_UP);
    assert_int_equal(f->app->token_rank, f->app->find.tokens.rank[0]);
    fixture_key(f, TERM_KEY_END);
    fixture_key(f, TERM_KEY_ENTER);
    fixture_type(f, "n");
    fixture_assert_shows(f, "the last of");
}

static void test_digits_are_an_expert_first_and_tokens_by_n(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "3]]/1\n");
    assert_int_equal(f->app->expert, 1);
    fixture_assert_shows(f, "Expert 1 of layer 2");
    assert_true(f->app->find.tokens.count > 0);
    fixture_type(f, "n");
    assert_int_equal(f->app->token_rank, f->app->find.tokens.rank[0]);
    fixture_assert_shows(f, "Token \"");
    fixture_type(f, "/E1\n");
    assert_int_equal(f->app->find.tokens.count, 0);
}

static void test_the_card_follows_layer_expert_and_pin(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "5/0.3\n");
    fixture_assert_shows(f, "Expert 3 of layer 0");
    fixture_type(f, "]");
    fixture_assert_shows(f, "Expert 3 of layer 1");
    fixture_type(f, ">>");
    fixture_assert_shows(f, "Expert 5 of layer 1");
    fixture_type(f, "<");
    fixture_assert_shows(f, "Expert 4 of layer 1");
    fixture_assert_shows(f, "none; p pins");
    fixture_type(f, "ppp");
    fixture_assert_shows(f, "4, whatever the group");
    fixture_type(f, "[[<<<<<<<<");
    fixture_assert_shows(f, "Expert 0 of layer 0");
}

static void test_escape_enter_and_i_close_a_card_and_leave_its_subject(void **state)
{
    struct fixture *f = *state;
    static const uint32_t keys[] = {TERM_KEY_ESC, TERM_KEY_ENTER, 'i'};
    for (size_t i = 0; i < 3; i++) {
        fixture_type(f, "2/1.4\n");
        assert_true(is_open(f));
        fixture_key(f, keys[i]);
        assert_false(is_open(f));
        assert_int_equal(f->app->expert, 4);
    }
    fixture_type(f, "i");
    fixture_assert_shows(f, "Expert 4 of layer 1");
}

static void test_keys_that_come_before_a_frame_scroll_the_card(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "3/1.4\n");
    fixture_key(f, TERM_KEY_PAGE_DOWN);
    fixture_frame(f, 80, 24);
    size_t first = f->app->find.scroll;
    assert_true(first > 0);
    fixture_key(f, TERM_KEY_PAGE_DOWN);
    assert_true(f->app->find.scroll > first);
    fixture_type(f, "/1.4\n");
    fixture_key(f, TERM_KEY_END);
    fixture_frame(f, 80, 24);
    assert_int_equal(f->app->find.scroll, f->app->find.rows - f->app->find.page);
    fixture_key(f, TERM_KEY_DOWN);
    fixture_assert_shows(f, "the end of the card");
}

static void test_another_screen_is_not_hidden_by_the_card(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "2/1.4\n");
    assert_true(is_open(f));
    fixture_type(f, "3");
    assert_false(is_open(f));
    fixture_type(f, "i");
    fixture_assert_shows_at(f, 160, 50, "Expert 4 of layer 1");
    fixture_type(f, "2"); /* beside the chart it may stay */
    fixture_assert_shows_at(f, 160, 50, "Expert 4 of layer 1");
    assert_false(rect_empty(f->app->map.plot));
}

static void test_a_pane_beside_the_chart_is_a_third_of_the_width(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "3/1.4\n");
    for (int w = 120; w <= 190; w += 10) {
        fixture_frame(f, w, 40);
        assert_false(f->app->find.covers);
        assert_int_equal(f->app->find.rect.w, w / 3);
        assert_true(f->app->map.plot.x + f->app->map.plot.w <= f->app->find.rect.x);
    }
    fixture_frame(f, 80, 24);
    assert_true(f->app->find.covers && rect_empty(f->app->map.plot));
}

/* --- What the cards say --- */

/* Times that the type was routed to the expert, position by position. */
static uint64_t recount(const struct trace *t, size_t layer, size_t expert, uint32_t id)
{
    const uint16_t *routed = trace_routed(t, layer);
    uint64_t n = 0;
    for (size_t i = 0; i < t->positions * t->top_k; i++)
        n += t->ids[i / t->top_k] == id && routed[i] == expert;
    return n;
}

static void test_a_token_card_shows_the_counts_of_a_recount(void **state)
{
    struct fixture *f = *state;
    const struct analysis_result *r = f->app->result;
    char text[64];
    for (size_t rank = 1; rank <= r->types; rank += 97) {
        uint32_t id = r->rank_id[rank - 1];
        snprintf(text, sizeof text, "1/rank %zu\n", rank);
        fixture_type(f, text);
        snprintf(text, sizeof text, "%zu of %zu ", rank, r->types);
        fixture_assert_shows_at(f, 190, 60, text);
        for (size_t l = 0; l < r->layers; l++) {
            uint64_t best = 0, n;
            size_t expert = 0, served = 0;
            for (size_t e = 0; e < r->experts; e++) {
                n = recount(&f->trace, l, e, id);
                served += n > 0;
                expert = n > best ? e : expert;
                best = n > best ? n : best;
            }
            snprintf(text, sizeof text, "L%-3zu%3zu E%zu:%llu", r->layer[l].layer, served, expert,
                     (unsigned long long)best);
            fixture_assert_shows_at(f, 190, 60, text);
        }
    }
}

static void test_an_expert_card_names_group_reason_and_nearest(void **state)
{
    struct fixture *f = *state;
    const struct analysis_layer *l;
    char text[96];
    fixture_type(f, "3/1.4\n");
    fixture_assert_shows(f, "4 computes it");
    f->cosine_phase = APP_COSINE_READY;
    fixture_type(f, "4i");
    size_t n = f->app->result->experts, best = n;
    const double *row = f->cosine + (1 * n + 4) * n;
    for (size_t e = 0; e < n; e++)
        if (e != 4 && (best == n || row[e] > row[best]))
            best = e;
    snprintf(text, sizeof text, "E%zu, %.5f", best, row[best]);
    fixture_assert_shows_at(f, 160, 50, text);
    l = &f->app->result->layer[1];
    fixture_frame(f, 160, 50);
    assert_true(app_set(f->app, "rule", "threshold"));
    snprintf(text, sizeof text, "T = %.5f", l->threshold);
    fixture_assert_shows_at(f, 160, 50, text);
    fixture_assert_shows_at(f, 160, 50, "threshold, the rule set");
    assert_true(app_set(f->app, "rule", "jenks"));
    fixture_assert_shows_at(f, 160, 50, "Jenks, the rule set");
    snprintf(text, sizeof text, "%.5f", l->break_at[0]);
    fixture_assert_shows_at(f, 160, 50, text);
}

static void test_an_expert_card_shows_the_loss_of_the_last_run(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "3/0.2\n");
    fixture_assert_shows_at(f, 160, 50, "Last run");
    fixture_assert_shows_at(f, 160, 50, "0.0375"); /* 0.0125 (2 + 1) */
    fixture_assert_shows_at(f, 160, 50, "0.06");
    fixture_assert_shows_at(f, 160, 50, "Last run: 001");
    size_t l = f->trace.layers - 1;
    f->expert[l * f->trace.experts + 2].done = false;
    char text[32];
    snprintf(text, sizeof text, "/%zu.2\n", l);
    fixture_type(f, text);
    assert_null(strstr(fixture_frame(f, 160, 50), "Last run"));
}

static void test_without_a_run_the_newest_in_the_folder_gives_the_loss(void **state)
{
    struct fixture *f = *state;
    size_t n = f->trace.layers * f->trace.experts;
    struct app_run_expert *kept = calloc(n, sizeof *kept);
    assert_non_null(kept);
    kept[2] = (struct app_run_expert){.done = true, .bits = 3, .tokens = 77, .loss = 0.4375};
    for (size_t i = 0; i < n; i++)
        f->expert[i].done = false;
    fixture_type(f, "3/0.2\n");
    assert_null(strstr(fixture_frame(f, 160, 50), "Last run"));
    f->losses = (struct app_run_losses){"runs/earlier", f->trace.layers, f->trace.experts, kept};
    fixture_assert_shows_at(f, 160, 50, "Last run: earlier");
    fixture_assert_shows_at(f, 160, 50, "0.4375");
    f->losses.layers--; /* of another model */
    assert_null(strstr(fixture_frame(f, 160, 50), "Last run"));
    free(kept);
}

static void test_without_texts_the_search_says_what_works(void **state)
{
    struct fixture *f = *state;
    uint64_t *offsets = f->trace.vocab_offsets;
    f->trace.vocab_offsets = NULL;
    fixture_type(f, "1/the\n");
    fixture_assert_shows(f, "#262 finds one by its id");
    char text[32];
    snprintf(text, sizeof text, "/#%u\n", (unsigned)f->app->result->rank_id[4]);
    fixture_type(f, text);
    assert_int_equal(f->app->token_rank, 5);
    fixture_frame(f, 80, 24);
    f->trace.vocab_offsets = offsets;
}

/* --- Pictures --- */

static void test_cards_look_as_they_were_approved(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name, *keys;
        int w, h;
    } cases[] = {
        {"find-list-80x24", "1/the\n", 80, 24},       {"find-token-80x24", "1/rank 300\n]", 80, 24},
        {"find-token-120x40", "1/the\n\n]", 120, 40}, {"find-expert-80x24", "3/L1 E5\n", 80, 24},
        {"find-expert-160x50", "2/1.5\n", 160, 50},   {"find-expert-40x10", "3/5\n", 40, 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture_restart(f);
        fixture_type(f, cases[i].keys);
        fixture_frame(f, cases[i].w, cases[i].h);
        picture_assert_cells(cases[i].name, &f->cells);
    }
}

#define WITH(open, test) cmocka_unit_test_setup_teardown(test, open, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(open_olmoe, test_places_are_read_in_all_their_spellings),
        WITH(open_olmoe, test_tokens_come_whole_then_beginning_then_anywhere_each_by_rank),
        WITH(open_olmoe, test_a_text_that_nothing_has_is_looked_for_in_any_case),
        WITH(open_olmoe, test_ids_ranks_quotes_and_escapes_name_tokens),
        WITH(open_olmoe, test_several_tokens_are_a_list_to_choose_from),
        WITH(open_olmoe, test_going_through_the_list_reaches_both_ends_and_no_further),
        WITH(open_olmoe, test_digits_are_an_expert_first_and_tokens_by_n),
        WITH(open_olmoe, test_the_card_follows_layer_expert_and_pin),
        WITH(open_olmoe, test_escape_enter_and_i_close_a_card_and_leave_its_subject),
        WITH(open_olmoe, test_keys_that_come_before_a_frame_scroll_the_card),
        WITH(open_olmoe, test_another_screen_is_not_hidden_by_the_card),
        WITH(open_olmoe, test_a_pane_beside_the_chart_is_a_third_of_the_width),
        WITH(open_olmoe, test_a_token_card_shows_the_counts_of_a_recount),
        WITH(open_olmoe, test_an_expert_card_names_group_reason_and_nearest),
        WITH(open_olmoe, test_an_expert_card_shows_the_loss_of_the_last_run),
        WITH(open_olmoe, test_without_a_run_the_newest_in_the_folder_gives_the_loss),
        WITH(open_without_model, test_a_token_card_shows_the_counts_of_a_recount),
        WITH(open_olmoe, test_without_texts_the_search_says_what_works),
        WITH(open_olmoe, test_cards_look_as_they_were_approved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
