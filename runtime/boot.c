/*
 * boot.c: the name of a start of a machine.
 *
 * Linux draws a number when it starts.  Containers of one machine share it, but
 * not their processes, so these are part of the name.
 */
#include "boot.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DRAWN = 64 }; /* bytes of the number, at most */

BootName boot_name(void)
{
    BootName name = {{0}};
    FILE *in = fopen("/proc/sys/kernel/random/boot_id", "r");
    if (!in) return name;
    bool known = fgets(name.text, DRAWN, in) != NULL;
    fclose(in);
    if (!known) return (BootName){{0}};
    char *end = name.text + strcspn(name.text, "\n");
    ssize_t n = readlink("/proc/self/ns/pid", end, BOOT_NAME - DRAWN - 1);
    end[n > 0 ? n : 0] = 0;
    return name;
}

bool boot_is_same(const BootName *a, const BootName *b)
{
    return a->text[0] && memcmp(a->text, b->text, BOOT_NAME) == 0;
}
