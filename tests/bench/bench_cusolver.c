/*
 * cuSOLVER's Cholesky factorization of a layer's Hessians at the size of OLMoE-1B-7B, to hold ours
 * against (bench_gpu, "factorization"): a line of JSON a way, in double and single precision, one
 * matrix after another and batched. Built where the toolkit has cuSOLVER; moqa does not use it.
 *
 *     bench_cusolver [COUNT]      64 matrices of each size
 *
 * Exit status 77: there is no GPU.
 */
#include <cuda_runtime_api.h>
#include <cusolverDn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(int code, const char *what)
{
    if (code == 0)
        return;
    fprintf(stderr, "bench_cusolver: %s: code %d\n", what, code);
    exit(1);
}

struct bench {
    cusolverDnHandle_t handle;
    int d, count;
    size_t real;    /* bytes */
    char *host;     /* one matrix */
    char *device;   /* [count] of them */
    void **pointer; /* device [count] */
    int *info;      /* device [count] */
};

/* Diagonally dominant, so that it has a factor. */
static void fill(struct bench *b)
{
    size_t d = (size_t)b->d;
    for (size_t i = 0; i < d * d; i++) {
        double value = i / d == i % d ? (double)d : 1.0 / (1.0 + (double)(i % 97));
        if (b->real == sizeof(double))
            ((double *)(void *)b->host)[i] = value;
        else
            ((float *)(void *)b->host)[i] = (float)value;
    }
}

static void load(struct bench *b)
{
    size_t bytes = (size_t)b->d * (size_t)b->d * b->real;
    void **list = malloc((size_t)b->count * sizeof *list);
    check(list == NULL, "no memory");
    for (size_t i = 0; i < (size_t)b->count; i++) {
        list[i] = b->device + i * bytes;
        check(cudaMemcpy(list[i], b->host, bytes, cudaMemcpyHostToDevice), "copy");
    }
    check(cudaMemcpy(b->pointer, list, (size_t)b->count * sizeof *list, cudaMemcpyHostToDevice),
          "copy");
    free(list);
}

static void run_single(struct bench *b)
{
    const cublasFillMode_t fill_mode = CUBLAS_FILL_MODE_UPPER;
    size_t bytes = (size_t)b->d * (size_t)b->d * b->real;
    int size = 0;
    void *work;
    check(b->real == sizeof(double)
              ? (int)cusolverDnDpotrf_bufferSize(b->handle, fill_mode, b->d, (double *)b->device,
                                                 b->d, &size)
              : (int)cusolverDnSpotrf_bufferSize(b->handle, fill_mode, b->d, (float *)b->device,
                                                 b->d, &size),
          "bufferSize");
    check(cudaMalloc(&work, (size_t)size * b->real), "memory");
    for (size_t i = 0; i < (size_t)b->count; i++) {
        void *a = b->device + i * bytes;
        check(b->real == sizeof(double)
                  ? (int)cusolverDnDpotrf(b->handle, fill_mode, b->d, a, b->d, work, size, b->info)
                  : (int)cusolverDnSpotrf(b->handle, fill_mode, b->d, a, b->d, work, size, b->info),
              "potrf");
    }
    check(cudaDeviceSynchronize(), "potrf");
    cudaFree(work);
}

static void run_batched(struct bench *b)
{
    const cublasFillMode_t fill_mode = CUBLAS_FILL_MODE_LOWER; /* no other is supported */
    check(b->real == sizeof(double)
              ? (int)cusolverDnDpotrfBatched(b->handle, fill_mode, b->d, (double **)b->pointer,
                                             b->d, b->info, b->count)
              : (int)cusolverDnSpotrfBatched(b->handle, fill_mode, b->d, (float **)b->pointer, b->d,
                                             b->info, b->count),
          "potrfBatched");
    check(cudaDeviceSynchronize(), "potrfBatched");
}

static void measure(struct bench *b, const char *name, void (*run)(struct bench *))
{
    double flop = (double)b->count * b->d * (double)b->d * b->d / 3.0;
    load(b);
    run(b); /* the first use of a kernel loads it */
    load(b);
    double started = seconds_now();
    run(b);
    double seconds = seconds_now() - started;
    printf("{\"stage\": \"cuSOLVER %s, %d, %s\", \"seconds\": %.5f, \"tflops\": %.2f}\n", name,
           b->d, b->real == sizeof(double) ? "double" : "single", seconds, flop / seconds * 1e-12);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const int sizes[] = {2048, 1024};
    struct bench b = {.count = argc > 1 ? atoi(argv[1]) : 64};
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        fprintf(stderr, "bench_cusolver: skipped: no GPU\n");
        return 77;
    }
    if (b.count < 1) {
        fprintf(stderr, "usage: bench_cusolver [COUNT]\n");
        return 2;
    }
    check((int)cusolverDnCreate(&b.handle), "start");
    for (size_t i = 0; i < 2; i++)
        for (b.real = sizeof(double); b.real >= sizeof(float); b.real /= 2) {
            b.d = sizes[i];
            size_t bytes = (size_t)b.d * (size_t)b.d * b.real;
            b.host = malloc(bytes);
            check(b.host == NULL, "no memory");
            check(cudaMalloc((void **)&b.device, (size_t)b.count * bytes), "memory");
            check(cudaMalloc((void **)&b.pointer, (size_t)b.count * sizeof *b.pointer), "memory");
            check(cudaMalloc((void **)&b.info, (size_t)b.count * sizeof *b.info), "memory");
            fill(&b);
            measure(&b, "potrf", run_single);
            measure(&b, "potrfBatched", run_batched);
            cudaFree(b.device);
            cudaFree(b.pointer);
            cudaFree(b.info);
            free(b.host);
        }
    cusolverDnDestroy(b.handle);
    return 0;
}
