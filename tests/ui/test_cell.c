#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "picture.h"
#include "ui/cells/cell.h"
#include "ui/cells/table.h"
#include "ui/figure/cells_svg.h"

static const struct style_look dark = {STYLE_DARK, STYLE_DEPTH_256, STYLE_BRAILLE};
static const struct style_look mono = {STYLE_MONO, STYLE_DEPTH_NONE, STYLE_ASCII};

static void make(struct cells *c, int w, int h)
{
    struct err err = {0};
    if (cells_init(c, w, h, &err) < 0)
        fail_msg("%s", err.message);
}

static void assert_plain(const struct cells *c, const char *expected)
{
    struct str text = {0};
    cells_plain(c, &text);
    assert_string_equal(str_get(&text), expected);
    str_release(&text);
}

/* Every wide character has both of its halves, and no half stands alone. */
static void assert_whole(const struct cells *c)
{
    for (int y = 0; y < c->h; y++)
        for (int x = 0; x < c->w; x++) {
            const struct cell *cell = cells_at(c, x, y), *next = cells_at(c, x + 1, y);
            if (cell->glyph[0] == '\0') {
                assert_true(x > 0);
                assert_int_equal(cells_width(cells_at(c, x - 1, y)->glyph), 2);
            } else if (cells_width(cell->glyph) == 2) {
                assert_non_null(next);
                assert_true(next->glyph[0] == '\0');
            }
        }
}

static void test_wide_character_is_never_cut_in_half(void **state)
{
    (void)state;
    struct cells c;
    make(&c, 6, 2);
    assert_int_equal(cells_text(&c, 0, 0, 5, "数据库", STYLE(STYLE_DEFAULT)), 4);
    assert_int_equal(cells_text(&c, 3, 1, -1, "a数据", STYLE(STYLE_DEFAULT)), 5);
    assert_whole(&c);
    assert_plain(&c, "数据\n   a数\n");
    cells_put(&c, 1, 0, "x", STYLE(STYLE_DEFAULT)); /* the right half of the first */
    cells_put(&c, 2, 0, "y", STYLE(STYLE_DEFAULT)); /* the left half of the second */
    assert_whole(&c);
    assert_plain(&c, " xy\n   a数\n");
    cells_release(&c);
}

static void test_wide_characters_stay_whole_under_random_drawing(void **state)
{
    (void)state;
    static const char *const glyph[] = {"a", "数", "🙂", "─", "é"};
    uint64_t seed = 7;
    struct cells c;
    make(&c, 23, 5);
    for (int i = 0; i < 5000; i++) {
        c.clip = (struct rect){(int)(picture_random(&seed) * 10) - 2, 0,
                               (int)(picture_random(&seed) * 25), 5};
        cells_put(&c, (int)(picture_random(&seed) * 27) - 2, (int)(picture_random(&seed) * 7) - 1,
                  glyph[(size_t)(picture_random(&seed) * 5)], STYLE(STYLE_DEFAULT));
    }
    assert_whole(&c);
    cells_release(&c);
}

static void test_nothing_is_drawn_outside_the_clip(void **state)
{
    (void)state;
    struct cells c;
    make(&c, 8, 3);
    c.clip = (struct rect){2, 1, 3, 1};
    cells_fill(&c, (struct rect){-5, -5, 50, 50}, "#", STYLE(STYLE_DEFAULT));
    assert_plain(&c, "\n  ###\n\n");
    cells_text(&c, 0, 1, -1, "abcdefgh", STYLE(STYLE_DEFAULT));
    assert_plain(&c, "\n  cde\n\n");
    cells_release(&c);
}

static void test_text_from_files_cannot_control_the_terminal(void **state)
{
    (void)state;
    struct cells c;
    struct str text = {0};
    make(&c, 60, 1);
    cells_text(&c, 0, 0, -1, "\033[31mred\a\n\u202eevil\x80", STYLE(STYLE_DEFAULT));
    cells_plain(&c, &text);
    for (const char *p = str_get(&text); *p && p[1]; p++)
        assert_true((unsigned char)*p >= ' ' && (unsigned char)*p < 0x80);
    assert_non_null(strstr(str_get(&text), "\\x1B[31mred\\a\\n\\u{202E}evil\\x80"));
    cells_put(&c, 0, 0, "\033", STYLE(STYLE_DEFAULT));
    assert_string_equal(cells_at(&c, 0, 0)->glyph, "?");
    str_release(&text);
    cells_release(&c);
}

