"""The napari plugin: the only place that knows napari, Qt or magicgui."""
