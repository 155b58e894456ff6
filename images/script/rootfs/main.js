// What an interpreter meets in real life: parsing, searching, text, tables,
// closures, exceptions and a lot of garbage. The output is always the same.
"use strict";

function section(title) {
  print("\n== " + title + " ==");
}

// ---- a JSON parser by hand, checked against the built-in one ----

class SyntaxProblem extends Error {
  constructor(what, at) {
    super(what + " at " + at);
    this.name = "SyntaxProblem";
    this.at = at;
  }
}

class Parser {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  parse() {
    const v = this.value();
    this.space();
    if (this.at < this.text.length) this.fail("text after the value");
    return v;
  }

  fail(what) {
    throw new SyntaxProblem(what, this.at);
  }

  space() {
    while (" \t\r\n".includes(this.text[this.at] || "x")) this.at++;
  }

  peek() {
    this.space();
    return this.text[this.at];
  }

  expect(s) {
    if (this.text.substr(this.at, s.length) !== s) this.fail("expected " + s);
    this.at += s.length;
  }

  value() {
    switch (this.peek()) {
      case "{": return this.object();
      case "[": return this.array();
      case '"': return this.string();
      case "t": this.expect("true"); return true;
      case "f": this.expect("false"); return false;
      case "n": this.expect("null"); return null;
      case undefined: return this.fail("unexpected end");
      default: return this.number();
    }
  }

  object() {
    const o = {};
    this.expect("{");
    if (this.peek() === "}") { this.at++; return o; }
    for (;;) {
      if (this.peek() !== '"') this.fail("expected a key");
      const key = this.string();
      this.space();
      this.expect(":");
      o[key] = this.value();
      if (this.peek() === "}") { this.at++; return o; }
      this.expect(",");
    }
  }

  array() {
    const a = [];
    this.expect("[");
    if (this.peek() === "]") { this.at++; return a; }
    for (;;) {
      a.push(this.value());
      if (this.peek() === "]") { this.at++; return a; }
      this.expect(",");
    }
  }

  string() {
    const plain = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };
    let s = "";
    this.expect('"');
    for (;;) {
      const c = this.text[this.at++];
      if (c === undefined || c < " ") { this.at--; this.fail("string without end"); }
      if (c === '"') return s;
      if (c !== "\\") { s += c; continue; }
      const e = this.text[this.at++];
      if (e === "u") {
        const hex = this.text.substr(this.at, 4);
        if (!/^[0-9a-fA-F]{4}$/.test(hex)) this.fail("bad \\u");
        s += String.fromCharCode(parseInt(hex, 16));
        this.at += 4;
      } else if (e in plain) {
        s += plain[e];
      } else {
        this.fail("bad escape");
      }
    }
  }

  number() {
    const m = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/.exec(this.text.slice(this.at, this.at + 40));
    if (!m) this.fail("unexpected " + JSON.stringify(this.text[this.at]));
    this.at += m[0].length;
    return Number(m[0]);
  }
}

section("json");
const text = read("cities.json");
const cities = new Parser(text).parse();
print("cities:", cities.length, "same as built in:",
  JSON.stringify(cities) === JSON.stringify(JSON.parse(text)));
let deep = "0";
for (let i = 0; i < 200; i++) deep = '{"k' + i + '":[' + deep + ',"\\u00e9\\n"]}';
print("deep:", JSON.stringify(new Parser(deep).parse()) === JSON.stringify(JSON.parse(deep)));
for (const wrong of ['{"a":1', "[1,]", '"\\x"', "tru", "1 2", "", '{a:1}', "[1e]"]) {
  try {
    new Parser(wrong).parse();
    print("accepted:", wrong);
  } catch (e) {
    print(JSON.stringify(wrong).padEnd(12), e.name + ":", e.message);
  }
}

// ---- a table of the cities ----

section("table");
function table(rows, columns) {
  const width = columns.map(c => Math.max(c.length, ...rows.map(r => String(r[c]).length)));
  const line = cells => cells.map((s, i) => isNaN(s) ? s.padEnd(width[i]) : s.padStart(width[i])).join("  ").trimEnd();
  return [line(columns), ...rows.map(r => line(columns.map(c => String(r[c]))))].join("\n");
}
const byCountry = new Map();
for (const c of cities) {
  const sum = byCountry.get(c.country) || { country: c.country, cities: 0, people: 0 };
  sum.cities++;
  sum.people += c.people;
  byCountry.set(c.country, sum);
}
print(table([...cities].sort((a, b) => b.people - a.people).slice(0, 8), ["name", "country", "people", "founded"]));
print();
print(table([...byCountry.values()].sort((a, b) => b.people - a.people || (a.country < b.country ? -1 : 1)),
  ["country", "cities", "people"]));

// ---- queens ----

