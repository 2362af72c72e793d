/*
 * The part of HailoRT's C interface that the shim needs, for the simulated library. Names and numbers are
 * HailoRT's: programs compile against either. As HailoRT's own, this header does not say its version.
 */
#ifndef HAILORT_SIM_HAILORT_H
#define HAILORT_SIM_HAILORT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HAILORTAPI __attribute__((visibility("default")))

#define HAILO_MAX_ENUM (INT_MAX)
#define HAILO_MAX_STREAM_NAME_SIZE (128)
#define HAILO_MAX_BOARD_NAME_LENGTH (32)
#define HAILO_MAX_DEVICE_ID_LENGTH (32)
#define HAILO_MAX_SERIAL_NUMBER_LENGTH (16)
#define HAILO_MAX_PART_NUMBER_LENGTH (16)
#define HAILO_MAX_PRODUCT_NAME_LENGTH (42)
#define HAILO_MAX_TEMPERATURE_THROTTLING_LEVELS_NUMBER (4)
#define HAILO_DEFAULT_BATCH_SIZE (0)
#define HAILO_UNIQUE_VDEVICE_GROUP_ID ("UNIQUE")

typedef float float32_t;

/* The last four are new in HailoRT 5. */
#define HAILO_STATUSES(X) \
    X(0, HAILO_SUCCESS) \
    X(1, HAILO_UNINITIALIZED) \
    X(2, HAILO_INVALID_ARGUMENT) \
    X(3, HAILO_OUT_OF_HOST_MEMORY) \
    X(4, HAILO_TIMEOUT) \
    X(5, HAILO_INSUFFICIENT_BUFFER) \
    X(6, HAILO_INVALID_OPERATION) \
    X(7, HAILO_NOT_IMPLEMENTED) \
    X(8, HAILO_INTERNAL_FAILURE) \
    X(9, HAILO_DATA_ALIGNMENT_FAILURE) \
    X(10, HAILO_CHUNK_TOO_LARGE) \
    X(11, HAILO_INVALID_LOGGER_LEVEL) \
    X(12, HAILO_CLOSE_FAILURE) \
    X(13, HAILO_OPEN_FILE_FAILURE) \
    X(14, HAILO_FILE_OPERATION_FAILURE) \
    X(15, HAILO_UNSUPPORTED_CONTROL_PROTOCOL_VERSION) \
    X(16, HAILO_UNSUPPORTED_FW_VERSION) \
    X(17, HAILO_INVALID_CONTROL_RESPONSE) \
    X(18, HAILO_FW_CONTROL_FAILURE) \
    X(19, HAILO_ETH_FAILURE) \
    X(20, HAILO_ETH_INTERFACE_NOT_FOUND) \
    X(21, HAILO_ETH_RECV_FAILURE) \
    X(22, HAILO_ETH_SEND_FAILURE) \
    X(23, HAILO_INVALID_FIRMWARE) \
    X(24, HAILO_INVALID_CONTEXT_COUNT) \
    X(25, HAILO_INVALID_FRAME) \
    X(26, HAILO_INVALID_HEF) \
    X(27, HAILO_PCIE_NOT_SUPPORTED_ON_PLATFORM) \
    X(28, HAILO_INTERRUPTED_BY_SIGNAL) \
    X(29, HAILO_START_VDMA_CHANNEL_FAIL) \
    X(30, HAILO_SYNC_VDMA_BUFFER_FAIL) \
    X(31, HAILO_STOP_VDMA_CHANNEL_FAIL) \
    X(32, HAILO_CLOSE_VDMA_CHANNEL_FAIL) \
    X(33, HAILO_ATR_TABLES_CONF_VALIDATION_FAIL) \
    X(34, HAILO_EVENT_CREATE_FAIL) \
    X(35, HAILO_READ_EVENT_FAIL) \
    X(36, HAILO_DRIVER_OPERATION_FAILED) \
    X(37, HAILO_INVALID_FIRMWARE_MAGIC) \
    X(38, HAILO_INVALID_FIRMWARE_CODE_SIZE) \
    X(39, HAILO_INVALID_KEY_CERTIFICATE_SIZE) \
    X(40, HAILO_INVALID_CONTENT_CERTIFICATE_SIZE) \
    X(41, HAILO_MISMATCHING_FIRMWARE_BUFFER_SIZES) \
    X(42, HAILO_INVALID_FIRMWARE_CPU_ID) \
    X(43, HAILO_CONTROL_RESPONSE_MD5_MISMATCH) \
    X(44, HAILO_GET_CONTROL_RESPONSE_FAIL) \
    X(45, HAILO_GET_D2H_EVENT_MESSAGE_FAIL) \
    X(46, HAILO_MUTEX_INIT_FAIL) \
    X(47, HAILO_OUT_OF_DESCRIPTORS) \
    X(48, HAILO_UNSUPPORTED_OPCODE) \
    X(49, HAILO_USER_MODE_RATE_LIMITER_NOT_SUPPORTED) \
    X(50, HAILO_RATE_LIMIT_MAXIMUM_BANDWIDTH_EXCEEDED) \
    X(51, HAILO_ANSI_TO_UTF16_CONVERSION_FAILED) \
    X(52, HAILO_UTF16_TO_ANSI_CONVERSION_FAILED) \
    X(53, HAILO_UNEXPECTED_INTERFACE_INFO_FAILURE) \
    X(54, HAILO_UNEXPECTED_ARP_TABLE_FAILURE) \
    X(55, HAILO_MAC_ADDRESS_NOT_FOUND) \
    X(56, HAILO_NO_IPV4_INTERFACES_FOUND) \
    X(57, HAILO_SHUTDOWN_EVENT_SIGNALED) \
    X(58, HAILO_THREAD_ALREADY_ACTIVATED) \
    X(59, HAILO_THREAD_NOT_ACTIVATED) \
    X(60, HAILO_THREAD_NOT_JOINABLE) \
    X(61, HAILO_NOT_FOUND) \
    X(62, HAILO_COMMUNICATION_CLOSED) \
    X(63, HAILO_STREAM_ABORT) \
    X(64, HAILO_DRIVER_NOT_INSTALLED) \
    X(65, HAILO_NOT_AVAILABLE) \
    X(66, HAILO_TRAFFIC_CONTROL_FAILURE) \
    X(67, HAILO_INVALID_SECOND_STAGE) \
    X(68, HAILO_INVALID_PIPELINE) \
    X(69, HAILO_NETWORK_GROUP_NOT_ACTIVATED) \
    X(70, HAILO_VSTREAM_PIPELINE_NOT_ACTIVATED) \
    X(71, HAILO_OUT_OF_FW_MEMORY) \
    X(72, HAILO_STREAM_NOT_ACTIVATED) \
    X(73, HAILO_DEVICE_IN_USE) \
    X(74, HAILO_OUT_OF_PHYSICAL_DEVICES) \
    X(75, HAILO_INVALID_DEVICE_ARCHITECTURE) \
    X(76, HAILO_INVALID_DRIVER_VERSION) \
    X(77, HAILO_RPC_FAILED) \
    X(78, HAILO_INVALID_SERVICE_VERSION) \
    X(79, HAILO_NOT_SUPPORTED) \
    X(80, HAILO_NMS_BURST_INVALID_DATA) \
    X(81, HAILO_OUT_OF_HOST_CMA_MEMORY) \
    X(82, HAILO_QUEUE_IS_FULL) \
    X(83, HAILO_DMA_MAPPING_ALREADY_EXISTS) \
    X(84, HAILO_CANT_MEET_BUFFER_REQUIREMENTS) \
    X(85, HAILO_DRIVER_INVALID_RESPONSE) \
    X(86, HAILO_DRIVER_INVALID_IOCTL) \
    X(87, HAILO_DRIVER_TIMEOUT) \
    X(88, HAILO_DRIVER_INTERRUPTED) \
    X(89, HAILO_CONNECTION_REFUSED) \
    X(90, HAILO_DRIVER_WAIT_CANCELED) \
    X(91, HAILO_HEF_FILE_CORRUPTED) \
    X(92, HAILO_HEF_NOT_SUPPORTED) \
    X(93, HAILO_HEF_NOT_COMPATIBLE_WITH_DEVICE) \
    X(94, HAILO_INVALID_HEF_USE) \
    X(95, HAILO_OPERATION_ABORTED) \
    X(96, HAILO_DEVICE_NOT_CONNECTED) \
    X(97, HAILO_DEVICE_TEMPORARILY_UNAVAILABLE)

