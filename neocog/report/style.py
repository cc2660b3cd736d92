"""The page's style sheet: one column that reads on a phone, light or dark as the reader's system is set."""

CSS = """
:root { color-scheme: light dark; --paper: #fdfdfb; --ink: #1d2126; --soft: #626a73; --rule: #dfe2e6; --tint: #f3f4f2;
  --s0: #1f6fb5; --s1: #c8571b; --s2: #2f8f5b; --s3: #8a4fb8; --s4: #b08a12; --s5: #5b6670;
  --good: 31, 111, 181; --bad: 200, 60, 40; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --ink: #e4e7ea; --soft: #98a1aa; --rule: #2d3339;
  --tint: #1c2024; --s0: #62aef0; --s1: #f09058; --s2: #5cc48c; --s3: #bd8ae6; --s4: #d8b445; --s5: #9aa6b0;
  --good: 70, 140, 210; --bad: 225, 90, 70; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 0 0 .25rem; }
p { margin: .4rem 0; max-width: 46rem; } .soft { color: var(--soft); font-size: .92rem; }
.facts { display: flex; flex-wrap: wrap; gap: .75rem 2rem; margin: 1rem 0 0; padding: 0; list-style: none; }
.facts b { display: block; font-size: 1.5rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.facts span { color: var(--soft); font-size: .88rem; }
pre { background: var(--tint); padding: .75rem 1rem; border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere;
  font: .86rem/1.6 ui-monospace, monospace; }
.arrow { white-space: nowrap; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); }
td, th { padding: .22rem .9rem .22rem 0;
  white-space: nowrap; vertical-align: top; border-bottom: 1px solid var(--rule); }
td.n, th.n { text-align: right; } td.cut { max-width: 22rem; overflow: hidden; text-overflow: ellipsis; }
td.wrap { white-space: normal; overflow-wrap: anywhere; } code { font-family: ui-monospace, monospace; }
.findings dt { font-weight: 600; } .findings dd { margin: 0 0 .75rem; max-width: 46rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); gap: 1.5rem;
  margin-top: .75rem; }
svg { width: 100%; height: auto; display: block; }
.grid { stroke: var(--rule); } .tick, .axis { fill: var(--soft); font-size: 14.5px; }
.tick.y { text-anchor: end; } .tick.x, .axis { text-anchor: middle; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.dot { stroke: var(--paper); } .bar { fill: var(--s0); fill-opacity: .55; }
.mark { stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 4 4; }
.legend { font-size: .88rem; color: var(--soft); }
.key { display: inline-block; max-width: 100%; margin-right: .75rem; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; vertical-align: bottom; }
.swatch { display: inline-block; width: .9em; height: .22em; margin-right: .4em; vertical-align: middle; }
.swatch.mark { height: 0; border-top: 2px dashed var(--soft); }
.s0 { --own: var(--s0); } .s1 { --own: var(--s1); } .s2 { --own: var(--s2); }
.s3 { --own: var(--s3); } .s4 { --own: var(--s4); } .s5 { --own: var(--s5); }
.line { stroke: var(--own); } .dot { fill: var(--own); } .swatch { background: var(--own); }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 1rem 2rem;
  margin-top: .75rem; }
.tall > div { max-height: 36rem; overflow-y: auto; }
.confusion td, .confusion th { text-align: center; padding: .3rem .15rem; min-width: 2.15rem; font-size: .85rem;
  border: 1px solid var(--paper); }
.confusion th { color: var(--ink); max-width: 7rem; overflow: hidden; text-overflow: ellipsis; }
.confusion .corner { color: var(--soft); font-weight: 400; }
.right { background: rgba(var(--good), var(--share)); } .wrong { background: rgba(var(--bad), var(--share)); }
.confusion .none { color: var(--rule); }
@media (max-width: 30rem) { .confusion td, .confusion th { min-width: 0; font-size: .76rem; } }
.cards { display: grid; margin-top: .75rem; gap: 1rem .9rem;
  grid-template-columns: repeat(auto-fill, minmax(6.6rem, 1fr)); }
.card { font-size: .85rem; line-height: 1.35; overflow-wrap: anywhere; }
.pixels { width: 100%; image-rendering: pixelated;
  display: block; border: 1px solid var(--rule); margin-bottom: .3rem; }
.filters { grid-template-columns: repeat(auto-fill, minmax(4.2rem, 1fr)); max-width: 46rem; gap: .6rem; }
"""
