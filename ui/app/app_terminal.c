#include "ui/app/app.h"

/* The event loop: the only place where the workbench and the terminal meet. */

enum { POLL_BUSY_MS = 100, POLL_IDLE_MS = 1000 };

static int fit(struct cells *c, const struct term *t, struct err *err)
{
    int w, h;
    term_size(t, &w, &h);
    w = w < 1 ? 1 : w;
    h = h < 1 ? 1 : h;
    return c->w == w && c->h == h ? 0 : cells_resize(c, w, h, err);
}

static int loop(struct app *a, struct term *t, struct cells *c, struct err *err)
{
    bool mouse = false;
    for (;;) {
        int rc = fit(c, t, err);
        if (rc < 0)
            return rc;
        app_draw(a, c);
        term_present(t, c, app_look(a));
        struct term_event e = term_read(t, app_busy(a) ? POLL_BUSY_MS : POLL_IDLE_MS);
        if (e.key == TERM_KEY_CTRL_L)
            term_redraw(t);
        else if (e.key != TERM_KEY_NONE && !app_event(a, &e))
            return 0;
        app_tick(a);
        const char *copy = app_take_copy(a);
        if (copy)
            term_copy(t, copy);
        if (app_wants_mouse(a) != mouse)
            term_mouse(t, mouse = !mouse);
    }
}

int app_run_terminal(const struct app_options *options, struct err *err)
{
    struct term *t = NULL;
    struct app *a = NULL;
    struct style_look look;
    struct cells c = {0};
    int rc = term_open(&t, &look, err);
    if (rc < 0)
        return rc;
    rc = app_new(&a, options, &look, err);
    if (rc == 0)
        rc = cells_init(&c, 80, 24, err);
    if (rc == 0)
        rc = loop(a, t, &c, err);
    cells_release(&c);
    app_free(a);
    term_close(t);
    return rc;
}
