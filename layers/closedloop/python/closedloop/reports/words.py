"""The words of a report in English and Japanese, as data, and how numbers are written in either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING

from closedloop.attribution.journeys import NONE
from closedloop.events.money import digits
from closedloop.reports.advice_words import ADVICE_TEXTS
from closedloop.reports.statistics import Interval

if TYPE_CHECKING:
    from closedloop.reports.metrics import Attainment, Experiment, Report

DASH = "—"

SYMBOLS = {"JPY": "¥", "USD": "$", "EUR": "€", "GBP": "£", "KRW": "₩"}


class Language(StrEnum):
    EN = "en"
    JA = "ja"


# Each entry: English, Japanese.
TEXTS: Mapping[str, tuple[str, str]] = {
    "report": ("Loop report", "ループレポート"),
    "other_language": ("日本語", "English"),
    "as_of": ("As of", "集計時点"),
    "period": ("Period", "期間"),
    "sites": ("Sites", "サイト"),
    "time_zone": ("Time zone", "タイムゾーン"),
    "loop_version": ("Loop version", "ループの版"),
    "ended": ("ended", "終了"),
    "running": ("running", "実施中"),
    "not_begun_yet": ("not begun", "開始前"),
    "day_n_of": ("day {n} of {whole}", "{whole}日中 {n}日目"),
    "objectives": ("Objectives", "目標"),
    "objectives_lead": (
        "What this loop set out to reach, and how far it is. The mark on each bar is where an even "
        "pace would stand today.",
        "このループの数値目標と到達度です。バーの印は、均等なペースなら今日到達しているべき位置を示します。",
    ),
    "metric:new_persons_with_fit": ("New persons with fit", "ターゲットに合う新規個人"),
    "metric:opportunities": ("Opportunities", "商談"),
    "metric:expected_sales": ("Expected sales", "見込売上"),
    "metric:sales": ("Sales", "売上"),
    "metric:deals_won": ("Deals won", "受注件数"),
    "metric:repeat": ("New persons who came back", "再訪した新規個人"),
    "define:new_persons_with_fit": (
        "Persons who became known in the period and whose fit is at least {fit} of 100.",
        "期間中に特定され、適合度が100点中{fit}点以上の個人の数。",
    ),
    "define:opportunities": ("Deals opened in the period.", "期間中に発生した商談の数。"),
    "define:expected_sales": (
        "Value of the deals opened in the period that are not lost, unweighted.",
        "期間中に発生し失注していない商談の金額(確度による加重なし)。",
    ),
    "define:repeat": (
        "Persons who became known in the period and came back on another day within 30 days.",
        "期間中に特定され、30日以内の別の日に再訪した個人の数。",
    ),
    "define:sales": (
        "Value of the deals won in the period, refunds taken off.",
        "期間中に受注した金額から返金を引いたもの。",
    ),
    "define:deals_won": ("Deals won in the period.", "期間中に受注した件数。"),
    "of_target": ("of {target}", "目標 {target}"),
    "due": ("due {day}", "期限 {day}"),
    "state:met": ("met", "達成"),
    "state:ahead": ("on pace", "ペース通り"),
    "state:behind": ("behind pace", "ペース未達"),
    "state:missed": ("missed", "未達"),
    "state:not_begun": ("not begun", "開始前"),
    "needed": ("needs {needed} a day from now, had {so_far} a day", "今後1日あたり {needed} が必要(これまで {so_far})"),
    "now_per_day": ("{so_far} a day so far", "これまで1日あたり {so_far}"),
    "likely_by_then": (
        "likely {middle} by then ({low} to {high}), P(met) {p}",
        "期限までの見込み {middle}({low}〜{high})、達成確率 {p}",
    ),
    "attained": ("Attained", "実績"),
    "even_pace": ("Even pace to target", "目標への均等ペース"),
    "target": ("Target", "目標値"),
    "share": ("Share of target", "達成率"),
    "elapsed": ("Time elapsed", "経過期間"),
    "state": ("State", "状態"),
    "by": ("Due", "期限"),
    "metric": ("Measure", "指標"),
    "value": ("Value", "値"),
    "definition": ("Definition", "定義"),
    "unit": ("Unit", "単位"),
    "key_figures": ("Key figures", "主要な数値"),
    "unique_users": ("Unique users", "ユニークユーザー"),
    "define:unique_users": (
        "Known persons and anonymous browsers that saw a page in the period; machines left out.",
        "期間中にページを見た、特定済みの個人と匿名ブラウザの数。機械は除外。",
    ),
    "known_and_anonymous": ("{known} known · {anonymous} anonymous", "特定済み {known}・匿名 {anonymous}"),
    "back_30": ("Repeat rate, 30 days", "リピート率(30日)"),
    "define:back_30": (
        "Of the people first seen at least 30 days ago, the share active again on another day within "
        "30 days. Opened mails do not count.",
        "初回から30日以上経過した人のうち、30日以内の別の日に再び活動した割合。メール開封は数えません。",
    ),
    "back_7": ("Repeat rate, 7 days", "リピート率(7日)"),
    "define:back_7": (
        "Of the people first seen at least 7 days ago, the share active again on another day within "
        "7 days.",
        "初回から7日以上経過した人のうち、7日以内の別の日に再び活動した割合。",
    ),
    "not_shown_yet": ("not shown yet", "まだ表示しません"),
    "young_cohort": ("nobody was first seen 30 days ago or earlier", "初回から30日経過した人がまだいません"),
    "of_people": ("of {n} people", "{n}人中"),
    "of_views": ("of {n} page views", "閲覧{n}件中"),
    "new_persons": ("New persons", "新規個人"),
    "define:new_persons": (
        "Persons who named themselves for the first time in the period.",
        "期間中に初めて特定された個人の数。",
    ),
    "with_fit": ("{n} with fit ≥ {fit}", "適合度{fit}以上 {n}人"),
    "new_with_fit": ("New persons with fit", "ターゲットに合う新規個人"),
    "persons_in_loop": ("Persons in the loop", "ループ内の個人"),
    "define:persons_in_loop": (
        "Persons who entered the first stage or were moved since.",
        "最初の段階に入った個人の数。",
    ),
    "deals_won": ("Deals won", "受注"),
    "deals_line": (
        "{opened} opened · {lost} lost · {refunded} refunded",
        "発生 {opened}・失注 {lost}・返金 {refunded}",
    ),
    "revenue": ("Revenue", "売上"),
    "refunds_off": ("refunds of {sum} taken off", "返金 {sum} 控除後"),
    "cost": ("Cost", "費用"),
    "define:cost": (
        "Reported costs of the campaigns in the period; where none is reported, the cost stated in "
        "the loop.",
        "期間中に報告された施策の費用。報告がない施策はループに記載の費用。",
    ),
    "define:return_on_cost": ("Revenue less cost, by cost.", "(売上-費用)÷費用。"),
    "return_on_cost": ("Return on cost", "費用対効果(ROI)"),
    "roi": ("return on cost {roi}", "ROI {roi}"),
    "no_cost": ("no cost reported", "費用の報告なし"),
    "page_views": ("Page views", "ページビュー"),
    "page_views_foot": (
        "Page views, {n} in the period, are no measure of success and stand here only so that the numbers "
        "can be checked.",
        "期間中のページビューは {n} です。成果の指標ではなく、数値の照合のためだけに記載します。",
    ),
    "deals_mixed": (
        "Deals won of which several currencies were told: {deals}. Each counts with its last sum, in that sum's "
        "currency; refunds in another currency are not taken off.",
        "受注{deals}件では複数の通貨が報告されています。最後に報告された金額とその通貨で数え、別の通貨での返金は差し引いていません。",
    ),
    "foreign": (
        "{currency} is not the loop's currency: {deals} deals won, revenue {revenue}, cost {cost} stand "
        "apart and are in no sum.",
        "{currency} はループの通貨ではないため、受注{deals}件、売上 {revenue}、費用 {cost} は合計に含めず別に示"
        "します。",
    ),
    "people_per_stage": ("People per stage, now", "現在の段階別人数"),
    "stage_flow": ("Stage flow", "段階の流れ"),
    "stage_flow_lead": (
        "How many people entered each stage, left it, and stand there now. In less out is the balance. Somebody "
        "known twice who is found to be one person leaves where the one stood and stands once, where the other does.",
        "各段階に入った人、出た人、現在いる人の数です。入 − 出 = 現在。"
        "同一人物と判明した人は一方の段階から出たものとし、もう一方の段階に一人として数えます。",
    ),
    "stage": ("Stage", "段階"),
    "entered": ("Entered", "入った人"),
    "left": ("Left", "出た人"),
    "stand_now": ("Now", "現在"),
    "people_unit": ("people", "人"),
    "stage:excluded": ("excluded", "対象外"),
    "stage:recycled": ("recycled", "再育成"),
    "stage:lost": ("lost", "失注"),
    "gates": ("Gates and reasons", "ゲートと理由"),
    "gates_lead": (
        "What each gate finally said of every person it judged, and why people are held or taken out. "
        "The interval holds the true rate in 95 of 100 cases (Wilson).",
        "各ゲートが判定した個人の最終結果と、保留・対象外の理由です。区間は95%信頼区間(Wilson)。",
    ),
    "gate": ("Gate", "ゲート"),
    "from_stage": ("From", "前段階"),
    "to_stage": ("To", "次段階"),
    "judged": ("Judged", "判定"),
    "advanced": ("Advance", "通過"),
    "held": ("Hold", "保留"),
    "excluded": ("Exclude", "対象外"),
    "advance_rate": ("Advance rate", "通過率"),
    "interval": ("95% interval", "95%区間"),
    "verdict": ("Verdict", "判定"),
    "why": ("Why", "理由"),
    "people": ("People", "人数"),
    "hold:not enough interest": ("not enough interest", "関心が足りない"),
    "hold:has not acted yet": ("has not acted yet", "まだ行動がない"),
    "hold:wrong target": ("wrong target", "ターゲット外"),
    "hold:holdout": ("holdout", "ホールドアウト"),
    "hold:studying": ("studying", "情報収集中"),
    "hold:missing role": ("missing role", "役割不足"),
    "hold:no consent": ("no consent", "同意なし"),
    "hold:too early": ("too early", "時期尚早"),
    "hold:capacity": ("capacity", "受入能力待ち"),
    "hold:unnamed": ("not named", "理由なし"),
    "weeks": ("People, week by week", "週ごとの人数"),
    "weeks_lead": (
        "Unique users and newly known persons by week, and how many of the people first seen in a week "
        "came back within 30 days.",
        "週ごとのユニークユーザーと新規個人、およびその週に初めて来た人が30日以内に戻った割合です。",
    ),
    "week": ("Week from", "週(月曜)"),
    "week_of": ("Week from", "週の初日"),
    "week_first_seen": ("Week first seen", "初回の週"),
    "first_seen": ("First seen", "初回"),
    "campaigns": ("Campaigns", "施策"),
    "campaigns_lead": (
        "What each campaign cost and brought. Reached are the new persons who met it before they became "
        "known; brought are those who met it last, so they sum to all new persons. Never back is the "
        "share of those brought at least 30 days ago who were not seen again within 30 days: high where "
        "prizes draw people. Cost per deal, revenue per cost and the day paid back go by linear credit.",
        "各施策の費用と成果です。接触は特定前にその施策に触れた新規個人、獲得は最後に触れた施策で数えるため合計"
        "が新規個人数に一致します。再訪なしは、30日以上前に獲得した人のうち30日以内に再び現れなかった割合で、"
        "懸賞目当ての多い施策で高くなります。受注1件あたり費用・費用対売上・費用回収日は均等配分によります。",
    ),
    "campaign": ("Campaign", "施策"),
    "kind": ("Kind", "種類"),
    "incentive": ("prize", "懸賞"),
    "outside": ("outside the loop", "ループ外"),
    "none_channel": ("(no touchpoint known)", "(接点なし)"),
    "cost_stated_note": ("stated in the loop", "ループ記載"),
    "reached": ("Reached", "接触"),
    "brought": ("Brought", "獲得"),
    "brought_with_fit": ("… with fit", "うち適合"),
    "cost_per_new_person": ("Cost per person reached", "接触1人あたり費用"),
    "never_back": ("Never back", "再訪なし"),
    "credit": ("Deals and revenue by campaign", "施策別の受注と売上"),
    "credit_lead": (
        "Three ways to share each deal among the touchpoints of the 90 days before it: all to the first, "
        "all to the last, or the same to each. These are rules of accounting (evidence class D and "
        "E) and prove no effect; effect is measured by the experiments below.",
        "受注前90日間の接点に成果を配分する3つの方法です(最初・最後・均等)。これらは会計上のルール(エビデンス区"
        "分D・E)であり、効果の証明ではありません。効果は下の実験で測ります。",
    ),
    "rule_first": ("First", "最初"),
    "rule_last": ("Last", "最後"),
    "rule_linear": ("Linear", "均等"),
    "rule_last_non_direct": ("Last but direct", "直接以外の最後"),
    "rule_position": ("Position (U)", "位置(U字)"),
    "rule_milestones": ("Milestones (W)", "節目(W字)"),
    "rule_time_decay": ("Time decay, 30 days", "時間減衰(30日)"),
    "rule_markov": ("Markov 1", "マルコフ1次"),
    "rule_markov2": ("Markov 2", "マルコフ2次"),
    "rule_markov3": ("Markov 3", "マルコフ3次"),
    "rule_shapley": ("Shapley", "シャープレイ"),
    "rule_shapley_ordered": ("Shapley, in order", "シャープレイ(順序)"),
    "models": ("All models side by side", "全モデルの比較"),
    "models_lead": (
        "The same deals, shared in every usual way: by place, by time, by what would be lost without the channel "
        "(Markov) and by what it adds to the others (Shapley). Each column sums to the total. Where the columns "
        "agree, the choice of model does not matter; where they differ, only an experiment decides.",
        "同じ受注を、順位・時間・その経路がない場合の損失(マルコフ)・他への上乗せ(シャープレイ)で配分した一覧です。"
        "どの列も合計は一致します。列が近ければモデルの選択は問題にならず、離れていれば実験だけが決着をつけます。",
    ),
    "models_revenue": ("Revenue by model", "モデル別の売上"),
    "models_deals": ("Deals by model", "モデル別の受注"),
    "removal_lead": (
        "Removal effect: the share of the deals that would be lost without the channel, as a Markov chain sees it.",
        "除去効果:その経路がなければ失われる受注の割合(マルコフ連鎖による)。",
    ),
    "cost_per_deal": ("Cost per deal", "受注1件あたり費用"),
    "revenue_per_cost": ("Revenue per cost", "費用対売上"),
    "paid_back_on": ("Paid back on", "費用回収日"),
    "deals_first": ("Deals, first", "受注(最初)"),
    "deals_last": ("Deals, last", "受注(最後)"),
    "deals_linear": ("Deals, linear", "受注(均等)"),
    "revenue_first": ("Revenue, first", "売上(最初)"),
    "revenue_last": ("Revenue, last", "売上(最後)"),
    "revenue_linear": ("Revenue, linear", "売上(均等)"),
    "experiments": ("Experiments", "実験"),
    "experiments_lead": (
        "At gates with a holdout, a random share of those who pass is kept back. The difference in "
        "deals won between the treated and the holdout is what the campaigns behind the gate really "
        "add, in percentage points; for the whole loop, it is what all its campaigns add to those "
        "who get none. Of those who are not ready, a gate may let a share through: if they win as "
        "many deals as others, the gate asks too much.",
        "ホールドアウトのあるゲートでは、通過者の一部を無作為に留め置きます。実施群と留保群の受注率の差が、"
        "その先の施策の真の効果(ポイント)です。ループ全体の行は、どの施策も届かない人との差です。"
        "未達者の一部を無作為に通すゲートでは、通した人の受注率が高ければ条件が厳しすぎます。",
    ),
    "eligible": ("Eligible", "対象者"),
    "treated": ("Treated or let through", "実施・通過"),
    "holdout": ("Holdout or refused", "留保"),
    "mixed": ("In both arms", "両群混在"),
    "treated_won": ("Treated, won", "実施・受注"),
    "holdout_won": ("Holdout, won", "留保・受注"),
    "sample_ratio": ("Sample ratio p", "配分の検定 p"),
    "lift": ("Lift", "効果"),
    "lift_axis": ("Difference in deals won, percentage points", "受注率の差(ポイント)"),
    "answer": ("Answer", "結論"),
    "detectable": ("Can detect", "検出可能な差"),
    "answer:refused": (
        "Refused: the arms are too uneven to be by chance (p < 0.001).",
        "表示しません:群の人数が偶然とは言えないほど偏っています(p<0.001)。",
    ),
    "answer:empty": ("Not enough evidence: an arm is empty.", "根拠不足:片方の群に人がいません。"),
    "answer:not_enough_evidence": ("Not enough evidence.", "根拠不足。"),
    "answer:better": ("More deals with the campaigns behind this gate.", "このゲートの先の施策で受注が増えています。"),
    "answer:universal:better": ("More deals with this loop's campaigns.", "このループの施策で受注が増えています。"),
    "answer:universal:worse": ("Fewer deals with this loop's campaigns.", "このループの施策で受注が減っています。"),
    "answer:reverse:better": (
        "Those let through win more deals than those refused: the gate may ask too much.",
        "通した人は留めた人より受注が多く、条件が厳しすぎる可能性があります。",
    ),
    "answer:reverse:worse": (
        "Those let through win fewer deals than those refused: the gate is right to wait.",
        "通した人は留めた人より受注が少なく、待つ判断は妥当です。",
    ),
    "experiment:holdout": ("{gate}", "{gate}"),
    "experiment:universal": ("whole loop", "ループ全体"),
    "experiment:reverse": ("{gate}, let through though not ready", "{gate}(未達者を通過)"),
    "answer:worse": ("Fewer deals with the campaigns behind this gate.", "このゲートの先の施策で受注が減っています。"),
    "method:always_valid": ("always-valid interval, while the loop runs", "常時有効区間(実施中)"),
    "method:newcombe": ("Newcombe interval, after the end", "Newcombe区間(終了後)"),
    "method": ("Method", "方法"),
    "can_detect": (
        "These arms can show a difference of {points} points or more.",
        "この人数で検出できる差は {points} ポイント以上です。",
    ),
    "no_experiments": ("This loop keeps no holdout.", "このループにホールドアウトはありません。"),
    "mails": ("Mails", "メール"),
    "mails_lead": (
        "People, not messages. Opens by machines are fetches of mail programs and scanners; they are "
        "kept apart and move nobody.",
        "通数ではなく人数です。機械による開封はメールソフトや検査装置の取得であり、別に数え、段階を動かしません"
        "。",
    ),
    "asked_for": ("Due", "対象"),
    "sent": ("Sent", "送信"),
    "pending": ("Pending", "処理中"),
    "failed": ("Failed", "失敗"),
    "unknown": ("Unknown", "不明"),
    "delivered": ("Delivered", "到達"),
    "opened": ("Opened", "開封"),
    "opened_by_machine": ("Opened by machine", "機械開封"),
    "clicked": ("Clicked", "クリック"),
    "bounced": ("Bounced", "不達"),
    "complained": ("Complained", "苦情"),
    "unsubscribed": ("Unsubscribed", "配信停止"),
    "no_mails": ("This loop sends no mails.", "このループにメールはありません。"),
    "quality": ("Data quality", "データ品質"),
    "quality_lead": (
        "What was delivered, what counts, and what is set apart.",
        "届いたデータ、集計対象、除外したものです。",
    ),
    "events_delivered": ("Events delivered", "届いたイベント"),
    "events_counted": ("Events counted", "集計したイベント"),
    "duplicates": ("Duplicates, counted once", "重複(1回だけ集計)"),
    "set_aside": ("Set aside: taken back by a list, or saying who is who", "除外(リストの取り下げ・個人の統合と分割)"),
    "late": ("Late, older than 7 days when received", "遅延(受信時に7日超)"),
    "machine": ("By machines, set apart", "機械(除外)"),
    "failed_events": ("Failed, in the failed store of all sites", "失敗(全サイトの保管数)"),
    "cookieless": ("Human page views without a browser id", "ブラウザIDのない閲覧"),
    "events_unit": ("events", "件"),
    "reconciliation": ("Reconciliation", "照合"),
    "reconciliation_lead": (
        "A report is published only when all of these hold. All {n} hold.",
        "以下がすべて成り立つ場合にのみ公開します。{n}件すべて成立。",
    ),
    "check": ("What must hold", "成立条件"),
    "left_side": ("Found", "左辺"),
    "relation": ("", ""),
    "right_side": ("Against", "右辺"),
    "holds": ("Holds", "結果"),
    "yes": ("yes", "成立"),
    "no": ("no", "不成立"),
    "check:events_counted_once": (
        "Events counted and set aside are the distinct ids",
        "集計 + 除外 = イベントIDの種類数",
    ),
    "check:delivered_covers_counted": ("Delivered events cover those counted", "届いた件数 ≥ 集計件数"),
    "check:page_views_cover_users": ("Page views cover unique users", "ページビュー ≥ ユニークユーザー"),
    "check:users_are_known_or_anonymous": (
        "Known and anonymous make the unique users",
        "特定済み + 匿名 = ユニークユーザー",
    ),
    "check:persons_cover_new": ("All persons cover the new ones", "全個人 ≥ 新規個人"),
    "check:new_cover_fit": ("New persons cover those with fit", "新規個人 ≥ 適合する新規個人"),
    "check:campaigns_brought_all_new": ("Campaigns brought all new persons", "施策別の獲得の合計 = 新規個人"),
    "check:paths_whole": ("Paths through the stages that are broken", "途切れた段階の経路"),
    "check:stage_balance": ("In less out is the balance", "入 − 出 = 現在"),
    "check:everybody_stands_somewhere": ("Everybody stands at one stage", "現在人数の合計 = ループ内の個人"),
    "check:paths_cover_persons": ("Paths cover the persons in the loop", "経路 ≥ ループ内の個人"),
    "check:advances_moved": ("Advances without a transition", "移動のない通過"),
    "check:verdicts_sum": ("Advance, hold and exclude make all verdicts", "通過 + 保留 + 対象外 = 判定"),
    "check:gates_cover_verdicts": ("Gates show all verdicts", "ゲート別の合計 = 全判定"),
    "check:arms_sum": ("Arms sum to the eligible", "各群の合計 = 対象者"),
    "check:credit_is_revenue": ("Credit sums to the revenue", "配分の合計 = 売上"),
    "check:credit_is_deals": ("Credit sums to the deals won", "配分の合計 = 受注件数"),
    "check:table_is_revenue": ("The table of models shows all revenue", "モデル表の合計 = 売上"),
    "check:campaigns_are_revenue": ("The table of campaigns shows all revenue", "施策表の合計 = 売上"),
    "check:funnel_is_revenue": ("The daily table holds all revenue", "日次表の合計 = 売上"),
    "check:stages_cover_funnel": ("Stages cover the daily table", "段階 ≥ 日次表"),
    "check:actions_sum": ("Outcomes sum to the mails due", "結果の合計 = メール対象"),
    "check:days_are_new": ("Days sum to the new persons", "日別の合計 = 新規個人"),
    "check:days_are_deals": ("Days sum to the deals won", "日別の合計 = 受注件数"),
    "check:days_are_revenue": ("Days sum to the revenue", "日別の合計 = 売上"),
    "check:cohorts_are_first_seen": ("Cohorts sum to the people first seen", "コホートの合計 = 初回の人数"),
    "check:quality_covers_new": ("Campaign quality covers all new persons", "施策の質の獲得合計 = 新規個人"),
    "check:met_covers_known": ("People met cover those known before", "接触した人 ≥ うち既知"),
    "check:addresses_sum": ("Each address stands in one row", "宛先の内訳の合計 = 全宛先"),
    "check:stays_are_entries": (
        "Moved on, left, still there and found to be one with another make the entries",
        "進んだ + 離れた + 滞在中 + 同一人物と判明 = 入った人",
    ),
    "check:still_is_now": ("Those still there are those there now", "滞在中 = 現在"),
    "velocity": ("Velocity", "速度"),
    "velocity_lead": (
        "How long people stay at a stage before they move on. Median: half have moved on within so many days, by "
        "Kaplan–Meier; whoever is still there counts as waiting, whoever left the path, or was found to be one "
        "with somebody who goes on for both, as waiting until then, and the 95% interval rests on "
        "Greenwood's error. After 30 days: the shares that had moved on along the path, had left "
        "it (lost, taken out or recycled) or were still there, by Aalen–Johansen; they sum to 100%. The mean of those "
        "who finished is never shown: it forgets those who are still on the way. A dash: fewer than half have "
        "moved on, or nobody could stay 30 days yet. The chart ends where fewer than 5 people wait.",
        "各段階に入ってから次へ進むまでの日数です。中央値はカプラン・マイヤー法で半数が進んだ日数を示し、"
        "滞在中の人は待機中、経路を離れた人や同一人物と判明した人はその時点まで待機として扱います。95%区間はGreenwoodの誤差によります。"
        "30日後は、先へ進んだ人、経路を離れた人(失注・対象外・再育成)、滞在中の人の割合(Aalen–Johansen法)で、"
        "合計は100%です。完了者だけの平均は途中の人を無視するため表示しません。「—」は進んだ人が半数未満、または"
        "30日滞在できる人がまだいないことを示します。図は待機中が5人未満になる時点で終わります。",
    ),
    "velocity_chart": ("Share moved on, by days at the stage", "段階に入ってからの日数と、次へ進んだ人の割合"),
    "days_at_stage": ("days at the stage", "段階に入ってからの日数"),
    "moved_on": ("Moved on", "進んだ"),
    "left_path": ("Left the path", "離れた"),
    "still_there": ("Still there", "滞在中"),
    "median_days": ("Median days", "中央値(日)"),
    "median_from": ("95% from", "95%下限(日)"),
    "median_to": ("95% to", "95%上限(日)"),
    "moved_30": ("Moved on in 30 days", "30日で進んだ"),
    "lost_30": ("Left in 30 days", "30日で離れた"),
    "still_30": ("Still there after 30 days", "30日後も滞在"),
    "still_30_interval": ("95% interval", "95%区間"),
    "pipeline": ("Pipeline velocity", "パイプライン速度"),
    "define:pipeline": (
        "Open deals × share won × mean value won ÷ median days from opened to won.",
        "進行中の商談数 × 受注率 × 平均受注額 ÷ 発生から受注までの日数の中央値。",
    ),
    "of_decided": ("of {n} decided", "決着{n}件中"),
    "deals_open": ("Open deals", "進行中の商談"),
    "define:deals_open": (
        "Deals opened in the period, in the loop's currency, neither won nor lost.",
        "期間中に発生したループの通貨の商談のうち、受注も失注もしていないもの。",
    ),
    "win_rate": ("Share won", "受注率"),
    "define:win_rate": (
        "Of those deals that are decided, the share won; open ones count as neither.",
        "決着した商談のうち受注した割合。進行中は含みません。",
    ),
    "mean_value": ("Mean value won", "平均受注額"),
    "define:mean_value": ("Revenue of those deals won, by their number.", "受注した商談の売上÷件数。"),
    "cycle_days": ("Median days to win", "受注までの日数(中央値)"),
    "define:cycle_days": (
        "By Kaplan–Meier from opened to won; open deals count as waiting, lost ones as waiting until then.",
        "発生から受注までのカプラン・マイヤー中央値。進行中は待機中、失注はその時点まで待機として扱います。",
    ),
    "per_day_unit": ("{currency} a day", "{currency}/日"),
    "days_unit": ("days", "日"),
    "cohorts": ("Who comes back, week by week", "週別コホートの再訪"),
    "cohorts_lead": (
        "Of the people first seen in a week, the share active in each week after it; opened mails do not count. A week "
        "that is not over is not shown.",
        "各週に初めて来た人のうち、その後の各週に活動した人の割合です。メール開封は数えません。"
        "終わっていない週は表示しません。",
    ),
    **{f"after_{week}": (f"Week {week}", f"{week}週後") for week in range(1, 13)},
    "weeks_after": ("weeks after the first", "初回からの週数"),
    "campaign_quality": ("Whom the campaigns bring", "施策が連れてくる人"),
    "campaign_quality_lead": (
        "Met: people and browsers that met the campaign in the period; known before: those of them who had named "
        "themselves before they met it. Brought: new persons whom it met last, and the share of them with fit. Back: "
        "of those brought at least 30 days ago, the share active again on another day within 30 days. Firework index: "
        "1 − that share ÷ the same of all others brought; above 0.5 the effect ends with the campaign, flagged only "
        "where chance does not explain it (Newcombe, 95%). Prize hunters: took a prize and did nothing else, in at "
        "least 30 days. No return, drawn: the chance that one more does not come back, drawn to all campaigns' where "
        "few are known (Beta prior).",
        "接触は期間中にその施策に触れた人とブラウザ、既知はうち接触前に特定済みの人です。獲得は最後に触れた新規個人と"
        "適合の割合。再訪は30日以上前に獲得した人のうち30日以内の別の日に再び活動した割合。花火指数は"
        " 1 −(その割合÷他の施策の同じ割合)で、0.5を超えると効果が施策とともに終わる花火型です(偶然で説明できない"
        "場合のみ表示、Newcombe 95%)。懸賞目当ては30日以上たっても懸賞応募以外の行動がない人。再訪なし(補正)は、"
        "人数が少ない施策を全体に寄せた再訪しない確率です(ベータ事前分布)。",
    ),
    "met": ("Met", "接触"),
    "known_before": ("Known before", "うち既知"),
    "fit_share": ("With fit", "適合の割合"),
    "mature": ("Had 30 days", "30日経過"),
    "back_share": ("Back", "再訪"),
    "others_share": ("Others back", "他の再訪"),
    "firework": ("Firework index", "花火指数"),
    "lasts": ("It says", "判定"),
    "lasts:lasting": ("lasting", "持続"),
    "lasts:firework": ("firework", "花火型"),
    "lasts:not_enough_evidence": ("not enough evidence", "根拠不足"),
    "prize_hunters": ("Prize hunters", "懸賞目当て"),
    "prize_share": ("… share", "割合"),
    "no_return": ("No return, drawn", "再訪なし(補正)"),
    "addresses": ("List health", "リストの健全性"),
    "addresses_lead": (
        "All addresses of the customer list, each in the first row that holds of it: what can still be reached, and "
        "what is dead by now.",
        "顧客リストの全宛先を、上から最初に当てはまる行に1回ずつ数えます。まだ届く宛先と、すでに役に立たない宛先です。",
    ),
    "address_state": ("Address", "宛先"),
    "list:bounced": ("Bounced", "不達"),
    "define:list:bounced": (
        "A mail came back for good; full mailboxes and the like do not count.",
        "恒久的に届かなかった宛先。容量超過などの一時的な不達は数えません。",
    ),
    "list:complained": ("Complained", "苦情"),
    "define:list:complained": ("Called a mail spam.", "迷惑メールとして報告した宛先。"),
    "list:stopped": ("Stopped", "停止"),
    "define:list:stopped": (
        "Unsubscribed, or kept from mails by an operator, and not allowed since.",
        "配信停止の申し出、または運用者による停止があり、その後許可されていない宛先。",
    ),
    "list:gone_quiet": ("Gone quiet", "休眠"),
    "define:list:gone_quiet": (
        "Its person did nothing for 365 days, or was never seen to do anything.",
        "本人が365日間活動していない、または一度も活動がない宛先。",
    ),
    "list:alive": ("Alive", "有効"),
    "define:list:alive": ("Nothing of the above.", "上のいずれにも当てはまらない宛先。"),
    "list:all": ("All addresses", "全宛先"),
    "define:list:all": ("Every address that somebody named.", "これまでに知らされたすべての宛先。"),
    "part": ("Share", "割合"),
    "no_addresses": ("Nobody has named an address yet.", "宛先はまだありません。"),
    "changes": ("What changed and why", "訂正内容とその理由"),
    "changes_lead": (
        "Figures of days that the report of {before} had shown, as they are known now. That report stays as it was.",
        "{before}のレポートに記載済みの日の数値を、現在わかっている値で訂正しました。"
        "以前のレポートはそのまま残ります。",
    ),
    "former_report": ("the former report", "以前のレポート"),
    "changes_none": (
        "Nothing that the report of {before} had shown has changed.",
        "{before}のレポートに記載済みの数値に変更はありません。",
    ),
    "figure_restated": ("Figure", "数値"),
    "before": ("As shown", "以前"),
    "now_known": ("Now", "現在"),
    "first_day": ("First day", "最初の日"),
    "last_day": ("Last day", "最後の日"),
    "deals_opened": ("Deals opened", "商談の発生"),
    "revenue_minor": ("Revenue", "売上"),
    "refunded_minor": ("Refunds", "返金"),
    "cost_minor": ("Cost", "費用"),
    "received": ("Received since", "その後に届いたもの"),
    "facts": ("Facts", "件数"),
    "sum_named": ("Sum named", "記載額"),
    "because:refund": ("refunds and cancellations", "返金・取消"),
    "because:late_deal": ("deals told late", "遅れて届いた商談・受注"),
    "because:late_cost": ("costs told late", "遅れて届いた費用"),
    "because:merge": ("persons merged", "個人の統合"),
    "because:split": ("persons split, a merge undone", "統合の取消(個人の分割)"),
    "because:erasure": ("persons erased", "個人の消去"),
    "because:retracted": ("rows that a list took back", "リストから取り下げられた行"),
    "because:late_fact": ("other facts received late", "その他の遅れて届いた事実"),
    "because:definition": ("the loop was changed", "ループの定義の変更"),
    "because:unexplained": (
        "no fact explains it: the sites' rules changed, or facts came late into the lake",
        "該当する事実なし:サイトの規則の変更、または保管の遅れ",
    ),
    "version": ("Report version", "レポートの版"),
    "missing:events": (
        "No event has come in from {sites}: `closedloop site tail` and `closedloop doctor` say why.",
        "{sites} からのイベントがまだありません。原因は `closedloop site tail` と `closedloop doctor` で確認できます。",
    ),
    "missing:deals": (
        "No deal has been told in the period: sales, credit and lift stay empty until a CRM, a shop or a list tells "
        "some.",
        "期間中の商談がまだ報告されていません。CRM・ショップ・リストから届くまで、売上・貢献・効果は空欄です。",
    ),
    "missing:costs": (
        "No cost is known of {campaigns}: the cost in sum is too low by theirs, and they have no cost per deal.",
        "{campaigns} の費用が未報告です。費用の合計にはその分が含まれず、受注単価も表示できません。",
    ),
    "missing:currency": (
        "{currency} is no currency of ISO 4217: its sums are shown with two decimals and stand apart.",
        "{currency} はISO 4217の通貨ではありません。金額は小数2桁とみなして別に示します。",
    ),
    "notice:attained": (
        "1. {metric}: {attained} of {target} ({share}), due {day}",
        "1. {metric}: 目標 {target} に対し実績 {attained}({share})、期限 {day}",
    ),
    "notice:forecast": (
        "2. Likely met: {p}; {middle} by then, {low} to {high} in 90 of 100 cases",
        "2. 達成確率 {p}。期限までの見込みは {middle}(90%の範囲 {low}〜{high})",
    ),
    "notice:no_forecast": ("2. Likely met: not known ({missing})", "2. 達成確率: 不明({missing})"),
    "notice:leak": (
        "3. Largest leak: gate {gate} lets {rate} through, {target} should pass (largest in {p} of cases)",
        "3. 最大の漏れ: ゲート {gate} の通過率 {rate}、あるべき値は {target}(最大である確率 {p})",
    ),
    "notice:no_leak": ("3. Largest leak: not enough evidence", "3. 最大の漏れ: 判断に足る証拠がありません"),
    "download": ("CSV", "CSV"),
    "numbers_of": ("The numbers", "数値表"),
    "nothing_yet": ("Nothing to draw yet.", "まだ描画するデータがありません。"),
    "jump": ("In this report", "目次"),
    "footnotes": ("Footnotes", "注記"),
    "not_in_sums": ("Other currencies", "その他の通貨"),
    "money_unit": ("{currency}", "{currency}"),
    "percent_unit": ("%", "%"),
    "deals_unit": ("deals", "件"),
    "day_format": ("%b %-d", "%-m/%-d"),
    "empty_table": ("No rows yet.", "まだ行がありません。"),
    **ADVICE_TEXTS,
}


def _decimals(currency: str) -> int:
    """How many decimals a currency is shown with: two where it is none of ISO 4217."""
    places = digits(currency)
    return 2 if places is None else places


@dataclass(frozen=True, slots=True)
class Words:
    """One language's words and ways to write numbers."""

    language: Language

    @property
    def other(self) -> Language:
        return Language.JA if self.language is Language.EN else Language.EN

    def get(self, key: str, **values: object) -> str:
        """The text of a key, with its values put in."""
        text = TEXTS[key][0 if self.language is Language.EN else 1]
        return text.format(**values) if values else text

    def either(self, key: str, otherwise: str) -> str:
        """The text of a key that data made; the data's own word where we have none."""
        return self.get(key) if key in TEXTS else otherwise

    def stage(self, stage: str) -> str:
        return self.either(f"stage:{stage}", stage)

    def channel(self, channel: str) -> str:
        return self.get("none_channel") if channel == NONE else channel

    def scale(self, currency: str) -> int:
        """How many minor units make one."""
        return int(10 ** _decimals(currency))

    def number(self, value: float | None, decimals: int = 0) -> str:
        return DASH if value is None else f"{value:,.{decimals}f}"

    def money(self, minor: float | None, currency: str) -> str:
        if minor is None:
            return DASH
        text = f"{abs(minor) / self.scale(currency):,.{_decimals(currency)}f}"
        sign = "−" if minor < 0 else ""
        symbol = SYMBOLS.get(currency)
        return f"{sign}{symbol}{text}" if symbol else f"{sign}{text} {currency}"

    def percent(self, share: float | None, decimals: int = 1) -> str:
        return DASH if share is None else f"{share * 100:,.{decimals}f}%"

    def signed_points(self, difference: float | None) -> str:
        return DASH if difference is None else f"{difference * 100:+,.1f}".replace("-", "−")

    def interval(self, interval: Interval | None, *, signed: bool = False) -> str:
        if interval is None:
            return DASH
        if signed:
            return f"{self.signed_points(interval.low)} … {self.signed_points(interval.high)}"
        return f"{interval.low * 100:.1f}–{interval.high * 100:.1f}%"

    def day(self, day: date | None) -> str:
        if day is None:
            return DASH
        if self.language is Language.JA:
            return f"{day.year}年{day.month}月{day.day}日"
        return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"

    def moment(self, moment: str) -> str:
        """A moment as the wire writes it, as it is read."""
        return f"{moment[:10]} {moment[11:16]} UTC"

    def check(self, name: str) -> str:
        """What a check asks, with the thing it is about."""
        kind, _, about = name.partition(":")
        text = self.either(f"check:{kind}", kind)
        if kind in ("credit_is_revenue", "credit_is_deals", "table_is_revenue", "campaigns_are_revenue"):
            about = self.get(f"rule_{about}")
        if kind == "arms_sum":
            of, _, gate = about.partition(":")
            about = self.get(f"experiment:{of}", gate=gate)
        return f"{text} · {self.stage(about)}" if about else text

    def experiment(self, experiment: Experiment) -> str:
        """What an experiment is about: a gate, the whole loop, or those whom a gate refuses."""
        return self.get(f"experiment:{experiment.kind}", gate=experiment.gate)

    def answer(self, experiment: Experiment) -> str:
        plain = self.get(f"answer:{experiment.answer}")
        text = self.either(f"answer:{experiment.kind}:{experiment.answer}", plain)
        if experiment.answer == "not_enough_evidence" and experiment.detectable is not None:
            gap = "" if self.language is Language.JA else " "
            text += gap + self.get("can_detect", points=f"{experiment.detectable * 100:.1f}")
        return text

    def amount(self, objective: Attainment, value: float | None, currency: str, decimals: int = 0) -> str:
        """A figure of an objective, as money or as a count."""
        if objective.money:
            return self.money(None if value is None else round(value), currency)
        return self.number(value, decimals)

    def chart_label(self, chart: str, report: Report) -> str:
        """What a chart shows, for those who do not see it."""
        if chart.startswith("pace-"):
            return self.get(f"metric:{report.objectives[int(chart[5:])].metric}")
        return self.get({"stages": "stage_flow", "weeks": "weeks", "repeat": "back_30", "credit": "credit",
                         "lift": "experiments", "velocity": "velocity_chart", "cohorts": "cohorts"}[chart])


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
