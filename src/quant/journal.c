#include "src/quant/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "data/base/atomic_file.h"
#include "data/base/hash.h"
#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/base/str.h"

static const char schema[] = "moqa.journal", report_schema[] = "moqa.report";
static const char report_name[] = "moqa_report.json";
enum { JOURNAL_VERSION = 1 }; /* of the report, too */
static const size_t journal_limit = (size_t)1 << 30;

static bool is_directory(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* "NAME.tmp-123", as atomic_file names what it has not finished. */
static bool is_temporary(const char *name)
{
    const char *mark = strstr(name, ".tmp-");
    return mark && mark[5] && strspn(mark + 5, "0123456789") == strlen(mark + 5);
}

/* Counts entries of a folder other than . and .. and ours; -1: cannot be read. */
static int foreign_entries(const char *dir)
{
    DIR *d = opendir(dir);
    int count = 0;
    if (!d)
        return -1;
    for (struct dirent *e; (e = readdir(d));)
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return count;
}

int journal_probe(const char *out, bool resume, bool *unfinished, struct err *err)
{
    struct stat st;
    *unfinished = false;
    if (lstat(out, &st) < 0)
        return errno == ENOENT ? 0 : err_set_errno(err, ERR_IO, out, "cannot look at it");
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_USAGE, out, "exists and is not a folder");
    char *dir = str_path(out, ".moqa", err);
    if (!dir)
        return ERR_NOMEM;
    /* A run that was cut between making OUT and OUT/.moqa leaves an empty folder. */
    bool ours = is_directory(dir) || (resume && foreign_entries(out) == 0);
    free(dir);
    if (!ours)
        return err_set(err, ERR_USAGE, out,
                       "exists and is not an unfinished run; choose another folder");
    if (!resume)
        return err_set(err, ERR_USAGE, out,
                       "holds an unfinished run; go on with --resume, or remove it");
    *unfinished = true;
    return 0;
}

static int make_dir(const char *path, struct err *err)
{
    if (mkdir(path, 0777) == 0 || (errno == EEXIST && is_directory(path)))
        return 0;
    return err_set_errno(err, ERR_IO, path, "cannot make the folder");
}

/* The folder in which OUT itself is a name. */
static int sync_parent(const char *out, struct err *err)
{
    char *parent = str_path(out, "..", err);
    int rc = parent ? atomic_file_sync_dir(parent, err) : ERR_NOMEM;
    free(parent);
    return rc;
}

/* journal_is_locked() has a lock of its own, for a moment. */
static int lock_patiently(int fd)
{
    enum { TRIES = 20, PAUSE_NS = 1000000 };
    int rc = flock(fd, LOCK_EX | LOCK_NB);
    for (int i = 1; rc < 0 && errno == EWOULDBLOCK && i < TRIES; i++) {
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
        rc = flock(fd, LOCK_EX | LOCK_NB);
    }
    return rc;
}

bool journal_is_locked(const char *out)
{
    char *path = str_path(out, ".moqa/lock", NULL);
    int fd = path ? open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
    bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    if (fd >= 0)
        close(fd);
    free(path);
    return locked;
}

static int take_lock(struct journal *j, struct err *err)
{
    struct stat st;
    char *path = str_path(j->dir, "lock", err);
    if (!path)
        return ERR_NOMEM;
    int rc = 0;
    j->lock = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (j->lock < 0)
        rc = err_set_errno(err, ERR_IO, path, "cannot open the lock");
    else if (lock_patiently(j->lock) < 0)
        rc = errno == EWOULDBLOCK ? err_set(err, ERR_LOCKED, j->out, "another process works on it")
                                  : err_set_errno(err, ERR_IO, path, "cannot lock");
    else if (fstat(j->lock, &st) == 0 && st.st_nlink == 0)
        rc = err_set(err, ERR_LOCKED, j->out, "another process has just finished it");
    free(path);
    return rc;
}

/* Only called with the lock held: whoever wrote them is dead. */
static int remove_temporaries(const char *dir, struct err *err)
{
    DIR *d = opendir(dir);
    if (!d)
        return err_set_errno(err, ERR_IO, dir, "cannot read the folder");
    for (struct dirent *e; (e = readdir(d));)
        if (is_temporary(e->d_name))
            unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    return 0;
}

