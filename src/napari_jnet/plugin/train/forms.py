"""The forms of the Train widget together: what is learned from, how, and where it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QFormLayout

from napari_jnet.config.plans import Hardware
from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.session import Lifetime, Session
from napari_jnet.plugin.train.form import NetworkForm
from napari_jnet.plugin.train.learn_from_form import LearnFromForm
from napari_jnet.plugin.train.preflight import TrainingFacts
from napari_jnet.plugin.train.preflight_facts import gather
from napari_jnet.plugin.train.recipes import Recipe
from napari_jnet.plugin.train.run_form import RunForm

__all__ = ["TrainForms"]


class TrainForms:
    """Fills the rows of two groups.

    Attributes
    ----------
    learn_from, network, run
        The forms.
    """

    def __init__(
        self, data_rows: QFormLayout, rows: QFormLayout, session: Session, lifetime: Lifetime
    ) -> None:
        self._session = session
        self.learn_from = LearnFromForm(data_rows, session, lifetime)
        self.network = NetworkForm(rows)
        self.run = RunForm(self.network.more_form)

    def set_values(
        self,
        *,
        plan: str | None = None,
        network: str | None = None,
        preset: str | None = None,
        minutes: float | None = None,
        epochs: int | None = None,
        run_folder: Path | str | None = None,
        start_from: Path | str | None = None,
        resume: bool | None = None,
        kind: LabelKind | str | None = None,
        changes: dict[str, Any] | None = None,
    ) -> None:
        """Fill in the form; what is None stays as it is.

        Parameters
        ----------
        plan
            Name of a plan, as in `napari_jnet.config.plans.PLANS`.
        network, preset
            Names, as in `napari_jnet.config.PRESETS`.
        minutes, epochs
            One of them ends the training, in place of the plan.
        run_folder
            Where the model goes, in place of the project.
        start_from
            A model to fine-tune.
        resume
            Whether to go on with the run folder.
        kind
            What the labels mean.
        changes
            More of the configuration, as ``{"section.field": value}``.

        Raises
        ------
        ValueError
            If a plan, a network, a preset or a kind is not known.
        """
        values: dict[str, Any] = {"plan": plan, "network": network, "preset": preset}
        values |= {"minutes": minutes, "epochs": epochs}
        if changes is not None:
            values["changes"] = changes
        self.network.set_values(values)
        run = {"run_folder": run_folder, "start_from": start_from}
        self.run.set_values(run if resume is None else {**run, "resume": resume})
        if kind is not None:
            self.learn_from.set_kind(kind)

    def start_from(self, *, fine_tune: bool) -> Path | None:
        """Return the model to begin with: that of the session, or the one in the form.

        Raises
        ------
        ValueError
            If there is no model to fine-tune, or it cannot learn from these labels.
        """
        if not fine_tune:
            return self.run.start_from
        if why_not := self._session.fine_tuning.why_not:
            raise ValueError(why_not)
        return self._session.model

    def asked(self) -> dict[str, Any]:
        """Return what somebody has chosen of the network and the targets, as ``section.field``."""
        try:
            given = self.network.config(fine_tune=True).given_settings()
        except ValueError:  # said when training is asked for
            return {}
        return {k: v for k, v in given.items() if k.startswith(("network.", "targets."))}

    def facts(self, hardware: Hardware) -> TrainingFacts:
        """Return what is known of the training that the forms ask for."""
        try:
            config = self.network.config()
        except ValueError:  # said when training is asked for
            config = None
        return gather(self._session, config, hardware, self.run.folder, resume=self.run.resume)

    def recipe(self, *, fine_tune: bool) -> Recipe:
        """Return the training that the forms ask for, for a command or a script.

        Raises
        ------
        ValueError
            If there is no project that the labels are saved in, or no model to fine-tune.
        """
        project = self._session.project
        if project is None:
            raise ValueError("The labels are saved in no project yet; paint a cell first.")
        start_from = self.start_from(fine_tune=fine_tune)
        resume = self.run.resume and not fine_tune
        return Recipe(
            project=project.path,
            run=self.run.folder or project.new_run(),
            preset=self.network.chosen_preset if resume or start_from else self.network.preset_name,
            config=self.network.config(fine_tune=start_from is not None, resume=resume),
            start_from=start_from,
            resume=resume,
        )
