"""What the world is made of: the pages of the demo site, ways to arrive, browsers, crawlers, names, companies.

Plain tables. Pages and campaigns are those of `examples/sites/demo.yaml` and `examples/loops/autumn-pumps.yaml`;
every company and address ends in `.example`, so no mail can ever reach a stranger.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode

SITE = "https://www.northwind.example"
CURRENCY = "JPY"

SEARCH_ADS = "search-ads"
PRIZE_DRAW = "prize-draw"
PUMP_GUIDE = "pump-guide"
CASE_MAIL = "case-mail"
PUMP_SEMINAR = "pump-seminar"

WANTED_INDUSTRIES = ("water", "food", "chemicals")
OTHER_INDUSTRIES = ("construction", "retail", "software", "logistics", "tourism")
WANTED_EMPLOYEES = 100


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the demo site, with its title in Japanese and English."""

    path: str
    japanese: str
    english: str

    def title(self, locale: str) -> str:
        return self.japanese if locale.startswith("ja") else self.english


HOME = Page("/", "ノースウィンドポンプ", "Northwind Pumps")
GUIDE = Page("/products/pumps/guide", "ポンプ選定ガイド", "Pump selection guide")
PRIZE = Page("/campaign/prize", "秋のプレゼントキャンペーン", "Autumn prize draw")
THANKS = Page("/thanks.html", "ありがとうございます", "Thank you")
CASES = Page("/products/pumps/cases", "導入事例：浄水場の省エネ", "Case: a water works cut its cost by a third")
PRICES = Page("/products/pumps/price-list", "ポンプ価格表", "Pump price list")
NEWS = Page("/news", "お知らせ", "News")

