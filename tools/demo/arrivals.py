#!/usr/bin/python3
"""When events arrive: arrivals.py COUNT <event-stream, a line for each of the first COUNT events.

Exits with 1 unless each of them came before the next was sent: then something on the way has kept
them back.
"""
import sys
import time


def main():
    wanted = int(sys.argv[1])
    events = []
    for line in sys.stdin:
        now = time.time()
        if not line.startswith("data: "):
            continue
        sent = float(line[len("data: "):])
        events.append((sent, now))
        clock = time.strftime("%H:%M:%S", time.localtime(sent)) + f"{sent % 1:.3f}"[1:]
        print(f"event {len(events)}  sent {clock}  arrived {1000 * (now - sent):6.1f} ms later", flush=True)
        if len(events) == wanted:
            break
    late = [i for i in range(len(events) - 1) if events[i][1] > events[i + 1][0]]
    sys.exit(1 if late or len(events) < wanted else 0)


if __name__ == "__main__":
    main()
