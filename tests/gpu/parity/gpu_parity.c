/*
 * Compares all operations of the GPU's backend with the CPU's and prints a table.
 *
 *     gpu_parity [TRIALS [SIZES [PRODUCTS [OPERATION]]]]
 *
 *     SIZES      small (default) or large
 *     PRODUCTS   tf32 (default) or full
 *     OPERATION  one of the table, by its name, in this process: for debuggers and
 * compute-sanitizer. Else operations run in a process beside this one, which ends with the first
 * that fails, and another goes on behind it: what breaks a device breaks it for a process.
 *     MOQA_ROW_SECONDS=N in the environment: the most that an operation may take
 *
 * Exit status: 0 all agree, 1 some do not, 2 there is no such operation, 77 there is no GPU.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gpu/cuda_load.h"
#include "parity.h"

enum { NO_GPU = 77, ARGUMENTS = 5, NAME_WIDTH = 37 };

static const char from[] = "from:"; /* and a number: this one and those behind it */

static unsigned row_seconds(void)
{
    const char *text = getenv("MOQA_ROW_SECONDS");
    return text ? (unsigned)strtoul(text, NULL, 10) : 0;
}

static void print_row(const struct parity_result *r)
{
    printf("%-*s %-6s %11.2e %11.2e %8.3f%% %8.3f%%%s%s\n", NAME_WIDTH, r->name,
           r->good ? "ok" : "FAILED", r->worst, r->tolerance, 100.0 * r->unequal,
           100.0 * r->allowed, r->good ? "" : "  ", r->message);
    fflush(stdout);
}

/* --- The process that computes. --- */

struct range {
    size_t first, end;
    size_t trials;
    bool large, full;
};

static bool run_rows(const struct range *range, struct backend *cpu, struct backend *gpu)
{
    bool good = true;
    for (size_t i = range->first; good && i < range->end; i++) {
        alarm(row_seconds()); /* its signal ends the process */
        struct parity_result r = parity_run(
            i, cpu, gpu, range->trials, range->large ? PARITY_LARGE : PARITY_SMALL, !range->full);
        print_row(&r);
        good = r.good;
    }
    alarm(0);
    return good;
}

static int compute(const struct range *range, bool head)
{
    struct backend *cpu = NULL, *gpu = NULL;
    struct cuda_options options = {.full_precision = range->full};
    struct err err = {0};
    char line[2048];
    alarm(row_seconds());
    if (cuda_load_backend(&gpu, &options, &err) < 0 || backend_cpu_new(&cpu, 0, &err) < 0) {
        err_format(line, sizeof line, &err);
        fprintf(head ? stdout : stderr, "parity: skipped: %s\n", line);
        backend_free(gpu);
        return NO_GPU;
    }
    gpu->ops->describe(gpu, line, sizeof line);
    if (head)
        printf("parity with %s, %zu trials of %s sizes\n%-*s %-6s %11s %11s %9s %9s\n", line,
               range->trials, range->large ? "large" : "small", NAME_WIDTH, "operation", "",
               "worst", "tolerance", "unequal", "allowed");
    bool good = run_rows(range, cpu, gpu);
    backend_free(gpu);
    backend_free(cpu);
    return good ? 0 : 1;
}

/* --- The process that starts it, and never touches a device. --- */

/* This program once more for operation `first` and those behind it; its output in *out. */
static pid_t start(char **argv, size_t first, FILE **out)
{
    char operation[64];
    int ends[2];
    snprintf(operation, sizeof operation, "%s%zu", from, first);
    char *arguments[ARGUMENTS + 1] = {argv[0], argv[1], argv[2], argv[3], operation};
    fflush(stdout);
    if (pipe(ends) < 0)
        return -1;
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execv("/proc/self/exe", arguments);
        _exit(127);
    }
    close(ends[1]);
    *out = child < 0 ? NULL : fdopen(ends[0], "r");
    return child;
}

static bool is_row(const char *line)
{
    if (strlen(line) <= NAME_WIDTH)
        return false;
    const char *state = line + NAME_WIDTH + 1;
    return strncmp(state, "ok ", 3) == 0 || strncmp(state, "FAILED ", 7) == 0;
}

/* Hands lines on; how many of them were rows. */
static size_t relay(FILE *in)
{
    char *line = NULL;
    size_t size = 0, rows = 0;
    while (getline(&line, &size, in) > 0) {
        fputs(line, stdout);
        fflush(stdout);
        rows += is_row(line);
    }
    free(line);
    fclose(in);
    return rows;
}

/* A row for what a process said nothing of. */
static void print_lost(const char *name, int status)
{
    struct parity_result r = {.name = name};
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        snprintf(r.message, sizeof r.message, "no end after %u s", row_seconds());
    else if (WIFSIGNALED(status))
        snprintf(r.message, sizeof r.message, "the process ended with signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status) == NO_GPU)
        snprintf(r.message, sizeof r.message, "the device could not be opened again");
    else
        snprintf(r.message, sizeof r.message, "the process ended with status %d",
                 WEXITSTATUS(status));
    print_row(&r);
}

static int supervise(char **argv)
{
    const size_t count = parity_count();
    size_t bad = 0;
    for (size_t next = 0; next < count;) {
        FILE *out = NULL;
        int status = 0;
        pid_t child = start(argv, next, &out);
        if (child < 0 || !out)
            return perror("gpu_parity"), 1;
        bool first = next == 0;
        next += relay(out);
        waitpid(child, &status, 0);
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        if (first && code == NO_GPU)
            return NO_GPU;
        bool good = code == 0 && next == count, told = code == 1;
        bad += !good;
        if (!good && !told)
            print_lost(next < count ? parity_name(next) : "the end of the process", status);
        next += !good && !told;
    }
    return bad ? 1 : 0;
}

static bool find(size_t *index, const char *name)
{
    for (*index = 0; *index < parity_count(); ++*index)
        if (strcmp(parity_name(*index), name) == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    static char trials[] = "10", sizes[] = "small", products[] = "tf32";
    char *arguments[ARGUMENTS] = {argv[0], trials, sizes, products, NULL};
    for (int i = 1; i < argc && i < ARGUMENTS; i++)
        arguments[i] = argv[i];
    const char *operation = arguments[4];
    struct range range = {.end = parity_count(),
                          .trials = strtoul(arguments[1], NULL, 10),
                          .large = strcmp(arguments[2], "large") == 0,
                          .full = strcmp(arguments[3], "full") == 0};
    if (!operation)
        return supervise(arguments);
    if (strncmp(operation, from, strlen(from)) == 0) {
        range.first = strtoul(operation + strlen(from), NULL, 10);
        return compute(&range, range.first == 0);
    }
    if (!find(&range.first, operation)) {
        fprintf(stderr, "gpu_parity: there is no operation \"%s\"\n", operation);
        return 2;
    }
    range.end = range.first + 1;
    return compute(&range, true);
}
