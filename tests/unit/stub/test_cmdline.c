/* The command line's way from UTF-8 to UTF-16. */
#include "check.h"
#include "cmdline.h"

static struct cmdline line;

static struct failure convert(const char *text, size_t size)
{
    /* A copy of exactly this size, so that the address sanitizer sees a step beyond it. */
    uint8_t *copy = malloc(size + 1);
    memcpy(copy + 1, text, size);
    memset(&line, 0xee, sizeof(line));
    struct failure failure = cmdline_convert((struct span){copy + 1, size}, &line);
    free(copy);
    return failure;
}

static void expect_text(const char *text, size_t size, const CHAR16 *expected, size_t units)
{
    CHECK(convert(text, size).status == EFI_SUCCESS);
    CHECK(line.size == (units + 1) * sizeof(CHAR16));
    CHECK(memcmp(line.text, expected, line.size) == 0);
}

static void expect_refused(const char *text, size_t size, const char *why)
{
    struct failure failure = convert(text, size);
    CHECK(failure.status == EFI_LOAD_ERROR);
    CHECK_TEXT(failure.what, ".cmdline");
    CHECK_TEXT(failure.why, why);
}

#define SIZED(text) (text), sizeof(text) - 1

TEST(cmdline_ascii)
{
    expect_text(SIZED("a=1 b"), u"a=1 b", 5);
    expect_text(SIZED("a\tb"), u"a\tb", 3);
}

TEST(cmdline_without_a_section_is_empty)
{
    CHECK(cmdline_convert((struct span){NULL, 0}, &line).status == EFI_SUCCESS);
    CHECK(line.size == 2 && line.text[0] == 0);
    expect_text(SIZED(" \n"), u"", 0);
}

TEST(cmdline_trailing_space_is_dropped)
{
    expect_text(SIZED("quiet \r\n\0\0"), u"quiet", 5);
}

TEST(cmdline_every_length_of_utf8)
{
    expect_text(SIZED("\x7e\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf"),
                u"\x7e\x80\x7ff\x800\xffff", 5);
    expect_text(SIZED("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), u"\xd800\xdc00\xdbff\xdfff", 4);
}

TEST(cmdline_malformed_utf8_is_refused)
{
    expect_refused(SIZED("a\x80"), "not UTF-8");             /* no first byte */
    expect_refused(SIZED("\xc3"), "not UTF-8");              /* cut short */
    expect_refused(SIZED("\xe2\x82"), "not UTF-8");          /* cut short */
    expect_refused(SIZED("\xf0\x9d\x84"), "not UTF-8");      /* cut short */
    expect_refused(SIZED("\xc3z"), "not UTF-8");             /* no second byte */
    expect_refused(SIZED("\xc0\xaf"), "not UTF-8");          /* overlong */
    expect_refused(SIZED("\xe0\x80\xaf"), "not UTF-8");      /* overlong */
    expect_refused(SIZED("\xf0\x80\x80\xaf"), "not UTF-8");  /* overlong */
    expect_refused(SIZED("\xed\xa0\x80"), "not UTF-8");      /* a surrogate */
    expect_refused(SIZED("\xf4\x90\x80\x80"), "not UTF-8");  /* above U+10FFFF */
    expect_refused(SIZED("\xf8\x88\x80\x80\x80"), "not UTF-8");
    expect_refused(SIZED("\xff"), "not UTF-8");
}

TEST(cmdline_control_characters_are_refused)
{
    expect_refused(SIZED("a\nb"), "has a control character");
    expect_refused(SIZED("a\0b"), "has a control character");
    expect_refused(SIZED("\x1b[2J"), "has a control character");
    expect_refused(SIZED("a\x7f."), "has a control character");
}

TEST(cmdline_as_long_as_linux_keeps)
{
    char text[CMDLINE_MAX + 1];
    memset(text, 'x', sizeof(text));
    CHECK(convert(text, CMDLINE_MAX).status == EFI_SUCCESS);
    CHECK(line.size == (CMDLINE_MAX + 1) * 2 && line.text[CMDLINE_MAX] == 0);
    expect_refused(text, sizeof(text), "longer than 2047 bytes");
}