typedef enum {
#define HAILO_STATUS_ENTRY(number, name) name = number,
    HAILO_STATUSES(HAILO_STATUS_ENTRY)
#undef HAILO_STATUS_ENTRY
    HAILO_STATUS_MAX_ENUM = HAILO_MAX_ENUM
} hailo_status;

typedef struct {
    uint32_t major;
    uint32_t minor;
    uint32_t revision;
} hailo_version_t;

typedef struct {
    uint32_t major;
    uint32_t minor;
    uint32_t revision;
} hailo_firmware_version_t;

typedef struct {
    char id[HAILO_MAX_DEVICE_ID_LENGTH];
} hailo_device_id_t;

typedef enum {
    HAILO_SCHEDULING_ALGORITHM_NONE = 0,
    HAILO_SCHEDULING_ALGORITHM_ROUND_ROBIN = 1,
    HAILO_SCHEDULING_ALGORITHM_MAX_ENUM = HAILO_MAX_ENUM
} hailo_scheduling_algorithm_t;

typedef struct {
    uint32_t device_count;
    /* NULL: any so many devices. */
    hailo_device_id_t *device_ids;
    hailo_scheduling_algorithm_t scheduling_algorithm;
    const char *group_id;
    bool multi_process_service;
} hailo_vdevice_params_t;

