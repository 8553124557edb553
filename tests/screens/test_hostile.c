/*
 * The workbench on names and tokens that try to break the screen, and under random use for long.
 * MOQA_SOAK=1 runs all 100,000 events and 2,000 sizes, else a tenth of them.
 */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include <cmocka.h>

#include "hostile.h"
#include "ui/app/app_state.h"
#include "ui/cells/term.h"

#ifdef __SANITIZE_ADDRESS__
/* Of the compiler's runtime; its header is not always installed. */
size_t __sanitizer_get_current_allocated_bytes(void);
#endif

static const int sizes[][2] = {{40, 10}, {80, 24}, {120, 40}, {200, 60}, {57, 19}};

/* A glyph of exactly the columns that its cells take, and nothing that a terminal acts on. */
static void check_cell(const struct cells *c, int x, int y, const char *what)
{
    const char *glyph = cells_at(c, x, y)->glyph;
    utf8proc_int32_t code;
    if (!glyph[0]) { /* the right half of a wide one */
        if (x == 0 || cells_width(cells_at(c, x - 1, y)->glyph) != 2)
            fail_msg("%s: cell %d,%d is empty", what, x, y);
        return;
    }
    size_t size = strlen(glyph);
    if (utf8proc_iterate((const utf8proc_uint8_t *)glyph, (utf8proc_ssize_t)size, &code) !=
        (utf8proc_ssize_t)size)
        fail_msg("%s: cell %d,%d holds %zu bytes that are not one character", what, x, y, size);
    int columns = utf8proc_charwidth(code);
    if (code < ' ' || (code >= 0x7f && code < 0xa0) || columns < 1 ||
        utf8proc_category(code) == UTF8PROC_CATEGORY_CF)
        fail_msg("%s: cell %d,%d holds U+%04X", what, x, y, (unsigned)code);
    if (columns == 2 && (x + 1 >= c->w || cells_at(c, x + 1, y)->glyph[0]))
        fail_msg("%s: the wide character in cell %d,%d stands out of its two cells", what, x, y);
}

static void check_frame(const struct cells *c, const char *what)
{
    for (int y = 0; y < c->h; y++)
        for (int x = 0; x < c->w; x++)
            check_cell(c, x, y, what);
}

/* Where lines that part panes stand with plain names, they stand with bad ones. */
static void check_borders(const struct cells *plain, const struct cells *bad, const char *what)
{
    for (int y = 0; y < plain->h; y++)
        for (int x = 0; x < plain->w; x++) {
            const struct cell *p = cells_at(plain, x, y), *b = cells_at(bad, x, y);
            if (p->style.fg == STYLE_BORDER && strcmp(p->glyph, "\xe2\x94\x82") == 0 &&
                strcmp(p->glyph, b->glyph) != 0)
                fail_msg("%s: the line at %d,%d is broken by \"%s\"", what, x, y, b->glyph);
        }
}

static void press(struct app *a, const char *keys)
{
    for (; *keys; keys++) {
        struct term_event e = {.key = *keys == '\n'            ? TERM_KEY_ENTER
                                      : *keys == 'v' - 'a' + 1 ? TERM_KEY_DOWN
                                                               : (uint32_t)*keys};
        assert_true(app_event(a, &e));
        app_write_finish(a);
    }
}

static void draw(struct app *a, struct cells *c, int w, int h)
{
    struct err err = {0};
    assert_int_equal(cells_resize(c, w, h, &err), 0);
    app_tick(a);
    app_draw(a, c);
}

static void test_bad_names_leave_every_screen_in_its_columns(void **state)
{
    /* \x16 is Down. */
    static const char *const walks[] = {"1",
                                        "1\x16\x16\x16\x16\x16\x16",
                                        "1/desre\n\x1b",
                                        "2>>",
                                        "3v",
                                        "3]]/plain\n\x1b",
                                        "4a",
                                        "4v",
                                        "5Ap>>pB",
                                        "y",
                                        "6v",
                                        "6",
                                        "7",
                                        "7\x16\x16v",
                                        "7v",
                                        "w",
                                        "?",
                                        "/\x16z",
                                        "1/#1\n",
                                        "1/rank 3\n",
                                        "3i",
                                        "7i]>"};
    struct hostile plain, bad;
    struct cells p = {0}, b = {0};
    (void)state;
    hostile_open(&plain, false);
    hostile_open(&bad, true);
    assert_int_equal(cells_init(&p, 80, 24, NULL) | cells_init(&b, 80, 24, NULL), 0);
    for (int phase = APP_RUN_IDLE; phase <= APP_RUN_FAILED; phase++)
        for (size_t i = 0; i < sizeof walks / sizeof *walks; i++) {
            plain.run.phase = bad.run.phase = (enum app_run_phase)phase;
            struct app *pa = hostile_app(&plain), *ba = hostile_app(&bad);
            press(pa, walks[i]);
            press(ba, walks[i]);
            for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
                char what[64];
                snprintf(what, sizeof what, "walk %zu, phase %d, %dx%d", i, phase, sizes[k][0],
                         sizes[k][1]);
                draw(pa, &p, sizes[k][0], sizes[k][1]);
                draw(ba, &b, sizes[k][0], sizes[k][1]);
                check_frame(&p, what);
                check_frame(&b, what);
                if (walks[i][0] != '?' && walks[i][0] != 'y') /* windows over the lines */
                    check_borders(&p, &b, what);
            }
            app_free(pa);
            app_free(ba);
        }
    cells_release(&p);
    cells_release(&b);
    hostile_close(&plain);
    hostile_close(&bad);
}

