# SPDX-License-Identifier: Apache-2.0
"""Mutations that keep a format's structure: JSON trees, protobuf fields, GGUF keys and tensors, text and bytes. Every choice comes from the
generator that is given, so a seed and a number give the same input again."""
import copy
import json
import re
import struct

RAW = "\x01raw:"          # in a tree: these characters are written as they are, not as a string
BIG = [2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -1, -2**31, -2**63, 10**30]
NUMBERS = [0, 1, 2, 3, 7, 255, 65536, 0.5, -0.0, 1e-320, 1e300, *BIG]
RAW_NUMBERS = ["1e400", "-1e400", "NaN", "Infinity", "1e-400", "00", "0x10", "1" * 400, "-", "1.", "3" + "0" * 30 + ".5"]
STRINGS = ["", " ", "a", "\0", "\x1b[31m", "\ud800", "\u202e", "é" * 50, "x" * 5000, "../../../etc/passwd", "a/b", "null", "true", "%s%n", "{", "}", "\\", "\n", "-", "@/fifo", "@/nowhere", "/dev/zero",
           "/proc/self/mem", "auto", "all", "cpu", "cuda:99999999999999", "float32", "int8"]


def nested(rng, depth):
    kind = rng.randrange(3)
    text = ("[" * depth + "]" * depth) if kind == 0 else ('{"a":' * depth + "1" + "}" * depth) if kind == 1 else "[" * depth
    return RAW + text


def scalar(rng, words=()):
    choice = rng.randrange(12)
    if choice < 3:
        return rng.choice(NUMBERS)
    if choice < 4:
        return RAW + rng.choice(RAW_NUMBERS)
    if choice < 6 and words:
        return rng.choice(words)
    if choice < 8:
        return rng.choice(STRINGS)
    if choice == 8:
        return rng.choice([None, True, False])
    if choice == 9:
        return rng.choice([[], {}, [[]], [None], {"": None}, [1, "a", None], {"type": "x"}])
    if choice == 10:
        return nested(rng, rng.choice([10, 63, 65, 200, 20000]))
    return rng.randrange(-10, 2000)


def places(tree, path=()):
    yield path
    if isinstance(tree, dict):
        for key in tree:
            yield from places(tree[key], path + (key,))
    elif isinstance(tree, list):
        for index in range(min(len(tree), 200)):
            yield from places(tree[index], path + (index,))


def at(tree, path):
    for key in path:
        tree = tree[key]
    return tree


