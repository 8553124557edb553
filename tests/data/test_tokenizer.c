#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/base/mem.h"
#include "data/base/str.h"
#include "data/tokenizer.h"

static const struct {
    const char *name, *path;
} tokenizers[] = {
    {"tiny-olmoe", TEST_SAMPLE "/tiny-olmoe/tokenizer.json"},
    {"tiny-qwen2moe", TEST_GOLDEN "/tiny-qwen2moe/model/tokenizer.json"},
    {"gpt-neox-olmo", TEST_GOLDEN "/tokenizers/gpt-neox-olmo.json"},
};

static struct tokenizer *load(const char *path)
{
    struct err err = {0};
    struct tokenizer *t = NULL;
    if (tokenizer_load(&t, path, &err) < 0)
        fail_msg("%s: %s", err.file, err.message);
    return t;
}

static void check_golden(const char *name, const char *path)
{
    json_error_t e;
    json_t *root = json_load_file(TEST_GOLDEN "/tokenizer.json", JSON_ALLOW_NUL, &e);
    json_t *golden = json_object_get(json_object_get(root, "tokenizers"), name);
    json_t *strings = json_object_get(root, "strings"), *value;
    size_t i;
    struct tokenizer *t = load(path);
    assert_int_equal(json_array_size(strings), 509);
    json_array_foreach(strings, i, value)
    {
        struct token_ids ids = {0};
        struct err err = {0};
        char *text;
        size_t size;
        const json_t *expected = json_array_get(json_object_get(golden, "ids"), i);
        const json_t *decoded = json_array_get(json_object_get(golden, "decoded"), i);
        assert_int_equal(
            tokenizer_encode(t, json_string_value(value), json_string_length(value), &ids, &err),
            0);
        if (ids.count != json_array_size(expected))
            fail_msg("%s, string %zu: %zu ids, expected %zu", name, i, ids.count,
                     json_array_size(expected));
        for (size_t k = 0; k < ids.count; k++)
            if (ids.data[k] != json_integer_value(json_array_get(expected, k)))
                fail_msg("%s, string %zu: id %zu differs", name, i, k);
        assert_int_equal(tokenizer_decode(t, ids.data, ids.count, &text, &size, &err), 0);
        assert_int_equal(size, json_string_length(decoded));
        assert_memory_equal(text, json_string_value(decoded), size);
        free(text);
        token_ids_release(&ids);
    }
    tokenizer_free(t);
    json_decref(root);
}

static void test_tokenizer_equals_the_reference_on_all_strings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof tokenizers / sizeof tokenizers[0]; i++)
        check_golden(tokenizers[i].name, tokenizers[i].path);
}

static void test_tokenizer_long_words_equal_their_reference(void **state)
{
    (void)state;
    /* tokenizers 0.23.3: the number of ids and a polynomial hash of them, for one word of 200,000
     * bytes and one of 47 and 49 bytes, on both sides of the change from scan to heap. */
    static const struct {
        size_t size, count;
        uint32_t hash;
    } cases[] = {{47, 33, 947558267}, {49, 34, 3604510098u}, {200000, 129684, 1959386657}};
    struct tokenizer *t = load(tokenizers[0].path);
    char *word = mem_array(200000, 1, NULL);
    uint32_t x = 12345;
    for (size_t i = 0; i < 200000; i++) {
        x = x * 1664525u + 1013904223u;
        word[i] = "etaoinshrdlu"[(x >> 16) % 12];
    }
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct token_ids ids = {0};
        uint32_t hash = 0;
        assert_int_equal(tokenizer_encode(t, word, cases[c].size, &ids, NULL), 0);
        for (size_t i = 0; i < ids.count; i++)
            hash = hash * 31 + ids.data[i];
        assert_int_equal(ids.count, cases[c].count);
        assert_int_equal(hash, cases[c].hash);
        token_ids_release(&ids);
    }
    free(word);
    tokenizer_free(t);
}

static void test_tokenizer_invalid_utf8_becomes_replacement_characters(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"\xe4\xb8", "\xef\xbf\xbd"},
        {"\xe4\xb8(", "\xef\xbf\xbd("},
        {"\xf0\x9f\x98x", "\xef\xbf\xbdx"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf5\x80\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    };
    struct tokenizer *t = load(tokenizers[1].path);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct token_ids ids = {0};
        char *text;
        size_t size;
        assert_int_equal(tokenizer_encode(t, cases[i].in, strlen(cases[i].in), &ids, NULL), 0);
        assert_int_equal(tokenizer_decode(t, ids.data, ids.count, &text, &size, NULL), 0);
        assert_string_equal(text, cases[i].out);
        free(text);
        token_ids_release(&ids);
    }
    tokenizer_free(t);
}