static void test_bad_names_are_shown_in_a_readable_form(void **state)
{
    static const char *const shown[] = {"\\x1B[2J", "\\u{202E}desrever", "\\xFF\\xFE"};
    struct hostile bad;
    struct cells c = {0};
    struct str all = {0};
    (void)state;
    hostile_open(&bad, true);
    assert_int_equal(cells_init(&c, 80, 24, NULL), 0);
    struct app *a = hostile_app(&bad);
    for (const char *view = "17"; *view; view++)
        for (int down = 0; down < 12; down++) {
            press(a, down ? "\x16" : (char[]){*view, '\0'});
            draw(a, &c, 200, 60);
            cells_plain(&c, &all);
        }
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        assert_non_null(strstr(str_get(&all), shown[i]));
    assert_null(strpbrk(str_get(&all), "\033\a\t\r"));
    app_free(a);
    str_release(&all);
    cells_release(&c);
    hostile_close(&bad);
}

/* --- For long --- */

static size_t heap_bytes(void)
{
#ifdef __SANITIZE_ADDRESS__
    return __sanitizer_get_current_allocated_bytes();
#else
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
#endif
}

static struct term_event random_event(uint64_t *seed, int w, int h)
{
    double kind = hostile_random(seed), x = hostile_random(seed), y = hostile_random(seed);
    if (kind < 0.2)
        return (struct term_event){.key = TERM_KEY_MOUSE,
                                   .mouse = (enum term_mouse)(4 * hostile_random(seed)),
                                   .button = 1,
                                   .wheel = x < 0.5 ? -1 : 1,
                                   .x = (int)(x * (w + 6)) - 3,
                                   .y = (int)(y * (h + 6)) - 3};
    if (kind < 0.55)
        return (struct term_event){.key = TERM_KEY_FIRST +
                                          (uint32_t)(x * (TERM_KEY_UNKNOWN - TERM_KEY_FIRST + 1))};
    if (kind < 0.62)
        return (struct term_event){
            .key = (const uint32_t[]){TERM_KEY_TAB, TERM_KEY_ENTER, TERM_KEY_ESC, TERM_KEY_CTRL_C,
                                      TERM_KEY_BACKSPACE, TERM_KEY_CTRL_L}[(int)(6 * x)]};
    if (kind < 0.64)
        return (struct term_event){.key = 0xa0 + (uint32_t)(x * 0x10ff00)};
    return (struct term_event){.key = 32 + (uint32_t)(x * 95)};
}

static void random_state(struct hostile *h, uint64_t *seed)
{
    h->cosine_phase = (enum app_cosine_phase)(4 * hostile_random(seed));
    h->run.phase = (enum app_run_phase)(6 * hostile_random(seed));
    h->measuring.phase = (enum app_losses_phase)(6 * hostile_random(seed));
    h->has_losses = h->has_losses || hostile_random(seed) < 0.5; /* a host never forgets them */
}

static void test_random_use_for_long_breaks_nothing_and_keeps_no_memory(void **state)
{
    const char *wanted = getenv("MOQA_SOAK");
    size_t events = wanted && *wanted ? 100000 : 10000, sizes_every = 50, early = 0;
    uint64_t seed = 0x9e3779b97f4a7c15u;
    struct hostile h;
    struct cells c = {0};
    int w = 80, rows = 24;
    (void)state;
    hostile_open(&h, true);
    assert_int_equal(cells_init(&c, w, rows, NULL), 0);
    struct app *a = hostile_app(&h);
    for (size_t i = 0; i < events; i++) {
        if (i % sizes_every == 0) {
            w = 1 + (int)(hostile_random(&seed) * 240);
            rows = 1 + (int)(hostile_random(&seed) * 80);
            random_state(&h, &seed);
        }
        struct term_event e = random_event(&seed, w, rows);
        if (e.key != TERM_KEY_QUIT && !app_event(a, &e)) {
            app_free(a);
            a = hostile_app(&h);
        }
        if (i % 5 == 0) {
            draw(a, &c, w, rows);
            check_frame(&c, "random use");
        }
        if (i == events / 10)
            early = heap_bytes();
    }
    size_t late = heap_bytes();
    print_message("heap: %zu bytes after %zu events, %zu after %zu\n", early, events / 10, late,
                  events);
    if (late > early + (1 << 20))
        fail_msg("the heap grew from %zu to %zu bytes", early, late);
    app_free(a);
    cells_release(&c);
    hostile_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_names_leave_every_screen_in_its_columns),
        cmocka_unit_test(test_bad_names_are_shown_in_a_readable_form),
        cmocka_unit_test(test_random_use_for_long_breaks_nothing_and_keeps_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
