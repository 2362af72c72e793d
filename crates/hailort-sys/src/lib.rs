//! The C interface of `shim/hailort_shim.h`, loaded at run time.
