"""Shadow models: what the attack finds of what was planted, and records that name them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mubench._util.errors import DoesNotHold
from mubench.record.audit.lira import FPR, Leak, centred_log_odds
from mubench.record.audit.shadows import Shadows, parse_shadows, shadows_bytes
from mubench.record.check import read_results
from mubench.record.folder import ResultsFolder, read_record
from mubench.record.schema import Record
from tests.helpers.audits import lab_shadows, made_shadows, write_audits
from tests.helpers.lab import edit
from tests.helpers.readouts import random_readout
from tests.helpers.rejections import only_rejected


def attacked(effect, of_model):
    """What the attack makes of models whose samples are shifted by `of_model`, over all cases."""
    rng = np.random.default_rng(0)
    shadows, hardness_U = made_shadows(rng, effect)
    cases = []
    for rows in shadows.rows_by_case:
        places_N = shadows.places(rows)
        values_RN = hardness_U[places_N] + rng.normal(0, 1, (40, len(places_N))) + of_model
        cases.append(shadows.scores(values_RN, [shadows.keys_G[row] for row in rows]))
    return Leak.of(cases)


def test_planted_memorisation_is_found():
    leak = attacked(effect=3.0, of_model=3.0)
    assert leak.auroc.mean > 0.95
    assert leak.tpr.mean > 0.5


def test_where_members_and_non_members_are_exchangeable_nothing_is_found():
    for effect in (0.0, 3.0):
        leak = attacked(effect=effect, of_model=0.0)
        assert leak.auroc.mean == pytest.approx(0.5, abs=0.03)
        assert leak.tpr.mean == pytest.approx(FPR, abs=0.01)


def test_shadow_models_come_back_from_their_file():
    shadows, _ = made_shadows(np.random.default_rng(1), 2.0)
    content = shadows_bytes(shadows)
    back = parse_shadows(content, "a file")
    assert back.keys_G == shadows.keys_G
    assert np.array_equal(back.trained_GU, shadows.trained_GU)
    assert np.array_equal(back.log_odds_GU, shadows.log_odds_GU.astype(np.float32))
    assert shadows_bytes(back) == content


def without(shadows, rows):
    kept = np.setdiff1d(np.arange(len(shadows.keys_G)), rows)
    keys = tuple(shadows.keys_G[row] for row in kept)
    return Shadows(keys, shadows.log_odds_GU[kept], shadows.trained_GU[kept])


def test_what_no_attack_can_use_is_refused():
    shadows, _ = made_shadows(np.random.default_rng(1), 2.0, golds=3)
    with pytest.raises(DoesNotHold, match="3 golds per case"):
        without(shadows, [0])
    with pytest.raises(DoesNotHold, match="2 golds that were trained"):
        without(shadows, range(3, 12))
    with pytest.raises(DoesNotHold, match="not all finite"):
        replace(shadows, log_odds_GU=np.where(shadows.trained_GU, np.inf, 0.0))
    with pytest.raises(DoesNotHold, match="shapes disagree"):
        replace(shadows, trained_GU=shadows.trained_GU[:, 1:])
    with pytest.raises(DoesNotHold, match="of other golds"):
        shadows.scores(np.zeros((1, 30)), shadows.keys_G[:2])
    with pytest.raises(DoesNotHold, match="of another D_f"):
        shadows.scores(np.zeros((1, 29)), shadows.keys_G[:3])
    for content in (b"", b"x" * 100, shadows_bytes(shadows)[:-1]):
        with pytest.raises(DoesNotHold, match="a file holds no shadow models"):
            parse_shadows(content, "a file")


def test_log_odds_are_held_against_those_of_test_images():
    readout = random_readout(0, 20, 50, 3)
    surer = replace(
        readout,
        forget_logits_NK=readout.forget_logits_NK
        + np.eye(3, dtype=np.float32)[readout.forget_labels_N],
    )
    difference = centred_log_odds(surer) - centred_log_odds(readout)
    assert difference == pytest.approx(np.ones(20), abs=0.01), "what a logit gains, log-odds gain"


def test_an_audited_record_is_computed_again(lab):
    lab.add_entry("m", accuracy=0.9)
    before = {path: json.loads(path.read_text()) for path in ResultsFolder(lab.results).records()}
    files = write_audits(lab, lab_shadows(lab))
    for file in files:
        after = json.loads(file.read_text())
        audit = after.pop("audit")
        assert (audit["members"], audit["nonmembers"]) == (50, 150)
        assert (audit["threshold_nonmembers"], audit["models"]) == (600, 12)
        assert after == {k: v for k, v in before[file].items() if k != "audit"}
    read = read_results(lab.results, [lab.task], thorough=True)
    assert read.rejected == ()
    for one in read.checked:
        assert one.scores
        assert one.scores.auroc == one.record.audit.auroc
        assert one.scores.tpr == one.record.audit.tpr_at_1pct_fpr


def test_a_record_from_before_audits_still_holds(lab):
    file, *_ = lab.add_entry("m")
    content = json.loads(file.read_text())
    assert content.pop("audit") is None
    file.write_text(json.dumps(content))
    assert Record.model_validate(content) == read_record(file)
    assert read_results(lab.results, [lab.task]).rejected == ()


@pytest.mark.parametrize(
    "field", ["auroc", "tpr_at_1pct_fpr", "members", "nonmembers", "threshold_nonmembers", "models"]
)
def test_a_number_that_does_not_follow_is_rejected(lab, field):
    lab.add_entry("m")
    file, *_ = write_audits(lab, lab_shadows(lab))
    edit(file, **{f"audit__{field}": 1 if field.startswith(("auroc", "tpr")) else 7})
    assert f"it states audit {field}" in only_rejected(lab, file)


def test_shadow_models_that_are_not_those_of_the_record_are_rejected(lab):
    file = lab.add("m", "a-50")
    folder, shadows = ResultsFolder(lab.results), lab_shadows(lab)
    write_audits(lab, shadows)
    lab.add("not-audited", "a-50")
    path = folder.shadows(read_record(file))
    content = path.read_bytes()
    path.write_bytes(shadows_bytes(replace(shadows, log_odds_GU=shadows.log_odds_GU + 1)))
    assert "audited with other shadow models" in only_rejected(lab, file)
    path.unlink()
    assert f"shadow models {path.name} are missing" in only_rejected(lab, file)
    path.write_bytes(content)
    assert read_results(lab.results, [lab.task]).rejected == ()


def test_golds_that_say_something_else_than_their_readouts_are_found(lab):
    file = lab.add("m", "a-50")
    shadows = lab_shadows(lab)
    forged = np.where(shadows.trained_GU, shadows.log_odds_GU, shadows.log_odds_GU - 1)
    write_audits(lab, replace(shadows, log_odds_GU=forged))
    lab.add("not-audited", "a-50")
    assert "belie the readout of gold" in only_rejected(lab, file)
