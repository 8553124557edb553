#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/base/jsonio.h"
#include "data/base/xdg.h"
#include "ui/app/app_result.h"
#include "ui/app/app_state.h"

/*
 * What `s` keeps: settings, pins, snapshots, screen, selection and looks, under the trace's hash in
 * the XDG state folder. It is the user's own state: a file that does not fit is passed over with a
 * message.
 */

enum { SESSION_VERSION = 1, SESSION_LIMIT = 16 << 20 };

static void session_path(struct str *out, const struct app *a)
{
    xdg_folder(out, XDG_STATE);
    if (out->length)
        str_appendf(out, "/session-%.16s.json", a->options->trace_sha256);
}

/* What is looked at, and how: a place in the app with the largest value it may have. Fields that a
 * file does not have keep their defaults. */
enum field_kind { FIELD_BOOL, FIELD_INT, FIELD_SIZE };

static const struct field {
    const char *name;
    enum field_kind kind;
    size_t offset, most;
} fields[] = {
    {"zoom", FIELD_INT, offsetof(struct app, zoom), APP_ZOOM_MAX},
    {"expanded", FIELD_BOOL, offsetof(struct app, expanded), 1},
    {"linear_axis", FIELD_BOOL, offsetof(struct app, linear_axis), 1},
    {"all_experts", FIELD_BOOL, offsetof(struct app, all_experts), 1},
    {"file_bits", FIELD_BOOL, offsetof(struct app, file_bits), 1},
    {"mouse", FIELD_BOOL, offsetof(struct app, mouse), 1},
    {"token_rank", FIELD_SIZE, offsetof(struct app, token_rank), SIZE_MAX / 2},
    {"result_sort", FIELD_SIZE, offsetof(struct app, result_sort), RESULT_SORTS - 1},
    {"result_reverse", FIELD_BOOL, offsetof(struct app, result_reverse), 1},
};
enum { FIELDS = sizeof fields / sizeof *fields };

static size_t field_get(const struct app *a, const struct field *f)
{
    const char *at = (const char *)a + f->offset;
    return f->kind == FIELD_BOOL  ? *(const bool *)at
           : f->kind == FIELD_INT ? (size_t) * (const int *)at
                                  : *(const size_t *)at;
}

static void field_set(struct app *a, const struct field *f, size_t value)
{
    char *at = (char *)a + f->offset;
    if (f->kind == FIELD_BOOL)
        *(bool *)at = value != 0;
    else if (f->kind == FIELD_INT)
        *(int *)at = (int)value;
    else
        *(size_t *)at = value;
}

/* --- Writing --- */

static json_t *pins_to_json(const struct app_document *d, const struct app *a)
{
    json_t *pins = json_object();
    size_t n = a->options->trace->experts;
    for (size_t i = 0; i < a->options->trace->layers * n; i++) {
        char key[48];
        if (!d->pins[i])
            continue;
        snprintf(key, sizeof key, "%zu.%zu", i / n, i % n);
        json_object_set_new(pins, key, json_integer(d->pins[i]));
    }
    return pins;
}

static json_t *budget_to_json(const struct app_budget *b)
{
    return json_pack("{s:b, s:i, s:f, s:I, s:i}", "on", b->on, "unit", b->unit, "bits", b->bits,
                     "bytes", (json_int_t)b->bytes, "grain", b->grain);
}

/* Settings, budget and pins as members of `object`. */
static int add_document(json_t *object, const struct app_document *d, const struct app *a,
                        struct err *err)
{
    json_t *settings = NULL;
    int rc = settings_to_json(&settings, &d->settings, err);
    if (rc == 0 && d->budget.chosen &&
        json_object_set_new(object, "budget", budget_to_json(&d->budget)) < 0)
        rc = err_set(err, ERR_NOMEM, NULL, "no memory for the session");
    if (rc == 0 && (json_object_set_new(object, "settings", settings) < 0 ||
                    json_object_set_new(object, "pins", pins_to_json(d, a)) < 0))
        rc = err_set(err, ERR_NOMEM, NULL, "no memory for the session");
    return rc;
}

static json_t *looks_to_json(const struct app *a)
{
    json_t *looks = json_object(), *sliders = json_array(), *others = json_array();
    /* What the terminal forces is no choice of the user's. */
    if (a->given_look.theme != STYLE_MONO)
        json_object_set_new(looks, "theme", json_string(style_theme_name(a->look.theme)));
    if (a->given_look.glyphs != STYLE_ASCII)
        json_object_set_new(looks, "glyphs", json_string(style_glyphs_name(a->look.glyphs)));
    for (size_t i = 0; i < FIELDS; i++)
        json_object_set_new(looks, fields[i].name,
                            json_integer((json_int_t)field_get(a, &fields[i])));
    for (size_t i = 0; i < APP_VIEWS; i++) {
        json_array_append_new(sliders, json_integer((json_int_t)a->slider[i]));
        json_array_append_new(others, json_boolean(a->other_chart[i]));
    }
    json_object_set_new(looks, "sliders", sliders);
    json_object_set_new(looks, "other_charts", others);
    return looks;
}

