#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gpu/backend.h"
#include "src/cli/cli.h"

static void print_help(void)
{
    printf("Usage: moqa COMMAND [OPTION...]\n"
           "       moqa TRACE [--model DIR]      (the same as moqa open TRACE)\n\n"
           "Quantizes Mixture-of-Experts language models by what their experts are used for.\n\n"
           "Commands:\n");
    for (const struct cli_command *c = cli_commands; c->spec; c++)
        printf("  %-11s %s\n", c->spec->command, c->summary);
    printf("\nmoqa COMMAND --help tells more about each, with examples.\n"
           "Exit status: 0 done, 1 failed, 2 wrong usage, 3 bad input file, 4 interrupted (resume\n"
           "with the same command and --resume).\n");
}

static const struct cli_command *find_command(const char *name)
{
    for (const struct cli_command *c = cli_commands; c->spec; c++)
        if (strcmp(c->spec->command, name) == 0)
            return c;
    return NULL;
}

static int dispatch(int argc, char **argv, struct err *err)
{
    const struct cli_command *command = find_command(argv[1]);
    if (command)
        return command->run(argc - 1, argv + 1, err);
    if (argv[1][0] != '-' && access(argv[1], F_OK) < 0)
        return err_set(err, ERR_USAGE, NULL,
                       "\"%s\" is neither a command nor a file; see moqa --help", argv[1]);
    return cmd_open(argc, argv, err);
}

int main(int argc, char **argv)
{
    backend_cpu_prepare(argv);
    setlocale(LC_CTYPE, ""); /* only this: numbers are written the same everywhere */
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help();
        return argc < 2 ? 2 : 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("moqa " MOQA_VERSION);
        return 0;
    }
    struct err err = {0};
    int rc = dispatch(argc, argv, &err);
    if (rc < 0 && err.code == ERR_OK)
        err_set(&err, (enum err_code)rc, NULL, "failed");
    if (err.code) {
        char line[ERR_FILE_MAX + ERR_MESSAGE_MAX];
        err_format(line, sizeof line, &err);
        fprintf(stderr, "moqa: %s\n", line);
    }
    return err_exit_status(err.code);
}