PUMPS = (
    Page("/products/pumps", "産業用ポンプ", "Industrial pumps"),
    Page("/products/pumps/pn-200", "PN-200 渦巻ポンプ", "PN-200 centrifugal pump"),
    Page("/products/pumps/pn-400", "PN-400 多段ポンプ", "PN-400 multistage pump"),
    Page("/products/pumps/energy", "省エネ計算", "What a pump costs to run"),
    CASES,
)
VALVES = (
    Page("/products/valves", "バルブ", "Valves"),
    Page("/products/valves/bv-10", "BV-10 ボールバルブ", "BV-10 ball valve"),
    Page("/products/valves/selection", "バルブの選び方", "How to choose a valve"),
)
CAREERS = (
    Page("/careers", "採用情報", "Careers"),
    Page("/careers/graduates", "新卒採用", "Graduate programme"),
    Page("/careers/internship", "インターンシップ", "Internship"),
)
ABOUT = (Page("/company", "会社概要", "About us"), NEWS, Page("/support", "サポート", "Support"))
ALL_PAGES = (HOME, *PUMPS, PRICES, GUIDE, *VALVES, *CAREERS, *ABOUT, PRIZE)


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a visit begins: the referrer, and the campaign words that stand in the address.

    Shapes: `campaign` is Segment's context.campaign without the `utm_` prefix, empty when the address has none.
    """

    referrer: str = ""
    campaign: tuple[tuple[str, str], ...] = ()
    click_id: str = ""

    def search(self) -> str:
        """The query of the landing page."""
        words = {f"utm_{'campaign' if key == 'name' else key}": value for key, value in self.campaign}
        if self.click_id:
            words["gclid"] = self.click_id
        return f"?{urlencode(words)}" if words else ""


def tagged(referrer: str, **words: str) -> Arrival:
    """An arrival through an address that carries campaign words."""
    return Arrival(referrer, tuple(words.items()))


def japanese_search(address: str, words: str, charset: str = "utf-8") -> Arrival:
    """An arrival from a search engine that hands on its words, in the bytes that it writes them in."""
    return Arrival(address + quote(words, encoding=charset))


AD_WORDS = ("産業用ポンプ", "ポンプ 省エネ", "industrial pump", "water pump efficiency", "食品工場 ポンプ")
PUMP_SEARCHES = (
    japanese_search("https://search.yahoo.co.jp/search?ei=UTF-8&p=", "渦巻ポンプ 比較"),
    japanese_search("https://search.yahoo.co.jp/search?ei=UTF-8&p=", "ポンプ 電力 削減"),
    japanese_search("https://search.goo.ne.jp/web.jsp?IE=EUC-JP&MT=", "浄水場 ポンプ", "euc_jp"),
    japanese_search("https://websearch.rakuten.co.jp/Web?qt=", "多段ポンプ 選定"),
    japanese_search("https://cgi.search.biglobe.ne.jp/cgi-bin/search-st?q=", "化学 ポンプ メーカー"),
    Arrival("https://www.google.co.jp/"),
    Arrival("https://www.google.com/"),
    Arrival("https://www.bing.com/"),
)
OTHER_SEARCHES = (
    japanese_search("https://search.yahoo.co.jp/search?ei=UTF-8&p=", "ポンプ 仕組み レポート"),
    japanese_search("https://search.yahoo.co.jp/search?ei=UTF-8&p=", "ノースウィンド 採用"),
    Arrival("https://www.google.co.jp/"),
    Arrival("https://duckduckgo.com/"),
)
SOCIAL = (Arrival("https://t.co/"), Arrival("https://www.facebook.com/"), Arrival("https://www.linkedin.com/"))
SITES = (Arrival("https://www.pump-journal.example/"), Arrival("https://waterworks-forum.example/"))
DIRECT = Arrival()
PRIZE_ARRIVALS = (
    tagged("https://www.prize-hunter.example/", source="prize-hunter", medium="referral", name=PRIZE_DRAW),
    tagged("https://t.co/", source="twitter", medium="social", name=PRIZE_DRAW),
)

WINDOWS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 "
    "Edg/142.0.0.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 "
    "Safari/605.1.15",
)
PHONES = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 "
    "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
)
# The last kind calls itself a browser and betrays itself only by its haste.
CRAWLERS = (
    ("search", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
    ("seo", "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)"),
    ("ai", "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)"),
    ("monitor", "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)"),
    ("disguised", WINDOWS[0]),
    ("search", "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"),
    ("search", "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)"),
    ("seo", "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)"),
)

JAPANESE_FAMILIES = (
    ("佐藤", "sato"), ("鈴木", "suzuki"), ("高橋", "takahashi"), ("田中", "tanaka"), ("伊藤", "ito"),
    ("渡辺", "watanabe"), ("山本", "yamamoto"), ("中村", "nakamura"), ("小林", "kobayashi"), ("加藤", "kato"),
    ("吉田", "yoshida"), ("山田", "yamada"),
)
JAPANESE_GIVEN = (
    ("陽子", "yoko"), ("健", "ken"), ("直樹", "naoki"), ("美咲", "misaki"), ("大輔", "daisuke"), ("恵", "megumi"),
    ("翔太", "shota"), ("由美", "yumi"), ("誠", "makoto"), ("彩", "aya"),
)
ENGLISH_FAMILIES = ("Miller", "Garcia", "Nguyen", "Okafor", "Schmidt", "Rossi", "Novak", "Singh")
ENGLISH_GIVEN = ("Anna", "James", "Maria", "Wei", "Grace", "Tomas", "Priya", "Daniel")
COMPANIES = {
    "water": (("青葉水道", "aoba-water"), ("みなと浄水", "minato-water"), ("Clearbrook Water", "clearbrook-water")),
    "food": (("こだま食品", "kodama-foods"), ("北斗飲料", "hokuto-drinks"), ("Greenfield Foods", "greenfield-foods")),
    "chemicals": (("東和化学", "towa-chem"), ("白浜化成", "shirahama-chem"), ("Baltic Chemicals", "baltic-chem")),
    "construction": (("大地建設", "daichi-kensetsu"), ("Stonegate Builders", "stonegate")),
    "retail": (("まるやま商店", "maruyama"), ("Corner Retail", "corner-retail")),
    "software": (("ひかりソフト", "hikari-soft"), ("Lambda Works", "lambda-works")),
    "logistics": (("つばめ運輸", "tsubame"), ("Northern Freight", "northern-freight")),
    "tourism": (("湯の里観光", "yunosato"), ("Sunny Tours", "sunny-tours")),
    "student": (("北都大学", "hokuto-univ"), ("Lakeside University", "lakeside-univ")),
}
