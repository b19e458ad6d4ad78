"""A backtest as one HTML file that opens without the internet: no script, no font, no address in it.

Pure: values in, text out. What comes from outside (names, parameters) is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from botd.domain.position import Trade
from botd.report.charts import Floats, Line, Times, curves, histogram, scatter

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--dim:#6b7684;--paper:#fff;--rule:#e3e7ec;--up:#12805c;--down:#c0392b;
--main:#1f5fbf;--other:#b8860b}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--dim:#98a3b3;--paper:#14181f;--rule:#2b323d;--up:#3fbf8f;
--down:#ef6a5a;--main:#6aa3f5;--other:#e0b040}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1040px;padding:28px 24px 60px;background:var(--paper);
color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
h1{font-size:26px;margin:0 0 2px}h2{font-size:17px;margin:34px 0 8px}p.sub{margin:0 0 18px;color:var(--dim)}
div+p{margin-bottom:40px}section+section{border-top:2px solid var(--rule);margin-top:48px;padding-top:28px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:10px}
.card{border:1px solid var(--rule);border-radius:8px;padding:10px 14px}
.card b{display:block;font-size:21px;font-variant-numeric:tabular-nums}.card span{color:var(--dim);font-size:13px}
svg{display:block;width:100%;height:auto}svg text{font-size:11px;fill:var(--dim)}
.end{text-anchor:end}.middle{text-anchor:middle}.start{text-anchor:start}
.grid{stroke:var(--rule)}.zero{stroke:var(--dim)}.line{fill:none;stroke-width:1.6;stroke-linejoin:round}
.main.line{stroke:var(--main)}.other.line{stroke:var(--other)}.loss.line{stroke:var(--down)}
.loss.fill{fill:var(--down);opacity:.18}circle{opacity:.75}.up{fill:var(--up)}.down{fill:var(--down)}
td.up,b.up,i.up{color:var(--up)}td.down,b.down{color:var(--down)}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th{font-weight:600;text-align:left;color:var(--dim)}
td,th{padding:3px 12px 3px 0}td.n,th.n{text-align:right}.heat{width:100%;
font-size:13px}.heat td,.heat th{padding:6px 6px;text-align:right}
.columns{columns:2 320px;column-gap:40px}.columns table{width:100%}.columns tr{break-inside:avoid;
border-bottom:1px solid var(--rule)}.key{color:var(--dim);font-size:13px}.key i{font-style:normal;font-weight:600}
.key .main{color:var(--main)}.key .other{color:var(--other)}.wide{overflow-x:auto}.note{color:var(--dim)}
"""
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_CARDS = (
    *(("return_pct", "return"), ("buy_and_hold_pct", "buy and hold"), ("max_drawdown_pct", "max drawdown")),
    *(("sharpe", "Sharpe"), ("sortino", "Sortino"), ("trades", "trades"), ("win_rate", "win rate")),
    *(("profit_factor", "profit factor"),),
)
_PERCENT = {"win_rate"}
_TITLES = {"alpha_pct": "alpha_pct, a year"}
_SIGNED = {"return_pct", "buy_and_hold_pct", "alpha_pct", "sharpe", "sortino", "realized_pnl", "expectancy"}
_APART = {"name", "strategy", "params", "terms", "symbol", "interval", "months", "notes", "trade_list"}


@dataclass(frozen=True, slots=True)
class Section:
    """One backtest of a page. The arrays have a row a candle that was traded on; ``row`` is that of the command."""

    title: str
    row: Mapping[str, Any]
    time: Times
    equity: Floats
    close: Floats
    first_open: float
    trades: Sequence[Trade]


def page(sections: Sequence[Section]) -> str:
    """Return the whole file."""
    title = sections[0].title if len(sections) == 1 else f"{len(sections)} backtests"
    parts = [_overview(sections)] if len(sections) > 1 else []
    parts += [_section(section) for section in sections]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _overview(sections: Sequence[Section]) -> str:
    heads = "".join(f'<th class="n">{escape(word)}</th>' for _, word in _CARDS)
    rows = []
    for section in sections:
        row = section.row
        cells = [f'<td class="n {_sign(key, row.get(key))}">{_shown(key, row)}</td>' for key, _ in _CARDS]
        rows.append(f"<tr><td>{escape(section.title)}</td>{''.join(cells)}</tr>")
    return f'<h1>Backtests</h1><div class="wide"><table><tr><th></th>{heads}</tr>{"".join(rows)}</table></div><p></p>'


