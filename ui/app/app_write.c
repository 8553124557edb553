/* What the screen writes: plans, sessions, pictures. The bytes are made here, a thread writes them
 * (file_writer.h), and a later tick tells how that ended. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ui/app/app_state.h"

void app_write(struct app *a, enum app_file kind, const char *path, struct str *bytes,
               const char *format, ...)
{
    char said[APP_TEXT_MAX];
    struct err err = {0};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(said, sizeof said, format, arguments);
    va_end(arguments);
    if (file_writer_put(a->writer, path, bytes, kind, said, &err) < 0) {
        app_say_err(a, "not written: ", &err);
        return;
    }
    a->plans_waiting += kind == APP_FILE_PLAN;
    app_say(a, STYLE_TEXT_DIM, "writing %s", path);
}

/* The document of the last plan counts as saved, unless keys came after it. */
static void note_plan(struct app *a, int rc)
{
    a->plans_waiting--;
    if (rc < 0)
        return;
    a->plan_ours = true;
    if (a->plans_waiting == 0)
        app_document_copy(&a->saved, &a->written, a);
}

bool app_writing(const struct app *a)
{
    return file_writer_active(a->writer);
}

static bool take_ends(struct app *a)
{
    struct file_written w;
    bool well = true;
    while (file_writer_take(a->writer, &w)) {
        if (w.kind == APP_FILE_PLAN)
            note_plan(a, w.rc);
        if (w.rc < 0)
            app_say_err(
                a, w.kind == APP_FILE_SESSION ? "session not saved: " : "not written: ", &w.err);
        else if (well) /* else the error stays */
            app_say(a, STYLE_GOOD, "%s", w.said);
        well = well && w.rc == 0;
        free(w.said);
    }
    return well;
}

void app_write_tick(struct app *a)
{
    take_ends(a);
}

bool app_write_finish(struct app *a)
{
    file_writer_wait(a->writer);
    return take_ends(a);
}

void app_write_plan(struct app *a, bool replace)
{
    const char *path = a->options->plan_path;
    struct err err = {0};
    struct str bytes = {0};
    if (!app_plan_ready(a))
        return;
    if (!replace && !a->plan_ours && !a->plans_waiting && access(path, F_OK) == 0) {
        a->mode = APP_CONFIRM_PLAN;
        return;
    }
    app_budget_finish(a);
    if (plan_write(&bytes, &a->plan, path, &err) < 0) {
        app_say_err(a, "not written: ", &err);
        str_release(&bytes);
        return;
    }
    app_document_copy(&a->written, &a->document, a);
    app_write(a, APP_FILE_PLAN, path, &bytes,
              "plan written to %s (%.3f bits nominal, %.3f in the file)", path,
              a->plan.summary.nominal_bits, a->plan.summary.effective_bits);
}