static void test_label_is_cut_with_an_ellipsis(void **state)
{
    (void)state;
    struct cells c;
    make(&c, 10, 3);
    cells_label(&c, (struct rect){0, 0, 6, 1}, CELLS_LEFT, "significance", &dark,
                STYLE(STYLE_DEFAULT));
    cells_label(&c, (struct rect){0, 1, 10, 1}, CELLS_RIGHT, "0.25", &dark, STYLE(STYLE_DEFAULT));
    cells_label(&c, (struct rect){0, 2, 9, 1}, CELLS_CENTRE, "mid", &mono, STYLE(STYLE_DEFAULT));
    assert_plain(&c, "signi…\n      0.25\n   mid\n");
    cells_release(&c);
}

static void test_paragraph_breaks_at_spaces(void **state)
{
    (void)state;
    struct cells c;
    make(&c, 12, 5);
    int rows = cells_paragraph(&c, cells_area(&c), "R rises with rank:\nrare averylongwordindeed",
                               STYLE(STYLE_DEFAULT));
    assert_int_equal(rows, 5);
    assert_plain(&c, "R rises with\nrank:\nrare\naverylongwor\ndindeed\n");
    cells_release(&c);
}

static void test_box_keeps_its_title_in_the_edge(void **state)
{
    (void)state;
    struct cells c;
    make(&c, 16, 3);
    struct rect inside = cells_box(&c, cells_area(&c), "Mapping of everything", &dark,
                                   STYLE(STYLE_BORDER), STYLE(STYLE_TITLE));
    assert_plain(&c, "┌─ Mapping o… ─┐\n│              │\n└──────────────┘\n");
    assert_int_equal(inside.w, 14);
    assert_int_equal(inside.h, 1);
    cells_release(&c);
}

static void test_sgr_ends_every_row_reset_and_holds_the_palette_entry(void **state)
{
    (void)state;
    struct cells c;
    struct str text = {0};
    make(&c, 5, 2);
    cells_text(&c, 0, 0, -1, "hi", (struct style){.fg = STYLE_INDEX + 214, .attr = STYLE_BOLD});
    cells_put(&c, 4, 1, " ", (struct style){.bg = STYLE_INDEX + 3});
    cells_sgr(&c, &dark, &text);
    assert_string_equal(str_get(&text), "\033[0;1;38;5;214mhi\033[0m\n    \033[0;43m \033[0m\n");
    str_clear(&text);
    cells_sgr(&c, &mono, &text);
    assert_string_equal(str_get(&text), "\033[0;1mhi\033[0m\n    \033[0;7m \033[0m\n");
    str_release(&text);
    cells_release(&c);
}

static void test_no_colour_is_sent_beyond_the_depth(void **state)
{
    (void)state;
    const int16_t limit[] = {[STYLE_DEPTH_NONE] = 0,
                             [STYLE_DEPTH_8] = 8,
                             [STYLE_DEPTH_16] = 16,
                             [STYLE_DEPTH_256] = 256};
    for (int theme = 0; theme < STYLE_THEMES; theme++)
        for (int depth = 0; depth <= STYLE_DEPTH_256; depth++)
            for (int colour = 0; colour < STYLE_INDEX; colour++) {
                struct style_look look = {(enum style_theme)theme, (enum style_depth)depth, 0};
                struct style s = {.fg = (uint16_t)colour, .bg = (uint16_t)colour};
                struct style_final f = style_resolve(&look, s);
                int16_t most = theme == STYLE_MONO ? 0 : limit[depth];
                assert_true(f.fg < most || f.fg == -1);
                assert_true(f.bg < most || f.bg == -1);
            }
}

static void test_ramp_is_twelve_unbroken_steps(void **state)
{
    (void)state;
    assert_int_equal(style_ramp(0), STYLE_RAMP);
    assert_int_equal(style_ramp(1), STYLE_RAMP + 255);
    assert_int_equal(style_ramp(-3), STYLE_RAMP);
    assert_int_equal(style_ramp(99), STYLE_RAMP + 255);
    int changes = 0;
    for (int i = 1; i < 256; i++) {
        struct style_final a = style_resolve(&dark, STYLE(STYLE_RAMP + i - 1));
        struct style_final b = style_resolve(&dark, STYLE(STYLE_RAMP + i));
        changes += a.fg != b.fg;
    }
    assert_int_equal(changes, 11); /* twelve steps, each an unbroken stretch */
}

static void test_table_drops_its_least_important_column_first(void **state)
{
    (void)state;
    static const struct table_column column[] = {
        {"name", true, 9, 0}, {"bits", false, 5, 0}, {"A*", false, 1, 0}};
    static const char text[6][TABLE_TEXT] = {"moqa", "3.1", "0.512", "gptq-2", "2.25", "12.5"};
    struct table t = {.column = column, .columns = 3, .rows = 2, .text = text};
    struct cells c;
    make(&c, 20, 4);
    table_draw(&c, cells_area(&c), &mono, &t);
    assert_plain(&c, "name    bits     A*\n-------------------\nmoqa     3.1  0.512\n"
                     "gptq-2  2.25   12.5\n");
    cells_clear(&c);
    table_draw(&c, (struct rect){0, 0, 13, 4}, &mono, &t);
    assert_plain(&c, "name    bits\n------------\nmoqa     3.1\ngptq-2  2.25\n");
    cells_release(&c);
}

