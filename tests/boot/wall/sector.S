/* A boot sector that says it is there on the first serial port: the shortest boot of a machine. */
    .code16
    .globl _start
_start:
    ljmp $0x07c0, $(1f - _start)
1:  movw %cs, %ax
    movw %ax, %ds
    movw $(line - _start), %si
    cld
2:  lodsb
    testb %al, %al
    jz 4f
    movb %al, %bl
    movw $0x3fd, %dx
3:  inb %dx, %al
    testb $0x20, %al
    jz 3b
    movw $0x3f8, %dx
    movb %bl, %al
    outb %al, %dx
    jmp 2b
4:  hlt
    jmp 4b
line:
    .asciz "sprout-sector: alive\r\n"
    .org 510
    .word 0xaa55
