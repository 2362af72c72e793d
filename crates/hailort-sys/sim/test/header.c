/* The shim's header is C. */
#include "hailort_shim.h"

uint32_t abi(void)
{
    return hailort_shim_abi();
}