static void test_a_name_is_cut_for_what_is_more_important(void **state)
{
    (void)state;
    static const struct table_column column[] = {
        {"name", true, 4, 7}, {"bits", false, 5, 0}, {"A*", false, 1, 0}};
    static const char text[6][TABLE_TEXT] = {"first-layers", "3.1",  "0.512",
                                             "gptq-2",       "2.25", "12.5"};
    struct table t = {.column = column, .columns = 3, .rows = 2, .text = text};
    struct cells c;
    make(&c, 20, 4);
    table_draw(&c, cells_area(&c), &mono, &t); /* A* goes before a name is cut */
    assert_plain(&c, "name          bits\n------------------\nfirst-layers   3.1\n"
                     "gptq-2        2.25\n");
    cells_clear(&c);
    table_draw(&c, (struct rect){0, 0, 14, 4}, &mono, &t);
    assert_plain(&c, "name      bits\n--------------\nfirs~yers  3.1\ngptq-2    2.25\n");
    cells_clear(&c);
    table_draw(&c, (struct rect){0, 0, 8, 4}, &mono, &t); /* it stays, whatever else goes */
    assert_plain(&c, "name\n--------\nfirs~ers\ngptq-2\n");
    cells_release(&c);
}

static void test_equal_compares_glyphs_and_styles(void **state)
{
    (void)state;
    struct cells a, b;
    make(&a, 4, 2);
    make(&b, 4, 2);
    assert_true(cells_equal(&a, &b));
    cells_put(&a, 1, 1, "x", STYLE(STYLE_DEFAULT));
    assert_false(cells_equal(&a, &b));
    cells_put(&b, 1, 1, "x", STYLE(STYLE_DEFAULT));
    assert_true(cells_equal(&a, &b));
    cells_highlight(&b, (struct rect){1, 1, 1, 1}, STYLE_SELECT);
    assert_false(cells_equal(&a, &b));
    cells_release(&a);
    cells_release(&b);
}

/* Browsers make one space of several and stretch what is left over the whole length. */
static void test_pictures_have_no_letters_with_two_spaces_between(void **state)
{
    (void)state;
    struct cells c;
    struct str svg = {0};
    make(&c, 20, 1);
    cells_text(&c, 0, 0, -1, "ab cd   ef  \xe6\x95\xb0 g", STYLE(STYLE_DEFAULT));
    assert_int_equal(cells_svg(&svg, &c, &dark, NULL, NULL), 0);
    assert_null(strstr(svg.data, "  "));
    assert_non_null(strstr(svg.data, "<text x=\"8\" y=\"22\" textLength=\"40\" "));
    assert_non_null(strstr(svg.data, ">ab cd</text>"));
    assert_non_null(strstr(svg.data, "<text x=\"72\" y=\"22\" textLength=\"16\" "));
    assert_non_null(strstr(svg.data, ">ef</text>"));
    assert_non_null(strstr(svg.data, "<text x=\"104\" y=\"22\" textLength=\"32\" "));
    assert_non_null(strstr(svg.data, ">\xe6\x95\xb0 g</text>"));
    str_release(&svg);
    cells_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wide_character_is_never_cut_in_half),
        cmocka_unit_test(test_wide_characters_stay_whole_under_random_drawing),
        cmocka_unit_test(test_nothing_is_drawn_outside_the_clip),
        cmocka_unit_test(test_text_from_files_cannot_control_the_terminal),
        cmocka_unit_test(test_label_is_cut_with_an_ellipsis),
        cmocka_unit_test(test_paragraph_breaks_at_spaces),
        cmocka_unit_test(test_box_keeps_its_title_in_the_edge),
        cmocka_unit_test(test_sgr_ends_every_row_reset_and_holds_the_palette_entry),
        cmocka_unit_test(test_no_colour_is_sent_beyond_the_depth),
        cmocka_unit_test(test_ramp_is_twelve_unbroken_steps),
        cmocka_unit_test(test_table_drops_its_least_important_column_first),
        cmocka_unit_test(test_a_name_is_cut_for_what_is_more_important),
        cmocka_unit_test(test_equal_compares_glyphs_and_styles),
        cmocka_unit_test(test_pictures_have_no_letters_with_two_spaces_between),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
