"""The words of what to do next, in English and Japanese, as data."""

from __future__ import annotations

from collections.abc import Mapping

# Each entry: English, Japanese.
ADVICE_TEXTS: Mapping[str, tuple[str, str]] = {
    "advice": ("What to do next", "次にすること"),
    "advice_lead": (
        "What this report advises, and how sure that is. The draft of the next loop says the same beside every change; "
        "a person reads it, changes it and applies it.",
        "このレポートからの提案と、その確からしさです。次のループの下書きには、変更ごとに同じ理由が書かれています。"
        "人が読み、必要なら直し、適用してはじめて有効になります。",
    ),
    "evidence_key": (
        "Evidence: A measured by a holdout, B model with a base row, C model, D counted, E assumed.",
        "根拠の強さ: A ホールドアウトで測定、B 基準行付きモデル、C モデル、D 計数、E 仮定。",
    ),
    "fetch_draft": ("Fetch the draft of the next loop:", "次のループの下書きの取得:"),
    "draft_problems": (
        "The draft needs mending before it can be applied: {problems}",
        "下書きは適用前に直す必要があります: {problems}",
    ),
    "every_finding": ("Every finding, what is kept too", "すべての所見(据え置きを含む)"),
    "finding": ("Finding", "分かったこと"),
    "evidence": ("Evidence", "根拠"),
    "consequence": ("In the draft", "下書きでは"),
    "consequence:change": ("changed", "変更"),
    "consequence:keep": ("kept", "据え置き"),
    "consequence:look": ("have a look", "要確認"),
    "evidence_is": (" Evidence {letter}.", "(根拠 {letter})"),
    "forecast_of_end": ("How the loop will likely end", "このループの着地見込み"),
    "forecast_lead": (
        "By each objective's day: the middle of what may come, and the span that holds it in 90 of 100 cases.",
        "各目標の期日の見込み。中央値と、100回中90回が収まる範囲です。",
    ),
    "middle": ("Middle", "中央"),
    "low": ("Low", "下限"),
    "high": ("High", "上限"),
    "p_met": ("P(met)", "達成確率"),
    "rests_on": ("Rests on", "見込みの根拠"),
    "rests_on:pace": ("the pace so far", "これまでのペース"),
    "rests_on:plan": ("the plan and its rates", "計画とその率"),
    "rests_on:result": ("the result", "実績"),
    "leaks": ("Where people leak", "どこで人が漏れているか"),
    "leaks_lead": (
        "What each gate would bring besides if it let through the share that it should, all else as it is.",
        "他はそのままで、そのゲートだけが目標の通過率になった場合の増分です。",
    ),
    "target_is": ("Target from", "目標率の出所"),
    "assumed": ("assumed", "仮定"),
    "from_past_loops": ("past loops", "過去のループ"),
    "gain": ("Gain", "増分"),
    "p_largest": ("P(largest)", "最大である確率"),
    "budget": ("Budget between campaigns", "キャンペーン間の予算配分"),
    "spend_now": ("Now", "現在"),
    "spend_next": ("Next loop", "次のループ"),
    "deals_counted": ("Deals counted", "算入した受注"),
    "marginal_cost": ("Cost of one deal more", "追加1受注の費用"),
    "beside_lift": ("Credit beside measured lift", "貢献配分と実測リフト"),
    "beside_lift_lead": (
        "Credit is bookkeeping: it shares out all deals. A holdout measures what would not have come without.",
        "貢献配分はすべての受注を分ける計算です。ホールドアウトは、それがなければ生まれなかった分を測ります。",
    ),
    "model": ("Model", "モデル"),
    "deals_credited": ("Deals credited", "配分された受注"),
    "deals_measured": ("Deals measured", "実測の増分受注"),
    "credit_kept": ("Credit confirmed", "確認された割合"),
    "calibration": ("Former forecasts and results", "過去の見込みと実績"),
    "calibration_lead": (
        "What was forecast of this loop and those before it when they were approved, and what came. Nine of ten "
        "results should lie inside, and their places should be spread evenly.",
        "このループと前のループの承認時の見込みと実績です。10件中9件が範囲内に収まり、位置が偏らないのが正常です。",
    ),
    "loop": ("Loop", "ループ"),
    "result": ("Result", "実績"),
    "place": ("Place in the forecast", "見込み内の位置"),
    "inside": ("Inside", "範囲内"),
    "step:become_known": ("visitors become known", "訪問者の特定"),
    "step:fit": ("new persons fit", "新規個人の適合"),
    "step:repeat": ("new persons come back", "新規個人の再訪"),
    "step:gate": ("gate {gate}", "ゲート {gate}"),
    "point:bottleneck": (
        "Gate {gate} is the bottleneck: it lets {rate} through, and at {target} would bring {gain} more ({low} to "
        "{high}); P(largest) {p}.",
        "ボトルネックはゲート {gate}。通過率は{rate}で、{target}なら増分は{gain}({low}〜{high})。最大である確率 {p}。",
    ),
    "point:bottleneck_unsure": (
        "Gate {gate} is the likeliest bottleneck, and that is not certain: it lets {rate} through, and at {target} "
        "would bring {gain} more ({low} to {high}); P(largest) {p}.",
        "最も可能性の高いボトルネックはゲート {gate}ですが、確実ではありません。通過率は{rate}で、{target}なら増分は"
        "{gain}({low}〜{high})。最大である確率 {p}。",
    ),
    "point:bottleneck_few": (
        "No change: not enough evidence. Gate {gate} may be the bottleneck, but has judged {judged} people.",
        "変更なし: 根拠が足りません。ゲート {gate}がボトルネックかもしれませんが、判定は{judged}人です。",
    ),
    "point:lift_better": (
        "What is behind {gate} works: {lift} points more deals ({low} to {high}) among {people} people.",
        "{gate}の先の施策は効いています: 受注率の差 {lift}ポイント({low}〜{high})、対象 {people}人。",
    ),
    "point:lift_worse": (
        "What is behind {gate} does harm: {lift} points of deals ({low} to {high}) among {people} people. Stop it.",
        "{gate}の先の施策は逆効果です: 受注率の差 {lift}ポイント({low}〜{high})、対象 {people}人。停止してください。",
    ),
    "point:lift_unknown": (
        "No change: not enough evidence. The holdout of {gate} measured {lift} points ({low} to {high}) among {people} "
        "people, and can see {detects} points.",
        "変更なし: 根拠が足りません。{gate}のホールドアウトは{people}人で{lift}ポイント({low}〜{high})、検出できる差は"
        "{detects}ポイントです。",
    ),
    "point:budget": (
        "{campaign}: spend {new} instead of {now}. It brought {deals} deals, one more costs {marginal}; the new split "
        "brings more with P {p}.",
        "{campaign}: {now}を{new}へ。受注 {deals}件、追加1件の費用は{marginal}。新しい配分が上回る確率 {p}。",
    ),
    "point:budget_unsure": (
        "No change: not enough evidence. Another split of the budget brings more with P {p} only ({deals} deals).",
        "変更なし: 根拠が足りません。別の配分が上回る確率は {p} です(受注 {deals}件)。",
    ),
    "point:budget_few": (
        "No change: not enough evidence. {deals} deals are too few to move the budget (30 needed; P {p}).",
        "変更なし: 根拠が足りません。予算を動かすには受注 {deals}件では足りません(30件必要、確率 {p})。",
    ),
    "point:budget_unknown": (
        "No change: not enough evidence. Fewer than two campaigns have a known cost, or the budget is out of reach.",
        "変更なし: 根拠が足りません。費用の分かるキャンペーンが2つ未満か、予算に届きません。",
    ),
    "point:threshold": (
        "Gate {gate}: ask for {new} points instead of {now}. {passed} people passed and sales has room for {room}; the "
        "new threshold brings more with P {p} ({people} people seen).",
        "ゲート {gate}: 必要点数を{now}から{new}へ。通過 {passed}人に対し営業の受入れは{room}人。上回る確率 {p}"
        "(観察 {people}人)。",
    ),
    "point:threshold_unsure": (
        "No change: not enough evidence. Gate {gate} at {new} points instead of {now} brings more with P {p} only "
        "({people} people seen; {passed} passed, room for {room}).",
        "変更なし: 根拠が足りません。ゲート {gate}を{now}点から{new}点にして上回る確率は {p} です(観察 {people}人、"
        "通過 {passed}人、受入れ {room}人)。",
    ),
    "point:threshold_room": (
        "No change: sales has room ({room}) for all whom gate {gate} passed ({passed}).",
        "変更なし: ゲート {gate}の通過者({passed}人)を営業が受け入れられます({room}人)。",
    ),
    "point:prizes": (
        "{campaign} pays for answers: {share} of {people} people never came back. Look whether it is worth it.",
        "{campaign}は景品付きです: {people}人のうち{share}が再訪していません。続ける価値を確認してください。",
    ),
    "point:prizes_few": (
        "No change: not enough evidence. {campaign} pays for answers, and {people} people had 30 days to come back "
        "({share} did not).",
        "変更なし: 根拠が足りません。{campaign}は景品付きですが、30日を経過したのは{people}人です(再訪なし {share})。",
    ),
    "point:test": (
        "Test gate {gate}: hold out {share}. To know is worth up to {value}; {needed} ready people are needed to see "
        "half of the effect, {ready} came in this loop, which shows {detects} points.",
        "ゲート {gate}を検証: {share}を保留。答えの価値は最大{value}。効果の半分を見るには{needed}人が必要で、"
        "今回は{ready}人(検出できる差 {detects}ポイント)。",
    ),
    "point:test_kept": (
        "Go on testing gate {gate} with {share} held out. To know is worth up to {value}; {needed} ready people are "
        "needed to see half of the effect, {ready} came in this loop, which shows {detects} points.",
        "ゲート {gate}の検証を{share}の保留で継続。答えの価値は最大{value}。効果の半分を見るには{needed}人が必要で、"
        "今回は{ready}人(検出できる差 {detects}ポイント)。",
    ),
    "point:test_none": (
        "No change: not enough evidence to say which gate to test; nobody who was ready has won a deal yet.",
        "変更なし: どのゲートを検証すべきか言えません。通過者の受注がまだありません。",
    ),
    "point:measured": (
        "Measured: {step}, {passed} of {of}.", "実測: {step}、{of}人中{passed}人。",
    ),
    "point:measured_few": (
        "No change: not enough evidence. Measured for {step}: {passed} of {of}; 30 are needed.",
        "変更なし: 根拠が足りません。{step}の実測は{of}人中{passed}人で、30人必要です。",
    ),
    "point:values": (
        "Measured: the values of {deals} deals won.", "実測: 受注 {deals}件の金額。",
    ),
    "point:values_few": (
        "No change: not enough evidence. {deals} deals were won; 30 are needed.",
        "変更なし: 根拠が足りません。受注は{deals}件で、30件必要です。",
    ),
    "point:carried": (
        "Carried over: {people} people whom gates hold and whose interest has not faded ({gates}).",
        "引き継ぎ: ゲートで保留中で関心が残っている{people}人({gates})。",
    ),
    "point:objective": (
        "No change: {metric} is for its owner to set. By the rates measured the next loop reaches {middle} ({low} to "
        "{high}) of {target}; P(met) {p}.",
        "変更なし: {metric}は責任者が決めます。実測の率では次のループの見込みは{target}に対し{middle}({low}〜{high})、"
        "達成確率 {p}。",
    ),
    "point:objective_unknown": (
        "No change: not enough evidence. {metric} of the next loop cannot be told: {missing}.",
        "変更なし: 根拠が足りません。次のループの{metric}は見込めません: {missing}。",
    ),
}
