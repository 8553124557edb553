/* The kernels that OpenBLAS is told to use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cpu_check.h"

/* This program started as a child: prints the kernels in use after backend_cpu_prepare(). */
static int child(char **argv)
{
    struct backend *b;
    char line[128];
    backend_cpu_prepare(argv);
    if (backend_cpu_new(&b, 1, NULL) < 0)
        return 1;
    b->ops->describe(b, line, sizeof line);
    backend_free(b);
    return puts(line) < 0;
}

static void child_kernels(const char *setting, char *out, int size)
{
    char path[4096], command[5000];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    assert_true(length > 0);
    path[length] = '\0';
    snprintf(command, sizeof command, "env -u OPENBLAS_CORETYPE %s '%s' child", setting, path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(out, size, pipe));
    assert_int_equal(pclose(pipe), 0);
}

static void test_prepare_chooses_wide_kernels_and_honours_the_user(void **state)
{
    (void)state;
#if defined(__x86_64__)
    char line[256];
    bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl");
    child_kernels("", line, sizeof line);
    assert_int_equal(strncmp(line, "1 thread, OpenBLAS ", 19), 0);
    bool chosen =
        strstr(line, "SkylakeX") || strstr(line, "Cooperlake") || strstr(line, "SapphireRapids");
    assert_int_equal(chosen, wide);
    if (__builtin_cpu_supports("avx2")) {
        child_kernels("OPENBLAS_CORETYPE=Haswell", line, sizeof line);
        assert_non_null(strstr(line, "Haswell"));
    }
#else
    skip();
#endif
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return child(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prepare_chooses_wide_kernels_and_honours_the_user),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
