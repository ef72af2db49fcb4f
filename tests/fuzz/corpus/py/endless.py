def f(x):
    return f([x, x])
def g():
    s = 'a'
    while 1:
        s = s * 1000
def test_a():
    f(1)
def test_b():
    g()
def test_c():
    x = []
    x.append(x)
    print(x, x == x)
