"""napari-jnet: train J-Net and U-Net on annotated stacks, and separate touching cells."""

__version__ = "0.1.0"
