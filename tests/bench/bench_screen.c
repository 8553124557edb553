/*
 * From a key to the finished frame, at the size of OLMoE-1B-7B (synthetic.h): every screen with
 * every slider, layer changes, moves of the selection and typed values, at 80x24 and 200x60, on
 * one core. The whole way through a pseudo-terminal: event, recomputation, drawing, and what
 * curses sends; bytes are counted at the other end. Then loading the same trace from a file.
 *
 *     bench_screen            one JSON line a case: median and 99th percentile of the time, and of
 *                             the processor time, which a busy machine does not change as much
 *     bench_screen budget     the cases of plans within a budget alone
 *     bench_screen bytes      a table: bytes a key on every screen, and seconds at 9,600 baud
 */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <math.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <utmp.h>

#include "data/trace_h5.h"
#include "src/session.h"
#include "synthetic.h"
#include "ui/app/app.h"
#include "ui/app/app_state.h"

enum { SAMPLES = 60, SAMPLES_MAX = 400, RESULTS = 24, FRAME_MS = 16, BAUD_BYTES = 960 };

static double clock_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static double now(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

static void fail(const struct err *err)
{
    char line[2048];
    err_format(line, sizeof line, err);
    fprintf(stderr, "bench_screen: %s\n", line);
    exit(1);
}

/* --- A host that answers from memory --- */

static double cosine[SYNTHETIC_LAYERS * SYNTHETIC_EXPERTS * SYNTHETIC_EXPERTS];
static struct app_run_expert run_expert[SYNTHETIC_LAYERS * SYNTHETIC_EXPERTS];
static struct app_result result[RESULTS];
static struct app_evaluation evaluation[RESULTS];

static enum app_cosine_phase host_cosine(void *context, const double **out, double *progress,
                                         const char **message)
{
    (void)context;
    *out = cosine;
    *progress = 1;
    *message = "";
    return APP_COSINE_READY;
}

static void host_run_poll(void *context, struct app_run *out)
{
    struct app_run_expert *expert = out->expert ? out->expert : malloc(sizeof run_expert);
    (void)context;
    memcpy(expert, run_expert, sizeof run_expert);
    *out = (struct app_run){.phase = APP_RUN_DONE,
                            .layers = SYNTHETIC_LAYERS,
                            .experts = SYNTHETIC_EXPERTS,
                            .layers_done = SYNTHETIC_LAYERS,
                            .steps_done = 64,
                            .steps_total = 64,
                            .memory = (uint64_t)3 << 30,
                            .out = "moqa-runs/moqa-1a2b3c4d",
                            .expert = expert};
}

static size_t host_results(void *context, const struct app_result **out)
{
    (void)context;
    *out = result;
    return RESULTS;
}

static int host_run_start(void *context, const struct plan *plan, bool resume, struct err *err)
{
    (void)context;
    (void)plan;
    (void)resume;
    return err_set(err, ERR_USAGE, NULL, "nothing runs here");
}

static struct losses losses; /* with the default settings */

static const struct losses *host_losses(void *context, const struct settings *settings,
                                        const char **path)
{
    (void)context;
    *path = "losses.json";
    return losses_check_settings(&losses, *path, settings, NULL) == 0 ? &losses : NULL;
}

static void host_losses_poll(void *context, struct app_losses *out)
{
    (void)context;
    *out = (struct app_losses){.phase = APP_LOSSES_IDLE};
}

/* Over four decades, falling with the width by a factor that differs from linear to linear. */
static void fill_losses(const struct model_config *config)
{
    static const unsigned widths[] = {2, 3, 4, 8};
    struct err err = {0};
    if (losses_alloc(&losses, SYNTHETIC_LAYERS, SYNTHETIC_EXPERTS, &err) < 0)
        fail(&err);
    settings_defaults(&losses.settings);
    memcpy(losses.config_sha256, config->sha256, sizeof losses.config_sha256);
    memcpy(losses.widths, widths, sizeof widths);
    losses.widths_count = 4;
    losses.layers_done = SYNTHETIC_LAYERS;
    losses.complete = true;
    for (size_t i = 0; i < SYNTHETIC_LAYERS * SYNTHETIC_EXPERTS * PLAN_LINEARS; i++) {
        size_t e = i / PLAN_LINEARS % SYNTHETIC_EXPERTS;
        struct losses_layer *m = &losses.layers[i / PLAN_LINEARS / SYNTHETIC_EXPERTS];
        double scale = exp(-9.0 * synthetic_uniform());
        m->layer = i / PLAN_LINEARS / SYNTHETIC_EXPERTS;
        m->sensitivity = 0.01 + 0.1 * synthetic_uniform();
        for (size_t w = 0; w < 4; w++) {
            m->experts[e].loss[i % PLAN_LINEARS][w] = scale * exp2(-2.0 * widths[w]);
            scale *= 0.7 + 0.6 * synthetic_uniform();
        }
    }
}

static void fill_host(void)
{
    const size_t n = SYNTHETIC_EXPERTS;
    for (size_t l = 0; l < SYNTHETIC_LAYERS; l++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j <= i; j++)
                cosine[(l * n + i) * n + j] = cosine[(l * n + j) * n + i] =
                    i == j ? 1 : 0.02 + 0.3 * synthetic_uniform();
    for (size_t i = 0; i < SYNTHETIC_LAYERS * n; i++) {
        double rtn = 0.1 + synthetic_uniform();
        run_expert[i] = (struct app_run_expert){.done = true,
                                                .bits = i % 3 ? 4 : 2,
                                                .tokens = (size_t)(40000 * synthetic_uniform()),
                                                .loss = rtn * (0.4 + 0.4 * synthetic_uniform()),
                                                .loss_rtn = rtn};
    }
    for (size_t i = 0; i < RESULTS; i++) {
        evaluation[i] = (struct app_evaluation){.name = "wiki.txt",
                                                .text = "f1",
                                                .window = 2048,
                                                .perplexity = 6 + 2 * synthetic_uniform()};
        result[i] = (struct app_result){.method = "moqa",
                                        .nominal_bits = 2 + 2 * synthetic_uniform(),
                                        .bytes = (uint64_t)((3 + synthetic_uniform()) * 1e9),
                                        .evaluation = &evaluation[i],
                                        .evaluations = 1,
                                        .settings = "alpha=0.5 min_count=3"};
        snprintf(result[i].name, sizeof result[i].name, "moqa-runs/moqa-%08zx", i * 2654435761u);
        result[i].effective_bits = result[i].nominal_bits + 0.25;
    }
}

static void fill_config(struct model_config *c)
{
    *c = (struct model_config){.type = MODEL_OLMOE,
                               .layers = SYNTHETIC_LAYERS,
                               .hidden = 2048,
                               .heads = 16,
                               .kv_heads = 16,
                               .head_dim = 128,
                               .vocab = SYNTHETIC_TYPES,
                               .max_positions = 4096,
                               .experts = SYNTHETIC_EXPERTS,
                               .top_k = SYNTHETIC_TOP_K,
                               .expert_size = 1024,
                               .qk_norm = QK_NORM_ROW,
                               .rms_norm_eps = 1e-5,
                               .rope_theta = 10000,
                               .has_dtype = true,
                               .dtype = DTYPE_BF16};
    snprintf(c->type_name, sizeof c->type_name, "olmoe");
    memset(c->sha256, 'a', HASH_HEX_SIZE - 1);
    for (size_t l = 0; l < c->layers; l++)
        c->is_moe[l] = true;
}

/* --- The child: the workbench on its terminal --- */

struct child {
    struct app *app;
    struct term *term;
    struct cells cells;
    FILE *tell; /* to the parent */
    int go;     /* a byte from there: the frame has been counted */
};

static void frame(struct child *c)
{
    app_tick(c->app);
    app_draw(c->app, &c->cells);
    term_present(c->term, &c->cells, app_look(c->app));
}

static void key(struct child *c, uint32_t code)
{
    struct term_event e = {.key = code};
    if (!app_event(c->app, &e))
        _exit(3);
}

static void wait_counted(struct child *c)
{
    char byte;
    fflush(c->tell);
    while (read(c->go, &byte, 1) < 0 && errno == EINTR)
        continue;
}

/* The last key is measured, those before it are pressed and shown without being counted. */
static void measure(struct child *c, const uint32_t *keys, size_t count)
{
    for (size_t i = 0; i + 1 < count; i++)
        key(c, keys[i]);
    frame(c);
    fprintf(c->tell, "ready\n");
    wait_counted(c);
    double start = now(), cpu = clock_ms(CLOCK_PROCESS_CPUTIME_ID);
    key(c, keys[count - 1]);
    frame(c);
    cpu = clock_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    fprintf(c->tell, "frame %.4f %.4f\n", now() - start, cpu);
    wait_counted(c);
}

static void begin(struct child *c, const char *screen, const char *move)
{
    fprintf(c->tell, "case %s|%s\n", screen, move);
}

static void sliders(struct child *c, const struct view *v)
{
    for (size_t i = 0; v->sliders[i]; i++) {
        begin(c, v->name, v->sliders[i]);
        for (int n = 0; n < SAMPLES; n++)
            measure(c, (uint32_t[]){n % 12 < 6 ? TERM_KEY_RIGHT : TERM_KEY_LEFT}, 1);
        key(c, '0');
        key(c, TERM_KEY_TAB);
    }
}

static void typed(struct child *c, const struct view *v)
{
    begin(c, v->name, "typed value");
    for (int n = 0; n < SAMPLES; n++)
        measure(c,
                (uint32_t[]){TERM_KEY_ENTER, '0', '.', (uint32_t)('1' + n % 9),
                             (uint32_t)('1' + n % 7), TERM_KEY_ENTER},
                6);
    key(c, '0');
}

static void moves(struct child *c, const struct view *v, const char *name, uint32_t forth,
                  uint32_t back, int run)
{
    begin(c, v->name, name);
    for (int n = 0; n < SAMPLES; n++)
        measure(c, (uint32_t[]){n % (2 * run) < run ? forth : back}, 1);
}

static void type(struct child *c, const char *text)
{
    for (; *text; text++)
        key(c, *text == '\n' ? TERM_KEY_ENTER : (uint32_t)(unsigned char)*text);
}

static void card_moves(struct child *c, const char *name, uint32_t forth, uint32_t back, int run)
{
    begin(c, "card", name);
    for (int n = 0; n < SAMPLES; n++)
        measure(c, (uint32_t[]){n % (2 * run) < run ? forth : back}, 1);
}

/* Searching, and the cards that follow what is selected. */
static void cards(struct child *c)
{
    type(c, "1");
    begin(c, "card", "a letter of a text");
    for (int n = 0; n < SAMPLES; n++) {
        measure(c, (uint32_t[]){'/', (uint32_t)('1' + n % 9)}, 2);
        key(c, TERM_KEY_ESC);
    }
    begin(c, "card", "search");
    for (int n = 0; n < SAMPLES; n++)
        measure(c, (uint32_t[]){'/', '"', (uint32_t)('1' + n % 9), '"', TERM_KEY_ENTER}, 5);
    type(c, "/rank 40000\n");
    card_moves(c, "token's rank", '>', '<', 12);
    card_moves(c, "token's layer", ']', '[', SYNTHETIC_LAYERS - 1);
    key(c, TERM_KEY_ESC);
    type(c, "3/7\n");
    card_moves(c, "expert", '>', '<', 12);
    card_moves(c, "expert's layer", ']', '[', SYNTHETIC_LAYERS - 1);
    key(c, TERM_KEY_ESC);
}

/* Plans within a budget: steps of its slider in bits and in bytes, whole experts, pins, and other
 * screens' sliders meanwhile. */
static void budgets(struct child *c)
{
    type(c, "5b\n2.1\n");
    moves(c, &view_plan, "budget in bits", TERM_KEY_RIGHT, TERM_KEY_LEFT, 40);
    type(c, "\n2.1\n");
    moves(c, &view_plan, "budget, ten steps", 'L', 'H', 9);
    moves(c, &view_plan, "pin within a budget", 'p', 'p', 6);
    type(c, "\n1.9G\n");
    moves(c, &view_plan, "budget in bytes", TERM_KEY_RIGHT, TERM_KEY_LEFT, 40);
    begin(c, view_plan.name, "budget and MoQa");
    for (int n = 0; n < SAMPLES; n++)
        measure(c, (uint32_t[]){'b'}, 1);
    type(c, "\n2.5\n\t\t");
    moves(c, &view_plan, "grain", TERM_KEY_RIGHT, TERM_KEY_LEFT, 40);
    type(c, "3");
    begin(c, view_significance.name, "alpha in a budget");
    for (int n = 0; n < SAMPLES; n++)
        measure(c, (uint32_t[]){n % 12 < 6 ? TERM_KEY_RIGHT : TERM_KEY_LEFT}, 1);
    for (const char *const *name = view_significance.sliders; strcmp(*name, "mapping") != 0; name++)
        key(c, TERM_KEY_TAB);
    begin(c, view_significance.name, "mapping in a budget");
    for (int n = 0; n < SAMPLES; n++)
        measure(c, (uint32_t[]){n % 12 < 6 ? TERM_KEY_RIGHT : TERM_KEY_LEFT}, 1);
    type(c, "5b");
}

/* A forked process pays for its copy of every page at the first touch; the workbench is none. */
static void touch_pages(struct child *c)
{
    key(c, '2');
    for (int i = 0; i < 8; i++) {
        key(c, TERM_KEY_RIGHT);
        frame(c);
    }
}

static bool only_budgets;

static void drive(struct child *c)
{
    touch_pages(c);
    for (size_t i = 0; i < APP_VIEWS && !only_budgets; i++) {
        const struct view *v = views[i];
        key(c, (uint32_t)('1' + i));
        sliders(c, v);
        if (v->sliders[0] && settings_find(v->sliders[0])->kind != SETTING_CHOICE)
            typed(c, v);
        moves(c, v, "layer", ']', '[', SYNTHETIC_LAYERS - 1);
        moves(c, v, "selection", TERM_KEY_DOWN, TERM_KEY_UP, 12);
        begin(c, v->name, "another screen and back");
        for (int n = 0; n < SAMPLES; n++)
            measure(c,
                    (uint32_t[]){(uint32_t)('1' + (i + 1 + (size_t)n % 6) % APP_VIEWS),
                                 (uint32_t)('1' + i)},
                    2);
    }
    if (!only_budgets)
        cards(c);
    budgets(c);
    fprintf(c->tell, "end\n");
    fflush(c->tell);
}

static int child_main(const struct app_options *options, int tell, int go)
{
    struct child c = {.tell = fdopen(tell, "w"), .go = go};
    struct err err = {0};
    struct style_look look;
    int w, h;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    sched_setaffinity(0, sizeof one, &one);
    setenv("TERM", "xterm-256color", 1);
    setlocale(LC_ALL, "C.UTF-8");
    if (!c.tell || term_open(&c.term, &look, &err) < 0 || app_new(&c.app, options, &look, &err) < 0)
        return 1;
    term_size(c.term, &w, &h);
    if (cells_init(&c.cells, w, h, &err) < 0)
        return 1;
    frame(&c);
    drive(&c);
    cells_release(&c.cells);
    app_free(c.app);
    term_close(c.term);
    return 0;
}

/* --- The parent: counts what comes and prints --- */

struct tally {
    char screen[64], move[64], size[16];
    double ms[SAMPLES_MAX], cpu[SAMPLES_MAX], bytes[SAMPLES_MAX];
    size_t count;
    bool table;
};

static int compare(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static double percentile(double *sorted, size_t count, double p)
{
    size_t at = (size_t)(p * (double)(count - 1) + 0.999999);
    return sorted[at];
}

static void print_case(struct tally *t)
{
    if (t->count == 0)
        return;
    qsort(t->ms, t->count, sizeof *t->ms, compare);
    qsort(t->cpu, t->count, sizeof *t->cpu, compare);
    qsort(t->bytes, t->count, sizeof *t->bytes, compare);
    double median = percentile(t->ms, t->count, 0.5), last = percentile(t->ms, t->count, 0.99);
    double bytes = percentile(t->bytes, t->count, 0.5), most = percentile(t->bytes, t->count, 0.99);
    if (t->table)
        printf("%-8s %-13s %-24s %7.0f %7.0f %7.2f s\n", t->size, t->screen, t->move, bytes, most,
               bytes / BAUD_BYTES);
    else
        printf("{\"bench\":\"screen\",\"size\":\"%s\",\"screen\":\"%s\",\"move\":\"%s\","
               "\"median_ms\":%.3f,\"p99_ms\":%.3f,\"of_frame\":%.2f,\"cpu_median_ms\":%.3f,"
               "\"cpu_p99_ms\":%.3f,\"median_bytes\":%.0f,\"p99_bytes\":%.0f}\n",
               t->size, t->screen, t->move, median, last, last / FRAME_MS,
               percentile(t->cpu, t->count, 0.5), percentile(t->cpu, t->count, 0.99), bytes, most);
    fflush(stdout);
    t->count = 0;
}

static size_t drain(int master)
{
    char buffer[1 << 16];
    size_t sum = 0;
    struct pollfd fd = {.fd = master, .events = POLLIN};
    while (poll(&fd, 1, 0) > 0 && (fd.revents & POLLIN)) {
        ssize_t n = read(master, buffer, sizeof buffer);
        if (n <= 0)
            break;
        sum += (size_t)n;
    }
    return sum;
}

/* One line of the child; false at its end. */
static bool take_line(struct tally *t, const char *line, size_t bytes, int go)
{
    double ms, cpu;
    if (sscanf(line, "case %63[^|]|%63[^\n]", t->screen, t->move) == 2)
        return true;
    if (sscanf(line, "frame %lf %lf", &ms, &cpu) == 2 && t->count < SAMPLES_MAX) {
        t->ms[t->count] = ms;
        t->cpu[t->count] = cpu;
        t->bytes[t->count++] = (double)bytes;
    }
    if (write(go, "g", 1) != 1)
        return false;
    return strcmp(line, "end\n") != 0;
}

static void watch(int master, int tell, int go, struct tally *t)
{
    char line[256];
    size_t used = 0, bytes = 0;
    for (;;) {
        struct pollfd fd[2] = {{.fd = master, .events = POLLIN}, {.fd = tell, .events = POLLIN}};
        if (poll(fd, 2, 30000) <= 0)
            return;
        bytes += drain(master);
        if (!(fd[1].revents & (POLLIN | POLLHUP)))
            continue;
        if (used + 1 >= sizeof line || read(tell, line + used, 1) != 1)
            return;
        if (line[used++] != '\n')
            continue;
        line[used] = '\0';
        used = 0;
        if (strncmp(line, "case", 4) == 0)
            print_case(t);
        bytes += drain(master); /* what the frame sent was written before its line */
        if (!take_line(t, line, bytes, go))
            break;
        bytes = 0;
    }
    print_case(t);
}

static void run_size(const struct app_options *options, int w, int h, bool table)
{
    struct winsize size = {.ws_row = (unsigned short)h, .ws_col = (unsigned short)w};
    struct tally t = {.table = table};
    int tell[2], go[2], master, slave, status;
    snprintf(t.size, sizeof t.size, "%dx%d", w, h);
    if (openpty(&master, &slave, NULL, NULL, &size) < 0 || pipe(tell) < 0 || pipe(go) < 0) {
        perror("bench_screen");
        exit(1);
    }
    pid_t child = fork();
    if (child == 0) {
        close(master);
        login_tty(slave);
        _exit(child_main(options, tell[1], go[0]));
    }
    close(slave);
    close(tell[1]);
    close(go[0]);
    watch(master, tell[0], go[1], &t);
    drain(master);
    close(go[1]);
    close(tell[0]);
    close(master);
    if (waitpid(child, &status, 0) != child || status != 0)
        fprintf(stderr, "bench_screen: the child ended with %d\n", status);
}

/* --- Loading --- */

static void forget(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
}

/* When a step of the loading was told of last. */
struct steps {
    double last[WATCH_STEPS];
};

static void note_step(void *context, enum watch_step step, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    ((struct steps *)context)->last[step] = now();
}

/* As the workbench does it. */
static void load_once(const char *name, const char *path)
{
    struct session session;
    struct err err = {0};
    struct rusage use;
    struct steps steps = {0};
    struct watch watch = {NULL, note_step, &steps};
    double start = now();
    if (session_open_watched(&session, path, NULL, &watch, &err) < 0)
        fail(&err);
    double end = now(), checked = steps.last[WATCH_CHECK];
    getrusage(RUSAGE_SELF, &use);
    printf("{\"bench\":\"screen\",\"case\":\"open, %s\",\"read_ms\":%.0f,\"check_ms\":%.0f,"
           "\"index_ms\":%.0f,\"total_ms\":%.0f,\"peak_mib\":%.0f}\n",
           name, steps.last[WATCH_READ] - start, checked - steps.last[WATCH_READ], end - checked,
           end - start, (double)use.ru_maxrss / 1024);
    fflush(stdout);
    session_release(&session);
}

/* Each in a process of its own, for its memory. */
static void run_load(const struct trace *t)
{
    char path[] = "/tmp/moqa-bench-XXXXXX";
    struct err err = {0};
    struct stat st;
    int status, fd = mkstemp(path);
    if (fd < 0 || trace_h5_save(t, path, &err) < 0)
        fail(&err);
    close(fd);
    if (stat(path, &st) == 0)
        printf("{\"bench\":\"screen\",\"case\":\"file\",\"mib\":%.1f}\n",
               (double)st.st_size / (1 << 20));
    fflush(stdout);
    char self[] = "/proc/self/exe", load[] = "load", names[2][8] = {"cold", "warm"};
    for (size_t i = 0; i < 2; i++) {
        if (i == 0)
            forget(path);
        char *arguments[] = {self, load, names[i], path, NULL};
        pid_t child = fork();
        if (child == 0) {
            execv(self, arguments);
            _exit(1);
        }
        waitpid(child, &status, 0);
    }
    unlink(path);
}

int main(int argc, char **argv)
{
    static struct model_config config;
    struct trace trace;
    struct err err = {0};
    bool table = argc > 1 && strcmp(argv[1], "bytes") == 0;
    only_budgets = argc > 1 && strcmp(argv[1], "budget") == 0;
    if (argc == 4 && strcmp(argv[1], "load") == 0) {
        load_once(argv[2], argv[3]);
        return 0;
    }
    if (synthetic_trace(&trace, &err) < 0)
        fail(&err);
    fill_host();
    fill_config(&config);
    fill_losses(&config);
    struct app_options options = {
        .trace = &trace,
        .trace_path = "olmoe-1b-7b.h5",
        .trace_sha256 = "9f64a747e1b97f131fabb6b447296c9b6f0201e79fb3c5356e6c77e89b6a806a",
        .config = &config,
        .plan_path = "/nonexistent/plan.json",
        .no_session = true,
        .host = {.cosine = host_cosine,
                 .run_start = host_run_start,
                 .run_poll = host_run_poll,
                 .losses = host_losses,
                 .losses_poll = host_losses_poll,
                 .results = host_results}};
    settings_defaults(&options.settings);
    if (analysis_new(&options.analysis, &trace, &err) < 0)
        fail(&err);
    if (table)
        printf("%-8s %-13s %-24s %7s %7s %9s\n", "size", "screen", "key", "bytes", "99 %",
               "9600 baud");
    run_size(&options, 80, 24, table);
    run_size(&options, 200, 60, table);
    analysis_free(options.analysis);
    if (!table && !only_budgets)
        run_load(&trace);
    trace_release(&trace);
    return 0;
}