def nudged(rng, value, words):
    """A value near what stands there, or of another kind."""
    if isinstance(value, bool):
        return not value if rng.random() < 0.5 else scalar(rng, words)
    if isinstance(value, int):
        return rng.choice([value + 1, value - 1, -value, value * 2, value // 2, value * 1000003, float(value), str(value), 0, *BIG]) if rng.random() < 0.7 else scalar(rng, words)
    if isinstance(value, float):
        return rng.choice([-value, value * 1e30, 0.0, int(value), str(value)]) if rng.random() < 0.6 else scalar(rng, words)
    if isinstance(value, str):
        return text(rng, value, words) if rng.random() < 0.7 else scalar(rng, words)
    if isinstance(value, list) and value and rng.random() < 0.7:
        value = copy.deepcopy(value)
        action = rng.randrange(5)
        if action == 0:
            value.pop(rng.randrange(len(value)))
        elif action == 1:
            value.insert(rng.randrange(len(value) + 1), copy.deepcopy(rng.choice(value)))
        elif action == 2:
            value *= rng.choice([2, 3, 50])
        elif action == 3:
            rng.shuffle(value)
        else:
            value.append(scalar(rng, words))
        return value
    return scalar(rng, words)


def tree(rng, seed, words=(), most=4):
    """A copy of a JSON tree with one to `most` changes."""
    result = copy.deepcopy(seed)
    for _ in range(rng.randint(1, most)):
        spots = list(places(result))
        path = rng.choice(spots)
        if not path:
            if rng.random() < 0.02:
                result = scalar(rng, words)
            elif isinstance(result, dict) and words:
                result[rng.choice(words) if rng.random() < 0.8 else rng.choice(STRINGS)] = scalar(rng, words)
            continue
        parent, key = at(result, path[:-1]), path[-1]
        action = rng.randrange(10)
        if action == 0:
            del parent[key]
        elif action == 1:
            parent[key] = [parent[key]]
        elif action == 2 and isinstance(parent, dict):
            parent[rng.choice([str(key) + "s", str(key).upper(), "", *STRINGS[:6], *(words or ["x"])])] = parent.pop(key)
        elif action == 3:
            other = at(result, rng.choice(spots[:300])) if rng.random() < 0.5 else None
            parent[key] = copy.deepcopy(other) if other is not None and other is not result else scalar(rng, words)
        else:
            parent[key] = nudged(rng, parent[key], words)
    return result


def dump(value, **options):
    """JSON text of a tree, with its raw parts in place. Lone surrogates are written as bytes that are no UTF-8."""
    written = json.dumps(value, **options)
    written = re.sub(r'"\\u0001raw:((?:[^"\\]|\\.)*)"', lambda found: json.loads('"' + found.group(1) + '"'), written)
    return written.encode("utf-8", "surrogatepass")


def text(rng, value, words=()):
    action = rng.randrange(8)
    if not value or action == 0:
        return rng.choice(list(words) or STRINGS)
    where = rng.randrange(len(value) + 1)
    if action == 1:
        return value[:where]
    if action == 2:
        return value[:where] + rng.choice(list(words) or STRINGS) + value[where:]
    if action == 3:
        end = min(len(value), where + rng.randint(1, 12))
        return value[:where] + value[where:end] * rng.choice([2, 3, 100]) + value[end:]
    if action == 4:
        end = min(len(value), where + rng.randint(1, 8))
        return value[:where] + value[end:]
    if action == 5:
        return value[:where] + rng.choice(STRINGS) + value[where:]
    if action == 6:
        return value[:where] + chr(rng.choice([0, 9, 10, 13, 34, 39, 40, 41, 42, 43, 63, 91, 92, 93, 123, 124, 125, 0x7f, 0xff, 0x2581, 0xfffd, 0x10ffff])) + value[where:]
    end = min(len(value), where + rng.randint(1, 20))
    return value[:where] + value[where:end][::-1] + value[end:]


def data(rng, seed, hot=()):
    """Bytes with one to eight changes; `hot`: (begin, end) ranges where half of them fall."""
    result = bytearray(seed)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        if not result:
            return bytes(result)
        begin, end = rng.choice(hot) if hot and rng.random() < 0.5 else (0, len(result))
        begin, end = min(begin, len(result) - 1), min(max(end, begin + 1), len(result))
        where = rng.randrange(begin, max(end, begin + 1))
        action = rng.randrange(9)
        if action == 0:
            result[where] ^= 1 << rng.randrange(8)
        elif action == 1:
            result[where] = rng.choice([0, 1, 0x7f, 0x80, 0xff, rng.randrange(256)])
        elif action == 2:
            del result[where:where + rng.choice([1, 1, 4, 8, 64])]
        elif action == 3:
            result[where:where] = bytes([rng.randrange(256)]) * rng.choice([1, 1, 4, 8, 300])
        elif action == 4:
            width = rng.choice("<I <q <H <d".split())
            number = rng.choice([0, 1, 127, 128, 255, 0xffff, 0x7fff, 2**31 - 1, 2**31, 2**32 - 1])
            packed = struct.pack(width, number & 0xffff if width == "<H" else number)
            result[where:where + len(packed)] = packed
        elif action == 5:
            result[where:where + 8] = struct.pack("<Q", rng.choice([2**63 - 1, 2**63, 2**64 - 1, 2**40, 10**9]))
        elif action == 6:
            del result[where:]
        elif action == 7:
            length, source = rng.randint(1, 64), rng.randrange(len(result))
            result[where:where] = result[source:source + length]
        else:
            length, source = rng.randint(1, 64), rng.randrange(len(result))
            result[where:where + length] = result[source:source + length]
    return bytes(result)


# --- protobuf ----------------------------------------------------------------------------------------------------------------------
def varint(number):
    number &= 2**64 - 1
    out = bytearray()
    while number > 0x7f:
        out.append(number & 0x7f | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, value):
    """A field of a message: int, float, str, bytes or a list of fields."""
    if isinstance(value, bool) or isinstance(value, int):
        return varint(number << 3) + varint(int(value))
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, list):
        value = b"".join(field(*each) for each in value)
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    return varint(number << 3 | 2) + varint(len(value)) + value


def message(rng, fields, words=()):
    """Fields with one to three changes, some deep inside."""
    fields = copy.deepcopy(fields)
    for _ in range(rng.randint(1, 3)):
        where = fields
        while where and isinstance(where[(index := rng.randrange(len(where)))][1], list) and rng.random() < 0.8:
            where = where[index][1]
        if not where:
            continue
        index = rng.randrange(len(where))
        number, value = where[index]
        action = rng.randrange(6)
        if action == 0:
            del where[index]
        elif action == 1:
            where.insert(rng.randrange(len(where) + 1), (number, copy.deepcopy(value)))
        elif action == 2:
            where[index] = (rng.choice([0, 1, 2, 3, 4, 5, 15, 40, 2**28]), value)
        elif isinstance(value, str):
            where[index] = (number, text(rng, value, words))
        elif isinstance(value, float):
            where[index] = (number, rng.choice([float("nan"), float("inf"), -1e30, 0.0, 1e30]))
        elif isinstance(value, int):
            where[index] = (number, rng.choice(BIG + [0, 1, 2, 3, 4, 5, 6, 100]) % 2**64)
        else:
            where[index] = (number, rng.choice([b"", b"\xff" * 20, 5, "x" * 3000]))
    return b"".join(field(*each) for each in fields)


# --- GGUF --------------------------------------------------------------------------------------------------------------------------
GGUF_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}


