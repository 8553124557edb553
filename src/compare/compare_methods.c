#include "src/compare/compare_methods.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/str.h"
#include "src/cli/cli.h"
#include "src/quant/measure.h"

enum { WORD_MAX = 512, NAME_MAX_LENGTH = 32 };

static const struct {
    const char *name, *words;
} groups[] = {
    {"gptq", "gptq-2 gptq-3 gptq-4 gptq-8"},
    {"rtn", "rtn-2 rtn-3 rtn-4 rtn-8"},
    {"heuristics", "first-layers frequent outlier importance"},
    {"standard", "fp16 rtn gptq gptq:best-rounding moeptq-r heuristics moqa budget "
                 "budget:best-rounding"},
    {"all", "standard moqa-options"},
};
enum { GROUPS = sizeof groups / sizeof groups[0] };
static const char options_word[] = "moqa-options", best_word[] = CLI_BEST_ROUNDING;

/* Numbers have no "other" value: those that moqa-options tries. Choices and switches are tried
 * whatever the table of settings has. */
static const struct {
    const char *name, *value;
} numbers[] = {
    {"alpha", "0"},
    {"alpha", "0.6"},
    {"min_count", "3"},
    {"threshold_sigmas", "-0.5"},
    {"classes", "3"},
    {"beta_ch", "0"},
    {"threshold_sigmas", "0.5"},
    {"beta_ch", "0.1"},
    {"damping", "0.05"},
    {"shrink", "0"},
    {"refine", "3"},
    {"bits_channel", "4"},
    {"bits_shared", "4"},
};

/* A word taken apart. */
struct word {
    const char *text;
    char name[NAME_MAX_LENGTH];
    double bits;
    char settings[WORD_MAX]; /* "" or "a=1,b=2" */
};

/* --- Words --- */

static int refuse_name(const struct word *w, struct err *err)
{
    struct str known = {0};
    for (const char *const *name = planner_methods(); *name; name++)
        str_appendf(&known, "%s, ", *name);
    for (size_t i = 0; i < GROUPS; i++)
        str_appendf(&known, "%s, ", groups[i].name);
    str_append(&known, options_word);
    int rc = err_set(err, ERR_USAGE, NULL,
                     "--methods: found \"%.100s\": no method is called \"%s\"; known: %s", w->text,
                     w->name, str_get(&known));
    str_release(&known);
    return rc;
}

static int split_word(struct word *w, const char *text, struct err *err)
{
    const char *colon = strchr(text, ':'), *at = strchr(text, '@');
    at = at && colon && at > colon ? NULL : at;
    const char *end = at ? at : colon ? colon : text + strlen(text);
    size_t length = (size_t)(end - text);
    *w = (struct word){.text = text};
    if (length == 0 || length >= sizeof w->name || strlen(text) >= WORD_MAX)
        return err_set(err, ERR_USAGE, NULL,
                       "--methods: found \"%.100s\", expected METHOD[@BITS][:NAME=VALUE,...]",
                       text);
    memcpy(w->name, text, length);
    if (at) {
        char *rest;
        w->bits = strtod(at + 1, &rest);
        if (rest == at + 1 || (*rest && *rest != ':') || !(w->bits > 0 && w->bits <= 16))
            return err_set(err, ERR_USAGE, NULL,
                           "--methods: found \"%.100s\", expected bits from 2 to 16 after the @",
                           text);
    }
    if (colon)
        snprintf(w->settings, sizeof w->settings, "%s", colon + 1);
    return 0;
}

/* --- Settings of a word --- */

/* True where the word for settings_best_rounding stands, up to a comma or the end. */
static bool is_best(const char *at)
{
    size_t length = sizeof best_word - 1;
    return strncmp(at, best_word, length) == 0 && (at[length] == ',' || at[length] == '\0');
}

/* The end of "NAME=VALUE" at `at`: the comma before the next such piece, or the text's end. */
static const char *assignment_end(const char *at)
{
    for (const char *comma = strchr(at, ','); comma; comma = strchr(comma + 1, ','))
        if (comma[1 + strcspn(comma + 1, "=,")] == '=' || is_best(comma + 1))
            return comma;
    return at + strlen(at);
}

static int append_piece(struct str *label, const char *piece, struct err *err)
{
    str_appendf(label, "%s%s", strchr(str_get(label), ':') ? "," : ":", piece);
    return str_ok(label, err);
}

static int assign_best(struct compare_method *m, struct str *label, struct err *err)
{
    int rc = 0;
    for (const struct setting_value *v = settings_best_rounding; rc == 0 && v->name; v++)
        rc = settings_set(&m->settings, v->name, v->value, err);
    return rc == 0 ? append_piece(label, best_word, err) : rc;
}

static int set_power(double *out, const char *name, const char *value, struct err *err)
{
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end || !(fabs(number) <= 100))
        return err_set(err, ERR_USAGE, NULL, "%s: found \"%s\", expected a number", name, value);
    *out = number;
    return 0;
}

static int set_grain(struct budget_options *o, const char *value, struct err *err)
{
    return budget_grain_find(&o->grain, value)
               ? 0
               : err_set(err, ERR_USAGE, NULL,
                         "grain: found \"%s\", expected linear, expert or channel", value);
}

