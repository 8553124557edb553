#include "src/cli/cli_output.h"

#include <string.h>
#include <sys/stat.h>

#include "data/base/str.h"

/* Links and other spellings of a path are the same file. */
static bool is_same(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int refuse(const char *out, const char *input, struct err *err)
{
    if (!input || !is_same(out, input))
        return 0;
    return err_set(err, ERR_USAGE, out, "is read by this command and would be replaced");
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Also where they are links to a cache, as downloads make them: the link itself would be lost. */
static int refuse_checkpoint(const char *out, const char *model, struct err *err)
{
    const char *slash = strrchr(out, '/'), *name = slash ? slash + 1 : out;
    struct str folder = {0};
    bool of_checkpoint = ends_with(name, ".safetensors") ||
                         ends_with(name, ".safetensors.index.json") ||
                         strcmp(name, "config.json") == 0 || strcmp(name, "tokenizer.json") == 0;
    if (!model || !of_checkpoint)
        return 0;
    if (slash)
        str_append_bytes(&folder, out, (size_t)(slash - out) + 1);
    else
        str_append(&folder, ".");
    int rc = str_ok(&folder, err);
    if (rc == 0 && is_same(folder.data, model))
        rc = err_set(err, ERR_USAGE, out, "belongs to the model's checkpoint");
    str_release(&folder);
    return rc;
}

int cli_output_check(const char *out, const struct cli_inputs *inputs, struct err *err)
{
    if (!out)
        return 0;
    int rc = refuse_checkpoint(out, inputs->model, err);
    for (size_t i = 0; rc == 0 && i < CLI_INPUT_FILES; i++)
        rc = refuse(out, inputs->file[i], err);
    for (size_t i = 0; rc == 0 && i < CLI_INPUT_LISTS; i++)
        for (size_t k = 0; rc == 0 && inputs->list[i] && k < inputs->list[i]->count; k++)
            rc = refuse(out, inputs->list[i]->items[k], err);
    return rc;
}
