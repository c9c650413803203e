"use strict";
// Zoom, search and keyboard for the icicles. Without it the page shows them whole.
(() => {
  const ROW = 17, ADVANCE = 11 * 0.62, NARROWEST = 0.8;
  document.documentElement.classList.add("js");

  const fit = (text, width) => {
    const room = Math.floor((width - 6) / ADVANCE);
    if (text.length <= room) return text;
    return room >= 4 ? text.slice(0, room - 1) + "…" : "";
  };

  function readBoxes(svg) {
    const whole = svg.viewBox.baseVal.width;
    const boxes = [...svg.querySelectorAll("g.box")].map((group) => {
      const rect = group.querySelector("rect");
      const tip = group.querySelector("title").textContent;
      const name = tip.split("\n", 1)[0];
      const amount = /([\d,]+) instructions/.exec(tip.slice(name.length));
      return {
        group, rect, tip, name,
        text: group.querySelector("text"),
        x: Number(rect.getAttribute("x")) / whole,
        w: Number(rect.getAttribute("width")) / whole,
        depth: Math.round(Number(rect.getAttribute("y")) / ROW),
        amount: amount ? Number(amount[1].replaceAll(",", "")) : 0,
      };
    });
    boxes.forEach((box, index) => {
      box.group.dataset.index = index;
      const middle = box.x + box.w / 2;
      box.parent = boxes.find(
        (other) => other.depth === box.depth - 1 && other.x <= middle && middle < other.x + other.w);
    });
    return boxes;
  }

  function explore(figure, detail) {
    const svg = figure.querySelector("svg.icicle");
    if (!svg) return null;
    const axis = figure.querySelector("svg.axis"), zoomed = figure.querySelector(".zoomed");
    const boxes = readBoxes(svg), root = boxes[0];
    const height = svg.viewBox.baseVal.height;
    let zoom = root, at = root, width = 0;

    function place(box) {
      const left = Math.max((box.x - zoom.x) / zoom.w, 0);
      const right = Math.min((box.x + box.w - zoom.x) / zoom.w, 1);
      const wide = (right - left) * width;
      const seen = wide >= NARROWEST;
      box.group.style.display = seen ? "" : "none";
      if (!seen) return;
      box.rect.setAttribute("x", left * width);
      box.rect.setAttribute("width", wide);
      box.group.classList.toggle("above", box.depth < zoom.depth);
      const words = fit(box === root ? box.name + " " + root.amount.toLocaleString("en") : box.name, wide);
      if (words && !box.text) {
        box.text = document.createElementNS("http://www.w3.org/2000/svg", "text");
        box.text.setAttribute("y", box.depth * ROW + 12.5);
        box.group.append(box.text);
      }
      if (box.text) {
        box.text.textContent = words;
        box.text.setAttribute("x", left * width + 3);
      }
    }

    function layOut() {
      width = Math.max(svg.parentElement.clientWidth, 200);
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      axis.style.display = zoom === root && width > 700 ? "" : "none";
      zoomed.textContent = zoom === root ? "" :
        `· zoomed to ${zoom.name}: ${zoom.amount.toLocaleString("en")}`;
      boxes.forEach(place);
    }

    function show(box) {
      detail.textContent = box.tip;
    }

    function go(box) {
      at.group.classList.remove("at");
      at = box;
      at.group.classList.add("at");
      show(box);
    }

    function zoomTo(box) {
      zoom = box === zoom ? root : box;
      layOut();
    }

    const boxOf = (event) => {
      const found = event.target.closest("g.box");
      return found ? boxes[found.dataset.index] : null;
    };
    svg.addEventListener("click", (event) => {
      const box = boxOf(event);
      if (box) { go(box); zoomTo(box); }
    });
    svg.addEventListener("pointerover", (event) => {
      const box = boxOf(event);
      if (box) show(box);
    });

    const seen = (box) => box.group.style.display !== "none";
    const beside = (step) => {
      const row = boxes.filter((box) => box.depth === at.depth && seen(box)).sort((a, b) => a.x - b.x);
      return row[row.indexOf(at) + step];
    };
    const keys = {
      ArrowUp: () => at.parent,
      ArrowDown: () => boxes.filter((box) => box.parent === at && seen(box))
        .sort((a, b) => a.x - b.x)[0],  // the widest stands first
      ArrowLeft: () => beside(-1),
      ArrowRight: () => beside(1),
      Home: () => root,
    };
    svg.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      if (keys[event.key]) {
        const next = keys[event.key]();
        if (next) go(next);
      } else if (event.key === "Enter" || event.key === " ") {
        zoomTo(at);
      } else if (event.key === "Escape") {
        zoom = root;
        layOut();
        go(root);
      } else {
        return;
      }
      event.preventDefault();
    });
    svg.addEventListener("focus", () => { if (svg.matches(":focus-visible")) go(at); });
    svg.addEventListener("blur", () => at.group.classList.remove("at"));
    svg.setAttribute("tabindex", "0");
    svg.setAttribute("role", "application");
    svg.setAttribute("aria-roledescription", "icicle picture");
    svg.classList.add("live");
    layOut();

    return {
      layOut,
      // Marks what carries the words; a hit below a hit is counted once, with the upper one.
      find(words) {
        let count = 0, amount = 0;
        for (const box of boxes) {
          const hit = words !== "" && box.depth > 0 && box.name.toLowerCase().includes(words);
          box.inside = Boolean(box.parent && (box.parent.hit || box.parent.inside));
          box.hit = hit;
          box.group.classList.toggle("miss", words !== "" && !hit);
          if (hit) {
            count += 1;
            if (!box.inside) amount += box.amount;
          }
        }
        return [count, amount];
      },
    };
  }

  for (const article of document.querySelectorAll("article")) {
    const detail = article.querySelector(".detail");
    const figures = [...article.querySelectorAll("figure.phase")]
      .map((figure) => explore(figure, detail)).filter(Boolean);
    const rows = [...article.querySelectorAll(".functions tbody tr")];
    const input = article.querySelector("input"), found = article.querySelector(".found");
    input.addEventListener("input", () => {
      const words = input.value.trim().toLowerCase();
      let count = 0, amount = 0;
      for (const figure of figures) {
        const [boxes, instructions] = figure.find(words);
        count += boxes;
        amount += instructions;
      }
      for (const row of rows) {
        row.hidden = words !== "" && !row.querySelector("code").textContent.toLowerCase().includes(words);
      }
      found.textContent = words === "" ? "" :
        `${count} boxes, ${amount.toLocaleString("en")} instructions`;
    });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        input.value = "";
        input.dispatchEvent(new Event("input"));
      }
    });
    let waiting = 0;
    new ResizeObserver(() => {
      cancelAnimationFrame(waiting);
      waiting = requestAnimationFrame(() => figures.forEach((figure) => figure.layOut()));
    }).observe(article);
  }
})();
