/*
 * The quantization pass: plan + checkpoint + calibration tokens -> quantized checkpoint, layer by
 * layer with a journal. Interrupted at any moment it resumes and ends in the same bytes; the
 * bytes do not depend on the number of threads.
 *
 *     pass_new(&p, &options, err);                 checks everything, opens or resumes OUT
 *     while ((rc = pass_step(p, err)) > 0) ;       one layer a step
 *     pass_free(p);
 */
#ifndef MOQA_SRC_QUANT_PASS_H
#define MOQA_SRC_QUANT_PASS_H

#include "data/base/str.h"
#include "data/checkpoint.h"
#include "data/plan.h"
#include "src/model/model.h"
#include "src/progress.h"

enum pass_format { PASS_MOQA, PASS_GPTQ, PASS_GPTQ_V2, PASS_HF, PASS_FORMAT_COUNT };

extern const char *const pass_format_names[PASS_FORMAT_COUNT]; /* "moqa", "gptq", ... */

struct pass_options {
    const struct model *model;
    const struct plan *plan;
    const char *plan_path; /* for messages */
    struct backend *backend;
    const char *backend_note; /* for the report: why this backend; "" or NULL: no more to say */
    const char *out; /* folder to make; must not exist, or be an unfinished run with resume */
    enum pass_format format;
    bool resume;          /* go on with an unfinished run; start one where there is none */
    const uint32_t *ids;  /* calibration tokens */
    const size_t *starts; /* [windows] */
    size_t windows, window;
    /* When hidden states are saved, from which an interrupted run goes on: behind every layer up to
     * hidden_always bytes (0: 256 MiB); larger ones once computing has taken hidden_share times as
     * long as saving takes (0: 10). Layers behind the last ones saved are done again. */
    uint64_t hidden_always;
    double hidden_share;
    enum backend_precision precision; /* of factorization and sweep */
    struct progress *progress;        /* may be NULL */
};

/* Per expert, as the report and the screen show it. */
struct pass_expert {
    bool done;
    unsigned bits;
    bool mixed;           /* gate, up and down differ in bits */
    size_t tokens;        /* n_e */
    double loss;          /* tr(E H E^T) summed over the expert's linears, after */
    double loss_rtn;      /* the same for round to nearest */
    double damping;       /* largest in force */
    bool fallback;        /* rounded to nearest after the damping ladder failed */
    bool shrunk_to_layer; /* no tokens: the layer's mean Hessian */
};

/* A snapshot for the screen. Safe from any thread. experts: [layers][experts], copied. */
struct pass_snapshot {
    size_t layers, experts;
    size_t layer; /* MoE layer in work */
    size_t layers_done;
    size_t fallbacks;
    struct pass_expert *expert; /* caller's memory, layers * experts */
};

struct pass;

ERR_CHECK int pass_new(struct pass **out, const struct pass_options *options, struct err *err);
/* Is OUT what this run ends in, so that nothing is left to do? ERR_USAGE names what differs where
 * it is what another run has ended in. A folder with a journal is never finished. */
ERR_CHECK int pass_is_finished(bool *finished, const struct pass_options *options, struct err *err);
/* 1: more to do; 0: finished, the checkpoint is complete; negative: error (ERR_CANCELLED: what
 * is done is kept, resume goes on). */
ERR_CHECK int pass_step(struct pass *p, struct err *err);
/* A step failed for a reason of the backend's: frees all that lies on it, so that it can be freed
 * or asked for less. Only pass_attach() and pass_free() may follow. */
void pass_detach(struct pass *p);
/* The next step does the layer again that failed, on `backend`, from the journal's last layer.
 * `note` goes into the layer's report. */
void pass_attach(struct pass *p, struct backend *backend, const char *note);
void pass_snapshot(struct pass *p, struct pass_snapshot *out);
void pass_free(struct pass *p); /* releases the lock; an unfinished run stays resumable */

/* What a run would do, without doing it: sizes, bits, bytes on disk, peak memory, free space, and
 * everything that would be refused. */
struct pass_estimate {
    uint64_t bytes_in, bytes_out, bytes_free, peak_memory;
    uint64_t device_memory; /* of peak_memory, what lies on a GPU with memory of its own; where that
                               has layer_weights more, the next layer's come ahead */
    uint64_t layer_weights; /* bytes of the largest layer's linears in float32 */
    double nominal_bits, effective_bits;
    size_t calibration_tokens;
};
ERR_CHECK int pass_dry_run(struct pass_estimate *out, const struct pass_options *options,
                           struct err *err);

#endif
