/* What the app's files and the views share: the state of the workbench. */
#ifndef MOQA_UI_APP_APP_STATE_H
#define MOQA_UI_APP_APP_STATE_H

#include "analysis/planner.h"
#include "ui/app/app.h"
#include "ui/app/app_budget.h"
#include "ui/app/app_keys.h"
#include "ui/app/file_writer.h"
#include "ui/app/find.h"
#include "ui/cells/layout.h"
#include "ui/chart/chart.h"

enum {
    APP_MIN_WIDTH = 40,
    APP_MIN_HEIGHT = 10,
    APP_UNDO_MAX = 500,
    APP_TEXT_MAX = 256,
    APP_VIEWS = 7,
    APP_ZOOM_MAX = 4
};

/* What the user edits; undo goes from one to the other. */
struct app_document {
    struct settings settings;
    struct app_budget budget;
    uint8_t *pins; /* [layer][expert] bits, 0: not pinned */
};

struct app_snapshot {
    bool taken;
    /* NULL, or what its plan cannot be made without: of a session, whose document alone is known */
    const char *waits;
    struct app_document document;
    double nominal_bits, effective_bits, loss; /* loss: predicted, as app.loss */
    double rise;                               /* by measured losses; NaN: not known */
    uint64_t bytes;
    unsigned char *bits; /* [layer][expert] */
    double *mean_bits;   /* [layer][expert]: of a weight, channels at their own width */
    uint8_t *linear;     /* [layer][expert][PLAN_LINEARS] bits */
};

enum app_mode {
    APP_NORMAL,
    APP_VALUE,   /* a value is typed for the selected slider */
    APP_SEARCH,  /* an expert or token is typed */
    APP_PICTURE, /* the name of a picture is typed */
    APP_HELP,
    APP_COMPARE,
    APP_CONFIRM_QUIT,
    APP_CONFIRM_RUN,
    APP_CONFIRM_PICTURE, /* the file is there already */
    APP_COPIED,          /* the command that was copied */
    APP_CONFIRM_PLAN     /* the same, and neither read nor written by this session */
};

enum app_pane { APP_PANE_NONE, APP_PANE_LIST, APP_PANE_EXPERT, APP_PANE_TOKEN, APP_PANES };

/* What `/` found and the pane that shows it (app_find.c). */
struct app_find {
    enum app_pane pane;
    struct find_tokens tokens;
    size_t at; /* of them; beyond the last: an expert with the same digits */
    char text[FIND_TEXT_MAX];
    size_t scroll;     /* first row of the list or card */
    size_t layer;      /* that the card was last drawn for */
    size_t rows, page; /* of the last frame: all and those with room */
    struct rect rect;  /* of the last frame */
    bool covers;       /* it lay over the charts, not beside them */
};

struct app {
    const struct app_options *options;
    struct style_look look, given_look; /* given: what the terminal can show */
    struct analysis *analysis;
    bool own_analysis;
    const struct analysis_result *result;
    struct plan plan;         /* of the current document */
    bool has_plan;            /* there is a model's configuration for it */
    bool has_widths;          /* there is none: the plan has widths and nothing else */
    double loss, loss_before; /* predicted (analysis/predict.h), now and before the last change */

    bool (*key_waits)(void *context); /* NULL: there is nobody to ask */
    void *key_context;
    struct app_front front;
    struct app_losses measuring;

    struct app_document document;
    struct app_document saved;   /* as the plan was last written (or opened) */
    struct app_document written; /* of the plan that is being written, */
    size_t plans_waiting;        /* the last of so many */
    struct file_writer *writer;
    struct app_document undo[APP_UNDO_MAX], redo[APP_UNDO_MAX];
    size_t undo_count, redo_count;
    struct app_snapshot snapshot[2]; /* A, B */

    enum app_mode mode;
    size_t view;              /* index in views[] */
    size_t slider[APP_VIEWS]; /* selected one of each view */
    size_t layer, expert;     /* selected; layer counts the MoE layers from 0 */
    size_t token_rank;        /* found by search, 0: none */
    bool leaving;             /* the user has quit */
    struct app_find find;
    bool expanded, mouse, linear_axis, all_experts, file_bits;
    bool other_chart[APP_VIEWS];     /* the second chart of each, where only one of two fits */
    bool charts_together;            /* both have room in the last frame */
    struct settings rounding_before; /* when best rounding was switched on last: */
    bool has_rounding_before;        /* it was, in this session */
    size_t log_back;                 /* lines of the run's log below those in sight */
    int zoom;
    size_t scroll;          /* first row of a list, kept in sight by the views */
    size_t result_selected; /* in the order of the screen; app_result.c keeps it */
    uint64_t result_key;    /* of that run, 0: none yet */
    uint64_t result_text;   /* key of the text that is looked at, 0: the first */
    size_t result_sort;     /* enum app_result_sort */
    bool result_reverse;
    struct rect result_rows; /* of the table in the last frame */
    bool plan_ours;          /* the file for the plan was read or written by this session */
    bool sound;     /* the last recompute succeeded: what is on the screen is the document's */
    bool has_other; /* the selected expert is compared with another of its layer */
    size_t other;
    char typed[APP_TEXT_MAX]; /* text in work of a prompt */
    size_t typed_at;          /* its cursor, in bytes */
    char message[APP_TEXT_MAX];
    uint16_t message_colour;
    struct str dry_run; /* text of the run that is asked about */
    enum app_ask dry_run_phase;
    struct str copy;
    bool copy_pending;
    size_t prompt_scroll;
    struct {
        size_t pair; /* A-screen, B-screen, A-B */
    } compare;