/* A setting, or an option of budget plans. canonical: as the label has it. */
static int assign(struct compare_method *m, const char *name, const char *value, struct str *label,
                  struct err *err)
{
    const struct setting_info *info = settings_find(name);
    char canonical[64], piece[WORD_MAX + 64];
    int rc;
    bool budget = strcmp(m->info->name, "budget") == 0;
    if (budget && strcmp(name, "grain") == 0)
        rc = set_grain(&m->budget, value, err);
    else if (budget && strcmp(name, "sensitivity") == 0)
        rc = set_power(&m->budget.sensitivity, name, value, err);
    else if (budget && strcmp(name, "significance") == 0)
        rc = set_power(&m->budget.significance, name, value, err);
    else if (budget && strcmp(name, "channels") == 0)
        rc = losses_parse_shares(m->shares, &m->shares_count, name, value, err);
    else if (info && info->stage == STAGE_CALIBRATION)
        rc = err_set(err, ERR_USAGE, NULL,
                     "%s: the calibration is the same for all methods; give it as --%s", info->name,
                     info->name);
    else
        rc = settings_set(&m->settings, name, value, err);
    if (rc < 0)
        return rc;
    if (info && !strchr(value, ':')) {
        settings_get(&m->settings, info, canonical, sizeof canonical);
        value = canonical;
    }
    snprintf(piece, sizeof piece, "%s=%s", info ? info->name : name, value);
    return append_piece(label, piece, err);
}

static int assign_all(struct compare_method *m, const struct word *w, struct str *label,
                      struct err *err)
{
    int rc = 0;
    const char *at = w->settings;
    while (rc == 0 && *at) {
        char name[NAME_MAX_LENGTH], value[WORD_MAX];
        const char *end = assignment_end(at), *equals = memchr(at, '=', (size_t)(end - at));
        struct err inner = {0};
        if (is_best(at)) {
            rc = assign_best(m, label, err);
            at = *end ? end + 1 : end;
            continue;
        }
        if (!equals || equals == at || (size_t)(equals - at) >= sizeof name)
            return err_set(err, ERR_USAGE, NULL,
                           "--methods: found \"%.100s\", expected NAME=VALUE behind the colon",
                           w->text);
        snprintf(name, sizeof name, "%.*s", (int)(equals - at), at);
        snprintf(value, sizeof value, "%.*s", (int)(end - equals - 1), equals + 1);
        rc = assign(m, name, value, label, &inner);
        if (rc < 0)
            return err_set(err, ERR_USAGE, NULL, "--methods: %.100s: %s", w->text, inner.message);
        at = *end ? end + 1 : end;
    }
    return rc;
}

/* --- The list --- */

static bool is_there(const struct compare_methods *m, const struct compare_method *x)
{
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->item[i].label, x->label) == 0 && m->item[i].bits == x->bits)
            return true;
    return false;
}

static int append(struct compare_methods *m, const struct compare_method *x, struct err *err)
{
    if (is_there(m, x))
        return 0;
    int rc = mem_grow((void **)&m->item, &m->capacity, m->count + 1, sizeof *m->item, err);
    if (rc == 0)
        m->item[m->count++] = *x;
    return rc;
}

/* gptq-3 and gptq-4 with the same settings are one family. */
static void name_family(struct compare_method *x, const char *label)
{
    const char *name = x->info->name, *dash = strrchr(name, '-');
    bool width = dash && dash[1] >= '2' && dash[1] <= '8' && dash[2] == '\0';
    size_t length = width ? (size_t)(dash - name) : strlen(name);
    snprintf(x->family, sizeof x->family, "%.*s%s", (int)length, name, label + strlen(name));
}

/* One method. change: one more setting, which moqa-options tries; or NULL. */
static int add_one(struct compare_methods *m, const struct word *w, const char *name,
                   const char *const change[2], const struct settings *base, struct err *err)
{
    struct compare_method x = {
        .info = planner_method_find(name), .bits = w->bits, .settings = *base, .optional = change};
    struct str label = {0};
    budget_defaults(&x.budget);
    if (w->bits > 0 && !x.info->average)
        return err_set(err, ERR_USAGE, NULL,
                       "--methods: found \"%.100s\": %s has bits of its own, expected no @",
                       w->text, name);
    str_append(&label, name);
    int rc = assign_all(&x, w, &label, err);
    if (rc == 0 && change)
        rc = assign(&x, change[0], change[1], &label, err);
    if (x.budget.grain == BUDGET_CHANNELS && x.shares_count == 0) {
        x.shares_count = MEASURE_SHARES;
        memcpy(x.shares, measure_shares, sizeof measure_shares);
    }
    if (rc == 0 && label.length >= sizeof x.label)
        rc = err_set(err, ERR_USAGE, NULL, "--methods: found \"%.100s\", which is too long",
                     w->text);
    if (rc == 0) {
        snprintf(x.label, sizeof x.label, "%s", str_get(&label));
        if (change)
            snprintf(x.family, sizeof x.family, "moqa, changed");
        else
            name_family(&x, x.label);
        rc = append(m, &x, err);
    }
    str_release(&label);
    return rc;
}

