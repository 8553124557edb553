/*
 * Keeps the record of a pass (src/runs/run_record.h) while it runs: a thread looks at the job now
 * and then and writes what it sees, so that the pass itself never waits for that.
 */
#ifndef MOQA_SRC_RUNS_RUN_KEEPER_H
#define MOQA_SRC_RUNS_RUN_KEEPER_H

#include "src/job.h"
#include "src/runs/run_record.h"

struct run_keeper;

/* Begins the record of a run of `options` (borrowed, with its progress) by a command's arguments,
 * "quantize" first. NULL where no record can be kept, which stops no run: the user has no state
 * folder, or another process runs it. While the keeper lives, it also keeps the log's lines.
 * Nothing is written, and no thread started, before there is a job: who is refused leaves an
 * earlier record alone, and is recorded only where there is none; and a trace is read while no
 * other thread is at work (data/trace_h5_child.c). */
struct run_keeper *run_keeper_new(const struct job_options *options, int argc, char **argv);
/* The job, once there is one; it must live until run_keeper_end(). What is killed soon is known,
 * too: its record is written at once. Call it once at most. */
void run_keeper_watch(struct run_keeper *k, struct job *job);
/* How it ended: 0, ERR_CANCELLED or another error. Frees the keeper; NULL is legal. */
void run_keeper_end(struct run_keeper *k, int rc, const struct err *err);

#endif
