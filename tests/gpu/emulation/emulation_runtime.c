#include "emulation_runtime.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct piece {
    struct piece *next;
    char *memory;
    size_t size;
    bool pinned; /* of the host */
};

/* A copy to pinned memory that is on its way. */
struct arrival {
    struct arrival *next;
    cudaStream_t stream;
    void *to;
    size_t size;
    char data[];
};

struct CUstream_st {
    int device;
};

struct CUevent_st {
    cudaStream_t stream;
    bool recorded;
};

static struct {
    int devices, driver, major, minor, device, bad_device;
    unsigned contexts;
    size_t memory, used, kept, calls, fail_at, live; /* kept: by the pool, used by nobody */
    cudaError_t fail_code, broken, last;
    bool failed;   /* a call failed, whatever it was */
    bool no_pools; /* though they are announced */
    struct piece *pieces;
    struct arrival *first, **end;
} e;

/* The backend's host threads may call at the same time. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void set_up(void)
{
    memset(&e, 0, sizeof e);
    e.devices = 1;
    e.bad_device = -1;
    e.driver = CUDART_VERSION;
    e.major = 9;
    e.memory = (size_t)1 << 30;
    e.end = &e.first;
}

static void __attribute__((noreturn, format(printf, 1, 2))) stop(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "CUDA emulation: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    abort();
}

static void enter(void)
{
    pthread_once(&once, set_up);
    pthread_mutex_lock(&lock);
}

static void leave(void)
{
    pthread_mutex_unlock(&lock);
}

void emulation_reset(void)
{
    enter();
    if (e.live)
        stop("%zu things were made and not freed", e.live);
    set_up();
    leave();
}

void emulation_set_devices(int devices, int driver)
{
    enter();
    e.devices = devices;
    e.driver = driver;
    leave();
}

void emulation_set_bad_device(int device)
{
    enter();
    e.bad_device = device;
    leave();
}

unsigned emulation_contexts(void)
{
    enter();
    unsigned contexts = e.contexts;
    leave();
    return contexts;
}

void emulation_set_capability(int major, int minor)
{
    enter();
    e.major = major;
    e.minor = minor;
    leave();
}

void emulation_set_memory(size_t bytes)
{
    enter();
    e.memory = bytes;
    leave();
}

void emulation_set_pools(bool work)
{
    enter();
    e.no_pools = !work;
    leave();
}

void emulation_fail(size_t n, cudaError_t code)
{
    enter();
    e.fail_at = n ? e.calls + n : 0;
    e.fail_code = code;
    leave();
}

size_t emulation_calls(void)
{
    enter();
    size_t calls = e.calls;
    leave();
    return calls;
}

size_t emulation_live(void)
{
    enter();
    size_t live = e.live;
    leave();
    return live;
}

void emulation_made(int count)
{
    enter();
    e.live += (size_t)count;
    leave();
}

/* Those after which a device has to be opened anew. */
static bool breaks(cudaError_t code)
{
    return code == cudaErrorECCUncorrectable || code == cudaErrorIllegalAddress ||
           code == cudaErrorLaunchFailure || code == cudaErrorUnknown;
}

/* Under the lock. */
static cudaError_t gate(void)
{
    e.calls++;
    cudaError_t code = cudaSuccess;
    if (e.driver < CUDART_VERSION / 1000 * 1000)
        code = cudaErrorInsufficientDriver;
    else if (e.devices == 0)
        code = cudaErrorNoDevice;
    else if (e.broken)
        code = e.broken;
    else if (e.calls == e.fail_at)
        code = e.fail_code;
    if (breaks(code))
        e.broken = code;
    if (code) {
        e.last = code;
        e.failed = true;
    }
    return code;
}

cudaError_t emulation_gate(const char *what)
{
    (void)what;
    enter();
    cudaError_t code = gate();
    leave();
    return code;
}

/* --- Memory --- */

static struct piece *find(const void *memory, size_t size, bool pinned)
{
    const char *at = memory;
    for (struct piece *p = e.pieces; p; p = p->next)
        if (p->pinned == pinned && at >= p->memory && at + size <= p->memory + p->size &&
            at <= p->memory + p->size)
            return p;
    return NULL;
}

static bool touches_device(const void *memory, size_t size)
{
    const char *at = memory;
    for (struct piece *p = e.pieces; p; p = p->next)
        if (!p->pinned && at < p->memory + p->size && at + size > p->memory)
            return true;
    return false;
}

