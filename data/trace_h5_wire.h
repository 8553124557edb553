/*
 * Inside of trace_h5: how the child that reads a file hands its arrays to the parent.
 *
 * Both share one anonymous file (memfd). It begins with a struct wire; the arrays follow at the
 * offsets that it names, each in the file's own element width. The parent looks at it only when
 * the child is gone and the file is sealed against any further change, and trusts nothing in it.
 */
#ifndef MOQA_DATA_TRACE_H5_WIRE_H
#define MOQA_DATA_TRACE_H5_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/base/watch.h"
#include "data/trace.h"

enum wire_dataset {
    WIRE_IDS,
    WIRE_STARTS,
    WIRE_EXPERTS,
    WIRE_GATES,
    WIRE_INDEX,
    WIRE_VOCAB_BYTES,
    WIRE_VOCAB_OFFSETS,
    WIRE_DATASETS,
};

enum wire_kind { WIRE_ABSENT, WIRE_UNSIGNED, WIRE_SIGNED, WIRE_FLOAT };

enum {
    WIRE_PLACE_MAX = 64,
    WIRE_DONE = 0x61716f6d, /* the child has written everything it promises */
};

/* All arrays of one trace together, in the element widths of the file. */
#define WIRE_BYTES_MAX ((uint64_t)4 << 30)

struct wire_array {
    uint64_t offset; /* bytes from the start of the shared file */
    uint64_t count;  /* elements */
    uint32_t kind;   /* enum wire_kind */
    uint32_t width;  /* bytes an element */
};

struct wire {
    uint32_t state;             /* WIRE_DONE */
    int32_t code;               /* enum err_code; below 0: `message` says why */
    char place[WIRE_PLACE_MAX]; /* what is being read, for the message when the child dies */
    char message[ERR_MESSAGE_MAX];
    uint64_t layers, experts, top_k, shared_experts, vocab, window, norm_topk_prob;
    char creator[TRACE_NAME_MAX];
    char created[TRACE_NAME_MAX];
    char model_name[TRACE_NAME_MAX];
    char model_type[TRACE_NAME_MAX];
    char dataset[TRACE_NAME_MAX];
    char config_sha256[TRACE_NAME_MAX];
    char tokenizer_sha256[TRACE_NAME_MAX];
    struct wire_array array[WIRE_DATASETS];
};

struct wire_spec {
    const char *group; /* "/tokens" */
    const char *path;  /* "/tokens/ids" */
    unsigned rank;
    bool floating;
    bool optional;
};

extern const struct wire_spec wire_specs[WIRE_DATASETS];

/* The attributes as a trace without arrays. */
ERR_CHECK int wire_attributes(struct trace *out, const struct wire *w, const char *path,
                              struct err *err);

/* Reads `path` into the shared file `fd` (which holds a zeroed struct wire) and returns; the
 * process then ends. */
typedef void (*wire_reader)(const char *path, int fd);

/* The reader of HDF5 files. */
void wire_read_h5(const char *path, int fd);
#define WIRE_READER_H5 "h5"

struct wire_limits {
    unsigned cpu_seconds;
    unsigned wall_seconds;
};

/*
 * Runs the reader of that name in a child under limits and waits for it. On success `*fd` is the
 * sealed shared file, closed by the caller. The child is the same program: of a name other than
 * WIRE_READER_H5 its main() must make sense, by the two functions behind this one.
 */
ERR_CHECK int wire_run(int *fd, const char *reader, const char *path,
                       const struct wire_limits *limits, const struct watch *watch,
                       struct err *err);

/* Has this process been started by wire_run()? argv[1] is then the reader's name. */
bool wire_child_is_one(int argc, char **argv);
_Noreturn void wire_child_run(char **argv, wire_reader reader);

/* Makes a validated trace of a shared file. */
ERR_CHECK int wire_import(struct trace *out, int fd, const char *path, const struct watch *watch,
                          struct err *err);

/* trace_h5_load() with another reader or other limits. */
ERR_CHECK int wire_load(struct trace *out, const char *path, const char *reader,
                        const struct wire_limits *limits, const struct watch *watch,
                        struct err *err);

#endif
