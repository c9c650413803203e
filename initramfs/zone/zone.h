/* What the parts of the zone's init share. Each part is the .c file named above its functions. */
#ifndef ZONE_H
#define ZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "sprout_ready.h"
#include "sprout_stamps.h"

/* The program's exit status that asks for a reboot; the one systemd-nspawn uses for the same. */
#define STATUS_REBOOT 133

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

/* console.c */
void open_console(void);
void say(const char *what, int error);
void say_ended(const char *program, int wait_status);
void announce(const struct sprout_ready *ready);
void drain_console(void);

/* mounts.c: each gives false after it has said why. */
bool mount_all(void);
void unmount_all(void);

/* net.c */
bool loopback_up(void);

/* stamps.c */
bool decode_stamps(const uint8_t *variable, size_t size, struct sprout_stamps *stamps);
void read_stamps(struct sprout_stamps *stamps);

/* cpuinfo.c */
uint64_t cpuinfo_hz(const char *text, size_t size);
uint64_t counter_hz(void);

/* ready.c */
void format_ready(struct line *line, const struct sprout_ready *ready);
uint64_t free_kib(void);

/* cmdline.c */
size_t words_after_dashes(const char *cmdline, size_t size);
char **program_words(int argc, char **argv);

/* program.c */
bool can_run(const char *program);
pid_t start_program(char **words);

/* supervise.c */
void block_signals(void);
enum ending supervise(pid_t program, const char *name);

/* power.c */
void stop_everything(int grace_ms);
_Noreturn void end_machine(enum ending ending);
int ask_init(const char *called_as);

#endif
