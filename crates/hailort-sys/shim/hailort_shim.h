/*
 * A C interface to HailoRT's InferModel.
 *
 * HailoRT offers inference on every Hailo device (8, 8L, 10H) through C++ classes alone. Their layout
 * differs from version to version, so the shim is compiled on the machine that has the library, and
 * what loads it sees only this file.
 *
 * Every function returns a status: 0 for success, a positive hailo_status passed through from
 * HailoRT, or one of the negative codes below. No exception leaves a function. Out parameters are
 * written on success alone. Functions may be called from any thread.
 *
 * Objects are named by handles, numbers that are never used twice: a handle that was closed, or is of
 * another kind, is refused with HAILORT_SHIM_INVALID_HANDLE. A model keeps its vdevice alive, so the
 * order of closing does not matter.
 */
#ifndef HAILORT_SHIM_H
#define HAILORT_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
/* Nothing else is exported. */
#pragma GCC visibility push(default)

/* Changes with every incompatible change of this file. */
#define HAILORT_SHIM_ABI 1u

/* The handle is unknown, closed, or of another kind. */
#define HAILORT_SHIM_INVALID_HANDLE (-1)
/* A pointer is null, an index out of range, a string too long, or a call out of order. */
#define HAILORT_SHIM_INVALID_ARGUMENT (-2)
/* HailoRT threw an exception. */
#define HAILORT_SHIM_EXCEPTION (-3)
/* There is no memory for the shim's own objects. */
#define HAILORT_SHIM_OUT_OF_MEMORY (-4)

typedef uint64_t hailort_shim_handle;

typedef struct {
    uint32_t major;
    uint32_t minor;
    uint32_t revision;
} hailort_shim_version;

/* Texts end with a NUL. */
typedef struct {
    char id[64];
} hailort_shim_device_id;

/* Of hailort_shim_identity.architecture; the numbers are HailoRT's. */
enum {
    HAILORT_SHIM_ARCHITECTURE_HAILO8 = 1,
    HAILORT_SHIM_ARCHITECTURE_HAILO8L = 2,
    HAILORT_SHIM_ARCHITECTURE_HAILO10H = 6
};

typedef struct {
    char device_id[64];
    int32_t architecture;
    hailort_shim_version firmware;
    char board_name[64];
    char serial_number[64];
} hailort_shim_identity;

typedef struct {
    /* Celsius, the hotter of the two sensors; NaN if the device does not tell. */
    float temperature;
    /* 1: the device runs slower now, to protect itself from heat or current; 0: it does not;
     * -1: it does not tell. */
    int32_t throttling;
} hailort_shim_health;

typedef struct {
    /* Vdevices of one process that name the same group share the devices; NULL: a group of its own. */
    const char *group_id;
    /* Devices to use; NULL with a count: any so many. */
    const char *const *device_ids;
    uint32_t device_count;
    /* 1: HailoRT's round-robin scheduler, several models a device; 0: none. */
    uint32_t scheduler;
} hailort_shim_vdevice_params;

enum { HAILORT_SHIM_INPUT = 0, HAILORT_SHIM_OUTPUT = 1 };

/* The numbers are HailoRT's. */
enum {
    HAILORT_SHIM_FORMAT_AUTO = 0,
    HAILORT_SHIM_FORMAT_UINT8 = 1,
    HAILORT_SHIM_FORMAT_UINT16 = 2,
    HAILORT_SHIM_FORMAT_FLOAT32 = 3
};

/* One input or output of a model. value = scale * (number - zero_point). */
typedef struct {
    char name[128];
    uint32_t height;
    uint32_t width;
    /* Called features by HailoRT. */
    uint32_t channels;
    /* On the host's side, as set by hailort_shim_model_set_format. */
    int32_t format_type;
    int32_t format_order;
    /* How many pairs of scale and zero point there are: one, or one a channel. The first is below. */
    uint32_t quantization_count;
    float scale;
    float zero_point;
    /* Bytes of one frame on the host's side. */
    uint64_t frame_size;
} hailort_shim_stream;

/* Page-aligned, and allocated in whole pages even where size is not a multiple of a page. */
typedef struct {
    void *data;
    uint64_t size;
} hailort_shim_buffer;

/* Called once, on a thread of HailoRT's; it must be quick and must not call into the shim. */
typedef void (*hailort_shim_callback)(void *context, int32_t status);

uint32_t hailort_shim_abi(void);

/* The version whose headers the shim was compiled with. */
int32_t hailort_shim_built_for(hailort_shim_version *version);

/* The version of the library that is loaded. */
int32_t hailort_shim_library_version(hailort_shim_version *version);

/* HailoRT's or the shim's words for a status, or NULL. Static. */
const char *hailort_shim_status_message(int32_t status);

/* Handles that are open now: to see leaks. */
uint32_t hailort_shim_open_handles(void);

/* Lists devices: *count becomes how many there are, of which up to capacity are written. */
int32_t hailort_shim_scan(hailort_shim_device_id *ids, uint32_t capacity, uint32_t *count);

/* Asks a device that no vdevice holds who it is. */
int32_t hailort_shim_identify(const char *device_id, hailort_shim_identity *identity);

int32_t hailort_shim_vdevice_open(const hailort_shim_vdevice_params *params, hailort_shim_handle *vdevice);
int32_t hailort_shim_vdevice_device_count(hailort_shim_handle vdevice, uint32_t *count);
int32_t hailort_shim_vdevice_identify(hailort_shim_handle vdevice, uint32_t index, hailort_shim_identity *identity);
int32_t hailort_shim_vdevice_health(hailort_shim_handle vdevice, uint32_t index, hailort_shim_health *health);
int32_t hailort_shim_vdevice_close(hailort_shim_handle vdevice);

/* Reads a HEF. Set batch size and formats, then configure; only then submit. */
int32_t hailort_shim_model_open(hailort_shim_handle vdevice, const char *hef_path, hailort_shim_handle *model);
int32_t hailort_shim_model_stream_count(hailort_shim_handle model, int32_t direction, uint32_t *count);
int32_t hailort_shim_model_stream(hailort_shim_handle model, int32_t direction, uint32_t index,
                                  hailort_shim_stream *stream);
int32_t hailort_shim_model_set_batch_size(hailort_shim_handle model, uint16_t batch_size);
int32_t hailort_shim_model_set_format(hailort_shim_handle model, int32_t direction, uint32_t index,
                                      int32_t format_type);
int32_t hailort_shim_model_configure(hailort_shim_handle model);

/* Frames that may be under way at a time. */
int32_t hailort_shim_model_queue_size(hailort_shim_handle model, uint32_t *frames);

/* Waits until so many more frames can be submitted; HAILO_TIMEOUT (4) if they cannot in time. */
int32_t hailort_shim_model_wait_ready(hailort_shim_handle model, uint32_t frames, uint32_t timeout_ms);

/*
 * Starts the inference of some frames and returns at once. buffers holds, frame after frame, one
 * buffer for each input and then one for each output, in the order of the streams.
 *
 * Success: the buffers belong to the device until the callback comes, which gets 0 or the first
 * failure. A device that hangs may never call back.
 * Failure: the callback will not come, and the buffers are free.
 */
int32_t hailort_shim_model_submit(hailort_shim_handle model, const hailort_shim_buffer *buffers,
                                  uint32_t buffer_count, uint32_t frame_count, hailort_shim_callback callback,
                                  void *context);

/* Ends all inferences of the model, whose callbacks come with a failure; it cannot infer any more. */
int32_t hailort_shim_model_shutdown(hailort_shim_handle model);
int32_t hailort_shim_model_close(hailort_shim_handle model);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