enum { HIDDEN_NAME_MAX = 64 };

static void hidden_name(char out[HIDDEN_NAME_MAX], size_t layers)
{
    snprintf(out, HIDDEN_NAME_MAX, "hidden-%zu.bin", layers);
}

static bool exists_in(const char *dir, const char *name)
{
    char *path = str_path(dir, name, NULL);
    bool there = path && access(path, F_OK) == 0;
    free(path);
    return there;
}

static int load_root(struct journal *j, const char *dir, const char *name, const char *of,
                     struct err *err)
{
    char *path = str_path(dir, name, err);
    int rc = path ? jsonio_load(&j->root, path, journal_limit, err) : ERR_NOMEM;
    if (rc == 0)
        rc = jsonio_check_schema(j->root, of, JOURNAL_VERSION, path, err);
    if (rc == 0 && (!json_is_object(json_object_get(j->root, "digest")) ||
                    !json_is_array(json_object_get(j->root, "layers"))))
        rc = err_set(err, ERR_INPUT, path, "digest or layers are missing; remove %s", j->out);
    free(path);
    return rc;
}

/* The report of a finished run has the journal's digest and layers. */
static int load_finished(struct journal *j, struct err *err)
{
    j->complete = true;
    return load_root(j, j->out, report_name, report_schema, err);
}

/* Leaves the root NULL where no run has begun. */
static int load_run(struct journal *j, struct err *err)
{
    if (exists_in(j->dir, "journal.json"))
        return load_root(j, j->dir, "journal.json", schema, err);
    return exists_in(j->out, "config.json") ? load_finished(j, err) : 0;
}

/* Hidden states of a save that no journal followed: other files than the one to go on from. */
static int remove_orphans(const struct journal *j, struct err *err)
{
    char kept[HIDDEN_NAME_MAX];
    hidden_name(kept, journal_hidden_layers(j));
    DIR *d = opendir(j->dir);
    if (!d)
        return err_set_errno(err, ERR_IO, j->dir, "cannot read the folder");
    for (struct dirent *e; (e = readdir(d));)
        if (strncmp(e->d_name, "hidden-", 7) == 0 && strcmp(e->d_name, kept) != 0)
            unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    return 0;
}

int journal_open(struct journal *j, const char *out, bool resume, struct err *err)
{
    bool unfinished;
    *j = (struct journal){.lock = -1};
    int rc = journal_probe(out, resume, &unfinished, err);
    if (rc < 0)
        return rc;
    j->out = mem_strdup(out, err);
    j->dir = str_path(out, ".moqa", err);
    rc = j->out && j->dir ? make_dir(out, err) : ERR_NOMEM;
    if (rc == 0)
        rc = make_dir(j->dir, err);
    if (rc == 0)
        rc = atomic_file_sync_dir(out, err);
    if (rc == 0)
        rc = sync_parent(out, err);
    if (rc == 0)
        rc = take_lock(j, err);
    if (rc == 0)
        rc = remove_temporaries(out, err);
    if (rc == 0)
        rc = remove_temporaries(j->dir, err);
    if (rc == 0)
        rc = load_run(j, err);
    if (rc == 0)
        rc = remove_orphans(j, err);
    if (rc < 0)
        journal_close(j);
    return rc;
}

static int save_root(const struct journal *j, struct err *err)
{
    char *path = str_path(j->dir, "journal.json", err);
    int rc = path ? jsonio_save(j->root, path, err) : ERR_NOMEM;
    free(path);
    return rc;
}

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, NULL, "no memory for the journal");
}

static int check_digest(const struct journal *j, const json_t *digest, struct err *err)
{
    struct str differ = {0};
    const char *key;
    json_t *value, *mine = json_object_get(j->root, "digest");
    json_object_foreach((json_t *)(uintptr_t)digest, key,
                        value) if (!json_equal(value, json_object_get(mine, key)))
        str_appendf(&differ, "%s%s", differ.length ? ", " : "", key);
    int rc = str_ok(&differ, err);
    if (rc == 0 && differ.length)
        rc = err_set(err, ERR_USAGE, j->out,
                     "holds %s run with another %s; choose another folder or remove it",
                     j->complete ? "a finished" : "an unfinished", str_get(&differ));
    str_release(&differ);
    return rc;
}

