/* Text properties against Python 3.11's str (isspace, len, lower). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "data/base/unicode.h"

static void test_unicode_space_is_what_python_strips(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t head, tail;
    } cases[] = {
        {"", 0, 0},
        {"word", 0, 0},
        {" \t\n\r\x0b\x0c", 6, 6},
        {"\x1c\x1d\x1e\x1f"
         "a"
         "\x1f",
         4, 1},
        {"\xc2\x85x\xc2\xa0", 2, 2},                     /* U+0085, U+00A0 */
        {"\xe1\x9a\x80x\xe2\x80\x80\xe2\x80\x8a", 3, 6}, /* U+1680, U+2000, U+200A */
        {"x\xe2\x80\x8b", 0, 0},                         /* U+200B is none */
        {"\xe2\x80\xa8\xe2\x80\xa9x\xe2\x80\xaf\xe2\x81\x9f\xe3\x80\x80", 6, 9},
        {"x \xe1\xa0\x8e", 0, 0}, /* U+180E is none */
        {"caf\xc3\xa9 ", 0, 1},
        {"\xa0x\x85", 0, 0}, /* invalid bytes are none */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size = strlen(cases[i].text);
        assert_int_equal(unicode_space_head(cases[i].text, size), cases[i].head);
        assert_int_equal(unicode_space_tail(cases[i].text, size), cases[i].tail);
    }
}

static void test_unicode_length_counts_code_points_not_bytes(void **state)
{
    (void)state;
    assert_int_equal(unicode_length(""), 0);
    assert_int_equal(unicode_length("abc"), 3);
    assert_int_equal(unicode_length("caf\xc3\xa9"), 4);
    assert_int_equal(unicode_length("cafe\xcc\x81"), 5); /* not composed */
    assert_int_equal(unicode_length("\xf0\x9f\x98\x80\xe6\xbc\xa2"), 2);
    assert_int_equal(unicode_length("a\xff\xfe"), 3);
}

static void test_unicode_first_and_last_take_whole_code_points(void **state)
{
    (void)state;
    assert_int_equal(unicode_first("", 0), 0);
    assert_int_equal(unicode_last("", 0), 0);
    assert_int_equal(unicode_first("\xf0\x9f\x98\x80x", 5), 4);
    assert_int_equal(unicode_last("x\xf0\x9f\x98\x80", 5), 4);
    assert_int_equal(unicode_last("x\xc3\xa9", 3), 2);
    assert_int_equal(unicode_last("x.", 2), 1);
    assert_int_equal(unicode_last("x\x80\x80\x80\x80\x80", 6), 1);
    assert_int_equal(unicode_first("\xc3", 1), 1);
}

static void test_unicode_lower_first_changes_one_code_point(void **state)
{
    (void)state;
    static const struct {
        const char *text, *lower;
    } cases[] = {
        {"", ""},
        {"It BROKE.", "it BROKE."},
        {"\xc3\x89tude", "\xc3\xa9tude"},         /* É */
        {"\xce\xa3 UM", "\xcf\x83 UM"},           /* Σ */
        {"\xc4\xb0x", "i\xcc\x87x"},              /* İ: two code points */
        {"\xe1\xba\x9e", "\xc3\x9f"},             /* ẞ */
        {"\xf0\x90\x90\x80", "\xf0\x90\x90\xa8"}, /* Deseret */
        {"9 Lives", "9 Lives"},
        {"\xffQ", "\xffQ"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str out = {0};
        unicode_append_lower_first(&out, cases[i].text);
        assert_string_equal(str_get(&out), cases[i].lower);
        str_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unicode_space_is_what_python_strips),
        cmocka_unit_test(test_unicode_length_counts_code_points_not_bytes),
        cmocka_unit_test(test_unicode_first_and_last_take_whole_code_points),
        cmocka_unit_test(test_unicode_lower_first_changes_one_code_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
