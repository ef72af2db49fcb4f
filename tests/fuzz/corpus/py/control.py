def outer(n, *, m=2):
    """Doc."""
    def inner(x: int) -> int:
        return x + n
    return inner
i = 0
while True:
    i += 1
    if i > 5: break
    elif i % 2: continue
for k, v in {'a': 1}.items():
    print(k, v, outer(3)(4))
else:
    pass
try:
    raise ValueError('no')
except (KeyError, ValueError) as e:
    print('no', e)
finally:
    print([x * y for x in range(3) if x for y in 'ab'], {k: v for k, v in zip('ab', [1, 2])}, sum(x for x in [1]))
def f(n):
    return n if n < 2 else f(n - 1) + f(n - 2)
assert f(9) == 34, 'fib'
