/* Strings of any bytes in JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/base/jsonio.h"

static const struct {
    const char *bytes, *text;
} pairs[] = {
    {"", ""},
    {"plain/name.txt", "plain/name.txt"},
    {"gr\u00fc\u00dfe \u65e5\U0001f600", "gr\u00fc\u00dfe \u65e5\U0001f600"},
    {"caf\xe9.txt", "caf\\xE9.txt"},
    {"\xff\xfe", "\\xFF\\xFE"},
    {"cut \xe6\x97", "cut \\xE6\\x97"},
    {"a\\b\\n\\", "a\\b\\n\\"},
    {"\\x41 \\xzz \\x", "\\x5Cx41 \\x5Cxzz \\x5Cx"},
    {"\xed\xa0\x80", "\\xED\\xA0\\x80"}, /* a surrogate */
    {"line\nfeed\x01", "line\nfeed\x01"},
};

static void test_any_bytes_become_a_string_and_come_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char back[64], small[2];
        json_t *value = jsonio_bytes(pairs[i].bytes), *object = json_object();
        struct jsonio_at at = {"file.json", ""};
        struct err err = {0};
        assert_non_null(value);
        assert_string_equal(json_string_value(value), pairs[i].text);
        json_object_set_new(object, "name", value);
        assert_int_equal(jsonio_text(back, sizeof back, object, "name", at, &err), 0);
        assert_string_equal(back, pairs[i].bytes);
        if (strlen(pairs[i].bytes) >= sizeof small) {
            assert_int_equal(jsonio_text(small, sizeof small, object, "name", at, &err), ERR_INPUT);
            assert_string_equal(err.message, "name: longer than 1 bytes");
        }
        json_decref(object);
    }
}

static void test_what_is_no_escape_stays(void **state)
{
    (void)state;
    static const char *const same[] = {"\\x",   "\\x4", "\\x4g", "\\xe9",
                                       "\\x00", "x41",  "\\",    "\\\\"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        char text[16];
        strcpy(text, same[i]);
        jsonio_unescape(text);
        assert_string_equal(text, same[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_bytes_become_a_string_and_come_back),
        cmocka_unit_test(test_what_is_no_escape_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
