#include <stdio.h>

int main(void)
{
    puts("moqa");
    return 0;
}
