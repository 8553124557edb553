#include "src/cli/cli.h"

#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/base/str.h"
#include "data/base/xdg.h"

enum {
    KEY_OPTION = 0x1000,  /* + index in spec->options, for those without a letter */
    KEY_SETTING = 0x2000, /* + index in the table of settings */
    KEY_BEST = 0x3000,    /* --best-rounding */
    OPTIONS_MAX = 96,
    CONFIG_LIMIT = 1 << 20
};

struct parse {
    const struct cli_spec *spec;
    char *values;
    struct settings *settings;
    struct err *err;
    size_t arguments;           /* positional ones seen */
    struct cli_list *open_list; /* that takes the next plain argument */
};

/* All that the command line named, in its order: single layers' values are lost in a table. */
static struct named {
    size_t index;
    const char *text;
} * named;
static size_t named_count, named_capacity;

static int list_add(struct cli_list *list, const char *item, struct err *err)
{
    int rc =
        mem_grow((void **)&list->items, &list->capacity, list->count + 1, sizeof *list->items, err);
    if (rc == 0)
        list->items[list->count++] = item;
    return rc;
}

void cli_list_release(struct cli_list *list)
{
    free(list->items);
    *list = (struct cli_list){0};
}

static int parse_count(size_t *out, const char *name, const char *text, struct err *err)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end || errno || number > SIZE_MAX)
        return err_set(err, ERR_USAGE, NULL, "--%s: found \"%s\", expected a whole number", name,
                       text);
    *out = (size_t)number;
    return 0;
}

static int parse_real(double *out, const char *name, const char *text, struct err *err)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end || !(number > -1e300 && number < 1e300))
        return err_set(err, ERR_USAGE, NULL, "--%s: found \"%s\", expected a number", name, text);
    *out = number;
    return 0;
}

static int set_option(struct parse *p, const struct cli_option *option, const char *text)
{
    char *field = p->values + option->offset;
    struct cli_count *count = (struct cli_count *)field;
    struct cli_real *real = (struct cli_real *)field;
    switch (option->type) {
    case CLI_FLAG:
        *(bool *)field = true;
        return 0;
    case CLI_TEXT:
        *(const char **)field = text;
        return 0;
    case CLI_LIST:
        p->open_list = (struct cli_list *)field;
        return list_add(p->open_list, text, p->err);
    case CLI_COUNT:
        count->given = true;
        return parse_count(&count->value, option->name, text, p->err);
    case CLI_REAL:
        real->given = true;
        return parse_real(&real->value, option->name, text, p->err);
    case CLI_END:
        break;
    }
    return 0;
}

static int add_argument(struct parse *p, const char *text)
{
    if (p->open_list)
        return list_add(p->open_list, text, p->err);
    const struct cli_option *argument = p->spec->arguments;
    for (size_t i = 0; argument[i].type != CLI_END; i++)
        if (i == p->arguments) {
            p->arguments++;
            *(const char **)(p->values + argument[i].offset) = text;
            return 0;
        }
    return err_set(p->err, ERR_USAGE, NULL, "unexpected argument \"%s\"", text);
}

static int check_required(struct parse *p)
{
    const struct cli_option *argument = p->spec->arguments;
    for (size_t i = 0; argument[i].type != CLI_END; i++)
        if (i >= p->arguments && argument[i].required)
            return err_set(p->err, ERR_USAGE, NULL, "%s is missing; see moqa %s --help",
                           argument[i].name, p->spec->command);
    for (const struct cli_option *o = p->spec->options; o->type != CLI_END; o++) {
        const char *field = p->values + o->offset;
        bool there = o->type == CLI_TEXT   ? *(const char *const *)field != NULL
                     : o->type == CLI_LIST ? ((const struct cli_list *)field)->count > 0
                                           : true;
        if (o->required && !there)
            return err_set(p->err, ERR_USAGE, NULL, "--%s %s is missing; see moqa %s --help",
                           o->name, o->value, p->spec->command);
    }
    return 0;
}

