#include "src/workbench/ask.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/thread.h"

struct ask {
    ask_answer answer;
    void *context;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;                   /* all below under the lock */
    struct plan plan;            /* the question that waits */
    bool waiting;                /* there is one */
    unsigned long asked, solved; /* numbers of the newest question and of what `text` answers */
    bool failed;
    struct str text;  /* the worker's */
    struct str shown; /* the caller's */
};

/* Takes the waiting question; false: it is time to stop. */
static bool take(struct ask *a, struct plan *plan, unsigned long *number)
{
    pthread_mutex_lock(&a->lock);
    while (!a->waiting && !a->stop)
        pthread_cond_wait(&a->wake, &a->lock);
    *plan = a->plan;
    *number = a->asked;
    a->plan = (struct plan){0};
    a->waiting = false;
    bool go_on = !a->stop;
    pthread_mutex_unlock(&a->lock);
    return go_on;
}

static void *ask_main(void *argument)
{
    struct ask *a = argument;
    struct plan plan;
    unsigned long number;
    while (take(a, &plan, &number)) {
        struct str text = {0};
        struct err err = {0};
        char line[ERR_FILE_MAX + ERR_MESSAGE_MAX];
        int rc = a->answer(a->context, &plan, &text, &err);
        plan_release(&plan);
        if (rc < 0) {
            err_format(line, sizeof line, &err);
            str_clear(&text);
            str_append(&text, line);
        }
        pthread_mutex_lock(&a->lock);
        str_release(&a->text);
        a->text = text;
        a->failed = rc < 0;
        a->solved = number;
        pthread_mutex_unlock(&a->lock);
    }
    plan_release(&plan);
    return NULL;
}

int ask_new(struct ask **out, ask_answer answer, void *context, struct err *err)
{
    struct ask *a = mem_array(1, sizeof *a, err);
    *out = a;
    if (!a)
        return ERR_NOMEM;
    a->answer = answer;
    a->context = context;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->wake, NULL);
    return 0;
}

void ask_free(struct ask *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
    if (a->started)
        pthread_join(a->thread, NULL);
    plan_release(&a->plan);
    str_release(&a->text);
    str_release(&a->shown);
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

static bool start(struct ask *a)
{
    a->started = thread_start(&a->thread, ask_main, a) == 0;
    return a->started;
}

/* Under the lock. The thread begins with the first question: while a trace is loaded, no other
 * thread is needed. */
static enum app_ask put_question(struct ask *a, const struct plan *plan, const char **text)
{
    struct plan copy = {0};
    if (!a->started && !start(a)) {
        *text = "cannot start a thread for the question";
        return APP_ASK_FAILED;
    }
    if (plan_copy(&copy, plan, NULL) < 0) {
        *text = "no memory for the question";
        return APP_ASK_FAILED;
    }
    plan_release(&a->plan);
    a->plan = copy;
    a->waiting = true;
    a->asked++;
    pthread_cond_signal(&a->wake);
    return APP_ASK_WORKING;
}

enum app_ask ask_put(struct ask *a, const struct plan *plan, const char **text)
{
    enum app_ask phase = APP_ASK_WORKING;
    *text = "";
    pthread_mutex_lock(&a->lock);
    if (plan) {
        phase = put_question(a, plan, text);
    } else if (a->solved == a->asked) {
        str_clear(&a->shown);
        str_append(&a->shown, str_get(&a->text));
        *text = str_get(&a->shown);
        phase = a->failed ? APP_ASK_FAILED : APP_ASK_READY;
    }
    pthread_mutex_unlock(&a->lock);
    return phase;
}
