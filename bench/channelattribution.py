"""The peer: ChannelAttribution's rules and its Markov model of order 1 as they come, file to figures, as JSON."""

from __future__ import annotations

import contextlib
import io
import json
import sys

if __name__ == "__main__":
    # It greets on standard output.
    with contextlib.redirect_stdout(io.StringIO()):
        import pandas as pd
        from ChannelAttribution import heuristic_models, markov_model

        paths = pd.read_csv(sys.argv[1])
        names = ("path", "total_conversions", "total_conversion_value")
        rules = heuristic_models(paths, *names, flg_pro=False)
        markov = markov_model(paths, *names, var_null="total_null", flg_pro=False, verbose=False)
        if isinstance(markov, dict):
            markov = markov["result"]
    columns = {
        model: (rules, f"{model}_touch_conversions", f"{model}_touch_value") for model in ("first", "last", "linear")
    } | {"markov": (markov, "total_conversions", "total_conversion_value")}
    print(json.dumps({
        model: {row["channel_name"]: [row[won], row[value]] for row in table.to_dict("records")}
        for model, (table, won, value) in columns.items()
    }))
