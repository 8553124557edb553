/* What is known of one expert and of one token, as cards. */
#ifndef MOQA_UI_APP_VIEW_CARD_H
#define MOQA_UI_APP_VIEW_CARD_H

#include "ui/app/app_state.h"
#include "ui/app/card.h"

/* Of the selected expert. Adds to `k`. */
void view_card_expert(struct card *k, const struct app *a);
/* Of the type at a->token_rank, which must not be 0; the layer in view is the focus. */
void view_card_token(struct card *k, const struct app *a);

#endif
