/* ACPI tables and the counter's frequency. */
#include "check.h"
#include "clock.h"
#include "images.h"
#include "mock.h"

enum { BASE = 0x7f000000, RSDP = 0, XSDT = 0x100, OTHER = 0x200, FADT = 0x300, SIZE = 0x800 };
static uint8_t memory[SIZE];

static void put64(uint8_t *at, uint64_t value)
{
    put32(at, (uint32_t)value);
    put32(at + 4, (uint32_t)(value >> 32));
}

static void add_up(uint8_t *table, size_t size, size_t checksum)
{
    uint8_t sum = 0;
    table[checksum] = 0;
    for (size_t i = 0; i < size; i++)
        sum += table[i];
    table[checksum] = (uint8_t)-sum;
}

static void finish_tables(void)
{
    add_up(memory + RSDP, 36, 32);
    for (size_t at = XSDT; at <= FADT; at += 0x100)
        add_up(memory + at, memory[at + 4] | memory[at + 5] << 8, 9);
}

static void prepare(void)
{
    mock_reset();
    memset(memory, 0, sizeof(memory));
    memcpy(memory + RSDP, "RSD PTR ", 8);
    memory[RSDP + 15] = 2;
    put64(memory + RSDP + 24, BASE + XSDT);
    memcpy(memory + XSDT, "XSDT", 4);
    put32(memory + XSDT + 4, 36 + 16);
    put64(memory + XSDT + 36, BASE + OTHER);
    put64(memory + XSDT + 44, BASE + FADT);
    memcpy(memory + OTHER, "APIC", 4);
    put32(memory + OTHER + 4, 36);
    memcpy(memory + FADT, "FACP", 4);
    put32(memory + FADT + 4, 244);
    put32(memory + FADT + 76, 0x608);
    memory[FADT + 91] = 4;
    memory[FADT + 208] = 1;
    put64(memory + FADT + 212, 0x608);
    finish_tables();
    mock.memory = memory;
    mock.memory_base = BASE;
    mock.memory_size = SIZE;
    mock.tables[1].VendorGuid = (EFI_GUID)EFI_ACPI_20_TABLE_GUID;
    mock.tables[1].VendorTable = (const void *)(uintptr_t)BASE;
    mock.system.NumberOfTableEntries = 2;
    mock.system.ConfigurationTable = mock.tables;
}

static struct pm_timer find(void)
{
    finish_tables();
    return acpi_pm_timer(&mock.system);
}

TEST(acpi_timer_is_found)
{
    prepare();
    CHECK(find().port == 0x608 && find().mask == 0xffffff);
    put32(memory + FADT + 112, 1 << 8);
    CHECK(find().mask == 0xffffffff);
}

TEST(acpi_old_fadt_has_only_the_short_address)
{
    prepare();
    put32(memory + FADT + 4, 116);
    CHECK(find().port == 0x608);
    put32(memory + FADT + 4, 115);
    CHECK(find().port == 0);
}

TEST(acpi_long_address_wins_and_has_to_be_a_port)
{
    prepare();
    put32(memory + FADT + 76, 0x408);
    CHECK(find().port == 0x608);
    memory[FADT + 208] = 0;
    CHECK(find().port == 0);
    memory[FADT + 208] = 1;
    put64(memory + FADT + 212, 0xfffd);
    CHECK(find().port == 0);
    put64(memory + FADT + 212, 0x100000608);
    CHECK(find().port == 0);
    put64(memory + FADT + 212, 0);
    CHECK(find().port == 0x408);
    put32(memory + FADT + 76, 0);
    CHECK(find().port == 0);
}

TEST(acpi_without_a_timer)
{
    prepare();
    memory[FADT + 91] = 0;
    CHECK(find().port == 0);
    prepare();
    put32(memory + FADT + 112, 1 << 20); /* HW_REDUCED_ACPI */
    CHECK(find().port == 0);
}

