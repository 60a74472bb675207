"""Shadow models made by hand, and records that are audited with them."""

import numpy as np

from mubench._util.files import write_atomic
from mubench._util.hashing import digest, sha256_of
from mubench.record.audit.lira import centred_log_odds
from mubench.record.audit.shadows import Shadows, shadows_bytes, summary
from mubench.record.folder import ResultsFolder, read_record
from mubench.record.readout import parse_readout


def made_shadows(rng, effect, cases=4, golds=5, samples=30):
    """Golds that are surer of what they were trained on by `effect` times their spread."""
    case_G, case_U = np.repeat(range(cases), golds), np.repeat(range(cases), samples)
    trained_GU = case_G[:, None] != case_U
    hardness_U = rng.normal(0, 3, len(case_U))
    log_odds_GU = hardness_U + rng.normal(0, 1, trained_GU.shape) + effect * trained_GU
    keys = tuple(digest(["made", gold]) for gold in range(len(case_G)))
    return Shadows(keys, log_odds_GU, trained_GU), hardness_U


def lab_shadows(lab, effect=6.0):
    """Shadow models of a lab: its golds, which are surer by `effect` of other cases' samples."""
    rng = np.random.default_rng(0)
    own = {case: [centred_log_odds(gold) for gold in lab.golds(case)[0]] for case in lab.cases}
    keys, rows, trained = [], [], []
    for case in lab.cases:
        for reference, own_N in zip(lab.golds(case)[1], own[case], strict=True):
            keys.append(reference.key)
            seen = {c: np.mean(values, axis=0) + effect for c, values in own.items()}
            seen = {c: mean_N + rng.normal(0, 1, len(mean_N)) for c, mean_N in seen.items()}
            rows.append(np.concatenate([own_N if c == case else seen[c] for c in lab.cases]))
            trained.append(np.concatenate([np.full(len(own_N), c != case) for c in lab.cases]))
    return Shadows(tuple(keys), np.stack(rows), np.stack(trained))


def write_audits(lab, shadows):
    """Adds an audit to each record of a lab; the files of the records."""
    folder, content = ResultsFolder(lab.results), shadows_bytes(shadows)
    files = sorted(folder.records())
    for file in files:
        record = read_record(file)
        readout = parse_readout(file.with_suffix(".npz").read_bytes(), file.name)
        keys = [gold.key for gold in record.golds]
        scores = shadows.scores(centred_log_odds(readout)[None], keys)
        found = summary(shadows, sha256_of(content), scores)
        audited = record.model_copy(update={"audit": found})
        write_atomic(folder.shadows(audited), content)
        folder.write(audited, file.with_suffix(".npz").read_bytes())
    return files
