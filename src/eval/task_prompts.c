/* From a line of a data set to a context and its choices. */
#include "src/eval/task_prompts.h"

#include <stdlib.h>
#include <string.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/base/str.h"
#include "data/base/unicode.h"

static const struct jsonio_at here = {NULL, ""};

/* Takes the text over. */
static int keep(char **out, struct str *text, struct err *err)
{
    int rc = str_ok(text, err);
    *out = rc == 0 ? text->data : NULL;
    if (rc < 0)
        str_release(text);
    return rc;
}

static int set_context(struct task_item *item, struct err *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int set_context(struct task_item *item, struct err *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vasprintf(&item->context, format, args);
    va_end(args);
    if (length >= 0)
        return 0;
    item->context = NULL;
    return err_set(err, ERR_NOMEM, NULL, "no memory for a prompt");
}

static int open_choices(struct task_item *item, size_t count, struct err *err)
{
    item->choices = mem_array(count, sizeof *item->choices, err);
    item->count = item->choices ? count : 0;
    return item->choices ? 0 : ERR_NOMEM;
}

/* A continuation is one space and the choice. */
static int set_choice(struct task_choice *c, const char *text, struct err *err)
{
    struct str s = {0};
    str_append(&s, " ");
    str_append(&s, text);
    c->characters = unicode_length(text);
    return keep(&c->continuation, &s, err);
}

static int set_choices(struct task_item *item, const char *const *texts, size_t count,
                       struct err *err)
{
    int rc = open_choices(item, count, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = set_choice(&item->choices[i], texts[i], err);
    return rc;
}

static int read_label(struct task_item *item, const json_t *line, size_t labels, struct err *err)
{
    return jsonio_size(&item->right, line, "label", labels - 1, here, err);
}

static int read_strings(const char **out, const json_t *line, const char *const *keys, size_t count,
                        struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = jsonio_string(&out[i], line, keys[i], here, err);
    return rc;
}

/* --- arc --- */

static int arc_choices(struct task_item *item, const json_t *texts, const json_t *labels,
                       const char *key, struct err *err)
{
    size_t count = json_array_size(texts), i;
    json_t *text;
    bool found = false;
    if (count == 0 || json_array_size(labels) != count)
        return err_set(err, ERR_INPUT, NULL, "choices: found %zu texts and %zu labels, expected %s",
                       count, json_array_size(labels), count ? "as many" : "some");
    int rc = open_choices(item, count, err);
    json_array_foreach(texts, i, text)
    {
        const char *label = json_string_value(json_array_get(labels, i));
        if (rc == 0 && (!json_is_string(text) || !label))
            rc = err_set(err, ERR_INPUT, NULL, "choices: entry %zu is no string", i);
        if (rc == 0)
            rc = set_choice(&item->choices[i], json_string_value(text), err);
        if (rc == 0 && !found && strcmp(label, key) == 0) {
            item->right = i;
            found = true;
        }
    }
    if (rc == 0 && !found)
        rc = err_set(err, ERR_INPUT, NULL,
                     "answerKey: found \"%.32s\", expected one of choices.label", key);
    return rc;
}

int task_read_arc(struct task_item *item, const json_t *line, struct err *err)
{
    static const char *const keys[] = {"question", "answerKey"};
    const char *text[2];
    json_t *choices, *texts, *labels;
    int rc = read_strings(text, line, keys, 2, err);
    if (rc == 0)
        rc = jsonio_object(&choices, line, "choices", here, err);
    if (rc == 0)
        rc = jsonio_array(&texts, choices, "text", (struct jsonio_at){NULL, "choices"}, err);
    if (rc == 0)
        rc = jsonio_array(&labels, choices, "label", (struct jsonio_at){NULL, "choices"}, err);
    if (rc == 0)
        rc = set_context(item, err, "Question: %s\nAnswer:", text[0]);
    return rc < 0 ? rc : arc_choices(item, texts, labels, text[1], err);
}

/* --- the others --- */

int task_read_piqa(struct task_item *item, const json_t *line, struct err *err)
{
    static const char *const keys[] = {"goal", "sol1", "sol2"};
    const char *text[3];
    int rc = read_strings(text, line, keys, 3, err);
    if (rc == 0)
        rc = read_label(item, line, 2, err);
    if (rc == 0)
        rc = set_context(item, err, "Question: %s\nAnswer:", text[0]);
    return rc < 0 ? rc : set_choices(item, text + 1, 2, err);
}

int task_read_rte(struct task_item *item, const json_t *line, struct err *err)
{
    static const char *const keys[] = {"sentence1", "sentence2"};
    static const char *const answers[] = {"True", "False"};
    const char *text[2];
    int rc = read_strings(text, line, keys, 2, err);
    if (rc == 0)
        rc = read_label(item, line, 2, err);
    if (rc == 0)
        rc = set_context(item, err, "%s\nQuestion: %s True or False?\nAnswer:", text[0], text[1]);
    return rc < 0 ? rc : set_choices(item, answers, 2, err);
}

int task_read_cb(struct task_item *item, const json_t *line, struct err *err)
{
    static const char *const keys[] = {"premise", "hypothesis"};
    static const char *const answers[] = {"True", "False", "Neither"};
    const char *text[2];
    int rc = read_strings(text, line, keys, 2, err);
    if (rc == 0)
        rc = read_label(item, line, 3, err);
    if (rc == 0)
        rc = set_context(item, err, "%s\nQuestion: %s. True, False, or Neither?\nAnswer:", text[0],
                         text[1]);
    return rc < 0 ? rc : set_choices(item, answers, 3, err);
}

/* The premise without white space around it and without its last character, whatever that is. */
static int copa_context(struct task_item *item, const char *premise, const char *question,
                        struct err *err)
{
    static const struct {
        const char *question, *word;
    } words[] = {{"cause", "because"}, {"effect", "therefore"}};
    size_t size = strlen(premise), i = 0;
    size_t head = unicode_space_head(premise, size);
    size -= head;
    premise += head;
    size -= unicode_space_tail(premise, size);
    size -= unicode_last(premise, size);
    while (i < 2 && strcmp(question, words[i].question) != 0)
        i++;
    if (i == 2)
        return err_set(err, ERR_INPUT, NULL, "question: found \"%.32s\", expected cause or effect",
                       question);
    return set_context(item, err, "%.*s %s", (int)size, premise, words[i].word);
}

int task_read_copa(struct task_item *item, const json_t *line, struct err *err)
{
    static const char *const keys[] = {"premise", "question", "choice1", "choice2"};
    const char *text[4];
    int rc = read_strings(text, line, keys, 4, err);
    if (rc == 0)
        rc = read_label(item, line, 2, err);
    if (rc == 0)
        rc = copa_context(item, text[0], text[1], err);
    if (rc == 0)
        rc = open_choices(item, 2, err);
    for (size_t i = 0; rc == 0 && i < 2; i++) {
        struct str choice = {0};
        str_append(&choice, " ");
        unicode_append_lower_first(&choice, text[2 + i]);
        rc = str_ok(&choice, err);
        if (rc == 0)
            rc = set_choice(&item->choices[i], str_get(&choice), err);
        str_release(&choice);
    }
    return rc;
}

int task_read_pair(struct task_item *item, const json_t *line, struct err *err)
{
    static const char *const keys[] = {"context", "continuation"};
    const char *text[2];
    int rc = read_strings(text, line, keys, 2, err);
    if (rc == 0)
        rc = set_context(item, err, "%s", text[0]);
    if (rc == 0)
        rc = open_choices(item, 1, err);
    if (rc < 0)
        return rc;
    struct str continuation = {0};
    str_append(&continuation, text[1]);
    item->choices[0].characters = unicode_length(text[1]);
    return keep(&item->choices[0].continuation, &continuation, err);
}
