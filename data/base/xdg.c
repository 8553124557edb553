#include "data/base/xdg.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
    const char *variable, *home; /* the folder below HOME */
} kinds[] = {
    [XDG_CONFIG] = {"XDG_CONFIG_HOME", ".config"},
    [XDG_STATE] = {"XDG_STATE_HOME", ".local/state"},
    [XDG_CACHE] = {"XDG_CACHE_HOME", ".cache"},
};

void xdg_folder(struct str *out, enum xdg_kind kind)
{
    const char *own = getenv(kinds[kind].variable), *home = getenv("HOME");
    if (own && own[0])
        str_appendf(out, "%s/moqa", own);
    else if (home && home[0])
        str_appendf(out, "%s/%s/moqa", home, kinds[kind].home);
}

void xdg_make(const char *dir)
{
    char part[4096];
    for (size_t i = 1; dir[0] && dir[i - 1] && i < sizeof part; i++)
        if (dir[i] == '/' || dir[i] == '\0') {
            memcpy(part, dir, i);
            part[i] = '\0';
            mkdir(part, 0777);
        }
}
