#include "tests/src/quant_run.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "analysis/planner.h"
#include "data/base/str.h"
#include "data/trace_h5.h"
#include "src/eval/perplexity.h"
#include "src/model/texts.h"

static void check(int rc, const struct err *err)
{
    if (rc < 0)
        fail_msg("%d: %s: %s", rc, err->file, err->message);
}

static const char *model_dir(const char *name)
{
    return strcmp(name, "tiny-olmoe") == 0 ? TEST_SAMPLE "/tiny-olmoe"
                                           : TEST_GOLDEN "/tiny-qwen2moe/model";
}

void quant_run_plan(struct quant_run *r, const char *method, const char *settings)
{
    struct err err = {0};
    struct analysis *a = NULL;
    struct settings s;
    char list[256], *rest = list;
    settings_defaults(&s);
    check(settings_set(&s, "group_size", "64", &err), &err);
    if (strcmp(method, "moqa-no-channels") == 0) {
        method = "moqa";
        check(settings_set(&s, "beta_ch", "0", &err), &err);
    }
    snprintf(list, sizeof list, "%s", settings ? settings : "");
    for (char *item; (item = strsep(&rest, ","));) {
        char *value = strchr(item, '=');
        if (!value)
            continue;
        *value++ = '\0';
        check(settings_set(&s, item, value, &err), &err);
    }
    plan_release(&r->plan);
    r->plan = (struct plan){0};
    struct planner_request request = {.method = method,
                                      .model_name = checkpoint_name(r->model.checkpoint),
                                      .trace_name = "trace.h5"};
    check(analysis_new(&a, &r->trace, &err), &err);
    check(analysis_update(a, &s, &err), &err);
    check(planner_make(&r->plan, a, &request, r->model.config, &err), &err);
    analysis_free(a);
}

void quant_run_open(struct quant_run *r, const char *name, const char *method, size_t windows,
                    size_t threads)
{
    struct err err = {0};
    char path[512];
    *r = (struct quant_run){0};
    check(model_open(&r->model, model_dir(name), &err), &err);
    snprintf(path, sizeof path, TEST_GOLDEN "/%s/trace.h5", name);
    check(trace_h5_load(&r->trace, path, NULL, &err), &err);
    check(backend_cpu_new(&r->backend, threads, &err), &err);
    quant_run_plan(r, method, NULL);
    snprintf(r->folder, sizeof r->folder, "/tmp/moqa-quant-XXXXXX");
    assert_non_null(mkdtemp(r->folder));
    snprintf(r->out, sizeof r->out, "%s/out", r->folder);
    r->starts = calloc(r->trace.windows, sizeof *r->starts);
    assert_non_null(r->starts);
    for (size_t i = 0; i < r->trace.windows; i++)
        r->starts[i] = (size_t)r->trace.window_starts[i];
    r->options = (struct pass_options){
        .model = &r->model,
        .plan = &r->plan,
        .plan_path = "plan.json",
        .backend = r->backend,
        .out = r->out,
        .ids = r->trace.ids,
        .starts = r->starts,
        .windows = windows ? windows : r->trace.windows,
        .window = 256,
        .precision = BACKEND_FP64,
    };
}

void quant_run_remove(const char *folder)
{
    DIR *d = opendir(folder);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        char path[512];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (unlink(path) < 0)
            quant_run_remove(path);
    }
    closedir(d);
    rmdir(folder);
}

void quant_run_close(struct quant_run *r)
{
    quant_run_remove(r->folder);
    plan_release(&r->plan);
    free(r->starts);
    backend_free(r->backend);
    trace_release(&r->trace);
    model_release(&r->model);
}

int quant_run_try(struct quant_run *r, struct err *err)
{
    struct pass *p = NULL;
    int rc = pass_new(&p, &r->options, err);
    if (rc == 0)
        while ((rc = pass_step(p, err)) > 0)
            ;
    pass_free(p);
    return rc;
}

void quant_run_pass(struct quant_run *r)
{
    struct err err = {0};
    check(quant_run_try(r, &err), &err);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void quant_run_copy_model(char out[128], const struct quant_run *r)
{
    char command[1024];
    snprintf(out, 128, "%s/model", r->folder);
    snprintf(command, sizeof command, "cp -r '%s' '%s' && chmod -R u+w '%s'",
             checkpoint_dir(r->model.checkpoint), out, out);
    assert_int_equal(system(command), 0);
}

void quant_run_patch(struct quant_run *r, const char *tensor, size_t row, size_t column,
                     uint16_t value)
{
    char folder[128], path[256];
    struct err err = {0};
    quant_run_copy_model(folder, r);
    const struct tensor_info *t = checkpoint_find(r->model.checkpoint, tensor);
    assert_non_null(t);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    off_t at = (off_t)(t->begin + 2 * (row * t->shape[1] + column));
    assert_int_equal(pwrite(fd, &value, 2, at), 2);
    close(fd);
    check(model_open(&r->model, folder, &err), &err);
}

void quant_run_hash(char out[HASH_HEX_SIZE], const char *folder)
{
    struct err err = {0};
    struct str all = {0};
    char *names[256];
    size_t count = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            assert_true(count < 256);
            names[count++] = strdup(e->d_name);
        }
    closedir(d);
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++) {
        char path[512], hash[HASH_HEX_SIZE];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        check(hash_file(hash, path, &err), &err);
        str_appendf(&all, "%s %s\n", names[i], hash);
        free(names[i]);
    }
    check(hash_bytes(out, str_get(&all), all.length, &err), &err);
    str_release(&all);
}

double quant_run_perplexity(struct backend *b, const char *folder, const char *const *texts,
                            size_t count, size_t max_windows)
{
    struct err err = {0};
    struct model m = {0};
    struct token_ids ids = {0};
    struct perplexity p;
    check(model_open(&m, folder, &err), &err);
    check(texts_encode(&ids, m.tokenizer, texts, count, &err), &err);
    check(perplexity_run(&p, &m, b, ids.data, ids.count, 256, max_windows, NULL, NULL, &err), &err);
    token_ids_release(&ids);
    model_release(&m);
    return p.value;
}