static void expect_device(const char *what, const void *memory, size_t size)
{
    if (size && !find(memory, size, false))
        stop("%s: %zu bytes at %p are not all in one piece of device memory", what, size, memory);
}

void emulation_check_device(const char *what, const void *memory, size_t size)
{
    enter();
    expect_device(what, memory, size);
    leave();
}

static cudaError_t fail_with(cudaError_t code)
{
    e.last = code;
    return code;
}

static cudaError_t allocate(void **out, size_t size, bool pinned)
{
    enter();
    cudaError_t code = gate();
    *out = NULL;
    if (!code && !pinned && e.used + e.kept + size > e.memory)
        code = fail_with(cudaErrorMemoryAllocation);
    if (!code && size) {
        struct piece *p = malloc(sizeof *p);
        char *memory = aligned_alloc(256, (size + 255) / 256 * 256);
        if (!p || !memory)
            stop("no memory");
        memset(memory, 0xff, size);
        *p = (struct piece){e.pieces, memory, size, pinned};
        e.pieces = p;
        e.used += pinned ? 0 : size;
        e.live++;
        *out = memory;
    }
    leave();
    return code;
}

/* Copies on their way to a piece of memory that goes. After a failure nobody can have waited for
 * them. */
static void drop_arrivals(const struct piece *p)
{
    for (struct arrival **at = &e.first; *at;) {
        struct arrival *a = *at;
        char *to = a->to;
        if (to < p->memory || to >= p->memory + p->size) {
            at = &a->next;
            continue;
        }
        if (!e.failed)
            stop("pinned memory is freed while a copy to it is on its way");
        *at = a->next;
        free(a);
    }
    for (e.end = &e.first; *e.end; e.end = &(*e.end)->next)
        ;
}

/* Memory goes even where the device is broken, or tests would see leaks that are none. */
static cudaError_t release(void *memory, bool pinned, bool keep)
{
    enter();
    cudaError_t code = gate();
    struct piece **at = &e.pieces;
    while (memory && *at && ((*at)->memory != memory || (*at)->pinned != pinned))
        at = &(*at)->next;
    if (memory && !*at)
        stop("%p is freed and was not allocated, or twice", memory);
    if (memory) {
        struct piece *p = *at;
        drop_arrivals(p);
        *at = p->next;
        e.used -= pinned ? 0 : p->size;
        e.kept += keep ? p->size : 0;
        e.live--;
        free(p->memory);
        free(p);
    }
    leave();
    return code;
}

cudaError_t cudaMalloc(void **out, size_t size)
{
    return allocate(out, size, false);
}

cudaError_t cudaFree(void *memory)
{
    return release(memory, false, false);
}

cudaError_t cudaMallocAsync(void **out, size_t size, cudaStream_t stream)
{
    (void)stream;
    if (!e.no_pools)
        return allocate(out, size, false);
    cudaError_t code = emulation_gate("cudaMallocAsync");
    return code ? code : fail_with(cudaErrorInvalidValue);
}

cudaError_t cudaFreeAsync(void *memory, cudaStream_t stream)
{
    (void)stream;
    return release(memory, false, true);
}

cudaError_t cudaMallocHost(void **out, size_t size)
{
    return allocate(out, size, true);
}

cudaError_t cudaHostAlloc(void **out, size_t size, unsigned flags)
{
    (void)flags;
    return allocate(out, size, true);
}

cudaError_t cudaFreeHost(void *memory)
{
    return release(memory, true, false);
}

/* --- Copies --- */

static void check_sides(const void *to, const void *from, size_t size, enum cudaMemcpyKind kind)
{
    if (kind == cudaMemcpyDefault)
        return;
    if (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice)
        expect_device("copy to the device", to, size);
    else if (touches_device(to, size))
        stop("a copy to the host goes to device memory");
    if (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice)
        expect_device("copy from the device", from, size);
    else if (touches_device(from, size))
        stop("a copy from the host comes from device memory");
}

static void arrive_later(void *to, const void *from, size_t size, cudaStream_t stream)
{
    struct arrival *a = malloc(sizeof *a + size);
    if (!a)
        stop("no memory");
    *a = (struct arrival){.stream = stream, .to = to, .size = size};
    memcpy(a->data, from, size);
    memset(to, 0xff, size);
    *e.end = a;
    e.end = &a->next;
}

