
#include "data/base/clock.h"
#include "ui/app/app.h"
#include "ui/app/app_load.h"

/* The event loop: the only place where the workbench and the terminal meet. */

enum {
    POLL_LOAD_MS = 20,
    POLL_BUSY_MS = 100,
    POLL_IDLE_MS = 1000,
    QUIET_MS = 120, /* loads that end before this show no progress */
    BURST_MS = 100, /* keys that come faster than frames share one, at most this long */
    TYPED_AHEAD_MAX = 64
};

struct loop {
    struct term *term;
    struct cells cells;
    struct style_look look;
    struct app *app;
    bool mouse;
    struct term_event ahead[TYPED_AHEAD_MAX]; /* came while the trace was opened */
    size_t ahead_count;
};

static int fit(struct loop *l, struct err *err)
{
    int w, h;
    term_size(l->term, &w, &h);
    w = w < 1 ? 1 : w;
    h = h < 1 ? 1 : h;
    return l->cells.w == w && l->cells.h == h ? 0 : cells_resize(&l->cells, w, h, err);
}

static bool leaves(uint32_t key)
{
    return key == 'q' || key == TERM_KEY_CTRL_C || key == TERM_KEY_QUIT;
}

/* Shows how far the loader is until it has ended: 1; 0: the user has left. */
static int show_loading(struct loop *l, const struct app_loader *loader, struct err *err)
{
    int64_t start = clock_ms();
    struct app_load load = {0};
    for (;;) {
        int rc = fit(l, err);
        if (rc < 0)
            return rc;
        loader->poll(loader->context, &load);
        if (load.ended)
            return 1;
        app_load_draw(&l->cells, &l->look, loader->trace_path, &load,
                      clock_ms() - start > QUIET_MS);
        if (term_ready(l->term))
            term_present(l->term, &l->cells, &l->look);
        struct term_event e = term_read(l->term, POLL_LOAD_MS);
        if (leaves(e.key))
            return 0;
        if (e.key == TERM_KEY_CTRL_L)
            term_redraw(l->term);
        else if (e.key != TERM_KEY_NONE && e.key != TERM_KEY_RESIZE &&
                 l->ahead_count < TYPED_AHEAD_MAX)
            l->ahead[l->ahead_count++] = e;
    }
}

/* False when the user has left. A click must meet the places where things are now, not where they
 * were before the keys that came with it. */
static bool take(struct loop *l, const struct term_event *e, bool stale)
{
    if (e->key == TERM_KEY_CTRL_L)
        term_redraw(l->term);
    else if (e->key != TERM_KEY_NONE) {
        if (stale && e->key == TERM_KEY_MOUSE)
            app_draw(l->app, &l->cells);
        return app_event(l->app, e);
    }
    return true;
}

/* Waits for an event and takes all that have come by then: over a slow line, keys must not queue
 * up behind frames that nobody will look at. `stale`: the last frame is older than the state. */
static bool take_events(struct loop *l, bool stale)
{
    struct term_event e = term_read(l->term, app_busy(l->app) ? POLL_BUSY_MS : POLL_IDLE_MS);
    int64_t end = clock_ms() + BURST_MS;
    while (take(l, &e, stale)) {
        if (e.key == TERM_KEY_NONE || e.key == TERM_KEY_RESIZE || clock_ms() > end)
            return true;
        stale = true;
        e = term_read(l->term, 0);
    }
    return false;
}

static bool key_waits(void *term)
{
    return term_waits(term);
}

static int run(struct loop *l, struct err *err)
{
    app_ask_for_keys(l->app, key_waits, l->term);
    for (size_t i = 0; i < l->ahead_count; i++)
        if (!take(l, &l->ahead[i], true))
            return 0;
    for (;;) {
        int rc = fit(l, err);
        if (rc < 0)
            return rc;
        bool ready = term_ready(l->term);
        if (ready) {
            app_draw(l->app, &l->cells);
            term_present(l->term, &l->cells, app_look(l->app));
        }
        if (!take_events(l, !ready))
            return 0;
        app_tick(l->app);
        const char *copy = app_take_copy(l->app);
        if (copy)
            term_copy(l->term, copy);
        if (app_wants_mouse(l->app) != l->mouse)
            term_mouse(l->term, l->mouse = !l->mouse);
    }
}

int app_run_terminal(const struct app_loader *loader, struct err *err)
{
    struct loop l = {0};
    const struct app_options *options;
    int rc = term_open(&l.term, &l.look, err);
    if (rc < 0)
        return rc;
    rc = cells_init(&l.cells, 80, 24, err);
    if (rc == 0)
        rc = show_loading(&l, loader, err);
    if (rc > 0) {
        rc = loader->finish(loader->context, &options, err);
        if (rc == 0)
            rc = app_new(&l.app, options, &l.look, err);
        if (rc == 0)
            rc = run(&l, err);
    }
    cells_release(&l.cells);
    app_free(l.app);
    term_close(l.term);
    return rc;
}
