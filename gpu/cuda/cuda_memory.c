/* Device memory within its limit, and the ways to it and back through pinned buffers. */
#include <stdio.h>
#include <string.h>

#include "gpu/cuda/cuda_backend.h"

static int give_up(struct cuda_backend *c, const char *what, const char *why, struct err *err)
{
    if (!c->failed)
        snprintf(c->failure, sizeof c->failure, "%s: %s", what, why);
    c->failed = true;
    return err_set(err, ERR_DEVICE, NULL, "CUDA device %d failed: %s", c->device, c->failure);
}

int cuda_check(struct cuda_backend *c, cudaError_t code, const char *what, struct err *err)
{
    if (code == cudaSuccess)
        return 0;
    cudaGetLastError(); /* else the next launch would report it again */
    if (code == cudaErrorMemoryAllocation) {
        c->short_of_memory = true;
        return err_set(err, ERR_DEVICE_MEMORY, NULL, "CUDA device %d has no memory left: %s",
                       c->device, what);
    }
    return give_up(c, what, cudaGetErrorString(code), err);
}

/* cuBLAS has one word for a broken device and for a driver without memory for a kernel: what tells
 * them apart is a stream that works on and next to no memory left. */
static bool blas_lacks_memory(struct cuda_backend *c, cublasStatus_t status)
{
    const size_t little = (size_t)256 << 20; /* half of what cuda_usable() leaves at least */
    size_t free_bytes = 0, total = 0;
    if (status == CUBLAS_STATUS_ALLOC_FAILED)
        return true;
    if (status != CUBLAS_STATUS_EXECUTION_FAILED && status != CUBLAS_STATUS_INTERNAL_ERROR &&
        status != CUBLAS_STATUS_NOT_INITIALIZED)
        return false;
    cudaGetLastError();
    cudaError_t code = cudaStreamQuery(c->compute);
    bool lacks = (code == cudaSuccess || code == cudaErrorNotReady) &&
                 cudaMemGetInfo(&free_bytes, &total) == cudaSuccess && free_bytes < little;
    cudaGetLastError();
    return lacks;
}

int cuda_check_blas(struct cuda_backend *c, cublasStatus_t status, const char *what,
                    struct err *err)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return 0;
    if (!blas_lacks_memory(c, status))
        return give_up(c, what, cublasGetStatusString(status), err);
    c->short_of_memory = true;
    return err_set(err, ERR_DEVICE_MEMORY, NULL, "cuBLAS has no memory left: %s", what);
}

int cuda_ready(struct cuda_backend *c, struct err *err)
{
    if (c->failed)
        return give_up(c, "", "", err);
    /* The current device belongs to the thread, and any thread may call. */
    return cuda_check(c, cudaSetDevice(c->device), "choice of the device", err);
}

/* --- Device memory. --- */

enum { ALLOCATION = 512 }; /* the driver's own unit */

uint64_t cuda_usable(uint64_t free_bytes)
{
    const uint64_t least = (uint64_t)512 << 20;
    uint64_t others = free_bytes / 32 > least ? free_bytes / 32 : least;
    return free_bytes - (others < free_bytes / 2 ? others : free_bytes / 2);
}

static uint64_t rounded(size_t bytes)
{
    return ((uint64_t)bytes + (bytes == 0) + ALLOCATION - 1) / ALLOCATION * ALLOCATION;
}

/* What the pool keeps and nobody uses goes back to the driver, for pieces of another size, and for
 * cuBLAS and others that take theirs beside the pool. */
static int reclaim(struct cuda_backend *c, struct err *err)
{
    static const char what[] = "memory given back";
    cudaMemPool_t pool;
    c->short_of_memory = false;
    if (!c->pools)
        return 0;
    int rc = cuda_check(c, cudaStreamSynchronize(c->compute), what, err);
    cudaError_t code = rc == 0 ? cudaDeviceGetDefaultMemPool(&pool, c->device) : cudaSuccess;
    if (rc == 0 && code == cudaSuccess)
        code = cudaMemPoolTrimTo(pool, 0);
    return rc == 0 ? cuda_check(c, code, what, err) : rc;
}

