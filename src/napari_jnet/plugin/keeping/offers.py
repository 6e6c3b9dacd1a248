"""Going on where one stopped: finding the project of an image, and bringing it back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

from napari_jnet.data.project import Project
from napari_jnet.data.project_places import list_projects, project_words, projects_folder
from napari_jnet.data.stack import Stack
from napari_jnet.plugin.annotate.layers import make_ready
from napari_jnet.plugin.background import Background
from napari_jnet.plugin.keeping.layer import RESCUED_FROM
from napari_jnet.plugin.keeping.lock import locked_by
from napari_jnet.plugin.keeping.project_layers import painted_options, read_painted, stack_of
from napari_jnet.plugin.keeping.rescue import own_project, rescue_folders, taken_back
from napari_jnet.plugin.keeping.settings import chosen_folder
from napari_jnet.plugin.keeping.trouble import say_trouble
from napari_jnet.plugin.layers import spatial_shape
from napari_jnet.plugin.predict.results import placement
from napari_jnet.plugin.session import METADATA_KEY, Offer, Session, unwrap

__all__ = ["Offers", "go_on", "project_words"]


class Offers:
    """Offers to go on with the project of an image, as soon as there is such an image.

    Parameters
    ----------
    session
        Of the viewer; its `offer` is set here.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._background = Background("napari-jnet projects")
        self._declined: WeakSet[Any] = WeakSet()
        session.image_changed.connect(self._look)
        session.project_changed.connect(self._look)
        self._look()

    def decline(self) -> None:
        """Start anew with this image: the project stays as it is, and is not offered again."""
        if self._session.image is not None:
            self._declined.add(unwrap(self._session.image))
        self._session.offer = None

    def wait(self) -> None:
        """Wait for what is under way; for scripts."""
        self._background.wait()

    def _look(self, _what: Any = None) -> None:
        session = self._session
        image = None if session.image is None else unwrap(session.image)
        session.offer, session.projects = None, ()
        if image is None:
            return
        if session.project is not None:  # who has begun is not asked again
            self._declined.add(image)
        try:
            stack = stack_of(image)
        except ValueError:
            return

        folder = chosen_folder()

        def look() -> tuple[tuple[Offer, ...], str]:
            found = _list(stack, dict.fromkeys((folder, projects_folder())))
            first = next((offer for offer in found if _resumable(offer)), None)
            notice = ""
            if first is not None:
                with suppress(OSError, ValueError):
                    notice = Project.open(first.path).notice
            return found, notice

        def told(answer: tuple[tuple[Offer, ...], str]) -> None:
            found, notice = answer
            if session.image is None or unwrap(session.image) is not image:
                return
            session.projects = found
            if session.project is None and image not in self._declined:
                session.offer = next((offer for offer in found if _resumable(offer)), None)
                say_trouble(
                    session, notice, *(o.problem for o in found if not o.words and o.problem)
                )

        self._background.submit(look, told)


def _resumable(offer: Offer) -> bool:
    return bool(offer.words) and not offer.problem


def _list(stack: Stack, folders: Iterable[Path]) -> tuple[Offer, ...]:
    """List the projects of a stack in these folders and those that were rescued, the newest first."""
    listed = [(one, "") for folder in folders for one in list_projects(stack, folder)]
    for folder in rescue_folders():
        rescued = ", rescued when the disk refused"
        listed += [(one, rescued) for one in list_projects(stack, folder) if one.words]
    listed.sort(key=lambda pair: pair[0].saved.timestamp() if pair[0].saved else 0.0, reverse=True)
    offers = []
    for one, more in listed:
        owner = "" if one.problem else locked_by(one.path)
        problem = f"open in {owner}" if owner else one.problem
        offers.append(Offer(one.path, one.words + more, problem))
    return tuple(offers)


def go_on(
    session: Session,
    path: Path | str | None = None,
    failed: Callable[[Exception], Any] | None = None,
) -> None:
    """Bring a project back: its annotation as a layer, roles, kind, model and last run.

    Returns at once; the layer is added when it is read, or chosen where it is there already.

    Parameters
    ----------
    session
        Of the viewer; its image is that of the project.
    path
        The project's folder; None takes that of the offer.
    failed
        Called with what went wrong.

    Raises
    ------
    ValueError
        If there is no image, or no offer.
    """
    image, viewer = session.image, session.viewer
    if image is None or viewer is None:
        raise ValueError("There is no image; open the stack of the project first.")
    if path is None and session.offer is None:
        raise ValueError("There is no project of this image to go on with.")
    if path is not None and (there := session.keeper.layer_of(Path(path))) is not None:
        session.choose("annotation", there)
        return
    offer, session.offer = session.offer, None  # who presses twice gets one annotation
    folder = Path(offer.path if path is None and offer is not None else path or "")
    shape = spatial_shape(image)
    placed = placement(image)

    def read() -> tuple[Project, Any, dict[str, Any], int]:
        project = Project.open(folder)
        labels, empty = read_painted(project, shape)
        options = painted_options(project, empty)
        if RESCUED_FROM in project.settings:
            own = own_project(project)  # None: it gets a new one
            options["metadata"][METADATA_KEY]["project"] = None if own is None else str(own)
        return project, labels, options, int(labels.max(initial=0))

    def show(found: tuple[Project, Any, dict[str, Any], int]) -> None:
        project, labels, options, highest = found
        layer = viewer.add_labels(labels, **options | placed)
        session.choose("annotation", layer)
        viewer.layers.selection.active = layer
        make_ready(layer, project.kind, highest)
        layer.mode = "paint"
        if RESCUED_FROM in project.settings:
            _take_back(session, project)

    def refused(error: Exception) -> None:
        session.offer = offer
        if failed is not None:
            failed(error)

    session.keeper.run(read, show, refused)


def _take_back(session: Session, rescued: Project) -> None:
    """Save what was rescued where it belongs; until that is done, it is offered again."""
    book, roles = session.book, rescued.roles
    book.set_roles({p: roles[n] for p, n in enumerate(book.numbers) if n in roles})
    session.keeper.ensure_project(
        lambda _project: session.keeper.run(lambda: taken_back(rescued.path))
    )
