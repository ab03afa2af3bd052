/*
 * boot.h: whether two processes are side by side.
 */
#ifndef TITAN_BOOT_H
#define TITAN_BOOT_H

#include <stdbool.h>

enum { BOOT_NAME = 128 };

/* Of this start of this machine, and of the processes on it that see each other
 * by their numbers. */
typedef struct BootName {
    char text[BOOT_NAME]; /* empty: the system says none */
} BootName;

BootName boot_name(void);
/* False also where one has none. */
bool boot_is_same(const BootName *a, const BootName *b);

#endif
