#include "network.hpp"

#include <cstdio>
#include <string>

#include <dlfcn.h>

namespace sim {

namespace {

struct Library {
    void *(*load)(const uint8_t *, size_t, char *, size_t) = nullptr;
    int (*run)(const void *, const float *, const size_t *, size_t, float *, size_t, char *, size_t) = nullptr;
    void (*free)(void *) = nullptr;
};

template <typename T> bool find(void *library, const char *name, T &function)
{
    function = reinterpret_cast<T>(dlsym(library, name));
    return function != nullptr;
}

// Null if it is missing.
const Library *open_library()
{
    Dl_info here = {};
    if (dladdr(reinterpret_cast<void *>(&open_library), &here) == 0) {
        return nullptr;
    }
    const std::string path = here.dli_fname;
    const auto folder = path.substr(0, path.rfind('/') + 1);
    void *const handle = dlopen((folder + "libhailort_sim_network.so").c_str(), RTLD_NOW | RTLD_LOCAL);
    auto *const library = new Library;
    if (!handle || !find(handle, "hailort_sim_network_load", library->load)
        || !find(handle, "hailort_sim_network_run", library->run)
        || !find(handle, "hailort_sim_network_free", library->free)) {
        std::fprintf(stderr, "simulated HailoRT: networks cannot be run: %s\n", dlerror());
        delete library;
        return nullptr;
    }
    return library;
}

const Library *library()
{
    static const Library *const instance = open_library();
    return instance;
}

} // namespace

std::unique_ptr<Network> Network::load(std::shared_ptr<const Hef> hef)
{
    if (hef->network_size == 0 || !library()) {
        return nullptr;
    }
    char error[256] = "";
    void *const handle = library()->load(hef->network, hef->network_size, error, sizeof(error));
    if (!handle) {
        std::fprintf(stderr, "simulated HailoRT: the network cannot be loaded: %s\n", error);
        return nullptr;
    }
    return std::unique_ptr<Network>(new Network(std::move(hef), handle));
}

Network::~Network()
{
    library()->free(handle);
}

bool Network::run(size_t frames, const float *input, float *output) const
{
    const auto &in = hef->inputs[0].shape;
    const auto output_length = frames * hef->outputs[0].elements();
    // Images are [N, H, W, C]; texts [N, L, W].
    const size_t image[] = { frames, in.height, in.width, in.features };
    const size_t text[] = { frames, in.width, in.features };
    char error[256] = "";
    const int failed = hef->is_image
        ? library()->run(handle, input, image, 4, output, output_length, error, sizeof(error))
        : library()->run(handle, input, text, 3, output, output_length, error, sizeof(error));
    if (failed) {
        std::fprintf(stderr, "simulated HailoRT: the network does not run: %s\n", error);
    }
    return !failed;
}

} // namespace sim
