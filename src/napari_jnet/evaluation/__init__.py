"""Scores of labels against reference labels."""

SCORES = {
    "seg": (
        "SEG",
        "How well each true cell is covered, 0 to 1: its overlap with the predicted cell.",
    ),
    "det": (
        "DET",
        "How well cells are found and counted, 0 to 1; only of frames whose ground truth is complete.",
    ),
    "ap50": ("AP50", "Found / (found + false + missed) cells, overlap (IoU) above 0.5."),
    "ap75": ("AP75", "As AP50, with an overlap above 0.75."),
    "ap": ("AP", "Mean of AP over overlaps of 0.5, 0.55 ... 0.95."),
    "iou": ("IoU", "Overlap of all cell pixels, whichever cell they belong to, 0 to 1."),
    "mean_iou": ("mean IoU", "Mean overlap over background and cell, or over all classes."),
    "pixel_accuracy": ("pixel accuracy", "Part of the known pixels that is right."),
    "v_rand": ("V_rand", "Of sections of membranes, ISBI-2012: 1 = none merged or split."),
    "v_info": ("V_info", "Of sections of membranes, ISBI-2012: the information they share."),
}
"""Title and explanation of each score, by its field in `FrameScore` and `Scores`."""

BORDER_HELP = (
    "Leave out objects wholly within so many pixels of the sides, as the Cell Tracking Challenge does: "
    "50 for DIC-C2DH-HeLa, PhC-C2DH-U373, Fluo-N2DH-GOWT1; 25 for PhC-C2DL-PSC and Fluo-N2DL-HeLa, "
    "0 for Fluo-N2DH-SIM+."
)
