/*
 * The journal of a run, under OUT/.moqa/: what it is (a digest of all that decides the result),
 * which layers are finished with their reports, and the hidden states behind the last of them.
 * Order of writing: hidden states, shard, journal; so a run that was cut anywhere goes on from the
 * last layer in the journal that has hidden states. One process at a time, by flock on
 * OUT/.moqa/lock.
 */
#ifndef MOQA_SRC_QUANT_JOURNAL_H
#define MOQA_SRC_QUANT_JOURNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "data/base/err.h"

struct journal {
    char *out; /* OUT */
    char *dir; /* OUT/.moqa */
    int lock;  /* descriptor, -1: none */
    json_t *root;
    size_t hidden_before; /* layers of the hidden states that the next commit makes superfluous */
    bool complete;        /* the checkpoint was finished, only its journal was left over */
};

/* Would journal_open() accept OUT? Touches nothing. *unfinished: there is a run to go on with. */
ERR_CHECK int journal_probe(const char *out, bool resume, bool *unfinished, struct err *err);

/* Does a process work on OUT? */
bool journal_is_locked(const char *out);

/* Makes OUT, or opens an unfinished run (resume). Takes the lock: ERR_LOCKED where another process
 * has it. Removes what a dead process has left: temporaries, and hidden states that no journal
 * followed. */
ERR_CHECK int journal_open(struct journal *j, const char *out, bool resume, struct err *err);

/* Compares the digest, an object of strings, with the run's, and the stamp of the model's files
 * (checkpoint_stamp()), which only an unfinished run has; starts the journal where there is none.
 * ERR_USAGE names the fields that differ. */
ERR_CHECK int journal_begin(struct journal *j, const json_t *digest, const char *stamp,
                            struct err *err);

/* What lies in OUT, looked at without its lock, which another process may have. */
struct journal_state {
    size_t layers, hidden_layers; /* as the functions below tell them */
    bool complete;
};
ERR_CHECK int journal_look(struct journal_state *state, const char *out, struct err *err);

/* Is there a run to go on with? Before journal_begin(). */
bool journal_begun(const struct journal *j);
/* Is OUT a finished checkpoint without a journal, of a run with this digest? ERR_USAGE names the
 * fields that differ. */
ERR_CHECK int journal_finished(bool *finished, const char *out, const json_t *digest,
                               struct err *err);

size_t journal_layers(const struct journal *j);                     /* finished */
const json_t *journal_layer(const struct journal *j, size_t index); /* report, borrowed */
/* Array of all reports, borrowed. */
const json_t *journal_reports(const struct journal *j);

/* Hidden states in parts of at most part_count floats; `read` gives the count of each. */
struct journal_hidden {
    size_t parts, part_count;
    void *context;
    int (*read)(void *context, size_t part, float *out, size_t *count, struct err *err);
};
/* Hidden states behind layer number `layers` - 1; from the next journal_commit() on they are the
 * ones to go on from. */
ERR_CHECK int journal_save_hidden(struct journal *j, size_t layers,
                                  const struct journal_hidden *hidden, struct err *err);
/* Finished layers behind which the hidden states are those on disk; 0: none are. */
size_t journal_hidden_layers(const struct journal *j);
/* Forgets finished layers from number `layers` on, which will be done again. */
ERR_CHECK int journal_rewind(struct journal *j, size_t layers, struct err *err);
/* The way back: `count` floats, handed on in parts of part_count, the last one shorter. */
struct journal_loader {
    size_t count, part_count;
    void *context;
    int (*take)(void *context, size_t part, const float *values, struct err *err);
};
/* Where it fails, what was handed on is worth nothing: the checksum is known at the end. */
ERR_CHECK int journal_load_hidden(const struct journal *j, const struct journal_loader *loader,
                                  struct err *err);

/* Layer finished: appends its report (the reference is taken over in every case). */
ERR_CHECK int journal_commit(struct journal *j, json_t *report, struct err *err);

/* The run is complete: removes OUT/.moqa. */
ERR_CHECK int journal_remove(struct journal *j, struct err *err);
void journal_close(struct journal *j); /* keeps what is on disk */

#endif
