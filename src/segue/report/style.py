"""The style sheet of a report: quiet, readable, dark and light, printable."""

from __future__ import annotations

STYLE = """
:root{--ink:#1d2430;--soft:#667085;--paper:#fcfcfa;--card:#fff;--rule:#e3e5e8;--good:#0a7d55;--bad:#c62f2f;
--v0:#3b7dd8;--v1:#e0912f;--v2:#7a5bc7;--v3:#2a9d8f;--v4:#c2558f;--v5:#78909c}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#97a0b0;--paper:#14171c;--card:#1b2027;--rule:#2c333d;
--good:#41c48f;--bad:#ff6b62;--v0:#6aa5f2;--v1:#f0ad55;--v2:#a68df0;--v3:#55c9ba;--v4:#e684b8;--v5:#9fb2bd}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
  font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1180px;margin:0 auto;padding:36px 28px 60px}
.brand{margin:0;color:var(--soft);font-size:13px;letter-spacing:.08em;text-transform:uppercase}
h1{margin:.1em 0 .35em;font-size:30px;line-height:1.2;letter-spacing:-.01em}
h2{margin:2em 0 .6em;font-size:20px}
.verdict{display:inline-block;margin:0 0 .6em;padding:.45em .9em;border-radius:8px;font-size:19px;font-weight:600}
.verdict{background:color-mix(in srgb,var(--soft) 11%,transparent)}
.verdict.good{color:var(--good);background:color-mix(in srgb,var(--good) 12%,transparent)}
.verdict.bad{color:var(--bad);background:color-mix(in srgb,var(--bad) 11%,transparent)}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:12px;margin:22px 0 0}
dl div{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:12px 16px}
dt{color:var(--soft);font-size:13px}dd{margin:0;font-size:22px;font-weight:600;font-variant-numeric:tabular-nums}
.note,dd.note{color:var(--soft);font-size:12.5px;font-weight:400;line-height:1.35}
figure{margin:0 0 22px;background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:14px 14px 10px}
figcaption{color:var(--soft);font-size:13px;margin-top:6px}
svg{display:block;width:100%;height:auto;font:11.5px system-ui,sans-serif}
.legend{display:flex;flex-wrap:wrap;gap:6px 20px;color:var(--soft);font-size:13.5px;margin:0 0 10px}
.legend span{display:inline-flex;align-items:center;gap:6px}.legend b{color:var(--ink)}
.chip{display:inline-block;width:14px;height:11px;border-radius:2px}.chip.thin{height:3px;background:var(--good)}
.chip.thin.danger{background:var(--bad)}
.chip.v0{background:var(--v0)}.chip.v1{background:var(--v1)}.chip.v2{background:var(--v2)}
.chip.v3{background:var(--v3)}.chip.v4{background:var(--v4)}.chip.v5{background:var(--v5)}
.v0{fill:var(--v0)}.v1{fill:var(--v1)}.v2{fill:var(--v2)}.v3{fill:var(--v3)}.v4{fill:var(--v4)}.v5{fill:var(--v5)}
.grid{stroke:var(--rule);stroke-width:1}.mark{fill:var(--soft)}.name{fill:var(--ink)}
.name.lost{fill:var(--bad);font-weight:600}
.starting{opacity:.28}.ready{opacity:.95}.leaving{opacity:.28}
.draining{opacity:.6;stroke:var(--ink);stroke-width:1;stroke-dasharray:3 2}
.step{fill:var(--soft);font-size:11px;font-weight:600}a:hover .step{fill:var(--ink)}
.routed{stroke:var(--good);stroke-width:2.2}.danger{stroke:var(--bad);stroke-width:3.4}
.term{fill:var(--ink)}.closed{fill:var(--card);stroke:var(--bad);stroke-width:2}
.exit{stroke:var(--ink);stroke-width:1.6;fill:none}.kill{stroke:var(--bad);stroke-width:2.4;fill:none}
.moment{stroke:var(--soft);stroke-dasharray:3 3}.loss{fill:var(--bad);fill-opacity:.8}
.area{opacity:.82}.error circle{fill:var(--bad);fill-opacity:.75}.error:hover circle{r:4.5px}
.curve{fill:none;stroke-width:1.6}.p50{stroke:var(--v0)}.p99{stroke:var(--v1)}
.worst{stroke:var(--soft);stroke-width:.9;opacity:.7}
.wide{overflow-x:auto;background:var(--card);border:1px solid var(--rule);border-radius:10px}
table{border-collapse:collapse;width:100%;font-size:14px}
th{font-size:12.5px;color:var(--soft);font-weight:500;text-align:left}
th,td{padding:9px 14px;border-bottom:1px solid var(--rule);vertical-align:top}tbody tr:last-child td{border-bottom:0}
tr:target{background:color-mix(in srgb,var(--v1) 16%,transparent)}
.number{text-align:right;width:1%;font-variant-numeric:tabular-nums;white-space:nowrap}
.why{border-left:3px solid var(--v1);padding-left:14px;max-width:80ch}
details{margin:18px 0}summary{cursor:pointer;color:var(--soft)}details .wide{margin-top:10px}
pre{overflow:auto;max-height:420px;background:var(--card);border:1px solid var(--rule);border-radius:10px;
  padding:14px;font-size:12.5px}
details.cell{margin:0}details.cell summary{color:inherit}
a{color:inherit}footer{margin-top:40px;color:var(--soft);font-size:13px}
@media print{body{background:#fff}details{display:none}}
"""