/* Journals of earlier versions have none. */
static int check_stamp(const struct journal *j, const char *stamp, struct err *err)
{
    const char *mine = json_string_value(json_object_get(j->root, "model_stamp"));
    if (!mine || strcmp(mine, stamp) == 0)
        return 0;
    return err_set(err, ERR_USAGE, j->out,
                   "holds an unfinished run of the model before its weights were written anew: "
                   "found another size or time of their files; choose another folder or remove it");
}

int journal_begin(struct journal *j, const json_t *digest, const char *stamp, struct err *err)
{
    if (j->root) {
        int rc = check_digest(j, digest, err);
        return rc == 0 ? check_stamp(j, stamp, err) : rc;
    }
    j->root =
        json_pack("{s:s,s:i,s:O,s:s,s:[],s:i}", "schema", schema, "schema_version", JOURNAL_VERSION,
                  "digest", digest, "model_stamp", stamp, "layers", "hidden_layers", 0);
    return j->root ? save_root(j, err) : no_memory(err);
}

bool journal_begun(const struct journal *j)
{
    return j->root;
}

int journal_finished(bool *finished, const char *out, const json_t *digest, struct err *err)
{
    struct journal j = {.lock = -1};
    *finished = false;
    if (exists_in(out, ".moqa") || !exists_in(out, "config.json") || !exists_in(out, report_name))
        return 0;
    j.out = mem_strdup(out, err);
    int rc = j.out ? load_finished(&j, err) : ERR_NOMEM;
    if (rc == 0)
        rc = check_digest(&j, digest, err);
    *finished = rc == 0;
    journal_close(&j);
    return rc;
}

const json_t *journal_reports(const struct journal *j)
{
    return json_object_get(j->root, "layers");
}

size_t journal_layers(const struct journal *j)
{
    return json_array_size(journal_reports(j));
}

const json_t *journal_layer(const struct journal *j, size_t index)
{
    return json_array_get(journal_reports(j), index);
}

/* --- Hidden states --- */

static char *hidden_path(const struct journal *j, size_t layers, struct err *err)
{
    char name[HIDDEN_NAME_MAX];
    hidden_name(name, layers);
    return str_path(j->dir, name, err);
}

static int write_hidden(struct atomic_file *f, struct hash *h, const struct journal_hidden *hidden,
                        struct err *err)
{
    float *part = mem_aligned(hidden->part_count, sizeof *part, err);
    int rc = part ? 0 : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < hidden->parts; i++) {
        size_t count = 0;
        rc = hidden->read(hidden->context, i, part, &count, err);
        if (rc == 0)
            rc = hash_update(h, part, count * sizeof *part, err);
        if (rc == 0)
            rc = atomic_file_write(f, part, count * sizeof *part, err);
    }
    free(part);
    return rc;
}

size_t journal_hidden_layers(const struct journal *j)
{
    const json_t *layers = json_object_get(j->root, "hidden_layers");
    size_t count = layers ? (size_t)json_integer_value(layers) : journal_layers(j);
    return count < journal_layers(j) ? count : journal_layers(j);
}

int journal_save_hidden(struct journal *j, size_t layers, const struct journal_hidden *hidden,
                        struct err *err)
{
    char sum[HASH_HEX_SIZE];
    size_t before = journal_hidden_layers(j);
    struct hash *h = NULL;
    struct atomic_file f = {.fd = -1};
    char *path = hidden_path(j, layers, err);
    int rc = path ? hash_new(&h, err) : ERR_NOMEM;
    if (rc == 0)
        rc = atomic_file_open(&f, path, err);
    if (rc == 0) {
        rc = write_hidden(&f, h, hidden, err);
        if (rc == 0)
            rc = hash_finish(h, sum, err);
        if (rc == 0)
            rc = atomic_file_commit(&f, err);
        else
            atomic_file_abort(&f);
    }
    if (rc == 0 &&
        (json_object_set_new(j->root, "hidden_sha256", json_string(sum)) < 0 ||
         json_object_set_new(j->root, "hidden_layers", json_integer((json_int_t)layers)) < 0))
        rc = no_memory(err);
    if (rc == 0)
        j->hidden_before = before;
    hash_free(h);
    free(path);
    return rc;
}

