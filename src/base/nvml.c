/* nvml.c - see nvml.h. The five functions are as NVML's reference manual has them: each returns 0 when it did what it says; a device is
 * an opaque pointer; energy is in millijoules. */
#include "base/nvml.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "base/mem.h"

struct qn_nvml {
    void *library;
    int (*shutdown)(void);
    int (*energy)(void *device, unsigned long long *millijoules);
    void *devices[QN_NVML_MOST];
    int n;
};

/* A function's address, which ISO C does not let be cast from an object's. */
static bool symbol(void *library, const char *name, void *function)
{
    void *p = dlsym(library, name);
    *(void **)function = p;
    return p != NULL;
}

/* Devices that tell their energy; the others (older ones) are left out. */
static void find_devices(qn_nvml *n, unsigned count, int (*handle)(unsigned, void **))
{
    for (unsigned i = 0; i < count && n->n < QN_NVML_MOST; i++) {
        void *device = NULL;
        unsigned long long energy;
        if (handle(i, &device) == 0 && n->energy(device, &energy) == 0)
            n->devices[n->n++] = device;
    }
}

qn_nvml *qn__nvml_open(const char **why)
{
    int (*init)(void), (*count)(unsigned *), (*handle)(unsigned, void **);
    const char *path = getenv("QUERN_NVML");
    unsigned devices = 0;
    qn_nvml *n = qn__calloc(1, sizeof *n);
    *why = "not enough memory";
    if (!n)
        return NULL;
    *why = "there is no library of NVIDIA's driver (libnvidia-ml.so.1)";
    n->library = path && !*path ? NULL : dlopen(path ? path : "libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!n->library)
        goto none;
    *why = "the library of NVIDIA's driver is too old to tell it (nvmlDeviceGetTotalEnergyConsumption)";
    if (!symbol(n->library, "nvmlInit_v2", &init) || !symbol(n->library, "nvmlShutdown", &n->shutdown) ||
        !symbol(n->library, "nvmlDeviceGetCount_v2", &count) || !symbol(n->library, "nvmlDeviceGetHandleByIndex_v2", &handle) ||
        !symbol(n->library, "nvmlDeviceGetTotalEnergyConsumption", &n->energy)) {
        n->shutdown = NULL;
        goto none;
    }
    *why = "NVIDIA's driver is not loaded, or may not be asked (nvmlInit)";
    if (init() != 0) {
        n->shutdown = NULL;
        goto none;
    }
    *why = "NVIDIA's driver knows no GPU";
    if (count(&devices) != 0 || devices == 0)
        goto none;
    find_devices(n, devices, handle);
    *why = "no GPU tells it (NVIDIA's do from the generation of 2017 on)";
    if (n->n > 0)
        return n;
none:
    qn__nvml_close(n);
    return NULL;
}

void qn__nvml_close(qn_nvml *n)
{
    if (!n)
        return;
    if (n->shutdown)
        (void)n->shutdown();
    if (n->library)
        (void)dlclose(n->library);
    qn_free(n);
}

int qn__nvml_devices(const qn_nvml *n)
{
    return n->n;
}

bool qn__nvml_read(const qn_nvml *n, qn_nvml_energy *out)
{
    for (int i = 0; i < n->n; i++) {
        unsigned long long v = 0;
        if (n->energy(n->devices[i], &v) != 0)
            return false;
        out->millijoules[i] = v;
    }
    return true;
}

double qn__nvml_between(const qn_nvml *n, const qn_nvml_energy *from, const qn_nvml_energy *to)
{
    double sum = 0;
    for (int i = 0; i < n->n; i++)
        sum += to->millijoules[i] > from->millijoules[i] ? (double)(to->millijoules[i] - from->millijoules[i]) : 0;
    return sum * 1e-3;
}
