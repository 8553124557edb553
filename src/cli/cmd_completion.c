#include <string.h>

#include "data/base/str.h"
#include "src/cli/cli.h"

struct arguments {
    const char *shell;
};

static const struct cli_option options[] = {{.type = CLI_END}};

static const struct cli_option positional[] = {
    {"SHELL", 0, NULL, CLI_TEXT, offsetof(struct arguments, shell), true, NULL},
    {.type = CLI_END},
};

const struct cli_spec cmd_completion_spec = {
    "completion",
    "Prints a completion script for a shell: bash, zsh or fish. It is made from the same tables "
    "as the options.",
    "  moqa completion bash > ~/.local/share/bash-completion/completions/moqa\n"
    "  moqa completion zsh > ~/.zfunc/_moqa\n"
    "  moqa completion fish > ~/.config/fish/completions/moqa.fish\n",
    options,
    positional,
    false,
};

/* Calls `each` for every long option of a command, its settings included. */
static void for_options(const struct cli_spec *spec, struct str *out,
                        void (*each)(struct str *out, const char *command, const char *option,
                                     const char *help))
{
    char flag[CLI_FLAG_MAX];
    for (const struct cli_option *o = spec->options; o->type != CLI_END; o++)
        each(out, spec->command, o->name, o->help);
    if (spec->settings)
        each(out, spec->command, CLI_BEST_ROUNDING, CLI_BEST_ROUNDING_HELP);
    for (size_t i = 0; spec->settings && i < settings_count(); i++) {
        const struct setting_info *info = settings_info(i);
        each(out, spec->command, cli_setting_flag(flag, info->name), info->help);
    }
    each(out, spec->command, "help", "give help");
}

static void bash_option(struct str *out, const char *command, const char *option, const char *help)
{
    (void)command;
    (void)help;
    str_appendf(out, " --%s", option);
}

static void write_bash(struct str *out)
{
    str_append(out, "_moqa() {\n    local word=${COMP_WORDS[COMP_CWORD]} words=\n"
                    "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words=\"");
    for (const struct cli_command *c = cli_commands; c->spec; c++)
        str_appendf(out, "%s ", c->spec->command);
    str_append(out, "--help --version\"\n    else\n        case \"${COMP_WORDS[1]}\" in\n");
    for (const struct cli_command *c = cli_commands; c->spec; c++) {
        str_appendf(out, "        %s) words=\"", c->spec->command);
        for_options(c->spec, out, bash_option);
        str_append(out, "\" ;;\n");
    }
    str_append(out, "        esac\n    fi\n    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- "
                    "\"$word\")\n}\ncomplete -o default -F _moqa moqa\n");
}

/* A help text inside single quotes of a shell, without the characters that _arguments reads. */
static void append_help(struct str *out, const char *help)
{
    for (; *help; help++)
        if (*help == '\'')
            str_append(out, "'\\''");
        else if (!strchr("[]:", *help))
            str_append_bytes(out, help, 1);
}

static void zsh_option(struct str *out, const char *command, const char *option, const char *help)
{
    (void)command;
    str_appendf(out, " '--%s[", option);
    append_help(out, help);
    str_append(out, "]'");
}

static void write_zsh(struct str *out)
{
    str_append(out, "#compdef moqa\n_moqa() {\n    local -a commands=(");
    for (const struct cli_command *c = cli_commands; c->spec; c++)
        str_appendf(out, "\n        '%s:%s'", c->spec->command, c->summary);
    str_append(out, ")\n    if (( CURRENT == 2 )); then\n        _describe command commands\n"
                    "        _files\n        return\n    fi\n    case $words[2] in\n");
    for (const struct cli_command *c = cli_commands; c->spec; c++) {
        str_appendf(out, "    %s) _arguments", c->spec->command);
        for_options(c->spec, out, zsh_option);
        str_append(out, " '*:file:_files' ;;\n");
    }
    str_append(out, "    esac\n}\n_moqa \"$@\"\n");
}

static void fish_option(struct str *out, const char *command, const char *option, const char *help)
{
    str_appendf(out, "complete -c moqa -n '__fish_seen_subcommand_from %s' -l %s -d '", command,
                option);
    for (; *help; help++)
        str_appendf(out, *help == '\'' ? "\\%c" : "%c", *help);
    str_append(out, "'\n");
}

static void write_fish(struct str *out)
{
    for (const struct cli_command *c = cli_commands; c->spec; c++) {
        str_appendf(out, "complete -c moqa -n __fish_use_subcommand -a %s -d '%s'\n",
                    c->spec->command, c->summary);
        for_options(c->spec, out, fish_option);
    }
}

static const struct {
    const char *name;
    void (*write)(struct str *out);
} shells[] = {{"bash", write_bash}, {"zsh", write_zsh}, {"fish", write_fish}};

int cmd_completion(int argc, char **argv, struct err *err)
{
    struct arguments a = {0};
    int rc = cli_parse(&cmd_completion_spec, argc, argv, &a, NULL, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
        if (strcmp(a.shell, shells[i].name) != 0)
            continue;
        struct str text = {0};
        shells[i].write(&text);
        rc = str_ok(&text, err);
        if (rc == 0)
            rc = cli_print(text.data, err);
        str_release(&text);
        return rc;
    }
    return err_set(err, ERR_USAGE, NULL, "found \"%s\", expected bash, zsh or fish", a.shell);
}