static cudaError_t take(struct cuda_backend *c, void **memory, size_t bytes)
{
    return c->pools ? cudaMallocAsync(memory, (size_t)rounded(bytes), c->compute)
                    : cudaMalloc(memory, (size_t)rounded(bytes));
}

int cuda_alloc(struct cuda_backend *c, void *out, size_t bytes, struct err *err)
{
    void *memory = NULL;
    memcpy(out, &memory, sizeof memory);
    int rc = cuda_ready(c, err);
    if (rc < 0)
        return rc;
    if (bytes > SIZE_MAX / 2 || rounded(bytes) > c->limit - c->used)
        return err_set(err, ERR_DEVICE_MEMORY, NULL,
                       "CUDA device %d: %zu bytes more than the %llu in use would pass the limit "
                       "of %llu",
                       c->device, bytes, (unsigned long long)c->used, (unsigned long long)c->limit);
    if (c->short_of_memory)
        rc = reclaim(c, err);
    cudaError_t code = rc == 0 ? take(c, &memory, bytes) : cudaSuccess;
    if (code == cudaErrorMemoryAllocation && c->pools) {
        cudaGetLastError();
        rc = reclaim(c, err);
        code = rc == 0 ? take(c, &memory, bytes) : cudaSuccess;
    }
    if (rc == 0)
        rc = cuda_check(c, code, "allocation", err);
    if (rc < 0)
        return rc;
    c->used += rounded(bytes);
    memcpy(out, &memory, sizeof memory);
    return 0;
}

void cuda_release(struct cuda_backend *c, void *memory, size_t bytes)
{
    if (!memory)
        return;
    c->used -= rounded(bytes);
    /* What fails here failed before, and the next operation says so. */
    (void)(c->pools ? cudaFreeAsync(memory, c->compute) : cudaFree(memory));
}

/* What the pool keeps for later is free for us, though not for others. */
static uint64_t kept_by_pool(struct cuda_backend *c)
{
    uint64_t reserved = 0, in_use = 0;
    cudaMemPool_t pool;
    if (c->pools && cudaDeviceGetDefaultMemPool(&pool, c->device) == cudaSuccess &&
        cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved) ==
            cudaSuccess &&
        cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &in_use) == cudaSuccess)
        return reserved - in_use;
    return 0;
}

uint64_t cuda_room(struct cuda_backend *c)
{
    size_t free_bytes = 0, total = 0;
    uint64_t left = c->limit - c->used, room = 0;
    if (cuda_ready(c, NULL) == 0 && cudaMemGetInfo(&free_bytes, &total) == cudaSuccess)
        room = free_bytes + kept_by_pool(c);
    cudaGetLastError(); /* a question without an answer is no error of the next launch */
    return left < room ? left : room;
}

uint64_t cuda_batch_room(const struct cuda_backend *c, uint64_t most)
{
    uint64_t left = (c->limit - c->used) / 4 * 3, room = c->limit / 4, power = 1;
    room = room < left ? room : left;
    room = (room < most ? room : most) >> c->base.halvings;
    while (power <= room / 2)
        power *= 2;
    return power;
}

/* --- Staging. --- */

enum { COPY_ITEM = 1 << 18 }; /* bytes an item of work */

struct copy_job {
    unsigned char *out;
    const unsigned char *in;
    size_t bytes;
};

static void copy_item(void *context, size_t item, size_t worker)
{
    (void)worker;
    const struct copy_job *j = context;
    size_t first = item * COPY_ITEM, left = j->bytes - first;
    memcpy(j->out + first, j->in + first, left < COPY_ITEM ? left : COPY_ITEM);
}

