/* A block's threads as coroutines. */
#include "emulation_block.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

enum { STACK_BYTES = 96 << 10 };

enum state { READY, AT_BARRIER, AT_EXCHANGE, LEFT };

/*
 * A stack to go on with. The C library's swapcontext() asks the kernel for the signal mask each
 * time, which takes longer than what most threads do between two barriers.
 */
#if defined(__x86_64__)
struct machine {
    void *top; /* where the registers lie */
};

void emulation_switch(struct machine *from, const struct machine *to);

__asm__(".text\n"
        ".globl emulation_switch\n"
        ".type emulation_switch, @function\n"
        "emulation_switch:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq (%rsi), %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size emulation_switch, .-emulation_switch\n");

/* Six registers and the address to return to; functions start 8 bytes off a multiple of 16. */
static void machine_init(struct machine *m, unsigned char *stack, size_t size, void (*entry)(void))
{
    void **top = (void **)(void *)(stack + size) - 8;
    memset(top, 0, 8 * sizeof *top);
    memcpy(&top[6], &entry, sizeof entry);
    m->top = top;
}
#else
struct machine {
    ucontext_t context;
};

static void emulation_switch(struct machine *from, struct machine *to)
{
    swapcontext(&from->context, &to->context);
}

static void machine_init(struct machine *m, unsigned char *stack, size_t size, void (*entry)(void))
{
    getcontext(&m->context);
    m->context.uc_stack.ss_sp = stack;
    m->context.uc_stack.ss_size = size;
    m->context.uc_link = NULL;
    makecontext(&m->context, entry, 0);
}
#endif

struct coroutine {
    struct machine machine;
    enum state state;
    struct emulation_index index;
};

struct emulation_place emulation_place;

static struct {
    struct coroutine thread[EMULATION_THREADS_MAX];
    unsigned order[EMULATION_THREADS_MAX];
    unsigned char *stacks; /* kept from launch to launch: fresh memory is slow */
    struct machine scheduler;
    size_t count, current;
    uint64_t seed;
    size_t launches;
    void (*body)(void *context);
    void *argument;
    size_t shared_size; /* what the kernel asked for; 0: nothing so far */
    _Alignas(64) unsigned char shared[EMULATION_SHARED_MAX];
    unsigned char lane[EMULATION_THREADS_MAX][EMULATION_LANE_MAX];
} e;

void emulation_stop(const char *what)
{
    fprintf(stderr, "emulation: block (%u, %u, %u) of a kernel: %s\n", emulation_place.block.x,
            emulation_place.block.y, emulation_place.block.z, what);
    abort();
}

void emulation_set_order(uint64_t seed)
{
    e.seed = seed;
}

size_t emulation_launches(void)
{
    return e.launches;
}

static void wait_in(enum state state)
{
    struct coroutine *self = &e.thread[e.current];
    self->state = state;
    emulation_switch(&self->machine, &e.scheduler);
}

void emulation_barrier(void)
{
    wait_in(AT_BARRIER);
}

void *emulation_shared(size_t size)
{
    if (size > EMULATION_SHARED_MAX || (e.shared_size && e.shared_size != size))
        emulation_stop("shared memory of more than 48 KiB, or of two sizes");
    if (!e.shared_size)
        memset(e.shared, 0xff, size);
    e.shared_size = size;
    return e.shared;
}

unsigned emulation_lane(void)
{
    return (unsigned)(e.current % EMULATION_WARP);
}

void emulation_exchange(void *out, const void *in, size_t size, unsigned mask)
{
    size_t self = e.current, other = self ^ mask;
    if (mask >= EMULATION_WARP || other >= e.count || size > EMULATION_LANE_MAX)
        emulation_stop("an exchange with a lane that is not there");
    memcpy(e.lane[self], in, size);
    wait_in(AT_EXCHANGE); /* all have written */
    memcpy(out, e.lane[other], size);
    wait_in(AT_EXCHANGE); /* all have read */
}

