#include "src/progress.h"

#include "data/base/clock.h"

#include <stdarg.h>
#include <stdio.h>

void progress_init(struct progress *p)
{
    *p = (struct progress){.state.seconds_left = -1, .expected = -1, .later = -1};
    pthread_mutex_init(&p->lock, NULL);
}

void progress_release(struct progress *p)
{
    pthread_mutex_destroy(&p->lock);
}

/* All parts, seen as one work. */
static struct progress_state refreshed_parts(const struct progress *p)
{
    struct progress_state s = {.total = p->parts * PROGRESS_PART_STEPS, .seconds_left = -1};
    double part = p->state.total ? (double)p->state.done / (double)p->state.total : 0;
    s.done = p->part * PROGRESS_PART_STEPS + (size_t)(part * PROGRESS_PART_STEPS);
    s.seconds = clock_seconds() - p->parts_started;
    if (p->expected >= 0 && p->later >= 0)
        s.seconds_left = p->expected * (1 - part) + p->later;
    else if (s.done && s.total >= s.done)
        s.seconds_left = s.seconds / (double)s.done * (double)(s.total - s.done);
    snprintf(s.stage, sizeof s.stage, "%s%s%.*s", p->part_name, p->state.stage[0] ? ": " : "",
             (int)(sizeof s.stage - sizeof p->part_name - 3), p->state.stage);
    return s;
}

/* Copies the state out under the lock, with the times brought up to date. */
static struct progress_state refreshed(struct progress *p)
{
    struct progress_state *s = &p->state;
    if (p->parts)
        return refreshed_parts(p);
    s->seconds = p->started > 0 ? clock_seconds() - p->started : 0;
    size_t fresh = s->done - p->skipped;
    s->seconds_left = fresh > 0 && s->total >= s->done
                          ? s->seconds / (double)fresh * (double)(s->total - s->done)
                          : -1;
    return *s;
}

static void publish(struct progress *p)
{
    struct progress_state copy = refreshed(p);
    pthread_mutex_unlock(&p->lock);
    if (p->changed)
        p->changed(p->context, &copy);
}

void progress_start(struct progress *p, size_t total)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->started = clock_seconds();
    p->skipped = 0;
    p->state = (struct progress_state){.total = total, .seconds_left = -1};
    publish(p);
}

void progress_stage(struct progress *p, const char *format, ...)
{
    if (!p)
        return;
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&p->lock);
    vsnprintf(p->state.stage, sizeof p->state.stage, format, args);
    publish(p);
    va_end(args);
}

void progress_step(struct progress *p, size_t steps)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->state.done += steps;
    publish(p);
}

void progress_back(struct progress *p, size_t done)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->state.done = done;
    publish(p);
}

void progress_skip(struct progress *p, size_t steps)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->skipped += steps;
    p->state.done += steps;
    publish(p);
}

void progress_parts(struct progress *p, size_t parts)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->parts = parts;
    p->part = 0;
    p->expected = p->later = -1;
    p->part_name[0] = '\0';
    p->parts_started = clock_seconds();
    p->state = (struct progress_state){.seconds_left = -1};
    pthread_mutex_unlock(&p->lock);
}

void progress_part(struct progress *p, size_t part, const char *format, ...)
{
    if (!p)
        return;
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&p->lock);
    p->part = part;
    p->expected = p->later = -1;
    vsnprintf(p->part_name, sizeof p->part_name, format, args);
    p->state = (struct progress_state){.seconds_left = -1};
    publish(p);
    va_end(args);
}

void progress_expect(struct progress *p, double part, double later)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->expected = part;
    p->later = later;
    publish(p);
}

void progress_note(struct progress *p, const char *text)
{
    if (p && p->noted)
        p->noted(p->context, text);
}

bool progress_cancelled(const struct progress *p)
{
    return p && atomic_load(&p->cancel);
}

void progress_get(struct progress *p, struct progress_state *out)
{
    pthread_mutex_lock(&p->lock);
    *out = refreshed(p);
    pthread_mutex_unlock(&p->lock);
}
