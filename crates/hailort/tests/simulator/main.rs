//! Handles, shim and libhailort on simulated devices, as a program meets them on real ones.
//!
//! Every scenario runs in a process of its own, since libhailort is set up once a process. The folder
//! `../../../hailort-sys/sim` has the simulator and the words that its control file knows.

mod counts;
mod faults;
mod inference;
mod life;
mod loading;
mod lost;
mod machine;
