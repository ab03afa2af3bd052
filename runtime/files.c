/*
 * files.c: the real file system, and what is made of its calls.
 *
 * The disk works while a long file is written, so that the wait at the end is
 * short.
 */
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { WINDOW = 32 << 20, BEHIND = 3 * WINDOW, MOST_AT_ONCE = 4 << 20 };

/* ------------------------------------------------------------------ real -- */

static int real_create(Files *f, const char *path, int *fd)
{
    (void)f;
    *fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return *fd < 0 ? errno : 0;
}

/* Of a file that is written from front to back, windows: the disk is told to
 * write the one that is full, and when it has written one that is BEHIND, this
 * leaves memory.  So the disk never waits for the writer, nor the writer long
 * for the disk, and a large file does not drive all else out of memory. */
static void push(int fd, size_t n)
{
    off_t at = lseek(fd, 0, SEEK_CUR);
    if (at < 0 || at / WINDOW == (at - (off_t)n) / WINDOW) return;
    off_t full = at / WINDOW * WINDOW - WINDOW, before = full - BEHIND;
    sync_file_range(fd, full, WINDOW, SYNC_FILE_RANGE_WRITE);
    if (before < 0) return;
    sync_file_range(fd, before, WINDOW,
                    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                        SYNC_FILE_RANGE_WAIT_AFTER);
    posix_fadvise(fd, before, WINDOW, POSIX_FADV_DONTNEED);
}

static int real_write(Files *f, int fd, const void *at, size_t n, size_t *done)
{
    (void)f;
    ssize_t r = write(fd, at, n);
    *done = r < 0 ? 0 : (size_t)r;
    if (r < 0) return errno == EINTR ? 0 : errno;
    push(fd, *done);
    return 0;
}

/* Pages that are on the disk need not stay in memory: who reads the file back
 * sees what the disk has. */
static int real_sync(Files *f, int fd)
{
    (void)f;
    if (fsync(fd) != 0) return errno;
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    return 0;
}

static int real_open(Files *f, const char *path, int *fd, uint64_t *size)
{
    (void)f;
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (*fd < 0) return errno;
    int error = fstat(*fd, &st) != 0 ? errno : S_ISREG(st.st_mode) ? 0 : EINVAL;
    if (error) close(*fd);
    *size = (uint64_t)st.st_size;
    return error;
}

static int real_read(Files *f, int fd, uint64_t offset, void *to, size_t n,
                     size_t *done)
{
    (void)f;
    ssize_t r = pread(fd, to, n, (off_t)offset);
    *done = r < 0 ? 0 : (size_t)r;
    return r < 0 && errno != EINTR ? errno : 0;
}

static int real_close(Files *f, int fd)
{
    (void)f;
    return close(fd) != 0 ? errno : 0;
}

static int map_open(int fd, const void **at, size_t *size)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return errno;
    if (!S_ISREG(st.st_mode)) return EINVAL;
    *size = (size_t)st.st_size;
    if (*size == 0) return 0;
    void *map = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) return errno;
    *at = map;
    return 0;
}

static int real_map(Files *f, const char *path, const void **at, size_t *size)
{
    (void)f;
    *at = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return errno;
    int error = map_open(fd, at, size);
    close(fd);
    return error;
}

static void real_unmap(Files *f, const void *at, size_t size)
{
    (void)f;
    if (at) munmap((void *)(uintptr_t)at, size);
}

static int real_rename(Files *f, const char *from, const char *to)
{
    (void)f;
    return rename(from, to) != 0 ? errno : 0;
}

static int real_remove(Files *f, const char *path)
{
    (void)f;
    return remove(path) != 0 ? errno : 0;
}

static int real_make_dir(Files *f, const char *path)
{
    (void)f;
    return mkdir(path, 0777) != 0 ? errno : 0;
}

