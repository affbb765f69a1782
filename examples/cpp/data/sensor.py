"""Writes sensor.csv: a made-up sensor with a daily rhythm, noise, twelve faults (one value off, or stuck for eight), and another rhythm in its second half."""
import math
import random

random.seed(4)
faults = {random.randrange(150 + i * 160, 270 + i * 160): i for i in range(12)}
level, rows = 0.0, []
for t in range(2200):
    level = 0.97 * level + random.gauss(0, 0.03)
    period, height = (48, 1.0) if t < 1100 else (37, 1.4)
    value = 20 + 3 * (height * math.sin(2 * math.pi * t / period) + 0.4 * math.sin(6 * math.pi * t / period + 1)) + level
    value += random.gauss(0, 0.08)
    kind = next((i for at, i in faults.items() if at == t or i % 2 and at < t < at + 8), None)
    fault = int(kind is not None)
    if fault:
        value = value - 1.6 if kind % 2 == 0 else last
    last = value
    rows.append(f"{t},{value:.3f},{fault}")
with open("sensor.csv", "w") as file:
    file.write("hour,temperature,fault\n" + "\n".join(rows) + "\n")