/* NULL: of all streams. */
static void arrive(cudaStream_t stream, bool all)
{
    struct arrival **at = &e.first;
    while (*at) {
        struct arrival *a = *at;
        if (!all && a->stream != stream) {
            at = &a->next;
            continue;
        }
        memcpy(a->to, a->data, a->size);
        *at = a->next;
        free(a);
    }
    for (e.end = &e.first; *e.end; e.end = &(*e.end)->next)
        ;
}

/* Rows of `width` bytes. */
static cudaError_t copy(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                        size_t width, size_t height, enum cudaMemcpyKind kind, bool waits,
                        cudaStream_t stream)
{
    enter();
    cudaError_t code = gate();
    if (!code && height > 1 && (width > to_pitch || width > from_pitch))
        code = fail_with(cudaErrorInvalidValue);
    for (size_t i = 0; !code && width && i < height; i++) {
        char *row = (char *)to + i * to_pitch;
        const char *source = (const char *)from + i * from_pitch;
        check_sides(row, source, width, kind);
        if (!waits && find(row, width, true))
            arrive_later(row, source, width, stream);
        else
            memmove(row, source, width);
    }
    leave();
    return code;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t size, enum cudaMemcpyKind kind)
{
    return copy(to, size, from, size, size, 1, kind, true, NULL);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    return copy(to, size, from, size, size, 1, kind, false, stream);
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t width, size_t height, enum cudaMemcpyKind kind,
                              cudaStream_t stream)
{
    return copy(to, to_pitch, from, from_pitch, width, height, kind, false, stream);
}

cudaError_t cudaMemset(void *memory, int value, size_t size)
{
    return cudaMemsetAsync(memory, value, size, NULL);
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t size, cudaStream_t stream)
{
    (void)stream;
    enter();
    cudaError_t code = gate();
    if (!code) {
        expect_device("memset", memory, size);
        if (size)
            memset(memory, value, size);
    }
    leave();
    return code;
}

/* --- Streams and events --- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags)
{
    (void)flags;
    *out = NULL;
    cudaError_t code = emulation_gate("cudaStreamCreate");
    if (!code) {
        *out = calloc(1, sizeof **out);
        emulation_made(1);
    }
    return code;
}

cudaError_t cudaStreamCreate(cudaStream_t *out)
{
    return cudaStreamCreateWithFlags(out, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    enter();
    cudaError_t code = gate();
    if (stream) {
        arrive(stream, false);
        e.live--;
        free(stream);
    } else if (!code) {
        code = fail_with(cudaErrorInvalidResourceHandle);
    }
    leave();
    return code;
}

static cudaError_t wait_for(cudaStream_t stream, bool all)
{
    enter();
    cudaError_t code = gate();
    if (!code)
        arrive(stream, all);
    leave();
    return code;
}

/* The default stream waits for all others. */
cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    return wait_for(stream, stream == NULL);
}

cudaError_t cudaDeviceSynchronize(void)
{
    return wait_for(NULL, true);
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    return cudaStreamSynchronize(stream);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    (void)stream;
    (void)flags;
    return event ? emulation_gate("cudaStreamWaitEvent") : cudaErrorInvalidResourceHandle;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags)
{
    (void)flags;
    *out = NULL;
    cudaError_t code = emulation_gate("cudaEventCreate");
    if (!code) {
        *out = calloc(1, sizeof **out);
        emulation_made(1);
    }
    return code;
}

