/* main.c - the quern command. */
#include <stdio.h>

#include "quern.h"

int main(void)
{
    printf("quern %s\n", qn_version());
    return 0;
}