def _section(section: Section) -> str:
    row = section.row
    hold = float(row["terms"]["capital"]) * section.close / section.first_open
    peak = np.maximum.accumulate(section.equity)
    depth = np.zeros_like(peak)
    np.divide(section.equity - peak, peak, out=depth, where=peak > 0)
    closed = [trade for trade in section.trades if trade.exit_reason != "end_of_data"]
    returns = np.array([trade.return_pct for trade in closed], dtype=np.float64)
    exits = np.array([trade.exit_time_ms for trade in closed], dtype=np.int64)
    cards = "".join(
        f'<div class="card"><b class="{_sign(key, row.get(key))}">{_shown(key, row)}</b><span>{word}</span></div>'
        for key, word in _CARDS
    )
    under = [Line("drawdown", 100 * depth, "loss", fill=True)]
    lines = [Line("buy and hold", hold, "other"), Line("equity", section.equity, "main")]
    legend = '<p class="key"><i class="main">— equity</i> &nbsp; <i class="other">— buy and hold</i></p>'
    blocks = [
        f"<h1>{escape(section.title)}</h1><p class=sub>{row['first']} to {row['last']}, {row['candles']:,} candles</p>",
        f'<div class="cards">{cards}</div>',
        f"<h2>Equity</h2>{legend}{curves(section.time, lines)}",
        f"<h2>Drawdown</h2>{curves(section.time, under, height=150, unit='%')}",
        f"<h2>Months</h2>{_heat_map(row['months'])}",
    ]
    if len(returns):
        blocks.append(f"<h2>Trades: return of each, at its exit</h2>{scatter(exits, returns, section.time, unit='%')}")
        blocks.append(f"<h2>Distribution of the trades' returns</h2>{histogram(returns, unit='%')}")
        blocks.append(f"<h2>How trades ended</h2>{_reasons(closed)}")
    else:
        blocks.append('<p class="note">No trade was closed.</p>')
    blocks.append(f"<h2>Parameters and terms</h2>{_pairs({**row['params'], **row['terms']})}")
    every = {_TITLES.get(key, key): _shown(key, row) for key in row if key not in _APART}
    blocks.append(f"<h2>All statistics</h2>{_pairs(every)}")
    blocks += [f'<p class="note">{escape(str(note))}</p>' for note in row["notes"]]
    return f"<section>{''.join(blocks)}</section>"


def _heat_map(months: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of years and months, each cell painted by its return."""
    found = {month["month"]: month["return_pct"] for month in months}
    most = max((abs(value) for value in found.values() if value is not None), default=0.0) or 1.0
    rows = []
    for year in sorted({key[:4] for key in found}):
        cells, whole = [], 1.0
        for number in range(1, 13):
            value = found.get(f"{year}-{number:02d}")
            if value is None:
                cells.append("<td></td>")
                continue
            whole *= 1 + value / 100
            colour = (
                f"color-mix(in srgb,var(--{'up' if value > 0 else 'down'}) {70 * abs(value) / most:.0f}%,transparent)"
            )
            cells.append(f'<td style="background:{colour}">{value:+.2f}%</td>')
        rows.append(f"<tr><th>{year}</th>{''.join(cells)}<td><b>{100 * (whole - 1):+.2f}%</b></td></tr>")
    heads = "".join(f'<th class="n">{name}</th>' for name in (*_MONTHS, "year"))
    return f'<div class="wide"><table class="heat"><tr><th></th>{heads}</tr>{"".join(rows)}</table></div>'


def _reasons(trades: Sequence[Trade]) -> str:
    """Return a row an exit reason: how many, how many won, what they gave."""
    rows = []
    for reason in sorted({trade.exit_reason for trade in trades}):
        pnl = [trade.pnl for trade in trades if trade.exit_reason == reason]
        total = sum(pnl)
        css = "up" if total > 0 else "down"
        cells = [f'<td class="n">{len(pnl):,}</td>', f'<td class="n">{sum(p > 0 for p in pnl):,}</td>']
        rows.append(f'<tr><td>{escape(reason)}</td>{"".join(cells)}<td class="n {css}">{total:+,.2f}</td></tr>')
    head = '<tr><th>reason</th><th class="n">trades</th><th class="n">won</th><th class="n">pnl</th></tr>'
    return f"<table>{head}{''.join(rows)}</table>"


def _pairs(values: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><td>{escape(key)}</td><td class="n">{escape(str(value))}</td></tr>' for key, value in values.items()
    )
    return f'<div class="columns"><table>{rows}</table></div>'


def _shown(key: str, row: Mapping[str, Any]) -> str:
    value = row.get(key)
    if value is None:
        return "–"
    if key.endswith("_pct") or key in _PERCENT:
        return f"{value:,.2f}%"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    try:
        return f"{float(value):,.2f}"
    except (TypeError, ValueError):
        return str(value)


def _sign(key: str, value: Any) -> str:
    if key not in _SIGNED or value is None:
        return ""
    return "up" if float(value) > 0 else "down" if float(value) < 0 else ""