    enum app_cosine_phase cosine_phase;
    const double *cosine; /* [layer][N][N] once READY */
    double cosine_progress;
    const char *cosine_message;
    struct app_run run;

    /* Of the last frame, for the mouse. */
    struct rect tabs[APP_VIEWS], slider_rows;
    struct chart_map map;       /* of the view's main chart; empty plot: none */
    struct chart_map other_map; /* of its second chart */
    bool dragging;              /* the threshold line: its moves are one step of undo */
    bool drag_changed;          /* this drag has already been remembered */
};

/* A screen. sliders: names of settings, NULL-terminated. */
struct view {
    const char *name;
    const char *const *sliders; /* app_sliders() says which are in force */
    const struct app_key *keys; /* of this screen; they go before those of all */
    const uint32_t *first;      /* keys that the hint row shows first here, the most useful one
                                   before the others, ended by 0; NULL: none */
    /* Whether a key has a use on the screen as it is: others are not in the hint row. NULL: all. */
    bool (*offers)(const struct app *a, uint32_t code);
    void (*draw)(struct app *a, struct cells *c, struct rect r);
    /* Rows of facts under the sliders: draws and returns the rows used. May be NULL. */
    int (*facts)(struct app *a, struct cells *c, struct rect r);
    /* A mouse event outside tabs and sliders, or while dragging. May be NULL. */
    void (*mouse)(struct app *a, const struct term_event *e);
};

extern const struct view *const views[APP_VIEWS]; /* app.c */
extern const struct view view_data, view_mapping, view_significance, view_similarity, view_plan,
    view_run, view_results;

/* --- Editing (app_edit.c) --- */