static void test_tokenizer_token_bytes_are_raw(void **state)
{
    (void)state;
    struct tokenizer *t = load(tokenizers[2].path);
    struct token_ids ids = {0};
    const uint8_t *bytes;
    size_t size;
    assert_int_equal(tokenizer_encode(t, " the", 4, &ids, NULL), 0);
    assert_int_equal(ids.count, 1);
    assert_true(tokenizer_token_bytes(t, ids.data[0], &bytes, &size));
    assert_int_equal(size, 4);
    assert_memory_equal(bytes, " the", 4);
    assert_true(tokenizer_token_bytes(t, 50279, &bytes, &size));
    assert_memory_equal(bytes, "<|endoftext|>", 13);
    assert_int_equal(tokenizer_vocab(t), 50280);
    assert_false(tokenizer_token_bytes(t, 50280, &bytes, &size));
    token_ids_release(&ids);
    tokenizer_free(t);
}

/* --- Files of our own: the byte alphabet as vocabulary, and one part replaced. --- */

struct parts {
    const char *vocab_extra, *merges, *model, *normalizer, *pre_tokenizer, *added, *rest;
};

#define BYTES "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"

static char path[] = "/tmp/moqa-tokenizer-XXXXXX";

static void append_alphabet(struct str *s)
{
    unsigned next = 256;
    for (unsigned b = 0; b < 256; b++) {
        bool own = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        str_appendf(s, "%s\"\\u%04x\":%u", b ? "," : "", own ? b : next++, b);
    }
}

static void write_file(const struct parts *p)
{
    struct str s = {0};
    str_append(&s, "{\"added_tokens\":[");
    str_append(&s, p->added ? p->added : "");
    str_appendf(&s, "],\"normalizer\":%s", p->normalizer ? p->normalizer : "null");
    str_appendf(&s, ",\"pre_tokenizer\":%s",
                p->pre_tokenizer ? p->pre_tokenizer
                                 : "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}");
    str_appendf(&s, ",\"model\":{\"type\":\"BPE\"%s,\"vocab\":{", p->model ? p->model : "");
    append_alphabet(&s);
    str_append(&s, p->vocab_extra ? p->vocab_extra : "");
    str_appendf(&s, "},\"merges\":[%s]}%s}", p->merges ? p->merges : "", p->rest ? p->rest : "");
    FILE *f = fopen(path, "w");
    fwrite(s.data, 1, s.length, f);
    fclose(f);
    str_release(&s);
}

static void check_refused(const struct parts *p, enum err_code code, const char *message)
{
    struct tokenizer *t = NULL;
    struct err err = {0};
    write_file(p);
    assert_int_equal(tokenizer_load(&t, path, &err), code);
    assert_string_equal(err.message, message);
    assert_string_equal(err.file, path);
    assert_null(t);
}

