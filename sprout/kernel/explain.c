/*
 * Says why Kconfig gave an option the value it has. Linked with the objects of the kernel's own
 * scripts/kconfig, so that the answer is the parser's and not a second opinion of ours.
 *
 * explain KCONFIG-FILE OPTION...   (in the build directory, with Kbuild's environment)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lkc.h"

static void explain(const char *name)
{
    struct symbol *symbol = sym_find(name);
    struct symbol *list[2] = { symbol, NULL };
    struct gstr text;

    if (!symbol || symbol->type == S_UNKNOWN) {
        printf("unknown %s\n", name);
        return;
    }
    printf("symbol %s\n", name);
    text = get_relations_str(list, NULL);
    fputs(str_get(&text), stdout);
    str_free(&text);
    /* `bool "..." if CONDITION`: without it the option keeps its default, whatever is asked. */
    for (const struct property *prompt = symbol->prop; prompt; prompt = prompt->next) {
        if (prompt->type != P_PROMPT || !prompt->visible.expr)
            continue;
        text = str_new();
        expr_gstr_print(prompt->visible.expr, &text);
        printf("  Asked if: %s\n", str_get(&text));
        str_free(&text);
    }
}

int main(int count, char **arguments)
{
    if (count < 3)
        return 2;
    conf_parse(arguments[1]);
    /* What a dependency evaluates to depends on the values in .config. */
    conf_read(NULL);
    for (int i = 2; i < count; i++)
        explain(arguments[i]);
    return 0;
}
