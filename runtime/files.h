/*
 * files.h: the file system as a table of calls, so that what must survive a
 * crash can be run against a simulated one.
 *
 * Each call returns 0 or an errno.  A write or a read may do less than it was
 * asked for, as those of the system may.
 */
#ifndef TITAN_FILES_H
#define TITAN_FILES_H

#include "titan.h"

enum { FILES_PATH = 4096 };

typedef struct Files Files;

typedef struct FilesClass {
    /* A new or emptied file, for writing. */
    int (*create)(Files *f, const char *path, int *fd);
    int (*write)(Files *f, int fd, const void *at, size_t n, size_t *done);
    /* What was written is on the disk when it returns. */
    int (*sync)(Files *f, int fd);
    /* A regular file, for reading; no link is followed. */
    int (*open)(Files *f, const char *path, int *fd, uint64_t *size);
    int (*read)(Files *f, int fd, uint64_t offset, void *to, size_t n,
                size_t *done);
    int (*close)(Files *f, int fd);
    /* All of a file, as memory that is read when it is looked at. */
    int (*map)(Files *f, const char *path, const void **at, size_t *size);
    void (*unmap)(Files *f, const void *at, size_t size);
    int (*rename)(Files *f, const char *from, const char *to);
    int (*remove)(Files *f, const char *path); /* a file or an empty folder */
    int (*make_dir)(Files *f, const char *path);
    /* The names in a folder, and what was renamed, are on the disk. */
    int (*sync_dir)(Files *f, const char *path);
    /* The folder is the caller's until FD is closed or its process ends;
     * EWOULDBLOCK: it is that of process HOLDER, 0: of one that cannot be
     * named. */
    int (*lock)(Files *f, const char *path, int *fd, int64_t *holder);
    /* Calls EACH with every name in a folder. */
    int (*list)(Files *f, const char *path,
                void (*each)(void *user, const char *name), void *user);
} FilesClass;

struct Files {
    const FilesClass *class;
};

/* The file system of the machine; nobody owns it. */
Files *files_real(void);

/* A file on its way out.  The first error ends it: what is asked for later does
 * nothing, and file_close says what it was. */
typedef struct FileWriter {
    TitanStory *story;
    Files *files;
    char path[FILES_PATH], temp[FILES_PATH + 16];
    int fd, error;
} FileWriter;

/* PATH is there once it is whole and on the disk; until then it has the
 * suffix ".partial". */
void file_begin(FileWriter *w, TitanStory *s, Files *files, const char *path);
void file_write(FileWriter *w, const void *at, size_t n);
TitanStatus file_end(FileWriter *w);
/* Instead of file_end: what was written is removed. */
void file_abandon(FileWriter *w);

/* A whole file of at most MOST bytes, for free(); a byte of 0 follows it. */
TitanStatus file_read_all(TitanStory *s, Files *files, const char *path,
                          size_t most, char **out, size_t *size);
/* All of SIZE bytes at OFFSET; EIO where the file ends before. */
int file_read_at(Files *files, int fd, uint64_t offset, void *to, size_t size);

/* Of the real file system: it is there, and no folder. */
bool file_is_plain(const char *path);
/* OUT: DIR/NAME; false: too long. */
bool path_join(char out[FILES_PATH], const char *dir, const char *name);
/* Removes a folder with the files in it. */
int files_remove_tree(Files *files, const char *path);
/* OUT: what PATH lies in, "." where it does not say. */
void path_above(const char *path, char out[FILES_PATH]);
/* Makes the folder PATH with those above it that are not there, and their names
 * are on the disk.  EEXIST: it was there, or something else of its name. */
int files_make_dirs(Files *files, const char *path);
/* IO: the folder exists now, and those above it. */
TitanStatus files_need_dir(TitanStory *s, Files *files, const char *path);

#endif