class Gguf:
    """Keys [(name, type, value)], tensors [(name, shape, type, offset)] and the bytes behind them; arrays are (element type, [values])."""

    def __init__(self, content):
        self.content, self.place = content, 0
        assert self.take(4) == b"GGUF"
        self.version, tensors, keys = self.number(4), self.number(10), self.number(10)
        self.keys = []
        for _ in range(keys):
            name, kind = self.string(), self.number(4)
            self.keys.append((name, kind, self.value(kind)))
        self.tensors = []
        for _ in range(tensors):
            name, rank = self.string(), self.number(4)
            self.tensors.append((name, [self.number(10) for _ in range(rank)], self.number(4), self.number(10)))
        self.place += -self.place % 32
        self.body = content[self.place:]

    def take(self, count):
        self.place += count
        return self.content[self.place - count:self.place]

    def number(self, kind):
        return struct.unpack(GGUF_NUMBERS[kind], self.take(struct.calcsize(GGUF_NUMBERS[kind])))[0]

    def string(self):
        return self.take(self.number(10))

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind == 9:
            element = self.number(4)
            return element, [self.value(element) for _ in range(self.number(10))]
        return self.number(kind)

    def mutated(self, rng):
        keys, tensors = copy.deepcopy(self.keys), copy.deepcopy(self.tensors)
        changes = {"version": self.version, "tensors": None, "keys": None, "length": {}}
        for _ in range(rng.randint(1, 3)):
            action = rng.randrange(12)
            index = rng.randrange(len(keys)) if keys else 0
            spot = rng.randrange(len(tensors)) if tensors else 0
            if action == 0:
                changes[rng.choice(["tensors", "keys"])] = rng.choice([0, 1, 2**31, 2**63, 2**64 - 1, 10**6])
            elif action == 1:
                changes["version"] = rng.choice([0, 1, 2, 4, 2**31])
            elif action == 2 and keys:
                del keys[index]
            elif action == 3 and keys:
                keys.insert(rng.randrange(len(keys)), keys[index])
            elif action in (4, 5, 6) and keys:
                name, kind, value = keys[index]
                if isinstance(value, bytes):
                    value = data(rng, value or b"x")
                elif isinstance(value, tuple):
                    value = (rng.choice([value[0], rng.randrange(14)]), value[1][:rng.randrange(len(value[1]) + 1)]) if rng.random() < 0.5 else value
                    changes["length"][index] = rng.choice([None, 0, 2**32, 2**61, 2**64 - 1])
                else:
                    value = rng.choice([*BIG, 0, 1, 2, 3, 4, 5, 7, 8, 13, 16, 100000])
                keys[index] = (name, kind if rng.random() < 0.85 else rng.randrange(14), value)
            elif action == 7 and keys:
                keys[index] = (data(rng, keys[index][0] or b"x"), *keys[index][1:])
            elif tensors:
                name, shape, kind, offset = tensors[spot]
                if action == 8:
                    shape = rng.choice([[], [0], [*shape, 1], shape[::-1], [2**63], [2**32, 2**32], [2**21, 2**21, 2**22], [1] * 9, [max(1, size + 1) for size in shape]])
                elif action == 9:
                    kind = rng.choice([0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 20, 23, 30, 39, 99, 2**31])
                elif action == 10:
                    offset = rng.choice([0, 1, 31, 32, len(self.body), len(self.body) - 1, 2**63, 2**64 - 32, offset + 32])
                else:
                    name = data(rng, name or b"x")
                tensors[spot] = (name, shape, kind, offset)
        result = self.write(keys, tensors, changes)
        return data(rng, result, [(0, 400)]) if rng.random() < 0.2 else result

    def write(self, keys, tensors, changes):
        def packed(kind, value):
            form = GGUF_NUMBERS.get(kind)
            if form is None:
                return b"\0" * 8
            if form in ("<f", "<d"):
                return struct.pack(form, float(value) if isinstance(value, (int, float)) and abs(value) < 1e38 else 1e30)
            width = struct.calcsize(form)
            return (int(value) if isinstance(value, (int, float)) else 0).__and__(2 ** (8 * width) - 1).to_bytes(width, "little")

        def written(kind, value, length=None):
            if kind == 8:
                value = value if isinstance(value, bytes) else b"text"
                return struct.pack("<Q", len(value)) + value
            if kind == 9:
                element, values = value if isinstance(value, tuple) else (4, [1, 2])
                return struct.pack("<IQ", element, len(values) if length is None else length) + b"".join(written(element, each) for each in values)
            return packed(kind, value if not isinstance(value, (bytes, tuple)) else 1)

        out = b"GGUF" + struct.pack("<IQQ", changes["version"], len(tensors) if changes["tensors"] is None else changes["tensors"], len(keys) if changes["keys"] is None else changes["keys"])
        for index, (name, kind, value) in enumerate(keys):
            out += struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + written(kind, value, changes["length"].get(index))
        for name, shape, kind, offset in tensors:
            out += struct.pack("<Q", len(name)) + name + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", size % 2**64) for size in shape) + struct.pack("<IQ", kind, offset % 2**64)
        return out + b"\0" * (-len(out) % 32) + self.body