/* One thread does not fill the bus. */
static void copy(struct cuda_backend *c, void *out, const void *in, size_t bytes)
{
    struct copy_job job = {out, in, bytes};
    if (bytes <= COPY_ITEM)
        memcpy(out, in, bytes);
    else
        parallel_for(c->pool, (bytes + COPY_ITEM - 1) / COPY_ITEM, copy_item, &job);
}

int cuda_stage(struct cuda_backend *c, const void *data, size_t bytes, void *staged,
               struct err *err)
{
    struct cuda_slot *slot = &c->slot[c->next_slot];
    int rc = cuda_ready(c, err);
    if (rc < 0)
        return rc;
    if (bytes > CUDA_SLOT_BYTES)
        return err_set(err, ERR_UNSUPPORTED, NULL, "a row of %zu bytes; at most %zu", bytes,
                       (size_t)CUDA_SLOT_BYTES);
    rc = cuda_check(c, cudaEventSynchronize(slot->copied), "copy to the device", err);
    if (rc < 0)
        return rc;
    copy(c, slot->host, data, bytes);
    cudaError_t code = cudaStreamWaitEvent(c->copy, slot->consumed, 0);
    if (code == cudaSuccess)
        code = cudaMemcpyAsync(slot->device, slot->host, bytes, cudaMemcpyHostToDevice, c->copy);
    if (code == cudaSuccess)
        code = cudaEventRecord(slot->copied, c->copy);
    if (code == cudaSuccess)
        code = cudaStreamWaitEvent(c->compute, slot->copied, 0);
    memcpy(staged, &slot->device, sizeof slot->device);
    return cuda_check(c, code, "copy to the device", err);
}

int cuda_staged(struct cuda_backend *c, struct err *err)
{
    struct cuda_slot *slot = &c->slot[c->next_slot];
    c->next_slot = (c->next_slot + 1) % CUDA_SLOTS;
    return cuda_check(c, cudaEventRecord(slot->consumed, c->compute), "copy to the device", err);
}

bool cuda_slots_free(struct cuda_backend *c, size_t count)
{
    bool free_now = cuda_ready(c, NULL) == 0;
    for (size_t i = 0; free_now && i < count && i < CUDA_SLOTS; i++)
        free_now = cudaEventQuery(c->slot[(c->next_slot + i) % CUDA_SLOTS].consumed) == cudaSuccess;
    (void)cudaGetLastError(); /* "not ready" is no error of the next launch */
    return free_now;
}

int cuda_put(struct cuda_backend *c, void *device, const void *host, size_t bytes, struct err *err)
{
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < bytes; at += CUDA_SLOT_BYTES) {
        size_t count = bytes - at < CUDA_SLOT_BYTES ? bytes - at : CUDA_SLOT_BYTES;
        void *staged;
        rc = cuda_stage(c, (const unsigned char *)host + at, count, &staged, err);
        if (rc == 0)
            rc = cuda_check(c,
                            cudaMemcpyAsync((unsigned char *)device + at, staged, count,
                                            cudaMemcpyDeviceToDevice, c->compute),
                            "copy to the device", err);
        if (rc == 0)
            rc = cuda_staged(c, err);
    }
    return rc;
}

int cuda_copy_of(struct cuda_backend *c, void *out, const void *host, size_t bytes, struct err *err)
{
    void *memory;
    int rc = cuda_alloc(c, &memory, bytes, err);
    if (rc == 0)
        rc = cuda_put(c, memory, host, bytes, err);
    if (rc < 0) {
        cuda_release(c, memory, bytes);
        memory = NULL;
    }
    memcpy(out, &memory, sizeof memory);
    return rc;
}