TEST(acpi_wrong_checksums_are_refused)
{
    static const size_t at[] = {RSDP + 20, XSDT + 40, FADT + 130};
    for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        prepare();
        memory[at[i]] ^= 1;
        CHECK(acpi_pm_timer(&mock.system).port == 0);
    }
}

TEST(acpi_wrong_signatures_and_revisions_are_refused)
{
    prepare();
    memory[RSDP + 7] = 'X';
    CHECK(find().port == 0);
    prepare();
    memory[RSDP + 15] = 0; /* ACPI 1.0 has no XSDT */
    CHECK(find().port == 0);
    prepare();
    memory[XSDT] = 'R';
    CHECK(find().port == 0);
    prepare();
    memory[FADT] = 'f';
    CHECK(find().port == 0);
}

TEST(acpi_lengths_are_bounded)
{
    static const uint32_t bad[] = {0, 35, SIZE - XSDT + 1, 65537, 0xffffffff};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        prepare();
        put32(memory + XSDT + 4, bad[i]);
        CHECK(acpi_pm_timer(&mock.system).port == 0);
    }
    prepare();
    put32(memory + XSDT + 4, 36 + 15); /* the second entry is cut short */
    CHECK(find().port == 0);
}

TEST(acpi_addresses_outside_memory_are_refused)
{
    static const uint64_t bad[] = {0, BASE - 1, BASE + SIZE - 35, ~(uint64_t)0};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        prepare();
        put64(memory + RSDP + 24, bad[i]);
        CHECK(find().port == 0);
        prepare();
        put64(memory + XSDT + 44, bad[i]);
        CHECK(find().port == 0);
        prepare();
        mock.tables[1].VendorTable = (const void *)(uintptr_t)bad[i];
        CHECK(find().port == 0);
    }
    prepare();
    mock.system.NumberOfTableEntries = 1;
    CHECK(find().port == 0);
    mock.system.ConfigurationTable = NULL;
    CHECK(find().port == 0);
}

/* Calibrates across `work` ticks. */
static uint64_t calibrated(uint64_t work)
{
    struct clock clock;
    clock_start(&clock, &mock.system);
    mock.ticks += work;
    return clock_finish(&clock);
}

static bool is_near(uint64_t hz, uint64_t truth)
{
    uint64_t off = hz > truth ? hz - truth : truth - hz;
    return off <= truth / 200;
}

TEST(clock_calibration_is_right_or_absent)
{
    static const uint64_t speeds[] = {125000000, 1000000000, 2596105112, 5700000000};
    for (size_t i = 0; i < sizeof(speeds) / sizeof(speeds[0]); i++)
        for (uint64_t us = 1; us < 200000; us += us / 3 + 1) {
            prepare();
            mock.hz = speeds[i];
            mock.ticks_per_read = speeds[i] / 20000000;
            mock.timer_start = (uint32_t)(us * 977);
            uint64_t hz = calibrated(us * (speeds[i] / 1000000));
            CHECK(hz == 0 || is_near(hz, speeds[i]));
            CHECK(hz == 0 || us >= 100);
            CHECK(hz != 0 || us < 150 || us * (speeds[i] / 1000000) > 468000000);
        }
}

TEST(clock_calibration_survives_a_timer_that_goes_round)
{
    prepare();
    mock.timer_start = 0xfffff0;
    CHECK(is_near(calibrated(2000000), mock.hz));
    put32(memory + FADT + 112, 1 << 8);
    finish_tables();
    mock.timer_start = 0xfffffff0;
    CHECK(is_near(calibrated(2000000), mock.hz));
}

TEST(clock_calibration_that_took_too_long_is_not_trusted)
{
    prepare();
    CHECK(calibrated(5 * mock.hz) == 0); /* a 24-bit timer has gone round in 4.7 s */
}

TEST(clock_calibration_with_slow_readings_is_not_trusted)
{
    prepare();
    mock.ticks_per_read = 20000;
    CHECK(calibrated(1000000) == 0);
    CHECK(is_near(calibrated(20000000), mock.hz));
}

