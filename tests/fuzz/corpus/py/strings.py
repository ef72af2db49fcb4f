name = 'Ada'
print(f'{name}: {3.14159:.2f} {7:03d} {name!r} {{}} {1 + 1:>4}', "it's" 'x' * 3, '''a
b''', 'a,b,,c'.split(','), '-'.join(['x', 'y']), 'x'.zfill(3), 'abc'[::-1].upper().replace('B', '\n'))
print('%s %d' % ('a', 3), 'abc'.find('c'), 'a b'.title(), ' hi '.strip(), 'x=1'.partition('='))
