/*
 * What several commands open together: a trace with its analysis and, if a model is given, the
 * model's configuration. Checks that they belong together.
 */
#ifndef MOQA_SRC_SESSION_H
#define MOQA_SRC_SESSION_H

#include "analysis/analysis.h"
#include "data/model_config.h"
#include "data/trace.h"

struct session {
    struct trace trace;
    char trace_sha256[HASH_HEX_SIZE];
    struct analysis *analysis;
    bool has_config;
    struct model_config config;
};

/* model_dir may be NULL. The analysis is not yet updated with any settings. */
ERR_CHECK int session_open(struct session *out, const char *trace_path, const char *model_dir,
                           struct err *err);
/* The same, watched step by step. */
ERR_CHECK int session_open_watched(struct session *out, const char *trace_path,
                                   const char *model_dir, const struct watch *watch,
                                   struct err *err);
void session_release(struct session *s);

/* The report with its charts to stdout, as wide and as colourful as stdout allows. cosine:
 * [layers][N][N] or NULL. */
ERR_CHECK int session_print(const struct session *s, const double *cosine, struct err *err);

#endif