/* True where a label sets it: "moqa:beta_ch=0". */
static bool is_set_by(const char *label, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = strpbrk(label, ":,"); at; at = strpbrk(at + 1, ":,"))
        if (strncmp(at + 1, name, length) == 0 && at[1 + length] == '=')
            return true;
    return false;
}

/* Nothing where it is so already, or the word itself says how it shall be. */
static int add_changed(struct compare_methods *m, const struct word *w,
                       const struct setting_info *info, const char *value,
                       const struct settings *base, struct err *err)
{
    char now[64];
    struct compare_method x = {.info = planner_method_find("moqa"), .settings = *base};
    struct str label = {0};
    str_append(&label, x.info->name);
    int rc = assign_all(&x, w, &label, err);
    bool said = is_set_by(str_get(&label), info->name);
    str_release(&label);
    if (rc < 0)
        return rc;
    settings_get(&x.settings, info, now, sizeof now);
    return said || strcmp(now, value) == 0
               ? 0
               : add_one(m, w, "moqa", (const char *const[2]){info->name, value}, base, err);
}

/* Every choice that is not taken, every switch the other way, and some numbers. */
static int add_options(struct compare_methods *m, const struct word *w, const struct settings *base,
                       struct err *err)
{
    static const char *const states[] = {"off", "on", NULL};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < settings_count(); i++) {
        const struct setting_info *info = settings_info(i);
        const char *const *value = info->kind == SETTING_SWITCH ? states : info->choices;
        if (info->stage == STAGE_CALIBRATION || !value)
            continue;
        for (; rc == 0 && *value; value++)
            rc = add_changed(m, w, info, *value, base, err);
    }
    for (size_t i = 0; rc == 0 && i < sizeof numbers / sizeof numbers[0]; i++)
        rc = add_changed(m, w, settings_find(numbers[i].name), numbers[i].value, base, err);
    return rc;
}

static int add_word(struct compare_methods *m, const struct word *w, const struct settings *base,
                    struct err *err);

/* The settings of a group's word, then those of the word that names the group. */
static int join_settings(struct word *part, const struct word *group, struct err *err)
{
    size_t used = strlen(part->settings), more = strlen(group->settings);
    bool comma = used && more;
    if (used + comma + more >= sizeof part->settings)
        return err_set(err, ERR_USAGE, NULL, "--methods: found \"%.100s\", which is too long",
                       group->text);
    if (comma)
        part->settings[used++] = ',';
    memcpy(part->settings + used, group->settings, more + 1);
    part->text = group->text;
    part->bits = group->bits;
    return 0;
}

static int add_group(struct compare_methods *m, const struct word *w, const char *words,
                     const struct settings *base, struct err *err)
{
    int rc = 0;
    while (rc == 0 && *words) {
        char text[WORD_MAX];
        struct word part;
        size_t length = strcspn(words, " ");
        snprintf(text, sizeof text, "%.*s", (int)length, words);
        rc = split_word(&part, text, err);
        if (rc == 0)
            rc = join_settings(&part, w, err);
        if (rc == 0)
            rc = add_word(m, &part, base, err);
        words += length + (words[length] == ' ');
    }
    return rc;
}

static int add_word(struct compare_methods *m, const struct word *w, const struct settings *base,
                    struct err *err)
{
    for (size_t i = 0; i < GROUPS; i++)
        if (strcmp(w->name, groups[i].name) == 0)
            return add_group(m, w, groups[i].words, base, err);
    if (strcmp(w->name, options_word) == 0)
        return add_options(m, w, base, err);
    return planner_method_find(w->name) ? add_one(m, w, w->name, NULL, base, err)
                                        : refuse_name(w, err);
}

int compare_methods_add(struct compare_methods *m, const char *const *words, size_t count,
                        const struct settings *base, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct word w;
        rc = split_word(&w, words[i], err);
        if (rc == 0)
            rc = add_word(m, &w, base, err);
    }
    return rc;
}

void compare_methods_release(struct compare_methods *m)
{
    free(m->item);
    *m = (struct compare_methods){0};
}

int compare_parse_bits(double **out, size_t *count, const char *text, struct err *err)
{
    size_t capacity = 0;
    int rc = 0;
    *out = NULL;
    *count = 0;
    for (const char *at = text; rc == 0 && *at;) {
        char *end;
        double bits = strtod(at, &end);
        if (end == at || (*end && *end != ',') || (*end && !end[1]) || !(bits > 0 && bits <= 16))
            rc = err_set(err, ERR_USAGE, NULL,
                         "--bits: found \"%s\", expected averages up to 16 such as 2.25,2.5,3",
                         text);
        if (rc == 0)
            rc = mem_grow((void **)out, &capacity, *count + 1, sizeof **out, err);
        if (rc == 0)
            (*out)[(*count)++] = bits;
        at = *end ? end + 1 : end;
    }
    if (rc < 0) {
        free(*out);
        *out = NULL;
        *count = 0;
    }
    return rc;
}