/* Starts the copy of at most a buffer's bytes of a piece. */
static int start_down(struct cuda_backend *c, struct cuda_down *down, const struct cuda_piece *from,
                      size_t at, struct err *err)
{
    size_t left = from->bytes - at;
    down->to = (unsigned char *)from->host + at;
    down->bytes = left < CUDA_SLOT_BYTES ? left : CUDA_SLOT_BYTES;
    cudaError_t code = cudaMemcpyAsync(down->host, (const unsigned char *)from->device + at,
                                       down->bytes, cudaMemcpyDeviceToHost, c->compute);
    if (code == cudaSuccess)
        code = cudaEventRecord(down->arrived, c->compute);
    return cuda_check(c, code, "copy from the device", err);
}

static int finish_down(struct cuda_backend *c, struct cuda_down *down, struct err *err)
{
    int rc = cuda_check(c, cudaEventSynchronize(down->arrived), "copy from the device", err);
    if (rc == 0)
        copy(c, down->to, down->host, down->bytes);
    return rc;
}

int cuda_get_pieces(struct cuda_backend *c, const struct cuda_piece *pieces, size_t count,
                    struct err *err)
{
    struct cuda_down *last = NULL;
    size_t next = 0;
    int rc = cuda_ready(c, err);
    /* One arrives while the one before is copied to its place. */
    for (size_t i = 0; rc == 0 && i < count; i++)
        for (size_t at = 0; rc == 0 && at < pieces[i].bytes; at += CUDA_SLOT_BYTES) {
            struct cuda_down *down = &c->down[next];
            next = (next + 1) % CUDA_DOWN_SLOTS;
            rc = start_down(c, down, &pieces[i], at, err);
            if (rc == 0 && last)
                rc = finish_down(c, last, err);
            last = down;
        }
    return rc == 0 && last ? finish_down(c, last, err) : rc;
}

int cuda_get(struct cuda_backend *c, void *host, const void *device, size_t bytes, struct err *err)
{
    return cuda_get_pieces(c, &(struct cuda_piece){host, device, bytes}, 1, err);
}

int cuda_slots_init(struct cuda_backend *c, struct err *err)
{
    static const char what[] = "staging buffers";
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < CUDA_SLOTS; i++) {
        struct cuda_slot *s = &c->slot[i];
        cudaError_t code = cudaMallocHost((void **)&s->host, CUDA_SLOT_BYTES);
        if (code == cudaSuccess)
            code = cudaEventCreateWithFlags(&s->copied, cudaEventDisableTiming);
        if (code == cudaSuccess)
            code = cudaEventCreateWithFlags(&s->consumed, cudaEventDisableTiming);
        rc = cuda_check(c, code, what, err);
        if (rc == 0)
            rc = cuda_alloc(c, &s->device, CUDA_SLOT_BYTES, err);
    }
    for (size_t i = 0; rc == 0 && i < CUDA_DOWN_SLOTS; i++) {
        struct cuda_down *d = &c->down[i];
        cudaError_t code = cudaMallocHost((void **)&d->host, CUDA_SLOT_BYTES);
        if (code == cudaSuccess)
            code = cudaEventCreateWithFlags(&d->arrived, cudaEventDisableTiming);
        rc = cuda_check(c, code, what, err);
    }
    /* The copy stream uses memory that was allocated in the order of the other. */
    return rc == 0 ? cuda_check(c, cudaStreamSynchronize(c->compute), what, err) : rc;
}

void cuda_slots_release(struct cuda_backend *c)
{
    for (size_t i = 0; i < CUDA_SLOTS; i++) {
        struct cuda_slot *s = &c->slot[i];
        cuda_release(c, s->device, CUDA_SLOT_BYTES);
        if (s->host)
            (void)cudaFreeHost(s->host);
        if (s->copied)
            (void)cudaEventDestroy(s->copied);
        if (s->consumed)
            (void)cudaEventDestroy(s->consumed);
    }
    for (size_t i = 0; i < CUDA_DOWN_SLOTS; i++) {
        if (c->down[i].host)
            (void)cudaFreeHost(c->down[i].host);
        if (c->down[i].arrived)
            (void)cudaEventDestroy(c->down[i].arrived);
    }
}
