import os
class A:
    pass
x = 1 +
print(1 / 0, [][1], {}['k'], 'a' + 1, int('x'), None.y