static const char *const snapshot_names[] = {"A", "B"};

static int add_snapshots(json_t *root, const struct app *a, struct err *err)
{
    json_t *snapshots = json_object();
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < 2; i++) {
        if (!a->snapshot[i].taken && !a->snapshot[i].waits)
            continue;
        json_t *one = json_object();
        rc = add_document(one, &a->snapshot[i].document, a, err);
        json_object_set_new(snapshots, snapshot_names[i], one);
    }
    json_object_set_new(root, "snapshots", snapshots);
    return rc;
}

static int to_json(json_t **out, const struct app *a, struct err *err)
{
    *out = json_pack("{s:s, s:i, s:i, s:i, s:i, s:o}", "schema", "moqa.session", "schema_version",
                     SESSION_VERSION, "view", (int)a->view, "layer", (int)a->layer, "expert",
                     (int)a->expert, "looks", looks_to_json(a));
    if (!*out)
        return err_set(err, ERR_NOMEM, NULL, "no memory for the session");
    int rc = add_document(*out, &a->document, a, err);
    return rc == 0 ? add_snapshots(*out, a, err) : rc;
}

void app_save_session(struct app *a)
{
    struct str dir = {0}, path = {0};
    struct err err = {0};
    struct str text = {0};
    json_t *root = NULL;
    if (a->options->no_session) {
        app_say(a, STYLE_WARN, "sessions are off; --session turns them on");
        return;
    }
    xdg_folder(&dir, XDG_STATE);
    session_path(&path, a);
    if (!path.length || !a->options->trace_sha256) {
        app_say(a, STYLE_WARN, "no place for sessions: neither XDG_STATE_HOME nor HOME is set");
        goto cleanup;
    }
    xdg_make(str_get(&dir));
    int rc = to_json(&root, a, &err);
    if (rc == 0)
        rc = jsonio_write(&text, root, path.data, &err);
    if (rc < 0)
        app_say_err(a, "session not saved: ", &err);
    else
        app_write(a, APP_FILE_SESSION, path.data, &text,
                  "session saved; this trace opens as it is now");
cleanup:
    str_release(&text);
    json_decref(root);
    str_release(&path);
    str_release(&dir);
}

/* --- Reading --- */

static int read_pins(struct app_document *d, const struct app *a, json_t *pins, const char *file,
                     struct err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(pins, key, value)
    {
        size_t layer, expert;
        json_int_t bits = json_is_integer(value) ? json_integer_value(value) : 0;
        bool legal = bits == 2 || bits == 3 || bits == 4 || bits == 8 || bits == 16;
        if (sscanf(key, "%zu.%zu", &layer, &expert) != 2 || layer >= a->options->trace->layers ||
            expert >= a->options->trace->experts || !legal)
            return err_set(err, ERR_INPUT, file, "pins: \"%s\" does not fit this trace", key);
        d->pins[layer * a->options->trace->experts + expert] = (uint8_t)bits;
    }
    return 0;
}

static int read_budget(struct app_budget *b, const json_t *object, const char *file,
                       struct err *err)
{
    struct jsonio_at at = {file, "budget"};
    const json_t *budget = json_object_get(object, "budget");
    size_t unit = 0, grain = 0, bytes = 0;
    if (!budget)
        return 0;
    b->on = json_is_true(json_object_get(budget, "on"));
    int rc = jsonio_size(&unit, budget, "unit", APP_UNITS - 1, at, err);
    if (rc == 0)
        rc = jsonio_size(&grain, budget, "grain", BUDGET_GRAINS - 1, at, err);
    if (rc == 0)
        rc = jsonio_size(&bytes, budget, "bytes", (size_t)1 << 53, at, err);
    if (rc == 0)
        rc = jsonio_real(&b->bits, budget, "bits", at, err);
    b->unit = (int)unit;
    b->grain = (int)grain;
    b->bytes = bytes;
    b->chosen = true;
    return rc;
}

int app_keep_given(struct settings *s, const struct app *a, struct err *err)
{
    return a->options->settings_over ? a->options->settings_over(s, err) : 0;
}

/* Settings and pins of `object` into a new document. */
static int read_document(struct app_document *d, const struct app *a, const json_t *object,
                         const char *file, struct err *err)
{
    struct jsonio_at at = {file, ""};
    json_t *settings, *pins;
    int rc = jsonio_object(&settings, object, "settings", at, err);
    if (rc == 0)
        rc = jsonio_object(&pins, object, "pins", at, err);
    if (rc == 0)
        rc = app_document_init(d, a, err);
    if (rc == 0)
        rc = settings_from_json(&d->settings, settings, file, err);
    if (rc == 0)
        rc = read_budget(&d->budget, object, file, err);
    return rc == 0 ? read_pins(d, a, pins, file, err) : rc;
}

