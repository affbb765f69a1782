#!/usr/bin/env python3
"""A sensor on a machine, made up: temperature and current of a motor that works in cycles.

`series.py train > FILE` writes many machines one after the other, each with cycle, load and offset of its own, so that a model has
to find out while it reads which one it is looking at. `series.py device > FILE` writes one more machine, 720 rows, with four
faults: a spike, a sensor that hangs, a cycle that stalls, a load that is lost. `series.py pack RUN/config.toml > FILE` writes the same rows as
the firmware reads them: mean and inverse deviation of either column in training, 32-bit floats, then thousandths as 16-bit integers. Integers and a fixed sine table only: the same bytes everywhere.
"""

import struct
import sys
import tomllib

SINE = [0, 98, 195, 290, 383, 471, 556, 634, 707, 773, 831, 882, 924, 957, 981, 995]  # a quarter of a turn, thousandths


def sine(turn):
    """1000 sin(2 pi turn / 64)."""
    turn %= 64
    quarter, at = divmod(turn, 16)
    x = SINE[at] if quarter % 2 == 0 else (1000 if at == 0 else SINE[16 - at])
    return x if quarter < 2 else -x


class Noise:
    def __init__(self, seed):
        self.state = seed * 2654435761 % 2**32 | 1

    def below(self, n):
        self.state = (self.state * 1664525 + 1013904223) % 2**32
        return (self.state >> 8) % n

    def bell(self):
        """About normal, deviation 100."""
        return sum(self.below(121) for _ in range(8)) - 480


def machine(seed, rows):
    """Thousandths of temperature and current, row by row."""
    noise = Noise(seed)
    for _ in range(8):
        noise.below(2)
    period = 12 + noise.below(29)
    load, second = 600 + noise.below(900), noise.below(500)
    offset, phase = noise.below(2001) - 1000, noise.below(64)
    temperature = 0
    for t in range(rows):
        turn = phase + 64 * t // period
        current = offset + load * sine(turn) // 1000 + second * sine(3 * turn + 8) // 1000
        temperature += (current - temperature) // 6
        yield t, temperature + noise.bell() // 3, current + noise.bell() // 2


def faults(rows):
    """The device's rows with its faults, and which fault a row is of."""
    stuck = None
    for t, temperature, current in rows:
        fault = 0
        if t == 300:
            current, fault = current + 4000, 1  # a spike
        if 420 <= t < 432:
            stuck = stuck or temperature
            temperature, fault = stuck + 2500, 2  # the sensor hangs, far off
        if 540 <= t < 548:
            current, fault = -3000, 3  # the cycle stalls
        if 640 <= t < 644:
            current, fault = current - 3500, 4  # the load is lost
        yield t, temperature, current, fault


def main():
    kind = sys.argv[1] if len(sys.argv) > 1 else ""
    if kind == "train":
        print("temperature,current")
        for seed in range(1, 121):
            for _, temperature, current in machine(seed, 256):
                print(f"{temperature / 1000:.3f},{current / 1000:.3f}")
    elif kind == "device":
        print("temperature,current,fault")
        for _, temperature, current, fault in faults(machine(1001, 720)):
            print(f"{temperature / 1000:.3f},{current / 1000:.3f},{fault}")
    elif kind == "pack" and len(sys.argv) == 3:
        with open(sys.argv[2], "rb") as file:
            columns = tomllib.load(file)["task"]["columns"]
        out = b"".join(struct.pack("<2f", c["mean"], 1 / c["deviation"]) for c in columns)
        for _, temperature, current, _ in faults(machine(1001, 720)):
            out += struct.pack("<2h", temperature, current)
        sys.stdout.buffer.write(out)
    else:
        sys.exit("series.py: expected `train`, `device` or `pack RUN/config.toml`")


main()
