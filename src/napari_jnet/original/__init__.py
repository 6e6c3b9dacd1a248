"""The original J-Net's script, with its flags, files and scores, on this package's engine.

`flags` reads the command line, `frames` the images that it names, `training` trains, `evaluation`
scores and draws.  Each job is a generator of the events in `events`.
"""