static int real_sync_dir(Files *f, const char *path)
{
    (void)f;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno;
    int error = fsync(fd) != 0 ? errno : 0;
    close(fd);
    return error;
}

/* Who has locked what FD is open on, as the system lists it. */
static int64_t lock_holder(int fd)
{
    struct stat st;
    char line[256], kind[16];
    int64_t pid = 0, found = 0;
    unsigned major_no, minor_no;
    uint64_t inode;
    FILE *list = fopen("/proc/locks", "re");
    if (!list) return 0;
    while (fstat(fd, &st) == 0 && !found && fgets(line, sizeof line, list))
        if (sscanf(line, "%*s %15s %*s %*s %" SCNd64 " %x:%x:%" SCNu64, kind,
                   &pid, &major_no, &minor_no, &inode) == 5 &&
            strcmp(kind, "FLOCK") == 0 && inode == st.st_ino &&
            major_no == major(st.st_dev) && minor_no == minor(st.st_dev))
            found = pid > 0 ? pid : 0;
    fclose(list);
    return found;
}

static int real_lock(Files *f, const char *path, int *fd, int64_t *holder)
{
    (void)f;
    *holder = 0;
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0) return errno;
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0) return 0;
    int error = errno;
    if (error == EWOULDBLOCK) *holder = lock_holder(*fd);
    close(*fd);
    return error;
}

static int real_list(Files *f, const char *path,
                     void (*each)(void *user, const char *name), void *user)
{
    (void)f;
    DIR *dir = opendir(path);
    if (!dir) return errno;
    for (struct dirent *d; (d = readdir(dir));)
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            each(user, d->d_name);
    closedir(dir);
    return 0;
}

static const FilesClass real_class = {.create = real_create,
                                      .write = real_write,
                                      .sync = real_sync,
                                      .open = real_open,
                                      .read = real_read,
                                      .close = real_close,
                                      .map = real_map,
                                      .unmap = real_unmap,
                                      .rename = real_rename,
                                      .remove = real_remove,
                                      .make_dir = real_make_dir,
                                      .sync_dir = real_sync_dir,
                                      .lock = real_lock,
                                      .list = real_list};

Files *files_real(void)
{
    static const Files real = {&real_class};
    return (Files *)(uintptr_t)&real;
}

/* --------------------------------------------------------------- writing -- */

static int write_all(FileWriter *w, const char *at, size_t n)
{
    const FilesClass *c = w->files->class;
    while (n > 0) {
        size_t done = 0, most = n < MOST_AT_ONCE ? n : MOST_AT_ONCE;
        int error = c->write(w->files, w->fd, at, most, &done);
        if (error) return error;
        at += done;
        n -= done;
    }
    return 0;
}

void file_begin(FileWriter *w, TitanStory *s, Files *files, const char *path)
{
    w->story = s;
    w->files = files;
    w->fd = -1;
    snprintf(w->path, sizeof w->path, "%s", path);
    snprintf(w->temp, sizeof w->temp, "%s.partial", path);
    w->error = files->class->create(files, w->temp, &w->fd);
}

void file_write(FileWriter *w, const void *at, size_t n)
{
    if (!w->error) w->error = write_all(w, at, n);
}

TitanStatus file_end(FileWriter *w)
{
    const FilesClass *c = w->files->class;
    if (!w->error) w->error = c->sync(w->files, w->fd);
    int closed = w->fd >= 0 ? c->close(w->files, w->fd) : 0;
    if (!w->error) w->error = closed;
    if (!w->error) w->error = c->rename(w->files, w->temp, w->path);
    if (!w->error) return TITAN_OK;
    if (w->fd >= 0) c->remove(w->files, w->temp);
    return titan_fail(w->story, TITAN_IO, "could not write \"%s\": %s", w->path,
                      strerror(w->error));
}

void file_abandon(FileWriter *w)
{
    if (w->fd < 0) return;
    w->files->class->close(w->files, w->fd);
    w->files->class->remove(w->files, w->temp);
}

