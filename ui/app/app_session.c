#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/base/jsonio.h"
#include "data/base/xdg.h"
#include "ui/app/app_state.h"

/*
 * What `s` keeps: settings, pins, screen and selection, under the trace's hash in the XDG state
 * folder. It is the user's own state: a file that does not fit is passed over with a message.
 */

enum { SESSION_VERSION = 1, SESSION_LIMIT = 16 << 20 };

static void session_path(struct str *out, const struct app *a)
{
    xdg_folder(out, XDG_STATE);
    if (out->length)
        str_appendf(out, "/session-%.16s.json", a->options->trace_sha256);
}

static json_t *pins_to_json(const struct app *a)
{
    json_t *pins = json_object();
    size_t n = a->options->trace->experts;
    for (size_t i = 0; i < a->options->trace->layers * n; i++) {
        char key[48];
        if (!a->document.pins[i])
            continue;
        snprintf(key, sizeof key, "%zu.%zu", i / n, i % n);
        json_object_set_new(pins, key, json_integer(a->document.pins[i]));
    }
    return pins;
}

void app_save_session(struct app *a)
{
    struct str dir = {0}, path = {0};
    struct err err = {0};
    json_t *settings = NULL, *root = NULL;
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
    int rc = settings_to_json(&settings, &a->document.settings, &err);
    if (rc == 0) {
        root = json_pack("{s:s, s:i, s:o, s:o, s:i, s:i, s:i}", "schema", "moqa.session",
                         "schema_version", SESSION_VERSION, "settings", settings, "pins",
                         pins_to_json(a), "view", (int)a->view, "layer", (int)a->layer, "expert",
                         (int)a->expert);
        rc = root ? jsonio_save(root, path.data, &err)
                  : err_set(&err, ERR_NOMEM, NULL, "no memory for the session");
    }
    if (rc < 0)
        app_say_err(a, "session not saved: ", &err);
    else
        app_say(a, STYLE_GOOD, "session saved; this trace opens as it is now");
cleanup:
    json_decref(root);
    str_release(&path);
    str_release(&dir);
}

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

/* What the command line names stands above the session. */
static int keep_given(struct settings *s, const struct app *a, struct err *err)
{
    for (size_t i = 0; a->options->given && i < settings_count(); i++) {
        char value[128];
        const struct setting_info *info = settings_info(i);
        settings_get(&a->options->settings, info, value, sizeof value);
        int rc = a->options->given[i] ? settings_set(s, info->name, value, err) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_session(struct app *a, json_t *root, const char *file, struct err *err)
{
    struct jsonio_at at = {file, ""};
    json_t *settings, *pins;
    size_t view, layer, expert;
    struct app_document d;
    int rc = jsonio_check_schema(root, "moqa.session", SESSION_VERSION, file, err);
    if (rc == 0)
        rc = jsonio_object(&settings, root, "settings", at, err);
    if (rc == 0)
        rc = jsonio_object(&pins, root, "pins", at, err);
    if (rc == 0)
        rc = jsonio_size(&view, root, "view", APP_VIEWS - 1, at, err);
    if (rc == 0)
        rc = jsonio_size(&layer, root, "layer", a->options->trace->layers - 1, at, err);
    if (rc == 0)
        rc = jsonio_size(&expert, root, "expert", a->options->trace->experts - 1, at, err);
    if (rc < 0 || app_document_init(&d, a, err) < 0)
        return rc < 0 ? rc : ERR_NOMEM;
    rc = settings_from_json(&d.settings, settings, file, err);
    if (rc == 0)
        rc = keep_given(&d.settings, a, err);
    if (rc == 0)
        rc = read_pins(&d, a, pins, file, err);
    if (rc == 0) {
        a->view = view;
        a->layer = layer;
        a->expert = expert;
    }
    if (rc == 0 && !app_document_equal(&d, &a->document, a)) {
        app_remember(a); /* u goes back to what the command line said */
        app_document_copy(&a->document, &d, a);
        app_recompute(a);
        app_say(a, STYLE_TEXT_DIM, "session restored; u goes back to the defaults");
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