static int set_setting(struct parse *p, size_t index, const char *text)
{
    int rc = mem_grow((void **)&named, &named_capacity, named_count + 1, sizeof *named, p->err);
    if (rc < 0)
        return rc;
    named[named_count++] = (struct named){index, text};
    return settings_set(p->settings, settings_info(index)->name, text, p->err);
}

int cli_settings_over(struct settings *s, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < named_count; i++)
        rc = settings_set(s, settings_info(named[i].index)->name, named[i].text, err);
    return rc == 0 ? settings_check(s, err) : rc;
}

/* Settings given after it change what it sets. */
static int set_best_rounding(struct parse *p)
{
    int rc = 0;
    for (const struct setting_value *v = settings_best_rounding; rc == 0 && v->name; v++)
        for (size_t i = 0; rc == 0 && i < settings_count(); i++)
            if (strcmp(settings_info(i)->name, v->name) == 0)
                rc = set_setting(p, i, v->value);
    return rc;
}

static const struct cli_option *find_option(const struct cli_spec *spec, int key)
{
    if (key >= KEY_OPTION)
        return &spec->options[key - KEY_OPTION];
    for (const struct cli_option *o = spec->options; o->type != CLI_END; o++)
        if (o->key && o->key == key)
            return o;
    return NULL;
}

static error_t parse_key(int key, char *text, struct argp_state *state)
{
    struct parse *p = state->input;
    int rc;
    if (key == ARGP_KEY_ARG)
        rc = add_argument(p, text);
    else if (key == ARGP_KEY_END)
        rc = check_required(p);
    else if (key >= KEY_SETTING && key < KEY_SETTING + (int)settings_count()) {
        p->open_list = NULL;
        rc = set_setting(p, (size_t)(key - KEY_SETTING), text);
    } else if (key == KEY_BEST) {
        p->open_list = NULL;
        rc = set_best_rounding(p);
    } else {
        const struct cli_option *option =
            key > 0 && key < KEY_SETTING ? find_option(p->spec, key) : NULL;
        if (!option)
            return ARGP_ERR_UNKNOWN;
        p->open_list = NULL;
        rc = set_option(p, option, text);
    }
    return rc < 0 ? EINVAL : 0;
}

const char *cli_setting_flag(char out[CLI_FLAG_MAX], const char *name)
{
    size_t i = 0;
    for (; name[i] && i + 1 < CLI_FLAG_MAX; i++)
        out[i] = name[i] == '_' ? '-' : name[i];
    out[i] = '\0';
    return out;
}

/* argp's table: the command's own options, then the settings. */
static void build_options(struct argp_option *out, char names[][CLI_FLAG_MAX],
                          const struct cli_spec *spec)
{
    size_t used = 0;
    for (size_t i = 0; spec->options[i].type != CLI_END; i++) {
        const struct cli_option *o = &spec->options[i];
        out[used++] = (struct argp_option){
            .name = o->name,
            .key = o->key ? o->key : KEY_OPTION + (int)i,
            .arg = o->value,
            .doc = o->help,
        };
    }
    if (!spec->settings)
        return;
    out[used++] = (struct argp_option){.doc = "Settings of the method:", .group = 1};
    out[used++] = (struct argp_option){
        .name = CLI_BEST_ROUNDING, .key = KEY_BEST, .doc = CLI_BEST_ROUNDING_HELP, .group = 1};
    for (size_t i = 0; i < settings_count() && used + 1 < OPTIONS_MAX; i++) {
        const struct setting_info *info = settings_info(i);
        out[used++] = (struct argp_option){
            .name = cli_setting_flag(names[i], info->name),
            .key = KEY_SETTING + (int)i,
            .arg = "VALUE",
            .doc = info->help,
            .group = 1,
        };
    }
}

