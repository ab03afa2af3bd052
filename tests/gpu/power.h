/*
 * power.h: what a GPU draws and how fast its clock runs, by NVML, opened at run
 * time.  A card at its power limit slows its clock, so a kernel that draws less
 * is a faster one in a long step.
 */
#ifndef TITAN_TESTS_GPU_POWER_H
#define TITAN_TESTS_GPU_POWER_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Power {
    void *device;
    int (*energy)(void *device, unsigned long long *millijoules);
    int (*clock)(void *device, int which, unsigned *mhz);
} Power;

/* False: this machine does not say. */
static inline bool power_open(Power *p)
{
    int (*init)(void), (*first)(unsigned, void **);
    void *lib = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    *p = (Power){0};
    if (!lib) return false;
    *(void **)&init = dlsym(lib, "nvmlInit_v2");
    *(void **)&first = dlsym(lib, "nvmlDeviceGetHandleByIndex_v2");
    *(void **)&p->energy = dlsym(lib, "nvmlDeviceGetTotalEnergyConsumption");
    *(void **)&p->clock = dlsym(lib, "nvmlDeviceGetClockInfo");
    return init && first && p->energy && p->clock && init() == 0 &&
           first(0, &p->device) == 0;
}

/* Joules since the driver was loaded; 0: unknown. */
static inline double power_joules(const Power *p)
{
    unsigned long long mj = 0;
    if (p->device && p->energy(p->device, &mj) != 0) mj = 0;
    return (double)mj * 1e-3;
}

/* Of the processors, in MHz; 0: unknown. */
static inline unsigned power_clock(const Power *p)
{
    enum { PROCESSORS = 1 };
    unsigned mhz = 0;
    if (p->device && p->clock(p->device, PROCESSORS, &mhz) != 0) mhz = 0;
    return mhz;
}

#endif
