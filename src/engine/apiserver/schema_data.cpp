// The text of schema.txt as part of the program.
__asm__(
    ".section .rodata\n"
    ".global wf_schema_begin\n"
    "wf_schema_begin:\n"
    ".incbin \"" WF_SCHEMA_FILE
    "\"\n"
    ".global wf_schema_end\n"
    "wf_schema_end:\n"
    ".byte 0\n"
    ".text\n");
