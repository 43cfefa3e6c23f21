# SPDX-License-Identifier: GPL-2.0-or-later
"""embed.py OUTPUT NAME=FILE...: write a C header that holds each file's bytes as an array NAME."""
import sys


def main():
    lines = ["/* Made by embed.py from the files of cli/guest. */"]
    for item in sys.argv[2:]:
        name, path = item.split("=", 1)
        with open(path, "rb") as f:
            data = f.read()
        lines.append(f"static const unsigned char {name}[{len(data)}] = {{")
        lines += [",".join(map(str, data[i:i + 24])) + "," for i in range(0, len(data), 24)]
        lines.append("};")
    with open(sys.argv[1], "w") as f:
        f.write("\n".join(lines) + "\n")


main()
