/* The prompts of the tasks: one line of a data set to a task_item. Errors name the field. Only
 * task.c includes this. */
#ifndef MOQA_SRC_EVAL_TASK_PROMPTS_H
#define MOQA_SRC_EVAL_TASK_PROMPTS_H

#include "src/eval/task.h"

ERR_CHECK int task_read_arc(struct task_item *item, const json_t *line, struct err *err);
ERR_CHECK int task_read_piqa(struct task_item *item, const json_t *line, struct err *err);
ERR_CHECK int task_read_rte(struct task_item *item, const json_t *line, struct err *err);
ERR_CHECK int task_read_cb(struct task_item *item, const json_t *line, struct err *err);
ERR_CHECK int task_read_copa(struct task_item *item, const json_t *line, struct err *err);
ERR_CHECK int task_read_pair(struct task_item *item, const json_t *line, struct err *err);

#endif
