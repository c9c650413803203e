/* The mock's variables and its console: text in UTF-16 both. */
#include "mock_parts.h"

static void to_ascii(const CHAR16 *from, char *to, size_t room)
{
    size_t i = 0;
    for (; from[i] != 0; i++) {
        CHECK(i + 1 < room && from[i] < 0x80);
        to[i] = (char)from[i];
    }
    to[i] = '\0';
}

struct mock_variable *mock_variable(const char *name)
{
    for (size_t i = 0; i < MOCK_VARIABLES; i++)
        if (strcmp(mock.variables[i].name, name) == 0)
            return &mock.variables[i];
    return NULL;
}

const char *mock_text(const char *name)
{
    static char text[128];
    struct mock_variable *variable = mock_variable(name);
    if (variable == NULL)
        return "";
    CHAR16 units[64];
    memcpy(units, variable->data, variable->size);
    CHECK(variable->size % 2 == 0 && units[variable->size / 2 - 1] == 0);
    to_ascii(units, text, sizeof(text));
    CHECK((strlen(text) + 1) * 2 == variable->size);
    return text;
}

static EFI_STATUS get_variable(const CHAR16 *name, const EFI_GUID *vendor, uint32_t *attributes,
                               UINTN *size, void *data)
{
    char ascii[40];
    to_ascii(name, ascii, sizeof(ascii));
    struct mock_variable *variable = mock_variable(ascii);
    CHECK(attributes != NULL && (data == NULL) == (*size == 0));
    if (variable == NULL || !same_guid(&variable->vendor, vendor))
        return EFI_NOT_FOUND;
    if (mock.reading_fails != EFI_SUCCESS)
        return mock.reading_fails;
    bool fits = *size >= variable->size;
    *attributes = variable->attributes;
    *size = variable->size;
    if (!fits)
        return EFI_BUFFER_TOO_SMALL;
    memcpy(data, variable->data, variable->size);
    return EFI_SUCCESS;
}

static EFI_STATUS set_variable(const CHAR16 *name, const EFI_GUID *vendor, uint32_t attributes,
                               UINTN size, const void *data)
{
    char ascii[40];
    to_ascii(name, ascii, sizeof(ascii));
    if (mock.variables_are_full)
        return EFI_OUT_OF_RESOURCES;
    struct mock_variable *variable = mock_variable(ascii);
    /* UEFI 2.10, section 8.2.3: other attributes than it has are no way to write a variable. */
    if (variable != NULL && variable->attributes != attributes)
        return EFI_INVALID_PARAMETER;
    if (size == 0) {
        CHECK(variable != NULL);
        memset(variable, 0, sizeof(*variable));
        return EFI_SUCCESS;
    }
    if (variable == NULL)
        variable = mock_variable("");
    CHECK(variable != NULL && size <= sizeof(variable->data));
    strcpy(variable->name, ascii);
    variable->vendor = *vendor;
    variable->attributes = attributes;
    variable->size = size;
    memcpy(variable->data, data, size);
    return EFI_SUCCESS;
}

static EFI_STATUS output_string(EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL *self, const CHAR16 *string)
{
    CHECK(self == &mock.text);
    size_t used = strlen(mock.console);
    to_ascii(string, mock.console + used, sizeof(mock.console) - used);
    return EFI_SUCCESS;
}

void mock_reset_variables(void)
{
    mock.runtime.GetVariable = get_variable;
    mock.runtime.SetVariable = set_variable;
    mock.text.OutputString = output_string;
}
