"""Where the next run goes: where somebody said, or into the project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_jnet.plugin.session import Lifetime, Session, same
from napari_jnet.plugin.train.run_form import RunForm

__all__ = ["RunPlaces"]


class RunPlaces:
    """Has the keeper make the project where there is none yet.

    Parameters
    ----------
    session
        Of the viewer.
    form
        Says which folder somebody wants.
    failed
        Called with the error when the project cannot be made, or other labels were chosen meanwhile.
    """

    def __init__(
        self,
        session: Session,
        lifetime: Lifetime,
        form: RunForm,
        failed: Callable[[Exception], None],
    ) -> None:
        self._session, self._form, self._failed = session, form, failed
        self._found: Callable[[Path], None] | None = None
        self._labels: Any = None  # that the project is made for
        lifetime.at_end(self.forget)

    @property
    def waiting(self) -> bool:
        """Whether the project is being made."""
        return self._found is not None

    def find(self, found: Callable[[Path], None]) -> None:
        """Call with the folder of the next run, at once or when the project is there.

        Raises
        ------
        ValueError
            If there is no annotation to keep in a project.
        """
        session = self._session
        if self._form.folder is not None:
            found(self._form.folder)
        else:
            self._found, self._labels = found, session.annotation
            try:
                session.keeper.ensure_project(self._made, self._refused)
            except (ValueError, OSError):
                self.forget()
                raise

    def forget(self) -> None:
        """Wait for nothing any more."""
        self._found = None

    def _made(self, project: Any) -> None:
        found, self._found = self._found, None
        labels, self._labels = self._labels, None
        if found is None:
            return
        if not same(labels, self._session.annotation):
            self._failed(
                ValueError(
                    f"Other labels than {labels.name!r} were chosen while their project was made; press "
                    "Train again for those that are chosen now."
                )
            )
            return
        try:
            run = project.reserve_run()
        except OSError as error:
            self._failed(error)
        else:
            found(run)

    def _refused(self, error: Exception) -> None:
        if self.waiting:
            self.forget()
            self._failed(error)
