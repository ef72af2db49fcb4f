x = [1, 2, 3, 4, 5]
print(x[1:3], x[:-1], x[::-1], -7 // 2, -7 % 3, 2 ** -1, 1 < 2 < 3, 0.1 + 0.2, 9223372036854775807)
d = {'k': (1, None), 2: {3}}
d.update({'b': 2})
print(list(d.items()), d.get('z', 0), {1, 2} & {2}, sorted([(1, 'b'), (0, 'c')], key=lambda p: p[1], reverse=True))
print(divmod(7, 2), round(2.675, 2), isinstance('a', (int, str)), max([], default=0), list(zip('ab', range(3))))
del x[0]
x.insert(0, 9)
a, (b, c) = 1, (2, 3)
