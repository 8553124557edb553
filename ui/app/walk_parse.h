/* Inside of walk.h: the text of a walk as steps. */
#ifndef MOQA_UI_APP_WALK_PARSE_H
#define MOQA_UI_APP_WALK_PARSE_H

#include "ui/cells/term.h"

enum walk_kind { WALK_EVENT, WALK_WAIT, WALK_SHOT, WALK_RESIZE };

struct walk_step {
    enum walk_kind kind;
    size_t word; /* its number in the text, from 1 */
    struct term_event event;
    int w, h;
    char *path; /* of a shot */
};

struct walk {
    struct walk_step *step;
    size_t count, capacity;
};

/* `*w` is released by walk_release() also after an error. */
ERR_CHECK int walk_parse(struct walk *w, const char *text, struct err *err);
void walk_release(struct walk *w);

#endif