static void test_tokenizer_refuses_what_it_does_not_know(void **state)
{
    (void)state;
    static const struct {
        struct parts parts;
        enum err_code code;
        const char *message;
    } cases[] = {
        {{.vocab_extra = ",\"xy\":3"},
         ERR_INPUT,
         "model.vocab: the id of \"xy\" is another token's as well"},
        {{.vocab_extra = ",\"xy\":-1"},
         ERR_INPUT,
         "model.vocab: the id of \"xy\" is no whole number in range"},
        {{.vocab_extra = ",\"xy\":\"3\""},
         ERR_INPUT,
         "model.vocab: the id of \"xy\" is no whole number in range"},
        {{.merges = "\"x y\""}, ERR_INPUT, "model.merges[0]: \"xy\" is not in the vocabulary"},
        {{.merges = "\"x yz\"", .vocab_extra = ",\"xy\":256"},
         ERR_INPUT,
         "model.merges[0]: \"yz\" is not in the vocabulary"},
        {{.merges = "\"x y\",\"xyz\"", .vocab_extra = ",\"xy\":256"},
         ERR_INPUT,
         "model.merges[1]: expected two tokens, as \"a b\" or [\"a\", \"b\"]"},
        {{.merges = "[\"x\"]"},
         ERR_INPUT,
         "model.merges[0]: expected two tokens, as \"a b\" or [\"a\", \"b\"]"},
        {{.model = ",\"dropout\":0.1"}, ERR_UNSUPPORTED, "model.dropout: only null is supported"},
        {{.model = ",\"unk_token\":\"?\""},
         ERR_UNSUPPORTED,
         "model.unk_token: only null is supported"},
        {{.model = ",\"byte_fallback\":true"},
         ERR_UNSUPPORTED,
         "model.byte_fallback: only null is supported"},
        {{.model = ",\"continuing_subword_prefix\":\"##\""},
         ERR_UNSUPPORTED,
         "model.continuing_subword_prefix: only null is supported"},
        {{.normalizer = "{\"type\":\"Lowercase\"}"},
         ERR_UNSUPPORTED,
         "normalizer.type: found \"Lowercase\", expected NFC, NFD, NFKC, NFKD or Sequence"},
        {{.pre_tokenizer = "{\"type\":\"Metaspace\"}"},
         ERR_UNSUPPORTED,
         "pre_tokenizer.type: found \"Metaspace\", expected ByteLevel, Split, Digits or Sequence"},
        {{.pre_tokenizer = "null"},
         ERR_UNSUPPORTED,
         "pre_tokenizer.type: found \"nothing\", expected ByteLevel, Split, Digits or Sequence"},
        {{.pre_tokenizer = "{\"type\":\"Digits\"}"},
         ERR_UNSUPPORTED,
         "pre_tokenizer: has no ByteLevel step"},
        {{.pre_tokenizer =
              "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},\"behavior\":\"Isolated\"}"},
         ERR_UNSUPPORTED,
         "pre_tokenizer: the pattern \"(a\" is not understood: missing closing parenthesis"},
        {{.pre_tokenizer =
              "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Sideways\"}"},
         ERR_UNSUPPORTED,
         "pre_tokenizer.behavior: \"Sideways\" is not known"},
        {{.added = "{\"id\":300}"},
         ERR_INPUT,
         "added_tokens[0].content: found nothing, expected a string"},
        {{.added = "{\"id\":99999999,\"content\":\"x\"}"},
         ERR_INPUT,
         "added_tokens[0].id: found 99999999, expected 0 to 16777216"},
        {{.added = "{\"id\":97,\"content\":\"<x>\"}"},
         ERR_INPUT,
         "added_tokens[0]: the id 97 of \"<x>\" is another token's as well"},
        {{.added = "{\"id\":300,\"content\":\"<x>\"},{\"id\":300,\"content\":\"<y>\"}"},
         ERR_INPUT,
         "added_tokens[1]: the id 300 of \"<y>\" is another token's as well"},
        {{.added = "{\"id\":300,\"content\":\"a\"}"},
         ERR_INPUT,
         "added_tokens[0]: \"a\" has the id 300 here, 97 in model.vocab"},
        {{.added = "{\"id\":300,\"content\":\"<x>\",\"lstrip\":1}"},
         ERR_INPUT,
         "added_tokens[0].lstrip: found an integer, expected true or false"},
        {{.rest = ",\"decoder\":{\"type\":\"WordPiece\"}"},
         ERR_UNSUPPORTED,
         "decoder.type: found \"WordPiece\", expected ByteLevel"},
        {{.rest = ",\"post_processor\":{}"}, ERR_INPUT, "post_processor.type: expected a string"},
        {{.pre_tokenizer =
              "{\"type\":\"Sequence\",\"pretokenizers\":[" BYTES ",{\"type\":\"Digits\"}]}"},
         ERR_UNSUPPORTED,
         "pre_tokenizer: a step after ByteLevel"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_refused(&cases[i].parts, cases[i].code, cases[i].message);
}

static void test_tokenizer_refuses_a_file_that_is_no_tokenizer(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"[]", "not an object at the top"},
        {"{}", "model: found nothing, expected an object"},
        {"{\"model\":{\"type\":\"WordPiece\"}}",
         "model.type: found \"WordPiece\", expected \"BPE\""},
        {"{\"model\":{}}", "model.vocab: found nothing, expected an object"},
        {"{\"model\":{\"vocab\":{}}}", "model.vocab: found no token, expected some"},
        {"{\"model\":{\"vocab\":{\"a\":0}}}", "model.merges: found nothing, expected an array"},
        {"{\"added_tokens\":{},\"model\":{}}", "added_tokens: expected an array"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tokenizer *t = NULL;
        struct err err = {0};
        FILE *f = fopen(path, "w");
        fputs(cases[i].text, f);
        fclose(f);
        assert_true(tokenizer_load(&t, path, &err) < 0);
        assert_string_equal(err.message, cases[i].message);
        assert_null(t);
    }
}

/* Parts of Oniguruma's dialect that PCRE2 would read as something else. */
static void test_tokenizer_refuses_patterns_that_would_mean_something_else(void **state)
{
    (void)state;
    static const struct {
        const char *regex, *part;
    } cases[] = {
        {"a\\\\b", "\\b"}, {"(a)\\\\1", "\\1"}, {"[\\\\W]", "\\W"},    {"(?m:.)", "(?m"},
        {"(?R)", "(?R"},   {"(*FAIL)", "(*"},   {"a(?i)b", "(?i)"},    {"[a[b]]", "[b"},
        {"[a&&b]", "&&"},  {"[]a]", "[]"},      {"a{1,2}+", "{1,2}+"}, {"a{2}?", "{2}?"},
        {"a{,2}", "{,"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct str node = {0}, message = {0};
        char plain[32];
        size_t size = 0;
        for (const char *p = cases[i].regex; *p; p += p[0] == '\\' ? 2 : 1)
            plain[size++] = *p;
        plain[size] = '\0';
        str_appendf(&node,
                    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"%s\"},\"behavior\":\"Isolated\"}",
                    cases[i].regex);
        str_appendf(&message, "pre_tokenizer: the pattern \"%s\" uses %s, which is not supported",
                    plain, cases[i].part);
        check_refused(&(struct parts){.pre_tokenizer = node.data}, ERR_UNSUPPORTED, message.data);
        str_release(&node);
        str_release(&message);
    }
}

/* The pieces of "..." with a token a byte and merges that join whatever stands in one word. */
static void check_words(const struct parts *p, const char *text, const char *expected)
{
    struct token_ids ids = {0};
    struct str found = {0};
    write_file(p);
    struct tokenizer *t = load(path);
    assert_int_equal(tokenizer_encode(t, text, strlen(text), &ids, NULL), 0);
    for (size_t i = 0; i < ids.count; i++) {
        const uint8_t *bytes;
        size_t size;
        assert_true(tokenizer_token_bytes(t, ids.data[i], &bytes, &size));
        str_append(&found, i ? "|" : "");
        str_append_bytes(&found, bytes, size);
    }
    assert_string_equal(str_get(&found), expected);
    str_release(&found);
    token_ids_release(&ids);
    tokenizer_free(t);
}

#define SPLIT(regex, behavior, invert)                                                      \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":" \
    "\"" regex "\"},\"behavior\":\"" behavior "\",\"invert\":" invert                       \
    "},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}"
#define JOIN                                                       \
    .vocab_extra = ",\"a-\":256,\"-a\":257,\"--\":258,\"aa\":259", \
    .merges = "\"a a\",[\"-\",\"-\"],\"a -\",\"- a\""

static void test_tokenizer_split_behaviors(void **state)
{
    (void)state;
    /* checked against tokenizers 0.23.3 */
    check_words(&(struct parts){JOIN, .pre_tokenizer = SPLIT("-", "Isolated", "false")}, "aa--a-",
                "aa|-|-|a|-");
    check_words(&(struct parts){JOIN, .pre_tokenizer = SPLIT("-", "Removed", "false")}, "aa--a-",
                "aa|a");
    check_words(&(struct parts){JOIN, .pre_tokenizer = SPLIT("-", "MergedWithPrevious", "false")},
                "a--a-", "a-|-|a-");
    check_words(&(struct parts){JOIN, .pre_tokenizer = SPLIT("-", "MergedWithNext", "false")},
                "a--a-", "a|-|-a|-");
    check_words(&(struct parts){JOIN, .pre_tokenizer = SPLIT("-", "Contiguous", "false")}, "aa--a-",
                "aa|--|a|-");
    check_words(&(struct parts){JOIN, .pre_tokenizer = SPLIT("a", "Removed", "true")}, "aa--a-",
                "a|a|a");
}

static void test_tokenizer_empty_matches_part_words(void **state)
{
    (void)state;
    check_words(&(struct parts){JOIN, .pre_tokenizer = SPLIT("x*", "Isolated", "false")}, "aa-",
                "a|a|-");
    check_words(&(struct parts){JOIN, .pre_tokenizer = SPLIT("x*", "Contiguous", "false")}, "aa-",
                "a|a|-");
    check_words(&(struct parts){JOIN, .pre_tokenizer = SPLIT("$", "Isolated", "false")}, "aa\naa",
                "aa|\n|aa");
}

static void test_tokenizer_patterns_mean_what_they_do_in_the_reference(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text, *expected;
    } cases[] = {
        {SPLIT("\\\\h+", "Removed", "false"), "-aa-", "-|-"},
        {SPLIT("[\\\\h-]+", "Removed", "false"), "aa- x", " |x"},
        {SPLIT("\\\\v", "Removed", "false"), "a\na", "a|\n|a"},
        {SPLIT("\\\\w+", "Removed", "false"), "a\xcc\x81-\xc2\xbd", "-"},
        {SPLIT("\\\\s", "Removed", "false"), "-\xe3\x80\x80-\x1c", "-|-|\x1c"},
        {SPLIT("\\\\p{L}+", "Removed", "false"), "-\xf0\x93\x91\xa0-", "-|-"},
        {SPLIT("\\\\p{N}+", "Removed", "true"), "a7\xf0\x96\x84\xb0", "7|\xf0|\x96|\x84|\xb0"},
        {SPLIT("\\\\p{Han}", "Removed", "false"), "-\xe4\xba\xba\xe3\x88\xba", "-|\xe3|\x88|\xba"},
        {SPLIT("[^\\\\u0061]", "Removed", "false"), "-aa-", "aa"},
        {SPLIT("a{2}", "Isolated", "false"), "aaa", "aa|a"},
        {SPLIT("(?i)A", "Removed", "false"), "a-", "-"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_words(&(struct parts){JOIN, .pre_tokenizer = cases[i].pattern}, cases[i].text,
                    cases[i].expected);
}

static void test_tokenizer_normalizes_by_unicode_9(void **state)
{
    (void)state;
#define WHOLE "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
    static const struct {
        const char *form, *text, *expected;
    } cases[] = {
        {"NFC", "e\xcc\x81", "\xc3|\xa9"},
        {"NFD", "\xc3\xa9", "e|\xcc|\x81"},
        {"NFKC", "\xef\xac\x81", "f|i"},
        {"NFKD", "\xe2\x84\xab", "A|\xcc|\x8a"},
        {"NFC", "a\xcc\x95\xcc\x96", "a|\xcc|\x96|\xcc|\x95"},
        /* U+0D3B, of Unicode 10, has no class there: the mark stays behind it */
        {"NFC", "a\xcc\xb7\xe0\xb4\xbb\xcc\x81", "a|\xcc|\xb7|\xe0|\xb4|\xbb|\xcc|\x81"},
        /* U+11935 U+11930, of Unicode 13, do not compose there */
        {"NFC", "\xf0\x91\xa4\xb5\xf0\x91\xa4\xb0", "\xf0|\x91|\xa4|\xb5|\xf0|\x91|\xa4|\xb0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char node[64];
        snprintf(node, sizeof node, "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"%s\"}]}",
                 cases[i].form);
        check_words(&(struct parts){.normalizer = node, .pre_tokenizer = BYTES}, cases[i].text,
                    cases[i].expected);
    }
}

static void test_tokenizer_takes_long_runs_in_linear_time(void **state)
{
    (void)state;
    /* Quadratic handling of any of these would take minutes. */
    static const char *const parts[] = {"\xcc\x95\xcc\x96", " ", "etaoin", "\n ", "'"};
    enum { SIZE = 6000000 };
    struct tokenizer *t = load(tokenizers[1].path);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        struct token_ids ids = {0};
        struct err err = {0};
        size_t length = strlen(parts[i]), size = i == 1 ? SIZE : SIZE / 12 / length * length;
        char *text = mem_array(size, 1, NULL), *back;
        for (size_t at = 0; at < size; at += length)
            memcpy(text + at, parts[i], length);
        if (tokenizer_encode(t, text, size, &ids, &err) < 0)
            fail_msg("%zu: %s", i, err.message);
        size_t back_size;
        assert_int_equal(tokenizer_decode(t, ids.data, ids.count, &back, &back_size, NULL), 0);
        assert_int_equal(back_size, size);
        if (i > 0)
            assert_memory_equal(back, text, size);
        free(back);
        free(text);
        token_ids_release(&ids);
    }
    tokenizer_free(t);
}

static void test_tokenizer_empty_text_has_no_ids(void **state)
{
    (void)state;
    struct tokenizer *t = load(tokenizers[0].path);
    struct token_ids ids = {0};
    char *text;
    size_t size;
    assert_int_equal(tokenizer_encode(t, "", 0, &ids, NULL), 0);
    assert_int_equal(ids.count, 0);
    assert_int_equal(tokenizer_decode(t, ids.data, 0, &text, &size, NULL), 0);
    assert_int_equal(size, 0);
    assert_string_equal(text, "");
    free(text);
    tokenizer_free(t);
}

static void test_tokenizer_added_tokens_and_prefix_space(void **state)
{
    (void)state;
    static const char added[] =
        "{\"id\":300,\"content\":\"<x>\",\"special\":true,\"normalized\":false,\"lstrip\":true,"
        "\"rstrip\":true},"
        "{\"id\":301,\"content\":\"<x>y\",\"special\":true,\"normalized\":false},"
        "{\"id\":302,\"content\":\"word\",\"normalized\":true,\"single_word\":true}";
    check_words(&(struct parts){.added = added}, "a <x> b", "a|<x>|b");
    check_words(&(struct parts){.added = added}, "a<x>yb", "a|<x>y|b");
    check_words(&(struct parts){.added = added}, "a word.", "a| |word|.");
    check_words(&(struct parts){.added = added}, "sword", "s|w|o|r|d");
    /* spaces that one token took are not there for the next one */
    static const char spaces[] = "{\"id\":300,\"content\":\"  \",\"lstrip\":true,\"rstrip\":true}";
    check_words(&(struct parts){.added = spaces}, "a      b", "a|  |b");
    static const char lines[] = "{\"id\":300,\"content\":\"\\n\",\"rstrip\":true}";
    check_words(&(struct parts){.added = lines}, "a\n\nb", "a|\n|\n|b");
    check_words(
        &(struct parts){.pre_tokenizer = "{\"type\":\"ByteLevel\",\"add_prefix_space\":true}"},
        "a b", " |a| |b");
    check_words(&(struct parts){.model = ",\"ignore_merges\":true", .vocab_extra = ",\"aba\":256"},
                "aba ab", "aba| |a|b");
}

static void test_tokenizer_exploding_pattern_is_an_error(void **state)
{
    (void)state;
    char text[64];
    struct err err = {0};
    struct token_ids ids = {0};
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = 'b';
    write_file(&(struct parts){.pre_tokenizer = SPLIT("(a|a)+(a|a)+(a|a)+$", "Isolated", "false")});
    struct tokenizer *t = load(path);
    assert_int_equal(tokenizer_encode(t, "-", 1, &ids, NULL), 0);
    assert_int_equal(tokenizer_encode(t, text, sizeof text, &ids, &err), ERR_INPUT);
    assert_int_equal(ids.count, 1); /* as before */
    assert_string_equal(err.message,
                        "pre_tokenizer: a pattern failed on this text: match limit exceeded");
    token_ids_release(&ids);
    tokenizer_free(t);
}

static int make_path(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokenizer_equals_the_reference_on_all_strings),
        cmocka_unit_test(test_tokenizer_long_words_equal_their_reference),
        cmocka_unit_test(test_tokenizer_invalid_utf8_becomes_replacement_characters),
        cmocka_unit_test(test_tokenizer_token_bytes_are_raw),
        cmocka_unit_test(test_tokenizer_refuses_what_it_does_not_know),
        cmocka_unit_test(test_tokenizer_refuses_a_file_that_is_no_tokenizer),
        cmocka_unit_test(test_tokenizer_refuses_patterns_that_would_mean_something_else),
        cmocka_unit_test(test_tokenizer_split_behaviors),
        cmocka_unit_test(test_tokenizer_empty_matches_part_words),
        cmocka_unit_test(test_tokenizer_patterns_mean_what_they_do_in_the_reference),
        cmocka_unit_test(test_tokenizer_normalizes_by_unicode_9),
        cmocka_unit_test(test_tokenizer_takes_long_runs_in_linear_time),
        cmocka_unit_test(test_tokenizer_empty_text_has_no_ids),
        cmocka_unit_test(test_tokenizer_added_tokens_and_prefix_space),
        cmocka_unit_test(test_tokenizer_exploding_pattern_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
