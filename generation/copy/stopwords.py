"""Stop words of advertising copy: words of sales talk, and in English also function words."""

from __future__ import annotations

_CHINESE = """
全场 限时 抢购 优惠 特价 折扣 新品 上市 品质 品牌 活动 官方 立即 购买 免费 惊喜 享受 体验
开启 开始 未来 生活 时光 世界 全新 专属 尊享 好礼 福利 时候 地方 东西 事情 感觉 一生 一辈子
力量 喜欢 需要 可以 成为 变成 来自 送给 遇见 好好
"""
_ENGLISH = """
a about above after again all also always am an and any are aren't as at await awaits back be because been
before being below best better between both brand bring brings but buy by can can't collection come comes could
deal deals did discount do does doing don't down during each easy enjoy even ever every everything exclusive
experience feel few find for free from further get gets getting give gives go goes going good great had happy
has have having he her here hers him his how i if in into introducing is isn't it it's its just keep keeps last
lasts let let's life lifetime like limited long love made make makes many may me meet might moment moments more
most much must my need needs never new next no nor not nothing now of off offer official on once one only or
other our ours out over own perfect please premium price put quality sale save see she shop should since so some
something special start still story style such take takes than that that's the their theirs them then there
these they this those through till time to today tomorrow tomorrow's too try turn turning turns under until up
upon us use used using very wait wake want wants was way we were what when where whether which while who whom
whose why will with within without won't world would yes yet you you'll you're your yours
"""
CHINESE = frozenset(_CHINESE.split())
ENGLISH = frozenset(_ENGLISH.split())
