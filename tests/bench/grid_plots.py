"""The plots of tests/bench/grid, from its CSV files, by gnuplot."""
import csv
import os
import subprocess
import sys

STYLE = """set terminal svg size {width},{height} dynamic font 'sans,11' background '#ffffff'
set output '{output}'
set grid y lc rgb '#dddddd'
set border 3
set tics nomirror out
set key outside right top
"""
COLORS = {"rushfs": "#c0392b", "rushfs-steady": "#c0392b",
          "rushfs-read": "#e67e22", "rushfs-write": "#f1c40f",
          "tcp-bbr": "#1f4e79", "tcp-cubic": "#5dade2", "scp": "#7f8c8d",
          "sshfs-read": "#1e8449", "sshfs-write": "#82e0aa", "rclone-read": "#6c3483",
          "rclone-write": "#c39bd3", "udt": "#000000", "uftp": "#935116",
          "srt": "#d81b60"}


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def gnuplot(script):
    try:
        subprocess.run(["gnuplot"], input=script, text=True, check=True)
    except FileNotFoundError:
        print("grid: no gnuplot, so no plots", file=sys.stderr)


def programs_of(rows):
    return list(dict.fromkeys(row["program"] for row in rows))


def value(rows, column, **wanted):
    for row in rows:
        if all(row[name] == text for name, text in wanted.items()):
            return row[column] or "NaN"
    return "NaN"


def draw_bars(rows, output):
    """A group of bars for each cell. A program that was not done shows what had arrived."""
    programs = programs_of(rows)
    cells = list(dict.fromkeys((row["round_trip_ms"], row["loss_percent"]) for row in rows))
    data = "\n".join(f'"{delay} ms, {loss} %" ' + " ".join(
        value(rows, "arrived_mbps", round_trip_ms=delay, loss_percent=loss, program=program)
        for program in programs) for delay, loss in cells)
    bars = ", ".join(f"$grid using {i + 2}{':xtic(1)' if i == 0 else ''} title '{program}' "
                     f"lc rgb '{COLORS[program]}'" for i, program in enumerate(programs))
    gnuplot(STYLE.format(width=900, height=420, output=output) +
            f"$grid << END\n{data}\nEND\nset style data histogram\nset style fill solid 0.9\n"
            f"set yrange [0:{float(rows[0]['rate_mbps']) * 1.05:g}]\nset ylabel 'Mbit/s'\n"
            f"set title 'Link of {rows[0]['rate_mbps']} Mbit/s: round trip, loss'\nplot {bars}\n")


def draw_over_loss(rows, output):
    """Goodput over loss, a panel for each round trip."""
    programs = programs_of(rows)
    delays = list(dict.fromkeys(row["round_trip_ms"] for row in rows))
    losses = list(dict.fromkeys(row["loss_percent"] for row in rows))
    script = STYLE.format(width=1100, height=380, output=output)
    for delay in delays:
        lines = "\n".join(f'"{loss}" ' + " ".join(
            value(rows, "arrived_mbps", round_trip_ms=delay, loss_percent=loss, program=program)
            for program in programs) for loss in losses)
        script += f"$rtt{delay} << END\n{lines}\nEND\n"
    script += (f"set multiplot layout 1,{len(delays)}\nset xlabel 'loss, %'\n"
               f"set yrange [0:{float(rows[0]['rate_mbps']) * 1.05:g}]\n")
    for number, delay in enumerate(delays):
        last = number == len(delays) - 1
        script += (f"set title '{delay} ms'\nset ylabel '{'' if number else 'Mbit/s'}'\n"
                   f"{'set key outside right top' if last else 'unset key'}\nplot ")
        script += ", ".join(
            f"$rtt{delay} using 0:{i + 2}:xtic(1) with linespoints pt 7 ps 0.5 lw 2 "
            f"lc rgb '{COLORS[program]}' title '{program}'"
            for i, program in enumerate(programs)) + "\n"
    gnuplot(script + "unset multiplot\n")


def draw_over_time(rows, output, title):
    """Two panels: what the link delivered, and how long its queue was."""
    programs = programs_of(rows)
    script = STYLE.format(width=900, height=560, output=output)
    for number, program in enumerate(programs):
        lines = "\n".join(f"{row['seconds']} {row['mbps']} {row['queue_ms']}"
                          for row in rows if row["program"] == program)
        script += f"$flow{number} << END\n{lines}\nEND\n"
    script += f"set multiplot layout 2,1 title '{title}'\nset yrange [0:*]\n"
    for column, label in ((2, "Mbit/s delivered"), (3, "queue, ms")):
        script += f"set ylabel '{label}'\nset xlabel '{'seconds' if column == 3 else ''}'\nplot "
        script += ", ".join(f"$flow{number} using 1:{column} with lines lw 1.5 "
                            f"lc rgb '{COLORS[program]}' title '{program}'"
                            for number, program in enumerate(programs)) + "\n"
    gnuplot(script + "unset multiplot\n")


def draw(out):
    for name in sorted(os.listdir(out)):
        stem, suffix = os.path.splitext(name)
        if suffix != ".csv" or stem == "changes":
            continue
        rows, output = read(f"{out}/{name}"), f"{out}/{stem}.svg"
        if not rows:
            continue
        if stem.startswith("changes-"):
            draw_over_time(rows, output, stem.removeprefix("changes-").replace("-", " "))
        elif len({row["round_trip_ms"] for row in rows}) < len(
                {(row["round_trip_ms"], row["loss_percent"]) for row in rows}) and stem != "aspera":
            draw_over_loss(rows, output)
        else:
            draw_bars(rows, output)
    return 0