typedef enum {
    HAILO_ARCH_HAILO8_A0 = 0,
    HAILO_ARCH_HAILO8 = 1,
    HAILO_ARCH_HAILO8L = 2,
    HAILO_ARCH_HAILO15H = 3,
    HAILO_ARCH_HAILO15L = 4,
    HAILO_ARCH_HAILO15M = 5,
    HAILO_ARCH_HAILO10H = 6,
    HAILO_ARCH_MARS = 7,
    HAILO_ARCH_MAX_ENUM = HAILO_MAX_ENUM
} hailo_device_architecture_t;

/* The texts are not always terminated. */
typedef struct {
    uint32_t protocol_version;
    hailo_firmware_version_t fw_version;
    uint32_t logger_version;
    uint8_t board_name_length;
    char board_name[HAILO_MAX_BOARD_NAME_LENGTH];
    bool is_release;
    bool extended_context_switch_buffer;
    hailo_device_architecture_t device_architecture;
    uint8_t serial_number_length;
    char serial_number[HAILO_MAX_SERIAL_NUMBER_LENGTH];
    uint8_t part_number_length;
    char part_number[HAILO_MAX_PART_NUMBER_LENGTH];
    uint8_t product_name_length;
    char product_name[HAILO_MAX_PRODUCT_NAME_LENGTH];
} hailo_device_identity_t;

typedef enum {
    HAILO_FORMAT_TYPE_AUTO = 0,
    HAILO_FORMAT_TYPE_UINT8 = 1,
    HAILO_FORMAT_TYPE_UINT16 = 2,
    HAILO_FORMAT_TYPE_FLOAT32 = 3,
    HAILO_FORMAT_TYPE_MAX_ENUM = HAILO_MAX_ENUM
} hailo_format_type_t;

typedef enum {
    HAILO_FORMAT_ORDER_AUTO = 0,
    HAILO_FORMAT_ORDER_NHWC = 1,
    HAILO_FORMAT_ORDER_NC = 6,
    HAILO_FORMAT_ORDER_MAX_ENUM = HAILO_MAX_ENUM
} hailo_format_order_t;

typedef enum {
    HAILO_FORMAT_FLAGS_NONE = 0,
    HAILO_FORMAT_FLAGS_MAX_ENUM = HAILO_MAX_ENUM
} hailo_format_flags_t;

typedef struct {
    hailo_format_type_t type;
    hailo_format_order_t order;
    hailo_format_flags_t flags;
} hailo_format_t;

/* value = scale * (number - zero point); numbers are clipped to the limits first. */
typedef struct {
    float32_t qp_zp;
    float32_t qp_scale;
    float32_t limvals_min;
    float32_t limvals_max;
} hailo_quant_info_t;

typedef struct {
    uint32_t height;
    uint32_t width;
    uint32_t features;
} hailo_3d_image_shape_t;

typedef enum {
    HAILO_OVERCURRENT_PROTECTION_OVERCURRENT_ZONE__GREEN = 0,
    HAILO_OVERCURRENT_PROTECTION_OVERCURRENT_ZONE__RED = 1
} hailo_overcurrent_protection_overcurrent_zone_t;

/* Celsius. */
typedef struct {
    float32_t ts0_temperature;
    float32_t ts1_temperature;
    uint16_t sample_count;
} hailo_chip_temperature_info_t;

typedef struct {
    float32_t temperature_threshold;
    float32_t hysteresis_temperature_threshold;
    uint32_t throttling_nn_clock_freq;
} hailo_throttling_level_t;

typedef struct {
    bool overcurrent_protection_active;
    uint8_t current_overcurrent_zone;
    float32_t red_overcurrent_threshold;
    bool overcurrent_throttling_active;
    bool temperature_throttling_active;
    uint8_t current_temperature_zone;
    int8_t current_temperature_throttling_level;
    hailo_throttling_level_t temperature_throttling_levels[HAILO_MAX_TEMPERATURE_THROTTLING_LEVELS_NUMBER];
    int32_t orange_temperature_threshold;
    int32_t orange_hysteresis_temperature_threshold;
    int32_t red_temperature_threshold;
    int32_t red_hysteresis_temperature_threshold;
    uint32_t requested_overcurrent_clock_freq;
    uint32_t requested_temperature_clock_freq;
} hailo_health_info_t;

HAILORTAPI hailo_status hailo_get_library_version(hailo_version_t *version);

/* The status's name, or NULL. */
HAILORTAPI const char *hailo_get_status_message(hailo_status status);

/* One device, round robin, a group of its own. */
HAILORTAPI hailo_status hailo_init_vdevice_params(hailo_vdevice_params_t *params);

#ifdef __cplusplus
}
#endif

#endif