void emulation_gather(void *all, const void *in, size_t size)
{
    size_t first = e.current - e.current % EMULATION_WARP;
    if (first + EMULATION_WARP > e.count || size > EMULATION_LANE_MAX)
        emulation_stop("a warp that is not whole");
    memcpy(e.lane[e.current], in, size);
    wait_in(AT_EXCHANGE); /* all have written */
    for (size_t i = 0; i < EMULATION_WARP; i++)
        memcpy((unsigned char *)all + i * size, e.lane[first + i], size);
    wait_in(AT_EXCHANGE); /* all have read */
}

static void enter(void)
{
    e.body(e.argument);
    e.thread[e.current].state = LEFT;
    emulation_switch(&e.thread[e.current].machine, &e.scheduler);
}

/* Threads first .. last - 1 go on where all of them wait in `state`. */
static bool release(size_t first, size_t last, enum state state)
{
    for (size_t i = first; i < last; i++)
        if (e.thread[i].state != state)
            return false;
    for (size_t i = first; i < last; i++)
        e.thread[i].state = READY;
    return true;
}

static bool all_left(void)
{
    for (size_t i = 0; i < e.count; i++)
        if (e.thread[i].state != LEFT)
            return false;
    return true;
}

static void shuffle(void)
{
    for (size_t i = 0; i < e.count; i++)
        e.order[i] = (unsigned)i;
    for (size_t i = e.count; e.seed && i-- > 1;) {
        e.seed = e.seed * 6364136223846793005u + 1442695040888963407u;
        size_t other = (size_t)((e.seed >> 33) % (i + 1));
        unsigned kept = e.order[i];
        e.order[i] = e.order[other];
        e.order[other] = kept;
    }
}

/* Every thread that can goes on to its next barrier. */
static void run_ready(void)
{
    for (size_t i = 0; i < e.count; i++) {
        struct coroutine *next = &e.thread[e.order[i]];
        if (next->state != READY)
            continue;
        e.current = e.order[i];
        emulation_place.thread = next->index;
        emulation_switch(&e.scheduler, &next->machine);
    }
}

static void run_block(void)
{
    const struct emulation_index dim = emulation_place.block_dim;
    e.shared_size = 0;
    for (size_t i = 0; i < e.count; i++) {
        struct coroutine *t = &e.thread[i];
        t->state = READY;
        t->index = (struct emulation_index){(unsigned)(i % dim.x), (unsigned)(i / dim.x % dim.y),
                                            (unsigned)(i / dim.x / dim.y)};
        machine_init(&t->machine, e.stacks + i * STACK_BYTES, STACK_BYTES, enter);
    }
    shuffle();
    for (;;) {
        run_ready();
        if (all_left())
            return;
        bool moved = release(0, e.count, AT_BARRIER);
        for (size_t first = 0; first < e.count; first += EMULATION_WARP) {
            size_t last = first + EMULATION_WARP < e.count ? first + EMULATION_WARP : e.count;
            moved = release(first, last, AT_EXCHANGE) || moved;
        }
        if (!moved)
            emulation_stop("its threads wait for each other in vain");
    }
}

static bool legal(struct emulation_index grid, struct emulation_index block)
{
    size_t threads = (size_t)block.x * block.y * block.z;
    return threads > 0 && threads <= EMULATION_THREADS_MAX && block.z <= 64 && grid.x > 0 &&
           grid.x <= INT32_MAX && grid.y > 0 && grid.y <= 65535 && grid.z > 0 && grid.z <= 65535;
}

int emulation_run(struct emulation_index grid, struct emulation_index block,
                  void (*body)(void *context), void *context)
{
    if (!legal(grid, block))
        return -1;
    e.count = (size_t)block.x * block.y * block.z;
    if (!e.stacks)
        e.stacks = aligned_alloc(64, (size_t)EMULATION_THREADS_MAX * STACK_BYTES);
    if (!e.stacks)
        return -1;
    e.launches++;
    e.body = body;
    e.argument = context;
    emulation_place.grid_dim = grid;
    emulation_place.block_dim = block;
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                emulation_place.block = (struct emulation_index){x, y, z};
                run_block();
            }
    return 0;
}
