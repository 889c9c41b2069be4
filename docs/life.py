#!/usr/bin/env python3
"""Draws the life of a job: `python3 docs/life.py > docs/life.svg`."""

STYLE = """
  svg { font: 14px system-ui, -apple-system, "Segoe UI", sans-serif }
  .page { fill: #ffffff; stroke: #d0d7de } .store { fill: #f6f8fa; stroke: #8c959f }
  .plain { fill: #ffffff; stroke: #57606a } .live { fill: #ddf4ff; stroke: #0969da }
  .good { fill: #dafbe1; stroke: #1a7f37 } .bad { fill: #ffebe9; stroke: #cf222e }
  .idle { fill: #eaeef2; stroke: #57606a }
  text { fill: #1f2328; text-anchor: middle } .small { font-size: 12px } .name { font-weight: 600 }
  .line { fill: none; stroke: #57606a; stroke-width: 1.6 } .hint { stroke-dasharray: 5 4 }
  .head { fill: #57606a } .inside { fill: #f6f8fa } .outside { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; stroke: #30363d } .store { fill: #161b22; stroke: #6e7681 }
    .plain { fill: #0d1117; stroke: #8b949e } .live { fill: #0c2d6b; stroke: #58a6ff }
    .good { fill: #033a16; stroke: #3fb950 } .bad { fill: #67060c; stroke: #f85149 }
    .idle { fill: #21262d; stroke: #8b949e }
    text { fill: #e6edf3 } .line { stroke: #8b949e } .head { fill: #8b949e }
    .inside { fill: #161b22 } .outside { fill: #0d1117 }
  }"""

DESCRIPTION = (
    "An enqueue makes a job Ready in the store. A dispatcher claims it: it is Running, under a lease that is "
    "renewed. From Running it succeeds and is Succeeded, or it fails for the last time and is Dead, or it is "
    "cancelled. A retry, a snooze, a release at shutdown and a lease that ran out make it Ready again. A Ready job "
    "can be cancelled, and it is Dead if it expires. A requeue makes a job that is over Ready once more. Beside the "
    "store there may be a queue: it carries hints from the program that enqueues to the dispatcher, and no truth."
)


def box(kind, x, y, w, h, *lines):
    shape = f'<rect class="{kind}" x="{x}" y="{y}" width="{w}" height="{h}" rx="8" stroke-width="1.5"/>'
    first = y + h / 2 + 5 - 9 * (len(lines) - 1)
    words = [
        f'<text class="{"small" if n else "name"}" x="{x + w / 2:g}" y="{first + 18 * n:g}">{line}</text>'
        for n, line in enumerate(lines)
    ]
    return "\n".join(["  " + part for part in [shape, *words]])


def arrow(path, kind=""):
    return f'  <path class="line {kind}" d="{path}" marker-end="url(#head)"/>'


def label(x, y, text, ground="inside"):
    """On a ground of its own, so that no line goes through it."""
    w = 6.6 * len(text) + 6
    ground = f'<rect class="{ground}" x="{x - w / 2:g}" y="{y - 12}" width="{w:g}" height="16"/>'
    return f'  {ground}<text class="small" x="{x}" y="{y}">{text}</text>'


DRAWING = [
    '  <rect class="page" x="0.5" y="0.5" width="919" height="479" rx="10"/>',
    '  <rect class="store" x="200" y="100" width="470" height="362" rx="10" stroke-width="1.5"/>',
    '  <text class="name" x="288" y="126">Store: the only truth</text>',
    box("plain", 12, 236, 120, 88, "Your program", "JobManager"),
    box("plain", 786, 236, 124, 88, "Dispatcher", "runs your handlers", "in slots"),
    box("idle", 345, 18, 180, 54, "Queue (optional)", "hints, no truth"),
    box("live", 224, 250, 120, 60, "Ready", "waits for its time"),
    box("live", 526, 250, 120, 60, "Running", "under a lease"),
    box("idle", 375, 140, 120, 46, "Cancelled"),
    box("bad", 375, 376, 120, 46, "Dead"),
    box("good", 526, 376, 120, 46, "Succeeded"),
    arrow("M132 280H221"),
    arrow("M344 268H523"),
    arrow("M526 292H347"),
    arrow("M304 250L381 189"),
    arrow("M566 250L490 189"),
    arrow("M304 310L381 373"),
    arrow("M566 310L490 373"),
    arrow("M601 310V373"),
    arrow("M375 404C300 410 252 380 252 313"),
    arrow("M786 280H649"),
    arrow("M72 236C72 90 200 45 342 45", "hint"),
    arrow("M525 45C720 45 848 90 848 233", "hint"),
    label(166, 268, "enqueue", "outside"),
    label(435, 262, "claim"),
    label(435, 308, "retry, snooze, release,"),
    label(435, 324, "lease ran out"),
    label(335, 220, "cancel"),
    label(536, 220, "cancel"),
    label(336, 348, "expire"),
    label(530, 348, "last failure"),
    label(612, 348, "succeed"),
    label(272, 392, "requeue"),
    label(728, 262, "claim, renew,", "outside"),
    label(728, 306, "record the end", "outside"),
    label(118, 128, "hint", "outside"),
    label(782, 118, "look at this job", "outside"),
    '  <text class="small" x="435" y="446">A job that is over is kept for a while, then deleted.</text>',
]

print(f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 920 480" role="img" aria-labelledby="t d">
  <title id="t">The life of a job</title>
  <desc id="d">{DESCRIPTION}</desc>
  <style>{STYLE}
  </style>
  <defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
    <path class="head" d="M0 0L8 4L0 8z"/></marker></defs>
""" + "\n".join(DRAWING) + "\n</svg>")
