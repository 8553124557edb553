/* What a finished run lost, expert by expert: its moqa_report.json (docs/formats.md). */
#ifndef MOQA_SRC_RUNS_RUNS_REPORT_H
#define MOQA_SRC_RUNS_RUNS_REPORT_H

#include "data/base/err.h"
#include "ui/app/app_host.h"

/* {0} is none. */
struct runs_report {
    char name[256]; /* the folder */
    size_t layers, experts;
    struct app_run_expert *expert; /* [layers][experts] */
};

/* Of the run in a folder. Layers without experts are left out. ERR_INPUT for a report that names no
 * experts, or another number of them in each layer. */
ERR_CHECK int runs_report_load(struct runs_report *out, const char *dir, struct err *err);
void runs_report_release(struct runs_report *r);

#endif