section("queens");
function queens(n) {
  let solutions = 0, first = null, tried = 0;
  const row = [];
  (function place(cols, left, right) {
    if (row.length === n) {
      solutions++;
      first = first || row.slice();
      return;
    }
    for (let free = ~(cols | left | right) & ((1 << n) - 1); free; free &= free - 1) {
      const bit = free & -free;
      tried++;
      row.push(31 - Math.clz32(bit));
      place(cols | bit, (left | bit) << 1, (right | bit) >> 1);
      row.pop();
    }
  })(0, 0, 0);
  return { n, solutions, tried, first };
}
for (let n = 4; n <= 9; n++) {
  const q = queens(n);
  print(n, "queens:", q.solutions, "solutions,", q.tried, "tries, first", q.first.join(" "));
}
print(queens(8).first.map(c => ". ".repeat(c) + "Q " + ". ".repeat(7 - c)).join("\n"));

// ---- text ----

section("text");
const story = read("story.txt");
const words = story.toLowerCase().match(/[a-z']+/g);
const index = {};
words.forEach((w, i) => (index[w] = index[w] || []).push(i));
const common = Object.keys(index).sort((a, b) => index[b].length - index[a].length || (a < b ? -1 : 1));
print(words.length, "words,", common.length, "different");
print(common.slice(0, 6).map(w => w + "=" + index[w].length).join(" "));
print("longest:", [...common].sort((a, b) => b.length - a.length || (a < b ? -1 : 1)).slice(0, 4).join(", "));

function wrap(s, width) {
  const lines = [];
  let line = "";
  for (const word of s.split(/\s+/)) {
    if (line && line.length + 1 + word.length > width) { lines.push(line); line = ""; }
    line += (line ? " " : "") + word;
  }
  return line ? [...lines, line] : lines;
}
print(wrap(story.split("\n\n")[1], 48).map(l => "| " + l.padEnd(48) + " |").join("\n"));

function caesar(s, by) {
  return s.replace(/[a-z]/gi, c => {
    const base = c < "a" ? 65 : 97;
    return String.fromCharCode((c.charCodeAt(0) - base + by + 26) % 26 + base);
  });
}
const secret = caesar(story, 13);
print(secret.slice(0, 44).replace(/\n/g, " "), caesar(secret, 13) === story);

// ---- Markov chain, with a generator of our own ----

section("chain");
function* random(seed) {
  for (let x = seed >>> 0; ; ) {
    x ^= x << 13; x >>>= 0;
    x ^= x >>> 17;
    x ^= x << 5; x >>>= 0;
    yield x;
  }
}
const dice = random(2463534242);
const roll = n => dice.next().value % n;
const next = {};
for (let i = 0; i + 1 < words.length; i++) (next[words[i]] = next[words[i]] || []).push(words[i + 1]);
for (let s = 0; s < 3; s++) {
  let w = common[roll(10)];
  const said = [w];
  while (said.length < 10 && next[w]) said.push(w = next[w][roll(next[w].length)]);
  print(said.join(" "));
}

// ---- numbers and garbage ----

section("numbers");
function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
print("fib(20) =", fib(20), "0.1+0.2 =", 0.1 + 0.2, "1/3 =", (1 / 3).toFixed(12), "2^64 =", 2 ** 64);
let pi = 0n, unit = 10n ** 60n;
const arctan = x => {
  let sum = 0n, term = unit / x;
  for (let k = 1n, sign = 1n; term > 0n; k += 2n, sign = -sign, term /= x * x) sum += sign * term / k;
  return sum;
};
pi = 4n * (4n * arctan(5n) - arctan(239n));
print("pi =", String(pi).replace(/^3/, "3.").slice(0, 52));
let hash = 2166136261;
for (let round = 0; round < 200; round++) {
  const list = Array.from({ length: 500 }, (_, i) => ({ key: "k" + (i * 7919 + round) % 1000, value: [i, round] }));
  list.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.value[0] - b.value[0]));
  for (const o of list.filter(o => o.value[0] % 3 === 0)) {
    for (const c of o.key) hash = Math.imul(hash ^ c.charCodeAt(0), 16777619) >>> 0;
  }
}
print("100000 objects, hash", hash.toString(16).padStart(8, "0"));

// ---- matrices, permutations, binary search ----

section("algorithms");
function multiply(a, b) {
  return a.map(row => b[0].map((_, j) => row.reduce((sum, x, k) => sum + x * b[k][j], 0)));
}
let m = [[1, 1], [1, 0]];
for (let i = 0; i < 6; i++) m = multiply(m, m);
print("fibonacci by matrices:", m[0][1]);
function* permutations(list) {
  if (list.length < 2) { yield list; return; }
  for (let i = 0; i < list.length; i++) {
    for (const p of permutations([...list.slice(0, i), ...list.slice(i + 1)])) yield [list[i], ...p];
  }
}
const all = [...permutations(["a", "b", "c", "d", "e", "f"])].map(p => p.join(""));
print(all.length, "permutations:", all[0], all[359], all[719], "different:", new Set(all).size);
function find(list, x) {
  let lo = 0, hi = list.length;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (list[mid] < x) lo = mid + 1; else hi = mid;
  }
  return list[lo] === x ? lo : -1;
}
print("found:", find(all, "cafebd"), find(all, "zzz"), find(all, "abcdef"), find(all, "fedcba"));
print("args:", JSON.stringify(args));
