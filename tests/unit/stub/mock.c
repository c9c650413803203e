/* The mock firmware as a whole. What is asked of its services is as important as what they do:
 * anything else ends the test. */
#include "mock_parts.h"

struct mock mock;

EFI_STATUS EFIAPI efi_main(EFI_HANDLE self, EFI_SYSTEM_TABLE *system);

static EFI_STATUS calculate_crc32(const void *data, UINTN size, uint32_t *crc)
{
    CHECK(data == &mock.boot && size == sizeof(mock.boot));
    uint32_t value = 0xffffffff; /* `crc` may lie in `data` */
    for (size_t i = 0; i < size; i++) {
        value ^= ((const uint8_t *)data)[i];
        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1 ? 0xedb88320 : 0);
    }
    *crc = ~value;
    return EFI_SUCCESS;
}

static EFI_STATUS firmware_exit(EFI_HANDLE image, EFI_STATUS status, UINTN data_size, CHAR16 *data)
{
    CHECK(image == &mock_self_handle && data_size == 0 && data == NULL);
    CHECK(mock.exit_is_armed);
    mock.exit_status = status;
    longjmp(mock.exit_jump, 1);
}

void mock_reset(void)
{
    memset(&mock, 0, sizeof(mock));
    mock.boot.Hdr.HeaderSize = sizeof(mock.boot);
    mock.boot.CalculateCrc32 = calculate_crc32;
    mock.boot.Exit = firmware_exit;
    mock_reset_memory();
    mock_reset_attributes();
    mock_reset_protocols();
    mock_reset_variables();
    calculate_crc32(&mock.boot, sizeof(mock.boot), &mock.boot.Hdr.CRC32);
    mock.system.ConOut = &mock.text;
    mock.system.BootServices = &mock.boot;
    mock.system.RuntimeServices = &mock.runtime;
    mock.ticks = 1000000;
    mock.ticks_per_read = 100;
    mock.hz = 1000000000;
}

EFI_STATUS mock_start_image(void)
{
    if (setjmp(mock.exit_jump) != 0)
        return mock.exit_status;
    mock.exit_is_armed = true;
    return efi_main(&mock_self_handle, &mock.system);
}
