/* EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.OutputString (UEFI 2.10, section 12.4.3). */
#include "report.h"

#define LINE_MAX 160

static size_t append(CHAR16 *line, size_t used, const char *text)
{
    while (*text != '\0' && used < LINE_MAX)
        line[used++] = (CHAR16)(uint8_t)*text++;
    return used;
}

void report_failure(EFI_SYSTEM_TABLE *system, struct failure failure)
{
    CHAR16 line[LINE_MAX + 3];
    if (failure.status == EFI_SUCCESS || system->ConOut == NULL)
        return;
    size_t used = append(line, 0, "sprout: ");
    used = append(line, used, failure.what);
    used = append(line, used, ": ");
    used = append(line, used, failure.why);
    line[used++] = '\r';
    line[used++] = '\n';
    line[used] = 0;
    system->ConOut->OutputString(system->ConOut, line);
}

void report_kernel_status(EFI_SYSTEM_TABLE *system, EFI_STATUS status)
{
    report_failure(system, FAILURE(status, ".linux", "the kernel gave up before it took over"));
}

void report_hypervisor_status(EFI_SYSTEM_TABLE *system, EFI_STATUS status)
{
    report_failure(system, FAILURE(status, ".hv", "the hypervisor gave up before it took over"));
}
