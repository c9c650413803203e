// SPDX-License-Identifier: GPL-2.0
/* Says so when it is loaded: a module of nobody's tree. */
#include <linux/init.h>
#include <linux/module.h>

static int __init hello_init(void)
{
	pr_emerg("hello from out of the tree\n");
	return 0;
}

module_init(hello_init);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A module that is built with the SDK");
