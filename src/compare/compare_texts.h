/*
 * What a comparison evaluates on, as words of a command line. A text is `FILE`, called by its base
 * name, or `NAME=FILE[,FILE...]`: files joined in this order; a folder stands for its .txt files by
 * name. A task is `NAME=FILE`, NAME one of task_info().
 */
#ifndef MOQA_SRC_COMPARE_COMPARE_TEXTS_H
#define MOQA_SRC_COMPARE_COMPARE_TEXTS_H

#include "src/eval/eval_text.h"
#include "src/eval/task.h"

struct compare_text {
    struct eval_text text; /* its hash once loaded */
    char **paths;          /* [count] */
    size_t count;
    struct token_ids ids; /* once loaded */
    size_t windows;       /* that are evaluated */
};

struct compare_task {
    const struct task_info *info;
    const char *path;           /* borrowed */
    char sha256[HASH_HEX_SIZE]; /* eval_text_hash(), once loaded */
};

struct compare_texts {
    struct compare_text *text;
    size_t texts;
    struct compare_task *task;
    size_t tasks;
    size_t window; /* of the evaluation; once loaded */
};

/* Reads names, and folders, but no file. ERR_USAGE names the word: two of one name, an unknown
 * task, a task without a right choice. */
ERR_CHECK int compare_texts_parse(struct compare_texts *out, const char *const *texts,
                                  size_t texts_count, const char *const *tasks, size_t tasks_count,
                                  struct err *err);
/* Hashes and tokens. samples: windows of each text at most, 0: all. */
ERR_CHECK int compare_texts_load(struct compare_texts *t, const struct model *m, size_t window,
                                 size_t samples, struct err *err);
void compare_texts_release(struct compare_texts *t);

#endif
