/* Measures what a kernel does for programs, in ticks of the time stamp counter:
 *
 *     sprout-bench: measured NAME TIMES TICKS TICKS ...
 *     sprout-bench: vulnerability NAME TEXT
 *     sprout-bench: failed WHAT TEXT
 *     sprout-bench: end
 *
 * TICKS are for a batch of so many TIMES. In exact mode the counter counts instructions; of `loop` it
 * is known how many there are. sprout/cost/guest_lines.py reads this.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <unistd.h>

#include "bench.h"

/* A kernel goes on with some of its work when init runs already. An idle second costs nothing here. */
#define SETTLES_S 30
#define QUERY 0xffffffff
#define VULNERABILITIES "/sys/devices/system/cpu/vulnerabilities"

static void measure(const struct bench *bench)
{
    uint64_t told[1 + BATCHES] = {bench->count};

    if (bench->prepare)
        bench->prepare();
    bench->run(bench->count); /* caches are filled, and pages that are written first */
    for (size_t batch = 1; batch <= BATCHES; batch++) {
        uint64_t before = __builtin_ia32_rdtsc();

        bench->run(bench->count);
        told[batch] = __builtin_ia32_rdtsc() - before;
    }
    if (bench->finish)
        bench->finish();
    tell("measured", bench->name, told, 1 + BATCHES);
}

static void tell_vulnerability(int directory, const char *name)
{
    char text[512];
    int file = openat(directory, name, O_RDONLY | O_CLOEXEC);
    ssize_t size = file >= 0 ? read(file, text, sizeof(text) - 1) : -1;

    need(size >= 0, name);
    close(file);
    text[size] = 0;
    text[strcspn(text, "\n")] = 0;
    tell_text("vulnerability", name, text);
}

static void tell_vulnerabilities(void)
{
    struct dirent *entry;
    DIR *directory;

    need(mount("sysfs", "/sys", "sysfs", MS_RDONLY, NULL) == 0, "sysfs");
    directory = opendir(VULNERABILITIES);
    need(directory != NULL, VULNERABILITIES);
    while ((entry = readdir(directory)) != NULL)
        if (entry->d_name[0] != '.')
            tell_vulnerability(dirfd(directory), entry->d_name);
    closedir(directory);
}

/* Where a program lies decides how many page tables it has, and so what fork(2) takes. Here it lies
 * where it always does. */
static void lie_still(char **words)
{
    int now = personality(QUERY);

    if (now < 0 || now & ADDR_NO_RANDOMIZE)
        return;
    need(personality((unsigned long)now | ADDR_NO_RANDOMIZE) >= 0, "personality");
    execv("/init", words);
    need(0, "exec");
}

int main(int count, char **words)
{
    const struct bench *const tables[] = {call_benches, file_benches, pair_benches};

    if (count > 1 && strcmp(words[1], ENDS_AT_ONCE) == 0)
        return 0;
    lie_still(words);
    setvbuf(stdout, NULL, _IOLBF, 0);
    sleep(SETTLES_S);
    tell_vulnerabilities();
    for (size_t table = 0; table < sizeof(tables) / sizeof(*tables); table++)
        for (const struct bench *bench = tables[table]; bench->name; bench++)
            measure(bench);
    puts("sprout-bench: end");
    power_off();
}