/* --------------------------------------------------------------- reading -- */

int file_read_at(Files *files, int fd, uint64_t offset, void *to, size_t size)
{
    while (size > 0) {
        size_t done = 0;
        int error = files->class->read(files, fd, offset, to, size, &done);
        if (error) return error;
        if (done == 0) return EIO;
        to = (char *)to + done;
        offset += done;
        size -= done;
    }
    return 0;
}

TitanStatus file_read_all(TitanStory *s, Files *files, const char *path,
                          size_t most, char **out, size_t *size)
{
    int fd;
    uint64_t bytes;
    int error = files->class->open(files, path, &fd, &bytes);
    *out = NULL;
    if (error)
        return titan_fail(s, TITAN_IO, "could not open \"%s\": %s", path,
                          strerror(error));
    if (bytes > most) {
        files->class->close(files, fd);
        return titan_fail(s, TITAN_BAD_DATA,
                          "\"%s\" has %llu bytes, at most %zu are taken", path,
                          (unsigned long long)bytes, most);
    }
    *size = (size_t)bytes;
    *out = malloc(*size + 1);
    error = *out ? file_read_at(files, fd, 0, *out, *size) : ENOMEM;
    files->class->close(files, fd);
    if (!error) {
        (*out)[*size] = 0;
        return TITAN_OK;
    }
    free(*out);
    *out = NULL;
    return titan_fail(s, TITAN_IO, "could not read \"%s\": %s", path,
                      strerror(error));
}

/* --------------------------------------------------------------- folders -- */

bool file_is_plain(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool path_join(char out[FILES_PATH], const char *dir, const char *name)
{
    int n = snprintf(out, FILES_PATH, "%s/%s", dir, name);
    return n >= 0 && n < FILES_PATH;
}

typedef struct Removal {
    Files *files;
    const char *dir;
    int error;
} Removal;

static void remove_one(void *user, const char *name)
{
    Removal *r = user;
    char path[FILES_PATH];
    if (r->error) return;
    r->error = path_join(path, r->dir, name)
                   ? r->files->class->remove(r->files, path)
                   : ENAMETOOLONG;
}

int files_remove_tree(Files *files, const char *path)
{
    Removal r = {files, path, 0};
    int error = files->class->list(files, path, remove_one, &r);
    if (error == ENOTDIR) return files->class->remove(files, path);
    if (error || r.error) return error ? error : r.error;
    return files->class->remove(files, path);
}

void path_above(const char *path, char out[FILES_PATH])
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    while (n > 0 && path[n - 1] != '/')
        n--;
    if (n == 0 || n >= FILES_PATH) {
        strcpy(out, ".");
        return;
    }
    memcpy(out, path, n);
    out[n] = 0;
}

static int make_dir_in(Files *files, const char *path)
{
    char above[FILES_PATH];
    int error = files->class->make_dir(files, path);
    if (error) return error;
    path_above(path, above);
    return files->class->sync_dir(files, above);
}

int files_make_dirs(Files *files, const char *path)
{
    char part[FILES_PATH];
    size_t n = strlen(path);
    int error = make_dir_in(files, path), first = 0;
    if (error != ENOENT || n >= sizeof part) return error;
    for (size_t i = 1; i < n; i++) {
        if (path[i] != '/' || path[i - 1] == '/') continue;
        memcpy(part, path, i);
        part[i] = 0;
        error = make_dir_in(files, part);
        if (!first && error != EEXIST) first = error;
    }
    error = make_dir_in(files, path);
    return error == ENOENT && first ? first : error;
}

TitanStatus files_need_dir(TitanStory *s, Files *files, const char *path)
{
    int error = files_make_dirs(files, path);
    if (error == 0 || error == EEXIST) return TITAN_OK;
    return titan_fail(s, TITAN_IO, "could not make the folder \"%s\": %s", path,
                      strerror(error));
}
