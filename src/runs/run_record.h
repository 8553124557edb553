/*
 * What a pass tells of itself while it runs and after it: one JSON file (docs/formats.md, "Run
 * record") for each output folder, in $XDG_STATE_HOME/moqa/runs. Beside it lies a lock that the
 * running process holds, so that a record that says "running" can be told from one whose process
 * has died. `moqa open` and `moqa runs` read the records; only the running process writes.
 */
#ifndef MOQA_SRC_RUNS_RUN_RECORD_H
#define MOQA_SRC_RUNS_RUN_RECORD_H

#include <sys/types.h>

#include "data/base/hash.h"
#include "ui/app/app_host.h"

struct run_record {
    struct app_run run;                /* run.out is absolute; run.expert is owned by the record */
    char config_sha256[HASH_HEX_SIZE]; /* of the model */
    char trace_sha256[HASH_HEX_SIZE];  /* that the plan was made from */
    char *folder;                      /* in which the command was given */
    char **arguments;                  /* of the command, "quantize" first; without --resume */
    size_t arguments_count;
    int64_t started; /* seconds since 1970 */
};

void run_record_release(struct run_record *r);

/* Where the record of an absolute output folder lies: ".../runs/0123456789abcdef"; the record has
 * ".json" behind it, the lock ".lock", what the process printed ".log", its plan ".plan.json".
 * ERR_IO where the user has no state folder. Freed by free(). */
ERR_CHECK int run_record_place(char **out, const char *folder, struct err *err);

/* The absolute form of a folder that need not exist; ERR_USAGE: too long. */
ERR_CHECK int run_record_absolute(char *out, size_t size, const char *folder, struct err *err);

/* Atomic, but not synced: after a power loss the pass is not running either. */
ERR_CHECK int run_record_save(const struct run_record *r, const char *place, struct err *err);
/* ERR_INPUT: not a record, or damaged. On failure *r is zeroed. */
ERR_CHECK int run_record_load(struct run_record *r, const char *place, struct err *err);

/* The same, and the process that holds the record; 0: none. A process that ends meanwhile is not
 * taken for one that was killed: its last word counts. */
ERR_CHECK int run_record_look(struct run_record *r, pid_t *owner, const char *place,
                              struct err *err);

/* True where the record says that it runs. Without an owner it was cut: its process was killed, or
 * crashed. */
bool run_record_is_active(const struct run_record *r);

bool run_record_exists(const char *place);

/* Takes the lock: its descriptor, to be closed, or ERR_LOCKED. */
ERR_CHECK int run_record_lock(int *fd, const char *place, struct err *err);
/* The process that holds the lock; 0: none. */
pid_t run_record_owner(const char *place);

/* Places of all records, sorted, each freed by free(), as the array itself. No folder: none. */
ERR_CHECK int run_record_list(char ***out, size_t *count, struct err *err);

/* Names of the phases: "idle", "running", "cancelling", "cancelled", "done", "failed". */
const char *run_record_phase_name(enum app_run_phase phase);

#endif
