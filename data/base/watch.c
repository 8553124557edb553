#include "data/base/watch.h"

#include <stddef.h>

bool watch_cancelled(const struct watch *w)
{
    return w && w->cancel && atomic_load(w->cancel);
}

void watch_tell(const struct watch *w, enum watch_step step, uint64_t done, uint64_t total)
{
    if (w && w->tell)
        w->tell(w->context, step, done, total);
}
