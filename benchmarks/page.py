"""From the last key to the painted report, in a real browser, on a note of about 500 words.

    PYTHONPATH=tests python benchmarks/page.py [--keys 30] [--pause 800]

Each time one key is typed into the note and the browser says when the frame with the new report was painted. The pause
from which a report is wanted is part of the figure. Needs Chromium; the marks to reach are in README.md beside this.
"""

from __future__ import annotations

import argparse
import statistics

from notes import note

from browser import CHROMIUM, chromium, served
from notegap import Analyzer

# Two frames after the report is in the document, the first of them is on the screen.
_MEASURE = """() => new Promise((resolve) => {
    const field = document.getElementById('note');
    let typed = 0;
    field.addEventListener('input', (event) => (typed = event.timeStamp), { once: true });
    const watch = new PerformanceObserver(() => {
        watch.disconnect();
        requestAnimationFrame(() => requestAnimationFrame((painted) => resolve(painted - typed)));
    });
    watch.observe({ entryTypes: ['mark'] });
})"""


def main() -> None:
    """Type, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keys", type=int, default=30, help="keys that are measured (default 30)")
    parser.add_argument("--pause", type=int, default=800, help="milliseconds between two keys (default 800)")
    options = parser.parse_args()
    if CHROMIUM is None:
        print("the page is not measured: there is no Chromium on this machine")
        return
    text = note(1)
    with served(Analyzer()) as (address, _), chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address)
        page.fill("#note", text)
        page.locator("body[data-state=fresh]").wait_for()
        page.focus("#note")
        page.keyboard.press("Control+End")
        took = []
        for number in range(options.keys + 3):
            page.wait_for_timeout(options.pause)
            measured = page.evaluate_handle(f"() => ({{ done: ({_MEASURE})() }})")
            page.keyboard.type("x" if number % 8 else " ")
            took.append(float(measured.evaluate("(holder) => holder.done")))
    took = sorted(took[3:])
    print(f"{len(text.split())} words, {len(took)} keys: from the last key to the painted report")
    print(f"median {statistics.median(took):.0f} ms, 95th percentile {took[int(len(took) * 0.95)]:.0f} ms")


if __name__ == "__main__":
    main()