/* A terminal that cannot show a glyph set or colours has the last word. */
static void read_style(struct app *a, const json_t *looks)
{
    const char *theme = json_string_value(json_object_get(looks, "theme"));
    const char *glyphs = json_string_value(json_object_get(looks, "glyphs"));
    for (int i = 0; theme && a->given_look.theme != STYLE_MONO && i < STYLE_THEMES; i++)
        if (strcmp(theme, style_theme_name((enum style_theme)i)) == 0)
            a->look.theme = (enum style_theme)i;
    for (int i = 0; glyphs && a->given_look.glyphs != STYLE_ASCII && i < STYLE_GLYPHS; i++)
        if (strcmp(glyphs, style_glyphs_name((enum style_glyphs)i)) == 0)
            a->look.glyphs = (enum style_glyphs)i;
}

static int read_looks(struct app *a, const json_t *root, const char *file, struct err *err)
{
    struct jsonio_at at = {file, "looks"};
    const json_t *looks = json_object_get(root, "looks"), *sliders, *others;
    int rc = 0;
    size_t value;
    for (size_t i = 0; rc == 0 && i < FIELDS; i++)
        if (jsonio_has(looks, fields[i].name) &&
            (rc = jsonio_size(&value, looks, fields[i].name, fields[i].most, at, err)) == 0)
            field_set(a, &fields[i], value);
    a->token_rank = a->token_rank <= a->result->types ? a->token_rank : 0;
    others = json_object_get(looks, "other_charts");
    for (size_t i = 0; i < APP_VIEWS; i++)
        a->other_chart[i] = json_is_true(json_array_get(others, i));
    sliders = json_object_get(looks, "sliders");
    for (size_t i = 0; rc == 0 && i < APP_VIEWS && i < json_array_size(sliders); i++) {
        json_int_t slider = json_integer_value(json_array_get(sliders, i));
        size_t count = 0;
        while (views[i]->sliders[count])
            count++;
        a->slider[i] = slider > 0 && (size_t)slider < count ? (size_t)slider : 0;
    }
    if (rc == 0)
        read_style(a, looks);
    return rc;
}

static int read_snapshots(struct app *a, const json_t *root, const char *file, struct err *err)
{
    const json_t *snapshots = json_object_get(root, "snapshots");
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < 2; i++) {
        const json_t *one = json_object_get(snapshots, snapshot_names[i]);
        struct app_document d = {0};
        if (!one)
            continue;
        rc = read_document(&d, a, one, file, err);
        if (rc == 0)
            rc = app_keep_snapshot(a, i, &d, err);
        free(d.pins);
    }
    app_retry_snapshots(a);
    return rc;
}

/* All of it, or a message and what could be read. */
static int take_session(struct app *a, const json_t *root, const struct app_document *d,
                        const char *file, struct err *err)
{
    int rc = read_snapshots(a, root, file, err);
    a->message[0] = '\0';
    if (rc == 0)
        rc = read_looks(a, root, file, err);
    if (rc == 0 && !app_document_equal(d, &a->document, a)) {
        if (app_commit(a, d)) /* u goes back to what the command line said */
            app_say(a, STYLE_TEXT_DIM, "session restored; u goes back to the defaults");
        else
            rc = err_set(err, ERR_INPUT, file, "%s", a->message);
    }
    a->loss_before = a->loss; /* opening a session is no change of the plan */
    return rc;
}

static int read_session(struct app *a, json_t *root, const char *file, struct err *err)
{
    struct jsonio_at at = {file, ""};
    size_t view, layer, expert;
    struct app_document d = {0};
    int rc = jsonio_check_schema(root, "moqa.session", SESSION_VERSION, file, err);
    if (rc == 0)
        rc = jsonio_size(&view, root, "view", APP_VIEWS - 1, at, err);
    if (rc == 0)
        rc = jsonio_size(&layer, root, "layer", a->options->trace->layers - 1, at, err);
    if (rc == 0)
        rc = jsonio_size(&expert, root, "expert", a->options->trace->experts - 1, at, err);
    if (rc == 0)
        rc = read_document(&d, a, root, file, err);
    if (rc == 0)
        rc = app_keep_given(&d.settings, a, err);
    if (rc == 0) {
        a->view = view;
        a->layer = layer;
        a->expert = expert;
        bool kept = app_budget_keep(a, &d);
        rc = take_session(a, root, &d, file, err);
        if (rc == 0 && !kept)
            app_say(a, STYLE_WARN, "session restored with MoQa's plan: its budget has no losses");
        else if (rc == 0)
            app_tell_waiting(a, "session restored; ");
    }
    free(d.pins);
    return rc;
}

void app_restore_session(struct app *a)
{
    struct str path = {0};
    struct err err = {0};
    struct stat st;
    json_t *root = NULL;
    session_path(&path, a);
    if (a->options->plan || a->options->no_session || !a->options->trace_sha256 || !path.length ||
        stat(path.data, &st) < 0)
        goto cleanup;
    if (jsonio_load(&root, path.data, SESSION_LIMIT, &err) < 0 ||
        read_session(a, root, path.data, &err) < 0)
        app_say_err(a, "the saved session was not taken: ", &err);
cleanup:
    json_decref(root);
    str_release(&path);
}
