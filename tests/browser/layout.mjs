// Where things are on a page.

/// What does not fit, at each of these widths.
export async function layout({ pages }, { name, widths = [360, 768, 1440, 1920] }) {
  const { page } = pages.get(name);
  const broken = [];
  for (const width of widths) {
    await page.setViewportSize({ width, height: 900 });
    broken.push(...(await page.evaluate(misfits)).map((told) => `${width} px: ${told}`));
  }
  return broken;
}

function misfits() {
  const found = [];
  const { scrollWidth } = document.documentElement;
  if (scrollWidth > innerWidth) {
    found.push(`the page is ${scrollWidth} wide`);
  }
  const hidden = (element) => element.closest(".vh, .skip, svg, [hidden], noscript, script, style");
  const scrolls = (element) => /auto|scroll/.test(getComputedStyle(element).overflowX);
  for (const element of document.body.querySelectorAll("*")) {
    if (hidden(element) || element.scrollWidth <= element.clientWidth + 1 || element.clientWidth === 0) continue;
    const { overflowX, display } = getComputedStyle(element);
    if (display === "inline" || overflowX === "visible") continue;
    // What scrolls must be reached by the keyboard, and say what it is.
    const reached = element.tabIndex === 0 && element.getAttribute("role") === "region" && element.ariaLabel;
    // And nobody should have to, but for the last probes, the lines of the configuration and the tables of a report.
    const allowed = reached && (["probes", "yaml"].includes(element.id) || element.closest("main.report"));
    if (!scrolls(element) || !allowed) found.push(`cut off: ${element.tagName}.${element.className} ${element.innerText}`);
  }
  // The boxes of all texts, as far as they are inside of what scrolls.
  const boxes = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode;
    if (!text.data.trim() || hidden(text.parentElement)) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    for (let { left, right, top, bottom } of range.getClientRects()) {
      for (let outer = text.parentElement; outer; outer = outer.parentElement) {
        if (!scrolls(outer)) continue;
        const box = outer.getBoundingClientRect();
        [left, right] = [Math.max(left, box.left), Math.min(right, box.right)];
      }
      // Lines of text may touch.
      if (right - left > 2 && bottom - top > 6) boxes.push({ left: left + 1, right: right - 1, top: top + 3, bottom: bottom - 3, text });
    }
  }
  for (const [n, one] of boxes.entries()) {
    for (const other of boxes.slice(n + 1)) {
      const apart =
        one.right <= other.left || other.right <= one.left || one.bottom <= other.top || other.bottom <= one.top;
      if (!apart) found.push(`one over the other: "${one.text.data}" "${other.text.data}"`);
    }
  }
  return found;
}

/// What would move.
export async function moving({ pages }, { name }) {
  return pages.get(name).page.evaluate(() =>
    [...document.querySelectorAll("*")]
      .filter((element) => {
        const { animationName, transitionDuration, scrollBehavior } = getComputedStyle(element);
        return animationName !== "none" || parseFloat(transitionDuration) > 0 || scrollBehavior === "smooth";
      })
      .map((element) => `${element.tagName}.${element.className}`),
  );
}