int journal_look(struct journal_state *state, const char *out, struct err *err)
{
    struct journal j = {.lock = -1};
    j.out = mem_strdup(out, err);
    j.dir = str_path(out, ".moqa", err);
    int rc = j.out && j.dir ? load_run(&j, err) : ERR_NOMEM;
    *state = (struct journal_state){.layers = journal_layers(&j),
                                    .hidden_layers = journal_hidden_layers(&j),
                                    .complete = j.complete};
    journal_close(&j);
    return rc;
}

int journal_rewind(struct journal *j, size_t layers, struct err *err)
{
    json_t *reports = json_object_get(j->root, "layers");
    while (json_array_size(reports) > layers)
        if (json_array_remove(reports, json_array_size(reports) - 1) < 0)
            return no_memory(err);
    return 0;
}

/* sum: "" where the file is longer or shorter. */
static int read_hidden(char sum[HASH_HEX_SIZE], FILE *f, const char *path,
                       const struct journal_loader *loader, struct err *err)
{
    struct hash *h = NULL;
    float *part = mem_aligned(loader->part_count, sizeof *part, err);
    int rc = part ? hash_new(&h, err) : ERR_NOMEM;
    size_t left = loader->count;
    bool whole = true;
    for (size_t i = 0; rc == 0 && left && whole; i++) {
        size_t wanted = left < loader->part_count ? left : loader->part_count;
        whole = fread(part, sizeof *part, wanted, f) == wanted;
        if (whole)
            rc = hash_update(h, part, wanted * sizeof *part, err);
        if (whole && rc == 0)
            rc = loader->take(loader->context, i, part, err);
        left -= wanted;
    }
    whole = rc == 0 && whole && fgetc(f) == EOF;
    if (rc == 0 && ferror(f))
        rc = err_set_errno(err, ERR_IO, path, "cannot read");
    sum[0] = '\0';
    if (rc == 0 && whole)
        rc = hash_finish(h, sum, err);
    hash_free(h);
    free(part);
    return rc;
}

int journal_load_hidden(const struct journal *j, const struct journal_loader *loader,
                        struct err *err)
{
    char sum[HASH_HEX_SIZE];
    const char *expected = json_string_value(json_object_get(j->root, "hidden_sha256"));
    char *path = hidden_path(j, journal_hidden_layers(j), err);
    if (!path)
        return ERR_NOMEM;
    FILE *f = fopen(path, "rbe");
    int rc = f ? read_hidden(sum, f, path, loader, err)
               : err_set_errno(err, ERR_IO, path, "cannot open");
    if (rc == 0 && (!expected || strcmp(sum, expected) != 0))
        rc = err_set(err, ERR_INPUT, path,
                     "damaged: its checksum is not the journal's; remove %s and start again",
                     j->out);
    if (f)
        fclose(f);
    free(path);
    return rc;
}

int journal_commit(struct journal *j, json_t *report, struct err *err)
{
    if (json_array_append_new(json_object_get(j->root, "layers"), report) < 0)
        return no_memory(err);
    int rc = save_root(j, err);
    if (rc < 0)
        return rc;
    if (j->hidden_before == 0)
        return 0;
    char *old = hidden_path(j, j->hidden_before, err);
    if (!old)
        return ERR_NOMEM;
    unlink(old);
    free(old);
    j->hidden_before = 0;
    return 0;
}

/* The journal goes first: a folder without it, beside a config.json, is a finished run. */
int journal_remove(struct journal *j, struct err *err)
{
    char *path = str_path(j->dir, "journal.json", err);
    if (!path)
        return ERR_NOMEM;
    int rc = unlink(path) == 0 || errno == ENOENT
                 ? atomic_file_sync_dir(j->dir, err)
                 : err_set_errno(err, ERR_IO, path, "cannot remove");
    free(path);
    DIR *d = rc == 0 ? opendir(j->dir) : NULL;
    for (struct dirent *e; d && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    if (rc == 0 && rmdir(j->dir) < 0)
        rc = err_set_errno(err, ERR_IO, j->dir, "cannot remove");
    return rc == 0 ? atomic_file_sync_dir(j->out, err) : rc;
}

void journal_close(struct journal *j)
{
    if (j->lock >= 0)
        close(j->lock);
    json_decref(j->root);
    free(j->out);
    free(j->dir);
    *j = (struct journal){.lock = -1};
}