TEST(clock_calibration_survives_being_set_aside_during_a_reading)
{
    for (int read = 1; read <= 6; read++) {
        prepare();
        mock.slow_port_read = read;
        CHECK(is_near(calibrated(2000000), mock.hz));
    }
}

TEST(clock_that_runs_backwards_or_stands_is_not_trusted)
{
    struct clock clock;
    prepare();
    clock_start(&clock, &mock.system);
    mock.ticks -= 500000;
    CHECK(clock_finish(&clock) == 0);
    prepare();
    clock_start(&clock, &mock.system);
    clock.start.timer = (uint32_t)((mock.ticks + 1000300) * PM_TIMER_HZ / mock.hz);
    mock.ticks += 1000000;
    CHECK(clock_finish(&clock) == 0);
}

TEST(clock_without_any_source_is_unknown)
{
    prepare();
    mock.system.NumberOfTableEntries = 0;
    CHECK(calibrated(10000000) == 0);
    CHECK(mock.port_reads == 0);
}

TEST(clock_from_the_crystal)
{
    prepare();
    mock.leaf_0.eax = 0x16;
    mock.leaf_15 = (struct cpuid){2, 216, 24000000, 0};
    CHECK(calibrated(0) == 2592000000);
    CHECK(mock.port_reads == 0);
    mock.leaf_0.eax = 0x14;
    CHECK(calibrated(0) == 0);
}

TEST(clock_from_an_implausible_crystal_is_not_trusted)
{
    static const struct cpuid bad[] = {
        {0, 216, 24000000, 0}, {2, 0, 24000000, 0},          {2, 216, 0, 0},
        {2, 216, 24000, 0},    {2, 0xffffffff, 24000000, 0}, {0xffffffff, 1, 24000000, 0},
        {1, 1, 2000000000, 0},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        prepare();
        mock.leaf_0.eax = 0x16;
        mock.leaf_15 = bad[i];
        CHECK(calibrated(0) == 0);
    }
}

static void hypervisor(const char *vendor, uint32_t most, uint32_t khz)
{
    prepare();
    mock.leaf_1.ecx = 1u << 31;
    mock.leaf_hypervisor.eax = most;
    memcpy(&mock.leaf_hypervisor.ebx, vendor, 4);
    memcpy(&mock.leaf_hypervisor.ecx, vendor + 4, 4);
    memcpy(&mock.leaf_hypervisor.edx, vendor + 8, 4);
    mock.leaf_hypervisor_10.eax = khz;
}

TEST(clock_from_the_hypervisor)
{
    hypervisor("KVMKVMKVM\0\0\0", 0x40000010, 2596105);
    CHECK(calibrated(0) == 2596105000);
    CHECK(mock.port_reads == 0);
    hypervisor("VMwareVMware", 0x40000012, 3000000);
    CHECK(calibrated(0) == 3000000000);
}

TEST(clock_from_a_hypervisor_that_does_not_say)
{
    hypervisor("KVMKVMKVM\0\0\0", 0x40000001, 2596105);
    CHECK(calibrated(0) == 0);
    hypervisor("Microsoft Hv", 0x40000082, 2596105);
    CHECK(calibrated(0) == 0);
    hypervisor("KVMKVMKVM\0\0\0", 0x40000010, 0);
    CHECK(calibrated(0) == 0);
    hypervisor("KVMKVMKVM\0\0\0", 0xffffffff, 2596105);
    CHECK(calibrated(0) == 0);
    hypervisor("KVMKVMKVM\0\0\0", 0x40000010, 2596105);
    mock.leaf_1.ecx = 0;
    CHECK(calibrated(0) == 0);
}

TEST(clock_microseconds_do_not_overflow)
{
    CHECK(clock_microseconds(2500000000, 2500000000) == 1000000);
    CHECK(clock_microseconds(2599, 2600000000) == 0);
    CHECK(clock_microseconds(~(uint64_t)0, 20000000000) == 922337203685477);
    CHECK(clock_microseconds(~(uint64_t)0, 100000000) == 184467440737095516);
}
