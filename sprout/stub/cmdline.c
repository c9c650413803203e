/* UTF-8 as in RFC 3629, section 4 (no surrogates, no overlong forms), UTF-16 as in RFC 2781. */
#include "cmdline.h"

static bool is_trailing(uint8_t byte)
{
    return byte == '\0' || byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/* Takes one character off the front of `text`. Gives false when it is not well-formed. */
static bool take(struct span *text, uint32_t *character)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    uint8_t first = text->data[0];
    size_t more;
    if (first < 0x80) {
        more = 0;
        *character = first;
    } else if (first >= 0xc0 && first < 0xe0) {
        more = 1;
        *character = first & 0x1fu;
    } else if (first >= 0xe0 && first < 0xf0) {
        more = 2;
        *character = first & 0x0fu;
    } else if (first >= 0xf0 && first < 0xf8) {
        more = 3;
        *character = first & 0x07u;
    } else {
        return false;
    }
    if (text->size <= more)
        return false;
    for (size_t i = 1; i <= more; i++) {
        if ((text->data[i] & 0xc0) != 0x80)
            return false;
        *character = *character << 6 | (text->data[i] & 0x3fu);
    }
    text->data += more + 1;
    text->size -= more + 1;
    return *character >= least[more] && *character <= 0x10ffff &&
           (*character < 0xd800 || *character > 0xdfff);
}

/* The same, and gives NULL or what is wrong with it in a command line. */
static const char *take_printable(struct span *text, uint32_t *character)
{
    if (!take(text, character))
        return "not UTF-8";
    if ((*character < 0x20 && *character != '\t') || *character == 0x7f)
        return "has a control character";
    return NULL;
}

struct span cmdline_trim(struct span text)
{
    while (text.size > 0 && is_trailing(text.data[text.size - 1]))
        text.size--;
    return text;
}

const char *cmdline_check(struct span utf8)
{
    const char *wrong = NULL;
    uint32_t character;
    while (utf8.size > 0 && wrong == NULL)
        wrong = take_printable(&utf8, &character);
    return wrong;
}

struct failure cmdline_convert(struct span utf8, struct cmdline *line)
{
    size_t units = 0;
    utf8 = cmdline_trim(utf8);
    /* UTF-16 never has more units than UTF-8 has bytes, so this bounds both. */
    if (utf8.size > CMDLINE_MAX)
        return FAILURE(EFI_LOAD_ERROR, ".cmdline", "longer than 2047 bytes");
    while (utf8.size > 0) {
        uint32_t character;
        const char *wrong = take_printable(&utf8, &character);
        if (wrong != NULL)
            return FAILURE(EFI_LOAD_ERROR, ".cmdline", wrong);
        if (character >= 0x10000) {
            character -= 0x10000;
            line->text[units++] = (CHAR16)(0xd800 + (character >> 10));
            line->text[units++] = (CHAR16)(0xdc00 + (character & 0x3ff));
        } else {
            line->text[units++] = (CHAR16)character;
        }
    }
    line->text[units++] = 0;
    line->size = (uint32_t)(units * sizeof(CHAR16));
    return SUCCESS;
}