static int settings_from_file(struct settings *s, const char *path, struct err *err)
{
    if (access(path, F_OK) < 0)
        return 0;
    json_t *object = NULL;
    int rc = jsonio_load(&object, path, CONFIG_LIMIT, err);
    if (rc == 0)
        rc = settings_merge_json(s, object, path, err);
    json_decref(object);
    return rc;
}

static int settings_from_user(struct settings *s, struct err *err)
{
    struct str path = {0};
    xdg_folder(&path, XDG_CONFIG);
    if (path.length)
        str_append(&path, "/config.json");
    int rc = str_ok(&path, err);
    if (rc == 0 && path.length)
        rc = settings_from_file(s, path.data, err);
    str_release(&path);
    return rc;
}

static int settings_from_environment(struct settings *s, struct err *err)
{
    for (size_t i = 0; i < settings_count(); i++) {
        char name[CLI_FLAG_MAX + 8] = "MOQA_";
        const char *text = settings_info(i)->name;
        size_t used = strlen(name);
        for (; *text && used + 1 < sizeof name; text++)
            name[used++] = (char)toupper((unsigned char)*text);
        name[used] = '\0';
        struct err inner = {0};
        const char *value = getenv(name);
        if (value && settings_set(s, settings_info(i)->name, value, &inner) < 0)
            return err_set(err, ERR_USAGE, NULL, "environment variable %s: %s", name,
                           inner.message);
    }
    return 0;
}

int cli_bare_settings(struct settings *s, struct err *err)
{
    settings_defaults(s);
    int rc = settings_from_user(s, err);
    if (rc == 0)
        rc = settings_from_file(s, "moqa.json", err);
    if (rc == 0)
        rc = settings_from_environment(s, err);
    return rc;
}

int cli_parse(const struct cli_spec *spec, int argc, char **argv, void *values,
              struct settings *settings, struct err *err)
{
    struct argp_option options[OPTIONS_MAX] = {{0}};
    char names[64][CLI_FLAG_MAX], usage[128] = "", program[64];
    struct str doc = {0};
    struct parse p = {spec, values, settings, err, 0, NULL};
    if (spec->settings && cli_bare_settings(settings, err) < 0)
        return err ? (int)err->code : ERR_USAGE;
    build_options(options, names, spec);
    for (const struct cli_option *a = spec->arguments; a->type != CLI_END; a++) {
        size_t used = strlen(usage);
        snprintf(usage + used, sizeof usage - used, a->required ? "%s%s" : "%s[%s]",
                 used ? " " : "", a->name);
    }
    str_appendf(&doc, "%s\vExamples:\n%s", spec->summary, spec->examples);
    if (str_ok(&doc, err) < 0) {
        str_release(&doc);
        return ERR_NOMEM;
    }
    struct argp argp = {options, parse_key, usage, doc.data, NULL, NULL, NULL};
    snprintf(program, sizeof program, "moqa %s", spec->command);
    argv[0] = program;
    argp_err_exit_status = 2;
    error_t failed = argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &p);
    argv[0] = (char *)(uintptr_t)spec->command;
    str_release(&doc);
    if (failed)
        return err && err->code ? (int)err->code
                                : err_set(err, ERR_USAGE, NULL, "the arguments are wrong");
    return spec->settings ? settings_check(settings, err) : 0;
}

int cli_threads(size_t *out, const struct cli_count *flag, struct err *err)
{
    const char *text = getenv("MOQA_THREADS");
    *out = 0;
    if (flag->given)
        *out = flag->value;
    else if (text && parse_count(out, "MOQA_THREADS", text, err) < 0)
        return ERR_USAGE;
    if (*out > 1024)
        return err_set(err, ERR_USAGE, NULL, "threads: found %zu, expected 0 to 1024", *out);
    return 0;
}

int cli_print(const char *text, struct err *err)
{
    bool failed = fputs(text, stdout) == EOF || fflush(stdout) == EOF;
    if (failed && errno == EPIPE) { /* `| head` has seen enough: end as other tools do */
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    if (failed)
        return err_set_errno(err, ERR_IO, "standard output", "cannot write");
    return 0;
}
