#include "gpu/cuda_load.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char module_file[] = "libmoqa_cuda.so";

/* Beside the program in a build, under lib in an installation. */
static const char *const places[] = {"", "../lib/moqa/"};
enum { PLACES = sizeof places / sizeof *places };

static const char *named_module(void)
{
    const char *named = getenv("MOQA_CUDA_MODULE");
    return named && *named ? named : NULL;
}

/* Folder of the program with its slash, or "" where the system does not tell. */
static void program_folder(char out[PATH_MAX])
{
    ssize_t length = readlink("/proc/self/exe", out, PATH_MAX - 1);
    out[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(out, '/');
    out[slash ? slash - out + 1 : 0] = '\0';
}

static int find_module(char out[PATH_MAX], struct err *err)
{
    char folder[PATH_MAX];
    const char *named = named_module();
    if (named) {
        if (snprintf(out, PATH_MAX, "%s", named) >= PATH_MAX || access(out, R_OK) < 0)
            return err_set(err, ERR_DEVICE, named,
                           "cannot be read; MOQA_CUDA_MODULE names it as the CUDA module");
        return 0;
    }
    program_folder(folder);
    for (size_t i = 0; *folder && i < PLACES; i++)
        if (snprintf(out, PATH_MAX, "%s%s%s", folder, places[i], module_file) < PATH_MAX &&
            access(out, R_OK) == 0)
            return 0;
    return err_set(err, ERR_DEVICE, NULL,
                   "this program was built without its CUDA module: no %s in %s or %s%s",
                   module_file, folder, folder, places[1]);
}

/* Never closed: the CUDA runtime has threads and exit handlers of its own. */
static int open_module(const struct cuda_module **out, const char *path, struct err *err)
{
    const struct cuda_module *(*get)(void);
    /* A name without a slash would be looked for where the system's libraries are. */
    char here[PATH_MAX + 2];
    snprintf(here, sizeof here, "%s%s", strchr(path, '/') ? "" : "./", path);
    void *handle = dlopen(here, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return err_set(err, ERR_DEVICE, NULL, "the CUDA module cannot be opened: %s", dlerror());
    void *symbol = dlsym(handle, CUDA_MODULE_SYMBOL);
    if (!symbol) {
        dlclose(handle);
        return err_set(err, ERR_DEVICE, path, "is not a CUDA module: it has no %s()",
                       CUDA_MODULE_SYMBOL);
    }
    memcpy(&get, &symbol, sizeof get);
    const struct cuda_module *module = get();
    if (!module || module->abi != CUDA_MODULE_ABI) {
        unsigned found = module ? module->abi : 0;
        dlclose(handle);
        return err_set(err, ERR_DEVICE, path,
                       "was built for another version of this program: found interface %u, "
                       "expected %u",
                       found, (unsigned)CUDA_MODULE_ABI);
    }
    *out = module;
    return 0;
}

/* Asked first, because the libraries of the module take long to open. */
static bool has_driver(void)
{
    void *handle = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (handle)
        dlclose(handle);
    return handle != NULL;
}

int cuda_load(const struct cuda_module **out, struct err *err)
{
    char path[PATH_MAX];
    int rc = find_module(path, err);
    if (rc == 0 && !named_module() && !has_driver())
        rc = err_set(err, ERR_DEVICE, NULL,
                     "no CUDA driver: libcuda.so.1 comes with the NVIDIA driver, which is not "
                     "installed here");
    return rc < 0 ? rc : open_module(out, path, err);
}

int cuda_load_devices(struct cuda_device *out, size_t max, size_t *count, struct err *err)
{
    const struct cuda_module *module;
    *count = 0;
    int rc = cuda_load(&module, err);
    return rc < 0 ? rc : module->devices(out, 0, max, count, err);
}

/* Looks at no other device: others may be in use, or broken. */
static int check_device(const struct cuda_module *module, int device, struct err *err)
{
    struct cuda_device found = {0};
    size_t count = 0, index = device < 0 ? 0 : (size_t)device;
    int rc = module->devices(&found, index, 1, &count, err);
    if (rc < 0)
        return rc;
    if (device < 0 || index >= count)
        return err_set(err, ERR_USAGE, NULL, "--device: found %d, expected 0 to %zu", device,
                       count - 1);
    if (found.unusable[0])
        return err_set(err, ERR_DEVICE, NULL, "device %d, %s, cannot be used: %s", device,
                       found.name, found.unusable);
    return 0;
}

int cuda_load_backend(struct backend **out, const struct cuda_options *options, struct err *err)
{
    const struct cuda_module *module;
    *out = NULL;
    int rc = cuda_load(&module, err);
    if (rc == 0)
        rc = check_device(module, options->device, err);
    return rc < 0 ? rc : module->backend_new(out, options, err);
}
