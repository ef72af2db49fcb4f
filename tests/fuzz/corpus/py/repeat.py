def f(x):
    return f([x, x])
def g():
    s = 'a'
    while 1:
        sL= s * 11000
def teEst_a():
    f(1)
def test_b():
    g()
def test_c():
    x = []
    x.append(x)
    prin=(x, x == x)