void app_say(struct app *a, uint16_t colour, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "WHAT FILE: MESSAGE" */
void app_say_err(struct app *a, const char *what, const struct err *err);
/* Recomputes analysis and plan from the document; false: an error, which becomes the message. */
bool app_recompute(struct app *a);
/* Changes the document to `next`, with pins of its own or the document's, as a step of undo. False
 * with a message where that changes nothing or its plan cannot be made: all stays as it was. */
bool app_commit(struct app *a, const struct app_document *next);
/* False with a message unless the plan on the screen is that of the document. */
bool app_plan_ready(struct app *a);
ERR_CHECK int app_document_init(struct app_document *d, const struct app *a, struct err *err);
void app_document_copy(struct app_document *to, const struct app_document *from,
                       const struct app *a);
bool app_document_equal(const struct app_document *x, const struct app_document *y,
                        const struct app *a);
void app_undo(struct app *a);
void app_redo(struct app *a);
/* Expert i of all layers' of the plan, and the bits of its weights on average, channels included.
 */
const struct plan_expert *app_plan_expert(const struct app *a, size_t i);
double app_plan_mean_bits(const struct app *a, size_t i);
bool app_bits_differ(double left, double right); /* by more than rounding */
/* Widths of gate, up and down of expert i of all layers'. */
void app_plan_linears(uint8_t out[PLAN_LINEARS], const struct app *a, size_t i);
/* Next pin of the selected expert: none, 2, 3, 4, 8, 16. */
void app_cycle_pin(struct app *a);
uint8_t app_pin(const struct app *a, size_t layer, size_t expert);

/* --- Snapshots (app_snapshot.c) --- */

/* Whether expert i has other widths in a snapshot than in the plan on the screen. */
bool app_snapshot_differs(const struct app_snapshot *s, const struct app *a, size_t i);
void app_take_snapshot(struct app *a, size_t which);
/* The document of a session's snapshot, which waits for its plan. */
ERR_CHECK int app_keep_snapshot(struct app *a, size_t which, const struct app_document *d,
                                struct err *err);
/* Takes what waits, where its plan can be made now. The document on the screen stays. */
void app_retry_snapshots(struct app *a);
/* Says that one waits, and for what; false: none does. */
bool app_tell_waiting(struct app *a, const char *before);

/* --- Sliders (app_slider.c) --- */

/* Names of the sliders of the screen, NULL-terminated: with a budget the Plan screen has others. */
const char *const *app_sliders(const struct app *a);
const struct setting_info *app_slider(const struct app *a); /* NULL: the view has none */
/* A setting or a slider of the budget. */
const struct setting_info *app_slider_find(const char *name);
void app_slider_text(const struct app *a, const struct setting_info *info, char *out, size_t size);
/* As settings_number(). */
bool app_slider_number(const struct app *a, const struct setting_info *info, double *out);
/* The selected layer has a threshold of its own, which is what the slider moves there. */
bool app_own_threshold(const struct app *a);
void app_step_slider(struct app *a, int steps);
void app_reset_slider(struct app *a);
/* Sets a setting by name as if typed; undoable. False with a message if it is refused. */
bool app_set(struct app *a, const char *name, const char *value);
/* Selected layer's rule: auto, threshold, jenks, none of its own. */
void app_cycle_rule(struct app *a);

/* --- How the charts are looked at, commands and sessions (app_edit.c, app_session.c) --- */

/* Logarithmic or linear axes, and a zoom by a step: on screens whose charts have them; elsewhere
 * they say so. */
void app_change_axis(struct app *a);
void app_zoom(struct app *a, int by);

void app_copy_command(struct app *a);
/* What the command line names stands above a session and a plan. */
ERR_CHECK int app_keep_given(struct settings *s, const struct app *a, struct err *err);
void app_save_session(struct app *a);
void app_restore_session(struct app *a);

/* --- Files (app_write.c) --- */

enum app_file { APP_FILE_PLAN, APP_FILE_SESSION, APP_FILE_PICTURE };

/* Has the bytes written, which it takes. The text is said once they are; an error is said, too. */
void app_write(struct app *a, enum app_file kind, const char *path, struct str *bytes,
               const char *format, ...) __attribute__((format(printf, 5, 6)));
/* Writes the plan; before it replaces a file that is not this session's it asks, unless told to. */
void app_write_plan(struct app *a, bool replace);
/* Is something being written? */
bool app_writing(const struct app *a);
/* Says how writing ended. */
void app_write_tick(struct app *a);

/* --- Pictures (app_picture.c) --- */

/* Asks for a name and proposes one; says why where there is nothing to draw. */
void app_picture_ask(struct app *a);
/* The chart on the screen to the file that was typed, both of a screen to a PDF. Asks before it
 * replaces a file, unless told to. */
void app_picture_write(struct app *a, bool replace);

/* --- Prompts (app_prompt.c): modes other than APP_NORMAL --- */

void app_prompt_begin(struct app *a, enum app_mode mode, const char *text);
bool app_prompt_event(struct app *a, const struct term_event *e); /* false: the user has left */
void app_prompt_draw(struct app *a, struct cells *c);
/* Arrows and pages move a->prompt_scroll, whose end is known to those who draw; false: another key.
 */
bool app_prompt_scroll(struct app *a, uint32_t key);

/* --- The text that is typed (app_typed.c) --- */

/* Edits it at its cursor, as a shell does; false if the key is neither for that nor a character. */
bool app_typed_event(struct app *a, uint32_t key);
/* From column x up to `end`, so that its cursor is in sight; returns the column behind it. */
int app_typed_draw(const struct app *a, struct cells *c, int x, int y, int end);

/* --- Help (app_help.c): keys of all screens, settings, with a search --- */

void app_help_event(struct app *a, uint32_t key);
void app_help_draw(struct app *a, struct cells *c);

/* --- Two plans side by side (app_compare.c) --- */

void app_compare_begin(struct app *a); /* says so where there is no snapshot */
void app_compare_event(struct app *a, uint32_t key);
void app_compare_draw(struct app *a, struct cells *c);

/* --- Shared by the views (app_panel.c) --- */

/* Sliders of the view, one row each; returns the rows used. */
int app_draw_sliders(struct app *a, struct cells *c, struct rect r);
/* "name      value" in one row; the value is cut, never the name. */
void app_fact(struct app *a, struct cells *c, struct rect r, int row, const char *name,
              uint16_t colour, const char *format, ...) __attribute__((format(printf, 7, 8)));
/* Text of a token id as it may be shown, quoted. */
void app_token_text(const struct app *a, uint32_t id, char *out, size_t size);
/* Says in the middle of `r` why there is nothing to see. */
void app_draw_empty(struct app *a, struct cells *c, struct rect r, const char *text);
/* An empty framed window in the middle of the screen; returns the area inside. */
struct rect app_window(struct app *a, struct cells *c, int w, int h, const char *title);
/* First row so that `selected` of `count` is in sight among `rows`. */
size_t app_scroll_to(size_t first, size_t selected, size_t count, size_t rows);

void app_start_run(struct app *a, bool resume);

/* --- Acts of keys that others need, too (app.c) --- */

bool app_run_is_active(const struct app *a);
/* The trace was made with another config.json than the model's. */
bool app_config_differs(const struct app *a);
const char *app_run_part(const struct app_run *run); /* "pass" or "evaluation" */
bool app_can_cancel(const struct app *a);            /* something that Ctrl-C stops */
void app_choose_view(struct app *a, size_t view);
void app_move_layer(struct app *a, long by); /* says so at the first and the last */
void app_ask_run(struct app *a);
void app_cancel_run(struct app *a);
void app_quit(struct app *a); /* asks where something would be lost */

#endif