cudaError_t cudaEventCreate(cudaEvent_t *out)
{
    return cudaEventCreateWithFlags(out, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    cudaError_t code = emulation_gate("cudaEventDestroy");
    if (!event)
        return code ? code : cudaErrorInvalidResourceHandle;
    free(event);
    emulation_made(-1);
    return code;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    cudaError_t code = emulation_gate("cudaEventRecord");
    if (!code) {
        event->stream = stream;
        event->recorded = true;
    }
    return code;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    return event->recorded ? cudaStreamSynchronize(event->stream)
                           : emulation_gate("cudaEventSynchronize");
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    return cudaEventSynchronize(event);
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to)
{
    *milliseconds = 0.001f;
    return from->recorded && to->recorded ? emulation_gate("cudaEventElapsedTime")
                                          : cudaErrorInvalidResourceHandle;
}

/* --- Devices and errors --- */

cudaError_t cudaDriverGetVersion(int *version)
{
    enter();
    *version = e.driver;
    leave();
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    cudaError_t code = emulation_gate("cudaGetDeviceCount");
    *count = code ? 0 : e.devices;
    return code;
}

/* Of calls that name a device. */
static cudaError_t check_number(int device)
{
    cudaError_t code = emulation_gate("device");
    if (!code && device == e.bad_device)
        return fail_with(cudaErrorDevicesUnavailable);
    if (code || (device >= 0 && device < e.devices))
        return code;
    return fail_with(cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
    cudaError_t code = check_number(device);
    if (code)
        return code;
    *p = (struct cudaDeviceProp){.totalGlobalMem = e.memory,
                                 .sharedMemPerBlock = 48 << 10,
                                 .sharedMemPerBlockOptin = 227 << 10,
                                 .warpSize = 32,
                                 .maxThreadsPerBlock = 1024,
                                 .multiProcessorCount = 4,
                                 .maxGridSize = {2147483647, 65535, 65535},
                                 .l2CacheSize = 1 << 20,
                                 .major = e.major,
                                 .minor = e.minor};
    snprintf(p->name, sizeof p->name, "emulated device %d", device);
    return code;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device)
{
    struct cudaDeviceProp p;
    cudaError_t code = cudaGetDeviceProperties(&p, device);
    if (code)
        return code;
    switch (attribute) {
    case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = (int)p.sharedMemPerBlock;
        break;
    case cudaDevAttrMultiProcessorCount:
        *value = p.multiProcessorCount;
        break;
    case cudaDevAttrComputeCapabilityMajor:
        *value = p.major;
        break;
    case cudaDevAttrMemoryPoolsSupported:
        *value = 1;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *value = p.minor;
        break;
    default:
        stop("attribute %d is not emulated", (int)attribute);
    }
    return code;
}

/* The one pool is as bad as a pool can be: what is given back fits nothing that is asked for later,
 * and stays away until the pool is trimmed. */
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *out, int device)
{
    static char pool;
    *out = (cudaMemPool_t)(void *)&pool;
    return check_number(device);
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    (void)pool;
    enter();
    uint64_t found = attribute == cudaMemPoolAttrReleaseThreshold     ? 0
                     : attribute == cudaMemPoolAttrReservedMemCurrent ? e.used + e.kept
                                                                      : e.used;
    memcpy(value, &found, sizeof found);
    cudaError_t code = gate();
    leave();
    return code;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    (void)pool;
    (void)value;
    cudaError_t code = emulation_gate("cudaMemPoolSetAttribute");
    return code || attribute == cudaMemPoolAttrReleaseThreshold ? code : cudaErrorInvalidValue;
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t keep)
{
    (void)pool;
    (void)keep;
    enter();
    cudaError_t code = gate();
    if (!code)
        e.kept = 0;
    leave();
    return code;
}

cudaError_t cudaSetDevice(int device)
{
    cudaError_t code = check_number(device);
    if (!code) {
        e.device = device;
        e.contexts |= 1u << device;
    }
    return code;
}

cudaError_t cudaGetDevice(int *device)
{
    *device = e.device;
    return emulation_gate("cudaGetDevice");
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    enter();
    cudaError_t code = gate();
    *free_bytes = code || e.used + e.kept > e.memory ? 0 : e.memory - e.used - e.kept;
    *total = code ? 0 : e.memory;
    leave();
    return code;
}

cudaError_t cudaGetLastError(void)
{
    enter();
    cudaError_t code = e.broken ? e.broken : e.last;
    e.last = cudaSuccess;
    leave();
    return code;
}

cudaError_t cudaPeekAtLastError(void)
{
    enter();
    cudaError_t code = e.broken ? e.broken : e.last;
    leave();
    return code;
}

static const struct {
    cudaError_t code;
    const char *name, *text;
} errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "driver version is insufficient"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
};

static size_t find_error(cudaError_t code)
{
    size_t i = 0;
    while (i < sizeof errors / sizeof *errors && errors[i].code != code)
        i++;
    return i;
}

const char *cudaGetErrorString(cudaError_t code)
{
    size_t i = find_error(code);
    return i < sizeof errors / sizeof *errors ? errors[i].text : "another error";
}

const char *cudaGetErrorName(cudaError_t code)
{
    size_t i = find_error(code);
    return i < sizeof errors / sizeof *errors ? errors[i].name : "cudaErrorUnknown";
}
