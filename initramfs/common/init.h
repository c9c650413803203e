/* What the inits of zone and host share. Each part is the .c file named above its functions. */
#ifndef INIT_H
#define INIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "sprout_ready.h"
#include "sprout_stamps.h"

/* systemd's pair for power-off and reboot; 38 is also what ACPI's power button sends
 * (ACPI_TINY_POWER_BUTTON_SIGNAL). By number: C libraries disagree about SIGRTMIN. */
#define SIGNAL_POWEROFF 38
#define SIGNAL_REBOOT 39

/* What a zone's init says on its console when its program has failed, before it ends: the host takes
 * the end for a failure then. */
#define SPROUT_FAILED "sprout-init: the program has failed"

enum ending { END_POWEROFF, END_REBOOT };

/* text.c: a line of bounded length; what does not fit is cut, and the newline always fits. */
struct line {
    char text[512];
    size_t used;
};
void line_text(struct line *line, const char *text);
void line_number(struct line *line, uint64_t number);
void line_end(struct line *line);
const char *skip_decimal(const char *at, const char *end, uint64_t *number);

/* file.c */
ssize_t read_file(const char *path, void *data, size_t size);
bool write_all(int descriptor, const void *data, size_t size);
/* Writes a text into a file that is there; false with errno set when that fails. */
bool write_file(const char *path, const char *text);

/* settings.c: says what went wrong, and goes on. */
void restrict_tracing(void);

/* console.c */
void open_console(void);
void say(const char *what, int error);
void say_ended(const char *program, int wait_status);
void drain_console(void);

/* mounts.c: each gives false after it has said why. */
struct mount {
    const char *type;
    const char *target;
    unsigned long flags;
    const char *options;
};
bool mount_each(const struct mount *mounts, size_t count);
bool mount_efivarfs(void);
void unmount_all(void);

/* net.c */
bool loopback_up(void);

/* stamps.c */
bool decode_stamps(const uint8_t *variable, size_t size, struct sprout_stamps *stamps);
void read_stamps(struct sprout_stamps *stamps);

/* cpuinfo.c */
uint64_t cpuinfo_hz(const char *text, size_t size);
uint64_t counter_hz(void);

/* memory.c */
uint64_t free_kib(void);

/* start.c */
void block_signals(void);
bool can_run(const char *program);
pid_t start_program(char **words, int output);

/* power.c */
int64_t now_ms(void);
void stop_everything(int grace_ms);
_Noreturn void end_machine(enum ending ending);
int ask_init(const char *called_as);

#endif
